//! How agreement can fail. A verdict that refuses is not here: it was agreed.

use std::io;

use quorate_storage::StorageError;
use quorate_vocab::NodeId;

/// Why a group did not open, or stopped for good.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The settings contradict each other. Nothing was started.
    #[error("the group's settings do not fit: {0}")]
    Config(String),
    /// What is on the disk cannot be trusted. Nothing was changed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The log begins after everything that is known of the state, so the state cannot be rebuilt here.
    #[error(
        "the log begins after index {purged}, but no snapshot reaches that far; nothing was changed. \
         Move this data directory aside and let the node join again as a new one"
    )]
    StateLost {
        /// The last entry that is no longer in the log.
        purged: u64,
    },
    /// Raft stopped. What was acknowledged is on the disk.
    #[error("raft has stopped: {0}")]
    Stopped(String),
}

impl GroupError {
    /// What failed on the disk, while this was done.
    pub(crate) fn io(doing: &str) -> impl Fn(io::Error) -> Self + Copy + '_ {
        move |source| Self::Storage(StorageError::Io { doing: doing.to_owned(), source })
    }
}

/// Why a command has no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// It was not written to any log. Propose it at the leader, when one is known.
    #[error("not proposed: this node does not lead")]
    NotDone {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// Too much waits already. It was not written to any log; try again in a moment, or elsewhere.
    #[error("not proposed: too many proposals wait already")]
    Overloaded,
    /// This node's disk is full, takes no writes or does not answer. It was not written to any log; propose
    /// it where another node leads, which will soon be so if one can.
    #[error("not proposed: this node's disk takes nothing")]
    Disk,
    /// It was written to a log and may or may not be committed. Propose it again only under the same mark.
    #[error("unknown: leadership changed while the command was on its way")]
    Unknown,
}

/// Why a read could not be confirmed. Nothing changed; it may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Another node leads, or none.
    #[error("this node does not lead")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// A majority did not answer.
    #[error("a majority of the voters did not answer")]
    NoQuorum,
}

/// Why the set of voters did not change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MembershipError {
    /// Another node leads, or none. Nothing changed.
    #[error("this node does not lead")]
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// The change does not fit the present set, or one is under way. Nothing changed.
    #[error("the change was refused: {0}")]
    Refused(String),
    /// It may or may not take place. Look at the members before it is tried again.
    #[error("unknown: leadership changed while the set of voters was being changed")]
    Unknown,
}
