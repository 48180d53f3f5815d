//! Locks over HTTP: a name that a session holds, waited for.
//!
//! A lock is given back as the name that it is, `DELETE /v1/names/{name}?epoch=`, or ends with its session.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use quorate::{Bond, Claiming, Epoch, Error, Refusal, SessionId};
use serde::Deserialize;
use serde_json::json;

use crate::codes::named;
use crate::face::Shared;
use crate::parse::{self, NamePath};
use crate::problem::Problem;
use crate::shape;

/// The longest wait in one request; who wants to wait for longer asks again.
const WAIT_MS_MAX: u64 = 60_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    session: u64,
    #[serde(default)]
    wait_ms: u64,
}

/// `POST /v1/locks/{name}`. A repetition finds the lock in its own session's hands, and is answered alike.
pub(crate) async fn lock(
    State(inside): State<Shared>,
    path: NamePath,
    request: Request,
) -> Result<Response, Problem> {
    let name = parse::name(path)?;
    let (Wish { session, wait_ms }, _) = parse::wish(request).await?;
    if wait_ms > WAIT_MS_MAX {
        let detail = format!("wait_ms is {wait_ms}, and may be {WAIT_MS_MAX} at most");
        return Err(Problem::new(named::BAD_BODY, detail));
    }
    let session = SessionId(session);
    let names = inside.node.names();
    let until = quorate_env::now() + Duration::from_millis(wait_ms);
    loop {
        let claiming = Claiming { bond: Bond::Session(session), ..Claiming::default() };
        let by = match names.claim(&name, claiming).await {
            Ok(held) => return Ok(held_under(name.as_str(), held.epoch, session)),
            Err(Error::Refused(Refusal::Taken(by))) if by.session == Some(session) => {
                return Ok(held_under(name.as_str(), by.epoch, session));
            }
            Err(Error::Refused(Refusal::Taken(by))) => by,
            Err(error) => return Err(error.into()),
        };
        let left = until.since(quorate_env::now());
        let free = names.until_free(&name, &by);
        if left.is_zero() || quorate_env::timeout(left, free).await.is_err() {
            return Err(Refusal::Taken(by).into());
        }
    }
}

fn held_under(name: &str, epoch: Epoch, session: SessionId) -> Response {
    let epoch = epoch.get();
    let body = Json(json!({ "name": name, "epoch": epoch, "session": session.0 }));
    (StatusCode::CREATED, [(shape::EPOCH, HeaderValue::from(epoch))], body).into_response()
}
