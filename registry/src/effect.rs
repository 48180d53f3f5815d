//! What changed, for whoever must act on it or watches.

use quorate_vocab::{Epoch, Index, Name, NodeId, SessionId};
use serde::{Deserialize, Serialize};

use crate::{Evidence, Node, Registration, Rules, SessionOwner};

/// One change of the registry's state. Effects say what has happened; performing one twice equals once, as
/// they are issued again when a log is replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// A node takes part, or its entry changed.
    NodeJoined(Node),
    /// A node no longer takes part.
    NodeLeft(NodeId),
    /// A life began.
    SessionOpened {
        /// Its session.
        session: SessionId,
        /// Whose life.
        owner: SessionOwner,
        /// How long it may stay silent; 0 means for ever.
        ttl_ms: u64,
    },
    /// A life ended.
    SessionEnded {
        /// Its session.
        session: SessionId,
        /// How that is known.
        evidence: Evidence,
    },
    /// A name is held by somebody new.
    Registered(Registration),
    /// A name is free.
    Released {
        /// Which name.
        name: Name,
        /// The epoch that it was held under.
        epoch: Epoch,
        /// Why it is free.
        cause: ReleaseCause,
    },
    /// Other topology rules are in force.
    RulesSet {
        /// The entry that set them.
        version: Index,
        /// The rules.
        rules: Rules,
    },
}

/// Why a name became free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseCause {
    /// Somebody released it.
    Asked,
    /// The life that held it ended.
    SessionEnded(SessionId),
}
