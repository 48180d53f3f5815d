//! Faults over HTTP, where the agent lets itself be drilled.
//!
//! No log is asked and no leader: a node that reaches nobody can be put wrong, and put right, by whoever
//! reaches its face. Every fault ends by itself, so nothing here is the only way to end one.

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use quorate_discovery::nearest;
use quorate_faults::{Fault, Faults, LASTS_MAX, Present, Refused};
use serde_json::{Map, Value, json};
use std::time::Duration;

use crate::codes::named;
use crate::face::{Inside, Shared};
use crate::parse;
use crate::problem::Problem;
use crate::shape;

/// What a body says beside the fault itself.
const FAULT: &str = "fault";
const LASTS: &str = "lasts_ms";

/// `GET /v1/drill/faults`
pub(crate) async fn list(State(inside): State<Shared>) -> Result<Response, Problem> {
    let present = faults(&inside)?.present();
    let shown: Vec<Value> = present.iter().map(shown).collect();
    Ok(Json(json!({ "node": inside.node.name().as_str(), "faults": shown })).into_response())
}

/// `POST /v1/drill/faults`
pub(crate) async fn inject(
    State(inside): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let faults = faults(&inside)?;
    let body = parse::body(request.into_body()).await?;
    let (fault, lasts) = understood(parse::object(&body)?)?;
    let id = faults.inject(fault.clone(), lasts)?;
    let body = shown(&Present { id, fault, left: lasts });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// `DELETE /v1/drill/faults/{id}`
pub(crate) async fn heal(
    State(inside): State<Shared>,
    path: Result<Path<u64>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let faults = faults(&inside)?;
    let Path(id) = path.map_err(|e| {
        Problem::new(named::BAD_PARAMETER, format!("no number of a fault: {}", e.body_text()))
    })?;
    match faults.heal(id) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(named::NO_FAULT, format!("fault {id} is not present"))),
    }
}

/// `DELETE /v1/drill/faults`: the stop button.
pub(crate) async fn heal_all(State(inside): State<Shared>) -> Result<Response, Problem> {
    Ok(Json(json!({ "healed": faults(&inside)?.heal_all() })).into_response())
}

/// The faults, where the agent lets itself be drilled.
pub(crate) fn faults(inside: &Inside) -> Result<&Faults, Problem> {
    let refused = || Problem::new(named::NO_DRILL, "this agent was started without --allow-drill");
    inside.faults.as_ref().ok_or_else(refused)
}

fn shown(present: &Present) -> Value {
    let mut shown = json!(present.fault);
    shown["id"] = present.id.into();
    shown["left_ms"] = shape::millis(present.left).into();
    shown
}

/// Reads a fault and how long it is to last.
fn understood(mut body: Map<String, Value>) -> Result<(Fault, Duration), Problem> {
    let bad = |why: String| Problem::new(named::BAD_BODY, why);
    let fault = body.get(FAULT).and_then(Value::as_str).ok_or_else(|| {
        bad(format!("`{FAULT}` says what is to be wrong: {}", Fault::NAMES.join(", ")))
    })?;
    let fields = Fault::fields(fault).ok_or_else(|| {
        let nearest = nearest(fault, &Fault::NAMES).unwrap_or_default();
        bad(format!("`{fault}` is no fault; the nearest is `{nearest}`"))
    })?;
    let known: Vec<&str> = fields.iter().copied().chain([FAULT, LASTS]).collect();
    if let Some(unknown) = body.keys().find(|key| !known.contains(&key.as_str())) {
        let nearest = nearest(unknown, &known).unwrap_or_default();
        return Err(bad(format!("`{fault}` has no `{unknown}`; the nearest is `{nearest}`")));
    }
    let lasts = body.remove(LASTS).and_then(|lasts| lasts.as_u64()).ok_or_else(|| {
        bad(format!("`{LASTS}` says for how long, 1 to {}", LASTS_MAX.as_millis()))
    })?;
    let fault = serde_json::from_value(Value::Object(body)).map_err(|e| bad(e.to_string()))?;
    Ok((fault, Duration::from_millis(lasts)))
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Full => named::FAULTS_FULL,
            _ => named::BAD_BODY,
        };
        Self::new(code, refused.to_string())
    }
}
