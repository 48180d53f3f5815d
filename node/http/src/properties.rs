//! Properties over HTTP: what many sessions say under one key, found by key and labels.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use quorate::{Bearer, Index, Keys, Name, PropertyToken, Query, Said, SessionId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::codes::named;
use crate::face::Shared;
use crate::names::{Consistency, judge_weight};
use crate::parse::{self, Asked, NamePath};
use crate::problem::Problem;
use crate::shape;

/// The most properties in one answer, and how many there are when it was not said.
const LIST_MAX: usize = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    session: u64,
    #[serde(default)]
    value: String,
    #[serde(default)]
    meta: BTreeMap<String, String>,
    version: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    key: Option<String>,
    prefix: Option<String>,
    labels: Option<String>,
    page: Option<String>,
    limit: Option<usize>,
    #[serde(default)]
    consistency: Consistency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Whose {
    session: u64,
}

/// `GET /v1/properties`
pub(crate) async fn list(
    State(inside): State<Shared>,
    wanted: Asked<Wanted>,
) -> Result<Response, Problem> {
    let Wanted { key, prefix, labels, page, limit, consistency } = parse::asked(wanted)?;
    let limit = parse::limit(limit, LIST_MAX)?;
    let keys = match (key, prefix) {
        (Some(_), Some(_)) => {
            let why = "key means one and prefix means many; leave one of them out";
            return Err(Problem::new(named::BAD_PARAMETER, why));
        }
        (Some(key), None) => {
            Keys::Exactly(Name::new(key).map_err(|e| Problem::new(named::BAD_NAME, e.to_string()))?)
        }
        (None, prefix) => Keys::Under(prefix.unwrap_or_default()),
    };
    let query = Query { keys, labels: parse::labels(labels.as_deref())? };
    let from: Option<PropertyToken> = parse::page(page)?;
    let properties = inside.node.properties();
    if consistency == Consistency::Linearizable && from.is_none() {
        // The round comes first: a place among the listings is not for waiting in.
        properties.find(&Query::default(), None, 0).await?;
    }
    let _place = inside.listings.acquire().await;
    let is_first = from.is_none();
    let page = match from {
        None => properties.first_page(&query, limit),
        Some(from) => properties.next_page(&query, &from, limit)?,
    };
    let stale = match consistency {
        Consistency::Linearizable if is_first => Duration::ZERO,
        _ => page.stale,
    };
    let shown: Vec<Value> = page.properties.iter().map(shape::property).collect();
    let next = page.next.map(|next| next.to_string());
    let body = json!({
        "index": page.index.0,
        "properties": shown,
        "more": next.is_some(),
        "next": next,
    });
    Ok((shape::age(page.index, stale), Json(body)).into_response())
}

/// `PUT /v1/properties/{key}`
pub(crate) async fn set(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (wish, key) = parse::wish(request).await?;
    let Wish { session, value, meta, version } = wish;
    judge_weight(value.as_bytes(), &meta)?;
    let said = Said { value: value.into_bytes(), meta, expected: version.map(Index), key };
    let version = inside.node.properties().set(&name, bearer(session), said).await?;
    let body = json!({ "key": name.as_str(), "session": session, "version": version.0 });
    Ok(([(shape::INDEX, HeaderValue::from(version.0))], Json(body)).into_response())
}

/// `DELETE /v1/properties/{key}`
pub(crate) async fn drop(
    State(inside): State<Shared>,
    path: NamePath,
    whose: Asked<Whose>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let name = parse::name(path)?;
    let session = parse::asked(whose)?.session;
    let key = parse::idempotency(&headers, &method, &uri, b"")?;
    inside.node.properties().drop(&name, bearer(session), key).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn bearer(session: u64) -> Bearer {
    Bearer { session: SessionId(session), process: None }
}
