//! What a request says: its body, its parameters, its key. Whatever does not fit is refused with a code, and
//! nothing that is not known is passed over in silence.

use std::str::FromStr;

use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request};
use axum::http::{HeaderMap, Method, Uri};
use futures_util::StreamExt;
use quorate::{Epoch, LabelTest, Name, PageTokenError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::codes::named;
use crate::problem::Problem;

/// The longest body that is read.
pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;

/// How many questions a query may put to labels.
const LABELS_MAX: usize = 16;

/// How much more of a body that is too long is taken in and dropped, so that a client that is still sending
/// can read the answer instead of a broken connection.
const DRAINED_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a `{*name}` in a path came to.
pub(crate) type NamePath = Result<Path<String>, PathRejection>;
/// What a query came to.
pub(crate) type Asked<T> = Result<Query<T>, QueryRejection>;

/// Reads a body into memory, up to its bound.
pub(crate) async fn body(body: Body) -> Result<Vec<u8>, Problem> {
    let mut chunks = body.into_data_stream();
    let (mut taken, mut seen) = (Vec::new(), 0_usize);
    while let Some(chunk) = chunks.next().await {
        let chunk =
            chunk.map_err(|e| Problem::new(named::BAD_BODY, format!("it broke off: {e}")))?;
        seen += chunk.len();
        if seen <= BODY_BYTES_MAX {
            taken.extend_from_slice(&chunk);
        } else if seen > DRAINED_BYTES_MAX {
            break;
        }
    }
    if seen > BODY_BYTES_MAX {
        return Err(Problem::new(named::BODY_TOO_LONG, "it was not looked into"));
    }
    Ok(taken)
}

/// Understands a body as an object; nothing at all is an object without fields.
pub(crate) fn object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|e| Problem::new(named::BAD_BODY, e.to_string()))
}

/// Reads what is to be written, and the mark of its key.
pub(crate) async fn wish<T: DeserializeOwned>(
    request: Request,
) -> Result<(T, Option<u128>), Problem> {
    let (head, sent) = request.into_parts();
    let sent = body(sent).await?;
    let wish = object(&sent)?;
    let key = idempotency(&head.headers, &head.method, &head.uri, &sent)?;
    Ok((wish, key))
}

pub(crate) fn name(path: NamePath) -> Result<Name, Problem> {
    let Path(text) = path.map_err(|e| Problem::new(named::BAD_NAME, e.body_text()))?;
    Name::new(text).map_err(|e| Problem::new(named::BAD_NAME, e.to_string()))
}

pub(crate) fn asked<T>(query: Asked<T>) -> Result<T, Problem> {
    match query {
        Ok(Query(asked)) => Ok(asked),
        Err(e) => Err(Problem::new(named::BAD_PARAMETER, e.body_text())),
    }
}

pub(crate) fn epoch(what: &str, shown: u64) -> Result<Epoch, Problem> {
    let too_large = || Problem::new(named::BAD_PARAMETER, format!("{what} is no epoch: {shown}"));
    Epoch::from_shown(shown).ok_or_else(too_large)
}

/// Questions to labels, `key=value`, `key` or `!key`, with commas between them.
pub(crate) fn labels(text: Option<&str>) -> Result<Vec<LabelTest>, Problem> {
    let texts = text.into_iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty());
    let tests: Result<Vec<LabelTest>, _> = texts.map(str::parse).collect();
    let tests = tests.map_err(|e| Problem::new(named::BAD_PARAMETER, e.to_string()))?;
    if tests.len() > LABELS_MAX {
        let why = format!("labels asks {} questions, and may ask {LABELS_MAX}", tests.len());
        return Err(Problem::new(named::BAD_PARAMETER, why));
    }
    Ok(tests)
}

/// Where a page begins, as the page before it said.
pub(crate) fn page<T: FromStr<Err = PageTokenError>>(
    text: Option<String>,
) -> Result<Option<T>, Problem> {
    let from = text.map(|page| page.parse()).transpose();
    from.map_err(|e: PageTokenError| Problem::new(named::BAD_PARAMETER, e.to_string()))
}

/// Which part of a listing is wanted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    #[serde(default)]
    pub(crate) prefix: String,
    pub(crate) after: Option<String>,
    limit: Option<usize>,
}

impl Part {
    /// How many are answered at most.
    pub(crate) fn limit(&self, most: usize) -> Result<usize, Problem> {
        limit(self.limit, most)
    }
}

/// A limit that is within its bounds, which are the most that is answered and at least one.
pub(crate) fn limit(limit: Option<usize>, most: usize) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(most);
    if !(1..=most).contains(&limit) {
        let detail = format!("limit is {limit}, and may be 1 to {most}");
        return Err(Problem::new(named::BAD_PARAMETER, detail));
    }
    Ok(limit)
}

/// The mark that an `Idempotency-Key` gives a request. It covers the whole request, so a key that is used
/// again for something else marks something else, and is never answered with what an earlier one came to.
pub(crate) fn idempotency(
    headers: &HeaderMap,
    method: &Method,
    uri: &Uri,
    body: &[u8],
) -> Result<Option<u128>, Problem> {
    let Some(key) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    if key.is_empty() || key.len() > 255 {
        let why = "Idempotency-Key has 1 to 255 bytes; draw a long random one for each intention";
        return Err(Problem::new(named::BAD_PARAMETER, why));
    }
    let mut hash = Sha256::new_with_prefix(b"quorate idempotency 1");
    let query = uri.query().unwrap_or_default();
    for part in
        [method.as_str().as_bytes(), uri.path().as_bytes(), query.as_bytes(), key.as_bytes(), body]
    {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mark = digest.iter().take(16).fold(0_u128, |mark, byte| mark << 8 | u128::from(*byte));
    Ok(Some(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(method: &Method, uri: &'static str, key: &'static str, body: &[u8]) -> Option<u128> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", key.parse().unwrap());
        idempotency(&headers, method, &Uri::from_static(uri), body).unwrap()
    }

    #[test]
    fn a_key_marks_one_request_and_no_other() {
        let first = mark(&Method::PUT, "/v1/names/a", "k", b"{}");
        assert_eq!(first, mark(&Method::PUT, "/v1/names/a", "k", b"{}"));
        for other in [
            mark(&Method::DELETE, "/v1/names/a", "k", b"{}"),
            mark(&Method::PUT, "/v1/names/b", "k", b"{}"),
            mark(&Method::PUT, "/v1/names/a?x", "k", b"{}"),
            mark(&Method::PUT, "/v1/names/a", "l", b"{}"),
            mark(&Method::PUT, "/v1/names/a", "k", b"{ }"),
        ] {
            assert_ne!(first, other);
        }
        let none = HeaderMap::new();
        assert_eq!(idempotency(&none, &Method::PUT, &Uri::from_static("/"), b"").unwrap(), None);
    }
}
