//! Sessions of clients: lives that are not a node's, bound to a promise to renew.

use std::sync::Arc;
use std::time::Duration;

use quorate_registry::{Evidence, Op, Refusal, SessionOwner, Verdict};
use quorate_vocab::{Index, SessionId};

use crate::error::Error;
use crate::hall::Hall;
use crate::marks;
use crate::post::Renewal;

/// The clients' sessions. Cheap to clone.
#[derive(Clone)]
pub struct Sessions {
    hall: Arc<Hall>,
}

/// What a renewal came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The session lives, and stays valid for at least this long after the renewal was sent.
    For(Duration),
    /// It has ended, and every name that it held is released.
    Ended,
}

impl Sessions {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        Self { hall }
    }

    /// Opens a session that ends when it is not renewed for `ttl`.
    ///
    /// The answer promises no time: under a key it may be that of a repetition, and whoever grants counts
    /// from the first. What a client does under the session is covered from its first answered renewal on.
    pub async fn open(
        &self,
        ttl: Duration,
        key: Option<u128>,
    ) -> Result<(SessionId, Index), Error> {
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let op = Op::Open { owner: SessionOwner::Client, ttl_ms };
        match marks::decide(&self.hall, op, key, self.hall.config().patience()).await? {
            (index, Verdict::Opened { session }) => Ok((session, index)),
            (_, Verdict::Refused(refusal)) => Err(Error::Refused(refusal)),
            (_, _) => Err(Error::Unknown),
        }
    }

    /// Renews a session, confirmed by a majority.
    pub async fn renew(&self, session: SessionId) -> Result<Renewed, Error> {
        self.hall.renew(Renewal { session, node: None }, self.hall.config().patience()).await
    }

    /// Ends a session; every name that it held is released, and what it ran is another's turn.
    pub async fn end(&self, session: SessionId) -> Result<(), Error> {
        self.end_by(session, Evidence::Stopped).await
    }

    /// Ends the session of somebody who is dead, as whoever guarded it has seen: nobody waits for its lease.
    pub async fn proven_dead(&self, session: SessionId) -> Result<(), Error> {
        self.end_by(session, Evidence::ProvenDead).await
    }

    async fn end_by(&self, session: SessionId, evidence: Evidence) -> Result<(), Error> {
        let within = self.hall.config().patience();
        self.hall.confirm(within).await?;
        let is_node = |owner| matches!(owner, SessionOwner::Node { .. });
        let of_client = self
            .hall
            .group()
            .read(|machine, _| machine.session(session).map(|session| !is_node(session.owner)));
        match of_client {
            None => return Ok(()),
            // A node's session is its own to end.
            Some(false) => return Err(Error::Refused(Refusal::NoSession(session))),
            Some(true) => {}
        }
        let op = Op::End { session, evidence };
        marks::decide(&self.hall, op, None, within).await.map(drop)
    }
}
