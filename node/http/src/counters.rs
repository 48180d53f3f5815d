//! Counters over HTTP: count, look, take away.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::codes::named;
use crate::face::Shared;
use crate::names::{Consistency, Look};
use crate::parse::{self, Asked, NamePath};
use crate::problem::Problem;
use crate::shape;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    #[serde(default = "one")]
    add: i64,
    expected: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    expected: Option<i64>,
}

fn one() -> i64 {
    1
}

/// `POST /v1/counters/{name}`
pub(crate) async fn add(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (Wish { add, expected }, key) = parse::wish(request).await?;
    let (value, index) = inside.node.tallies().add(&name, add, expected, key).await?;
    let body = json!({ "name": name.as_str(), "value": value, "index": index.0 });
    Ok(([(shape::INDEX, HeaderValue::from(index.0))], Json(body)).into_response())
}

/// `GET /v1/counters/{name}`
pub(crate) async fn get(
    State(inside): State<Shared>,
    path: NamePath,
    look: Asked<Look>,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let tallies = inside.node.tallies();
    let tally = match parse::asked(look)?.consistency {
        Consistency::Local => tallies.peek(&name),
        Consistency::Linearizable => tallies.find(&name).await?,
    };
    let headers = shape::age(tally.index, tally.stale);
    Ok(match tally.value {
        Some(value) => {
            let body = json!({ "name": name.as_str(), "value": value, "index": tally.index.0 });
            (headers, Json(body)).into_response()
        }
        None => {
            let detail = format!("{name} was not counted yet at index {}", tally.index);
            (headers, Problem::new(named::ABSENT, detail)).into_response()
        }
    })
}

/// `DELETE /v1/counters/{name}`
pub(crate) async fn drop(
    State(inside): State<Shared>,
    path: NamePath,
    expected: Asked<Expected>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let expected = parse::asked(expected)?.expected;
    let key = parse::idempotency(&headers, &method, &uri, b"")?;
    let index = inside.node.tallies().drop(&name, expected, key).await?;
    Ok((StatusCode::NO_CONTENT, [(shape::INDEX, HeaderValue::from(index.0))]).into_response())
}
