//! The group over HTTP: let another node lead, and take a node out that will not come back.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use quorate::NodeName;
use serde::Deserialize;
use serde_json::json;

use crate::codes::named;
use crate::face::Shared;
use crate::parse;
use crate::problem::Problem;
use crate::shape;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    to: Option<String>,
}

/// `POST /v1/leader/step-down`
pub(crate) async fn step_down(
    State(inside): State<Shared>,
    body: Body,
) -> Result<Response, Problem> {
    let body = parse::body(body).await?;
    let Wish { to } = parse::object(&body)?;
    let to = to.map(named_node).transpose()?;
    let leader = inside.node.step_down(to.as_ref()).await?;
    Ok(Json(json!({ "leader": leader.as_str() })).into_response())
}

/// `DELETE /v1/nodes/{name}`
pub(crate) async fn remove(
    State(inside): State<Shared>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(name) = path.map_err(|e| Problem::new(named::NO_NODE, e.body_text()))?;
    let index = inside.node.remove(&named_node(name)?).await?;
    let headers = [(shape::INDEX, HeaderValue::from(index.0))];
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

fn named_node(name: String) -> Result<NodeName, Problem> {
    NodeName::try_from(name).map_err(|e| Problem::new(named::NO_NODE, e.to_string()))
}
