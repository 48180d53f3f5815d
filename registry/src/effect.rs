//! What changed, for whoever must act on it or watches.

use std::sync::Arc;

use quorate_vocab::{Epoch, Index, Name, NodeId, SessionId};
use serde::{Deserialize, Serialize};

use crate::{Bearer, Evidence, Grant, Level, Node, Property, Registration, Rules, SessionOwner};

/// One change of the registry's state. Effects say what has happened; performing one twice equals once, as
/// they are issued again when a log is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A name is held by somebody new, or reserved.
    Registered(Arc<Registration>),
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
    /// What is said under a name is another, or its reservation was confirmed; the epoch is the same.
    Amended(Arc<Registration>),
    /// Something new is said under a key.
    PropertySet(Property),
    /// Somebody says nothing under a key any more.
    PropertyDropped {
        /// Which key.
        key: Name,
        /// Who said it.
        bearer: Bearer,
        /// Why.
        cause: ReleaseCause,
    },
    /// A counter was counted, or made.
    Counted {
        /// Which counter.
        name: Name,
        /// What is in it.
        value: i64,
    },
    /// A counter was taken away.
    CounterDropped {
        /// Which counter.
        name: Name,
    },
    /// Commands up to this level are allowed.
    Raised(Level),
    /// A singleton is to be run by whoever this grant was given to.
    Granted {
        /// Which singleton.
        name: Name,
        /// The grant.
        grant: Grant,
    },
    /// The owner of a singleton is to end it, or to keep it after all.
    GrantPhase {
        /// Which singleton.
        name: Name,
        /// The grant as it is now.
        grant: Grant,
    },
    /// What ran under a grant has ended.
    GrantClosed {
        /// Which singleton.
        name: Name,
        /// The epoch of the grant.
        epoch: Epoch,
        /// Whose it was.
        session: SessionId,
        /// How that is known.
        evidence: Evidence,
    },
    /// Something else about a singleton is another: what is wanted, who offers to run it, whether it is
    /// ready.
    SingletonChanged(Name),
    /// A node is being drained, or is no more.
    Drained {
        /// Which node.
        node: NodeId,
        /// Whether it is.
        draining: bool,
    },
}

/// Why a name became free, or a property went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseCause {
    /// Somebody released or dropped it.
    Asked,
    /// The life that held or bore it ended.
    SessionEnded(SessionId),
}
