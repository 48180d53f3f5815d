//! Names over HTTP: take, look up, list, give back.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use quorate::{Claiming, Found, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::codes::named;
use crate::face::Shared;
use crate::parse::{self, Asked, NamePath};
use crate::problem::Problem;
use crate::shape;

/// The most that value and meta may weigh together; the registry would refuse more, but only after it has
/// been through the log.
const WEIGHT_BYTES_MAX: usize = 64 * 1024;

/// The most names in one answer, and how many there are when it was not said.
const LIST_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    session: Option<u64>,
    #[serde(default)]
    value: String,
    #[serde(default)]
    meta: BTreeMap<String, String>,
    replace_epoch: Option<u64>,
}

/// How sure a read is to be.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Consistency {
    /// What this node knows, at once.
    Local,
    /// Everything that was acknowledged before the question.
    #[default]
    Linearizable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Look {
    #[serde(default)]
    pub(crate) consistency: Consistency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Page {
    #[serde(default)]
    prefix: String,
    after: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    consistency: Consistency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    epoch: Option<u64>,
}

/// `PUT /v1/names/{name}`
pub(crate) async fn put(
    State(inside): State<Shared>,
    path: NamePath,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let body = parse::body(body).await?;
    let wish: Wish = parse::object(&body)?;
    let key = parse::idempotency(&headers, &method, &uri, &body)?;
    let replace = match wish.replace_epoch {
        Some(shown) => Some(parse::epoch("replace_epoch", shown)?),
        None => None,
    };
    let weight = wish.meta.iter().fold(wish.value.len(), |sum, (k, v)| sum + k.len() + v.len());
    if weight > WEIGHT_BYTES_MAX {
        let detail = format!("they have {weight} bytes together");
        return Err(Problem::new(named::TOO_LARGE, detail));
    }
    let claiming = Claiming {
        session: wish.session.map(SessionId),
        value: wish.value.into_bytes(),
        meta: wish.meta,
        replace,
        key,
    };
    let held = inside.node.names().claim(&name, claiming).await?;
    let (epoch, index) = (held.epoch.get(), held.index.0);
    let body = Json(json!({ "name": name.as_str(), "epoch": epoch, "index": index }));
    let headers =
        [(shape::EPOCH, HeaderValue::from(epoch)), (shape::INDEX, HeaderValue::from(index))];
    Ok((StatusCode::CREATED, headers, body).into_response())
}

/// `GET /v1/names/{name}`
pub(crate) async fn get(
    State(inside): State<Shared>,
    path: NamePath,
    look: Asked<Look>,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let names = inside.node.names();
    let found: Found = match parse::asked(look)?.consistency {
        Consistency::Local => names.peek(&name),
        Consistency::Linearizable => names.find(&name).await?,
    };
    let mut headers = shape::age(found.index, found.stale);
    Ok(match &found.registration {
        Some(held) => {
            headers.insert(shape::EPOCH, HeaderValue::from(held.epoch.get()));
            (headers, Json(shape::registration(held))).into_response()
        }
        None => {
            let detail = format!("{name} is free at index {}", found.index);
            (headers, Problem::new(named::FREE, detail)).into_response()
        }
    })
}

/// `GET /v1/names`
pub(crate) async fn list(
    State(inside): State<Shared>,
    page: Asked<Page>,
) -> Result<Response, Problem> {
    let Page { prefix, after, limit, consistency } = parse::asked(page)?;
    let limit = limit.unwrap_or(LIST_MAX);
    if !(1..=LIST_MAX).contains(&limit) {
        let detail = format!("limit is {limit}, and may be 1 to {LIST_MAX}");
        return Err(Problem::new(named::BAD_PARAMETER, detail));
    }
    let names = inside.node.names();
    if consistency == Consistency::Linearizable {
        // The round comes first: a place among the listings is not for waiting in.
        names.list_confirmed("", None, 0).await?;
    }
    let _place = inside.listings.acquire().await;
    let listing = names.list(&prefix, after.as_deref(), limit);
    let stale = match consistency {
        Consistency::Local => listing.stale,
        Consistency::Linearizable => std::time::Duration::ZERO,
    };
    let shown: Vec<Value> = listing.registrations.iter().map(shape::registration).collect();
    let body = json!({ "index": listing.index.0, "names": shown, "more": listing.more });
    Ok((shape::age(listing.index, stale), Json(body)).into_response())
}

/// `DELETE /v1/names/{name}`
pub(crate) async fn delete(
    State(inside): State<Shared>,
    path: NamePath,
    release: Asked<Release>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let epoch = match parse::asked(release)?.epoch {
        Some(shown) => Some(parse::epoch("epoch", shown)?),
        None => None,
    };
    let key = parse::idempotency(&headers, &method, &uri, b"")?;
    let (epoch, index) = inside.node.names().release(&name, epoch, key).await?;
    let headers = [
        (shape::EPOCH, HeaderValue::from(epoch.get())),
        (shape::INDEX, HeaderValue::from(index.0)),
    ];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}
