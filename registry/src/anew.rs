//! A cluster that begins anew from the state of one that is no more: restored from a backup, or recovered
//! from what one node still had.
//!
//! The state may be older than what the former cluster told its clients last, and nobody can say by how much.
//! So no number that was ever told may be told again with another meaning. The generation rises, and with it
//! every epoch (I1), also those of the names that stay: their holders may have changed since. The index leaps
//! ahead, and with it every session's number, every version, and every place to go on watching from.
//!
//! Not here: where the state comes from, and who the new cluster is.

use std::sync::Arc;

use quorate_vocab::{Epoch, Index, NodeId, SessionId};

use crate::{Evidence, Machine, Outgrown, Registration};

impl Machine {
    /// By how much the index leaps: a day at fifty thousand entries a second. So much may have been decided
    /// after the state that is begun from, without a number of it ever coming again.
    pub const LEAP: u64 = 1 << 32;

    /// The state that a new cluster begins with. Nodes and sessions have ended, with all that was bound to
    /// them; what is durable stays: names under new epochs, counters, rules, and the answers to commands that
    /// bear a key.
    ///
    /// The new generation is above this state's and above the one that is named, which somebody may have seen
    /// when this state was begun from before.
    pub fn begin_anew(mut self, above: u16) -> Result<Self, Outgrown> {
        let before = self.generation.max(above);
        let outgrown = || Outgrown { generation: before, index: self.applied.0 };
        let first = self.applied.0.checked_add(Self::LEAP).ok_or_else(outgrown)?;
        let last = first + self.names.len() as u64;
        let generation = before.checked_add(1).ok_or_else(outgrown)?;
        Epoch::new(generation, Index(last)).ok_or_else(outgrown)?;

        // Nobody has seen the state as it was, so what changes is no news.
        let mut unheard = Vec::new();
        self.changes.begin();
        self.end_all_offers();
        let nodes: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        for node in nodes {
            self.leave(node, &mut unheard).expect("it was listed");
        }
        let sessions: Vec<SessionId> = self.sessions.iter().map(|session| session.id).collect();
        for session in sessions {
            self.end_session(session, Evidence::Stopped, &mut unheard);
        }
        (self.generation, self.applied) = (generation, Index(last));
        let held: Vec<Registration> = self.names.list("", None).cloned().collect();
        for (held, at) in held.into_iter().zip(first + 1..) {
            let index = Index(at);
            let epoch = Epoch::new(generation, index).expect("the last of them fits");
            let renewed = Arc::new(Registration { epoch, index, version: index, ..held });
            self.names.put(renewed, &mut self.changes);
        }
        self.check_all();
        Ok(self)
    }
}
