//! Available names over HTTP: who holds one, by what the asked node knows.
//!
//! Only processes hold them, so nothing is written here. An answer says whether the node has a valid lease;
//! if not, it is cut off, and there may be another holder elsewhere.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use quorate::{AvailableHolder, Name};
use serde_json::{Value, json};

use crate::codes::named;
use crate::face::Shared;
use crate::parse::{self, Asked, NamePath, Part};
use crate::problem::Problem;

/// The most names in one answer, and how many there are when it was not said.
const LIST_MAX: usize = 1000;

/// `GET /v1/available`
pub(crate) async fn list(
    State(inside): State<Shared>,
    wanted: Asked<Part>,
) -> Result<Response, Problem> {
    let wanted = parse::asked(wanted)?;
    let limit = wanted.limit(LIST_MAX)?;
    let Part { prefix, after, .. } = wanted;
    let after = after.map(Name::new).transpose();
    let after = after.map_err(|e| Problem::new(named::BAD_NAME, e.to_string()))?;
    let available = inside.node.available();
    let mut found = available.list(&prefix, after.as_ref(), limit + 1);
    let more = found.len() > limit;
    found.truncate(limit);
    let names: Vec<Value> = found.iter().map(|(name, holder)| shown(name, holder)).collect();
    let quorate = available.is_quorate();
    Ok(Json(json!({ "names": names, "more": more, "quorate": quorate })).into_response())
}

/// `GET /v1/available/{name}`
pub(crate) async fn get(State(inside): State<Shared>, path: NamePath) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let found = inside.node.available().find(&name);
    let Some(holder) = found.holder else {
        let detail = format!("nobody whom {} knows of holds {name}", inside.node.name());
        return Err(Problem::new(named::FREE, detail));
    };
    let mut body = shown(&name, &holder);
    body["quorate"] = found.quorate.into();
    Ok(Json(body).into_response())
}

fn shown(name: &Name, holder: &AvailableHolder) -> Value {
    json!({
        "name": name.as_str(),
        "holder": holder.pid.to_string(),
        "ordinal": holder.ordinal.0,
    })
}
