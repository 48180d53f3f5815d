//! Sessions: which lives the registry knows, and the two commands that begin and end one.
//!
//! Not here: whether a silent life is to be ended. That is the lease's question, and time is no part of the
//! state; only its answer comes through the log, as [`Evidence`].

use imbl::OrdMap;
use quorate_vocab::{Boot, NodeId, SessionId};
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::rows::Key;
use crate::{At, Broken, Effect, Evidence, Machine, Refusal, SessionOwner, Verdict};

/// A life that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The log index at which it was opened.
    pub id: SessionId,
    /// Whose life it is.
    pub owner: SessionOwner,
    /// How long it may stay silent, in milliseconds; 0 means that it never expires.
    pub ttl_ms: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sessions {
    by_id: OrdMap<SessionId, Session>,
    /// Derived. A node has one life at a time.
    by_node: OrdMap<NodeId, (SessionId, Boot)>,
}

impl Machine {
    pub(crate) fn open(
        &mut self,
        at: At,
        owner: SessionOwner,
        ttl_ms: u64,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        if owner == SessionOwner::Name {
            return Err(Refusal::NamesOwn);
        }
        if let SessionOwner::Node { node, boot } = owner {
            if self.nodes.find(node).is_none() {
                return Err(Refusal::NoNode);
            }
            match self.sessions.of_node(node) {
                Some((_, living)) if boot < living => return Err(Refusal::BootOver),
                Some((session, living)) if boot == living => {
                    return Ok(Verdict::Opened { session });
                }
                Some((session, _)) => {
                    self.end_session(session, Evidence::Superseded { by: boot }, out);
                }
                None => {}
            }
        }
        let session = SessionId(at.index.0);
        self.sessions.put(Session { id: session, owner, ttl_ms }, &mut self.changes);
        out.push(Effect::SessionOpened { session, owner, ttl_ms });
        Ok(Verdict::Opened { session })
    }

    pub(crate) fn end(
        &mut self,
        at: At,
        session: SessionId,
        evidence: Evidence,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        if self.sessions.find(session).is_none() {
            return Ok(Verdict::Ended);
        }
        if let Evidence::Expired { term } = evidence
            && term != at.term
        {
            return Err(Refusal::TermOver);
        }
        self.end_session(session, evidence, out);
        Ok(Verdict::Ended)
    }

    /// Ends a life that has not ended: first itself, then what it held, and nobody remembers its commands.
    pub(crate) fn end_session(
        &mut self,
        session: SessionId,
        evidence: Evidence,
        out: &mut Vec<Effect>,
    ) {
        self.sessions.remove(session, &mut self.changes);
        out.push(Effect::SessionEnded { session, evidence });
        self.names.release_all(session, &mut self.changes, out);
        self.properties.drop_all(session, &mut self.changes, out);
        self.end_offers(session, evidence, out);
        self.memory.forget(session, &mut self.changes);
    }
}

impl Sessions {
    pub(crate) fn find(&self, session: SessionId) -> Option<&Session> {
        self.by_id.get(&session)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.by_id.values()
    }

    pub(crate) fn of_node(&self, node: NodeId) -> Option<(SessionId, Boot)> {
        self.by_node.get(&node).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn put(&mut self, session: Session, changes: &mut Changes) {
        changes.born(Key::Session(session.id));
        self.load(session);
    }

    fn remove(&mut self, session: SessionId, changes: &mut Changes) {
        let Some(session) = self.by_id.remove(&session) else {
            return;
        };
        if let SessionOwner::Node { node, .. } = session.owner {
            self.by_node.remove(&node);
        }
        changes.died(Key::Session(session.id));
    }

    /// Takes in what was stored; an audit follows.
    pub(crate) fn load(&mut self, session: Session) {
        if let SessionOwner::Node { node, boot } = session.owner {
            self.by_node.insert(node, (session.id, boot));
        }
        self.by_id.insert(session.id, session);
    }

    /// What no single session shows: that the index holds nothing besides.
    pub(crate) fn audit_sizes(&self) -> Result<(), Broken> {
        let is_node = |session: &&Session| matches!(session.owner, SessionOwner::Node { .. });
        if self.by_id.values().filter(is_node).count() != self.by_node.len() {
            return Err(Broken { invariant: "I2", what: "the sessions of nodes do not add up" });
        }
        Ok(())
    }
}
