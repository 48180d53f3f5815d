//! Clients' sessions over HTTP: open, renew, end.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use quorate::{Renewed, SessionId};
use serde::Deserialize;
use serde_json::json;

use crate::codes::named;
use crate::face::Shared;
use crate::parse::{self, Asked};
use crate::problem::Problem;
use crate::shape;

/// The shortest promise that a client can keep over HTTP, and the longest that is believed.
const TTL_MS: std::ops::RangeInclusive<u64> = 100..=86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    ttl_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct How {
    #[serde(default)]
    evidence: End,
}

/// How a session is said to have ended.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum End {
    #[default]
    Stopped,
    ProvenDead,
}

type SessionPath = Result<Path<u64>, PathRejection>;

/// `POST /v1/sessions`
pub(crate) async fn open(
    State(inside): State<Shared>,
    request: Request,
) -> Result<Response, Problem> {
    let (Wish { ttl_ms }, key) = parse::wish(request).await?;
    judge_ttl(ttl_ms)?;
    let ttl = Duration::from_millis(ttl_ms);
    let (session, index) = inside.node.sessions().open(ttl, key).await?;
    let body = Json(json!({ "session": session.0, "ttl_ms": ttl_ms }));
    let headers = [(shape::INDEX, HeaderValue::from(index.0))];
    Ok((StatusCode::CREATED, headers, body).into_response())
}

/// `POST /v1/sessions/{id}/renew`
pub(crate) async fn renew(
    State(inside): State<Shared>,
    path: SessionPath,
) -> Result<Response, Problem> {
    let session = id(path)?;
    match inside.node.sessions().renew(session).await? {
        Renewed::For(valid) => {
            let valid_ms = shape::millis(valid);
            Ok(Json(json!({ "session": session.0, "valid_ms": valid_ms })).into_response())
        }
        Renewed::Ended => {
            Err(Problem::new(named::SESSION_ENDED, format!("session {session} is not there")))
        }
    }
}

/// `DELETE /v1/sessions/{id}`. Its owner says that it stopped, or whoever guarded it that it is dead.
pub(crate) async fn end(
    State(inside): State<Shared>,
    path: SessionPath,
    how: Asked<How>,
) -> Result<StatusCode, Problem> {
    let (session, sessions) = (id(path)?, inside.node.sessions());
    match parse::asked(how)?.evidence {
        End::Stopped => sessions.end(session).await?,
        End::ProvenDead => sessions.proven_dead(session).await?,
    };
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) fn judge_ttl(ttl_ms: u64) -> Result<(), Problem> {
    if !TTL_MS.contains(&ttl_ms) {
        let (least, most) = (TTL_MS.start(), TTL_MS.end());
        let detail = format!("ttl_ms is {ttl_ms}, and may be {least} to {most}");
        return Err(Problem::new(named::BAD_BODY, detail));
    }
    Ok(())
}

fn id(path: SessionPath) -> Result<SessionId, Problem> {
    match path {
        Ok(Path(id)) => Ok(SessionId(id)),
        Err(e) => {
            Err(Problem::new(named::BAD_PARAMETER, format!("no session id: {}", e.body_text())))
        }
    }
}
