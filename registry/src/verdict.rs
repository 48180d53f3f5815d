//! What the registry answers to a command.

use quorate_vocab::{Epoch, Index, Name, Pid, SessionId};
use serde::{Deserialize, Serialize};

use crate::{Level, Registration, RulesError};

/// The answer to whoever proposed. A rejection is a verdict, not an error: the command was applied, and this
/// is what came of it. Rows hold these by their places, so new ones come last.
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
    /// The name is held, for as long as a session lives that was opened for it.
    Leased {
        /// Under this epoch.
        epoch: Epoch,
        /// To be renewed.
        session: SessionId,
    },
    /// What is said under the name or the key is what was asked for.
    Amended {
        /// The version that it has now.
        version: Index,
    },
    /// The counter was counted.
    Counted {
        /// What is in it now.
        value: i64,
    },
    /// The property or the counter is gone.
    Dropped,
    /// Commands up to this level are allowed.
    Raised {
        /// The level that is agreed now.
        level: Level,
    },
    /// It is as was asked. What came of it is in the state.
    Done,
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
    /// What is said under the name or the key is not of the expected version.
    #[error("what is said there is of version {}, not of the expected one", .present.0)]
    Changed {
        /// Its version; 0 when nothing is said there.
        present: Index,
    },
    /// The name is held already, and not only reserved.
    #[error("the name is not reserved, but held")]
    NotReserved,
    /// A reservation must be bound to something that ends.
    #[error("a reservation needs a session or a time to live")]
    Unbound,
    /// The session of a name begins with a claim, and not by itself.
    #[error("the session of a name begins with a claim to it, and not by itself")]
    NamesOwn,
    /// No such property or counter exists.
    #[error("there is nothing under this name")]
    Absent,
    /// Something else than expected is in the counter.
    #[error("the counter stands at {present}, not at what was expected")]
    Miscounted {
        /// What is in it; 0 when it does not exist.
        present: i64,
    },
    /// The counter has no room for so much.
    #[error("the counter stands at {present} and cannot take that much")]
    Overflow {
        /// What is in it.
        present: i64,
    },
    /// Some member may not understand this command yet.
    #[error("this needs feature level {needs}, and the cluster has agreed on {agreed}")]
    TooNew {
        /// The level that the command needs.
        needs: Level,
        /// The level that is agreed.
        agreed: Level,
    },
    /// The node does not understand what the cluster has agreed on.
    #[error(
        "the node understands feature level {understands}, and the cluster has agreed on {agreed}"
    )]
    TooOld {
        /// What it announced, or where logs begin if it announced nothing.
        understands: u16,
        /// The level that is agreed.
        agreed: Level,
    },
    /// No such singleton exists.
    #[error("no such singleton is known")]
    NoSingleton,
    /// This life does not offer to run the singleton, or nobody on that node does.
    #[error("nobody there offers to run the singleton")]
    NoCandidate,
    /// The singleton is not held under the epoch that was named.
    #[error("the singleton is not held under this epoch")]
    NotGranted {
        /// What it is held under, if somebody holds it.
        present: Option<Epoch>,
    },
    /// The singleton cannot be where it was to be.
    #[error("the singleton cannot be there: {why}")]
    Unfit {
        /// Why.
        why: String,
    },
    /// Two singletons would wait for each other.
    #[error("{through} waits for it already; each would wait for the other for ever")]
    Cycle {
        /// The one that waits already.
        through: Name,
    },
    /// What is wanted of the singleton cannot be.
    #[error("this cannot be wanted of a singleton: {what}")]
    BadSpec {
        /// What is wrong.
        what: String,
    },
    /// Somebody offers to run the singleton.
    #[error("somebody offers to run the singleton; stop it instead")]
    Offered,
}
