//! What the proxy answers by itself, in the shape of the HTTP face's refusals.

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use quorate_guard::{Denied, Problem};
use quorate_http::Code;
use serde_json::{Value, json};

use super::forward::Body;

/// Why a request was not answered by what is behind the guard.
pub(super) enum Unpassed {
    /// It was not let through.
    Denied(Denied),
    /// It was, or could not be, and no answer came.
    Failed(&'static Code, String),
}

impl From<Denied> for Unpassed {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl Unpassed {
    pub(super) fn answer(&self) -> Response<Body> {
        let (status, text) = match self {
            Self::Denied(denied) => {
                let problem = denied.problem();
                (problem.status, problem.json())
            }
            Self::Failed(code, detail) => (code.status, object(code, detail).to_string()),
        };
        let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed();
        let mut response = Response::new(body);
        *response.status_mut() =
            StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = HeaderValue::from_static(Problem::MEDIA_TYPE);
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

pub(super) fn object(code: &Code, detail: &str) -> Value {
    json!({
        "code": code.name(),
        "title": code.title,
        "status": code.status,
        "detail": detail,
        "hint": code.hint,
        "outcome": code.outcome,
    })
}
