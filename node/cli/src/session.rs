//! A session of a command's own: what it holds in the cluster for as long as it runs.

use std::time::Duration;

use quorate::Time;
use quorate_env::now;
use quorate_http::code;
use serde_json::json;
use ureq::http::Method;

use crate::client::{Answer, Ask, Client};
use crate::fail::{Done, Fail};

/// A session, as far as this command knows.
pub(crate) struct Session {
    pub(crate) id: u64,
    pub(crate) ttl: Duration,
    /// When the renewal that was answered last had been sent.
    sent: Time,
}

impl Session {
    /// Opens a session and renews it once: it is the answer to a renewal that promises a time.
    pub(crate) fn open(client: &Client, ttl: Duration) -> Result<Self, Fail> {
        let body = json!({ "ttl_ms": ttl.as_millis() as u64 });
        let opened = client.ask(&Ask::write(Method::POST, "/v1/sessions", Some(&body), None))?;
        let id = opened.body["session"].as_u64();
        let id = id.ok_or_else(|| Fail::new(code::FOREIGN_ANSWER, "a session without a number"))?;
        let mut session = Self { id, ttl, sent: now() };
        session.renew(client)?;
        Ok(session)
    }

    pub(crate) fn renew(&mut self, client: &Client) -> Done {
        self.sent = renew(client, self.id)?;
        Ok(())
    }

    /// A renewal was answered that had been sent at this time.
    pub(crate) fn renewed(&mut self, sent: Time) {
        self.sent = self.sent.max(sent);
    }

    /// Until when it is held for certain, by this machine's clock.
    pub(crate) fn deadline(&self) -> Time {
        self.sent + self.ttl
    }

    /// Ends it, and releases what it holds.
    pub(crate) fn end(&self, client: &Client) -> Done {
        let path = format!("/v1/sessions/{}", self.id);
        client.ask(&Ask::write(Method::DELETE, path, None, None)).map(drop)
    }
}

/// Renews a session; gives when the renewal was sent.
pub(crate) fn renew(client: &Client, id: u64) -> Result<Time, Fail> {
    let sent = now();
    let path = format!("/v1/sessions/{id}/renew");
    let _: Answer = client.ask(&Ask::write(Method::POST, path, None, None))?;
    Ok(sent)
}

/// How long a renewal is waited for by whoever holds the session for so long yet. Time is left for another
/// one if it fails; and nobody asks for longer than it holds anything: that only keeps its heirs waiting.
pub(crate) fn patience(ttl: Duration, left: Duration) -> Duration {
    (ttl / 2).min(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_asks_for_a_session_that_is_over() {
        let ttl = Duration::from_secs(3);
        assert_eq!(patience(ttl, ttl), ttl / 2);
        assert_eq!(patience(ttl, ttl / 5), ttl / 5);
        assert_eq!(patience(ttl, Duration::ZERO), Duration::ZERO);
    }
}
