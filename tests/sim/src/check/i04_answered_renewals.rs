//! I4: a renewal that was answered was not expired by any later term when its round began.
//!
//! Seen from outside: whoever was told that its session is valid for so long after the renewal was sent can
//! rely on that, by a true clock. The checker knows when each session's end was first applied.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_registry::Evidence;
use quorate_vocab::SessionId;

use super::Violation;
use crate::history::Moment;

/// What clients were promised of their sessions, and what became of it.
#[derive(Debug, Default)]
pub struct AnsweredRenewals {
    valid_until: BTreeMap<SessionId, Duration>,
    expired: BTreeMap<SessionId, Moment>,
}

impl AnsweredRenewals {
    /// Somebody asked at `sent` and was told that the session is valid for `span` from then on.
    pub fn promised(&mut self, session: SessionId, sent: Moment, span: Duration) {
        let until = self.valid_until.entry(session).or_default();
        *until = (*until).max(sent.at + span);
    }

    /// Some node has applied a session's end; the first time counts. Only an expiry can break a promise: any
    /// other end was asked for.
    pub fn ended(&mut self, session: SessionId, evidence: Evidence, now: Moment) {
        if matches!(evidence, Evidence::Expired { .. }) {
            self.expired.entry(session).or_insert(now);
        }
    }

    /// Finds sessions that expired sooner than was promised.
    pub fn finish(self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (session, at) in self.expired {
            if let Some(until) = self.valid_until.get(&session).filter(|until| at.at < **until) {
                let what = format_args!(
                    "session {session} was promised until {until:?} and expired by {:?}",
                    at.at
                );
                violations.push(Violation::new("I4", what));
            }
        }
        violations
    }
}
