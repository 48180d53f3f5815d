//! Failures in words: `application/problem+json`, and which failure of a node is which code.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quorate::{Error, NotDone, PageGone, Refusal, TooStale};
use serde_json::{Map, Value, json};

use crate::codes::{Code, named};
use crate::shape;

/// A failure on its way to a client.
#[derive(Debug)]
pub(crate) struct Problem {
    code: &'static Code,
    detail: String,
    members: Map<String, Value>,
}

impl Problem {
    pub(crate) fn new(code: &'static Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), members: Map::new() }
    }

    /// Adds a member of this failure's own.
    pub(crate) fn with(mut self, member: &str, value: Value) -> Self {
        self.members.insert(member.to_owned(), value);
        self
    }

    /// The object that a client reads.
    pub(crate) fn body(&self) -> Value {
        let mut body = self.members.clone();
        body.insert("code".into(), self.code.name().into());
        body.insert("title".into(), self.code.title.into());
        body.insert("status".into(), self.code.status.into());
        body.insert("detail".into(), self.detail.as_str().into());
        body.insert("hint".into(), self.code.hint.into());
        body.insert("outcome".into(), json!(self.code.outcome));
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.code.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = Response::new(Body::from(self.body().to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        match error {
            Error::NotDone(NotDone::NoLeader | NotDone::NoQuorum) => {
                Self::new(named::NO_QUORUM, detail)
            }
            Error::NotDone(NotDone::NoSession) => Self::new(named::NO_SESSION_HERE, detail),
            Error::NotDone(NotDone::NoLink) => Self::new(named::NO_ROAD, detail),
            Error::NotDone(NotDone::Closing) => Self::new(named::CLOSING, detail),
            Error::NotDone(NotDone::NodeLives) => Self::new(named::NODE_LIVES, detail),
            Error::NotDone(NotDone::NoSuccessor) => Self::new(named::NO_SUCCESSOR, detail),
            Error::NotDone(NotDone::Overloaded) => Self::new(named::OVERLOADED, detail),
            Error::NotDone(NotDone::Disk) => Self::new(named::DISK, detail),
            Error::Unknown => Self::new(named::OUTCOME_UNKNOWN, detail),
            Error::Refused(refusal) => refusal.into(),
            // `Error` may grow; whatever it grows by is not known to have done nothing.
            _ => Self::new(named::FAILED_INSIDE, detail),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Taken(holding) => {
                Self::new(named::TAKEN, detail).with("holder", shape::holding(&holding))
            }
            Refusal::Stale { present } => {
                let epoch = json!(present.map(|epoch| epoch.get()));
                Self::new(named::STALE_EPOCH, detail)
                    .with("holder", json!({ "epoch": epoch }))
                    .with("epoch", epoch)
            }
            Refusal::Free => Self::new(named::FREE, detail),
            Refusal::NoSession(_) => Self::new(named::SESSION_ENDED, detail),
            Refusal::NoNode => Self::new(named::NO_NODE, detail),
            Refusal::Forgotten => Self::new(named::FORGOTTEN, detail),
            Refusal::TooLarge { .. } => Self::new(named::TOO_LARGE, detail),
            Refusal::BadRules(_) => Self::new(named::BAD_RULES, detail),
            Refusal::RulesChanged { present } => {
                Self::new(named::RULES_CHANGED, detail).with("version", json!(present.0))
            }
            Refusal::Changed { present } => {
                Self::new(named::CHANGED, detail).with("version", json!(present.0))
            }
            Refusal::Absent => Self::new(named::ABSENT, detail),
            Refusal::Miscounted { present } | Refusal::Overflow { present } => {
                Self::new(named::MISCOUNTED, detail).with("value", json!(present))
            }
            Refusal::NoSingleton => Self::new(named::NO_SINGLETON, detail),
            Refusal::NoCandidate => Self::new(named::NO_CANDIDATE, detail),
            Refusal::NotGranted { present } => {
                let epoch = json!(present.map(|epoch| epoch.get()));
                Self::new(named::NOT_GRANTED, detail).with("holder", json!({ "epoch": epoch }))
            }
            Refusal::Unfit { .. } => Self::new(named::UNFIT, detail),
            Refusal::Cycle { .. } => Self::new(named::CYCLE, detail),
            Refusal::BadSpec { .. } => Self::new(named::BAD_BODY, detail),
            Refusal::Offered => Self::new(named::OFFERED, detail),
            Refusal::TooNew { needs, agreed } => Self::new(named::TOO_NEW, detail)
                .with("needs", json!(needs.number()))
                .with("agreed", json!(agreed.number())),
            _ => Self::new(named::REFUSED, detail),
        }
    }
}

impl From<TooStale> for Problem {
    fn from(error: TooStale) -> Self {
        Self::new(named::TOO_STALE, error.to_string())
            .with("stale_ms", json!(shape::stale_ms(error.stale)))
    }
}

impl From<PageGone> for Problem {
    fn from(error: PageGone) -> Self {
        Self::new(named::PAGE_GONE, error.to_string())
    }
}
