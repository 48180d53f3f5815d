//! What the registry answers to a command.

use quorate_vocab::{Epoch, Index, Pid, SessionId};
use serde::{Deserialize, Serialize};

use crate::{Registration, RulesError};

/// The answer to whoever proposed. A rejection is a verdict, not an error: the command was applied, and this
/// is what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// The node takes part.
    Joined,
    /// The node no longer takes part.
    Left,
    /// A life began.
    Opened {
        /// Its session.
        session: SessionId,
    },
    /// The life has ended (now, or before).
    Ended,
    /// The name is held.
    Registered {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// The name is free.
    Released {
        /// The epoch that it was held under.
        epoch: Epoch,
    },
    /// Nothing changed.
    Refused(Refusal),
    /// Other topology rules are in force.
    RulesSet {
        /// Their version.
        version: Index,
    },
}

/// Who holds a name, without what is said under it: verdicts are remembered, so they stay small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// Under which epoch.
    pub epoch: Epoch,
    /// The life it is bound to; `None` for a durable name.
    pub session: Option<SessionId>,
    /// The process that holds it, if a process does.
    pub holder: Option<Pid>,
}

impl From<&Registration> for Holding {
    fn from(held: &Registration) -> Self {
        Self { epoch: held.epoch, session: held.session, holder: held.holder }
    }
}

/// Why a command changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// Somebody holds the name.
    #[error("the name is held under epoch {}", .0.epoch)]
    Taken(Holding),
    /// The name is not held under the expected epoch.
    #[error("the expected epoch is not the present one")]
    Stale {
        /// What it is held under, if it is held.
        present: Option<Epoch>,
    },
    /// The name is free already.
    #[error("nobody holds the name")]
    Free,
    /// The session has ended or never was.
    #[error("session {0} has ended or never was")]
    NoSession(SessionId),
    /// The term that was to be expired under is over.
    #[error("a newer term began before the expiry was applied")]
    TermOver,
    /// Another live node has this name.
    #[error("another node is called so")]
    NodeNameTaken,
    /// No such node takes part.
    #[error("no such node takes part")]
    NoNode,
    /// A later life of this node has a session.
    #[error("a later life of this node is registered")]
    BootOver,
    /// The command was applied so long ago that its verdict is forgotten; it was not applied again.
    #[error("this command was applied long ago and its verdict is forgotten")]
    Forgotten,
    /// Something in the command is larger than it may be.
    #[error("{what} is too large: {bytes} bytes, {bytes_max} at most")]
    TooLarge {
        /// What is too large.
        what: String,
        /// How large it is.
        bytes: u64,
        /// How large it may be.
        bytes_max: u64,
    },
    /// The cluster has counted further than an epoch can.
    #[error("the cluster has run out of epochs")]
    EpochsSpent,
    /// These rules cannot be in force.
    #[error(transparent)]
    BadRules(#[from] RulesError),
    /// The rules in force are not of the expected version.
    #[error("the rules in force are of version {}, not of the expected one", .present.0)]
    RulesChanged {
        /// Their version; 0 when none were ever set.
        present: Index,
    },
}
