//! How a call on a node can end other than well. Every ending says what happened to the state.

use quorate_consensus::GroupError;
use quorate_env::CongestionError;
use quorate_mesh::{MeshError, TlsError};
use quorate_registry::Refusal;
use quorate_storage::StorageError;

use crate::ConfigError;

/// Why a call has no answer that its caller hoped for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing changed, and nothing will. It may be tried again.
    #[error("not done: {0}")]
    NotDone(NotDone),
    /// It may have happened, or may yet. Try again only under the same mark (session and number, or key),
    /// or look first.
    #[error("unknown: no answer came in time; it may or may not have happened")]
    Unknown,
    /// It was decided: the answer is no. Nothing changed.
    #[error("refused: {0}")]
    Refused(Refusal),
}

/// Why nothing was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotDone {
    /// No leader could be reached in time: there is none, or it is on the other side of a partition.
    #[error("no leader could be reached in time")]
    NoLeader,
    /// A majority of the voters did not answer in time.
    #[error("a majority of the voters did not answer in time")]
    NoQuorum,
    /// This node has no session at the moment, so it cannot hold names for processes.
    #[error("this node has no valid session")]
    NoSession,
    /// The node that has to be asked cannot be reached from here.
    #[error("the node that has to be asked cannot be reached from here")]
    NoLink,
    /// The node is being closed.
    #[error("the node is being closed")]
    Closing,
    /// The node has a session, so it would only come back.
    #[error("the node lives, and would only come back")]
    NodeLives,
    /// No voter that lives could lead instead, or not the one that was named.
    #[error("no living voter of that name could lead instead")]
    NoSuccessor,
    /// The disk of this node, which leads or did until its disk failed, is full, takes no writes or does not
    /// answer. Another node is about to lead; ask it, or try again in a moment.
    #[error("this node's disk takes nothing; another node is to lead")]
    Disk,
    /// The leader has more to do than it takes on. Try again after a moment; each time, wait for longer.
    #[error("the leader has too much to do")]
    Overloaded,
}

/// Why a node did not start. What was acknowledged is still on its disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The settings contradict each other. Nothing was started.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used. Nothing was changed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The mesh did not start.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The certificate cannot be used. Nothing was started.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What it sends cannot be paced as was asked. Nothing was started.
    #[error(transparent)]
    Congestion(#[from] CongestionError),
    /// The group did not open.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The system refused something else that is needed.
    #[error("the system refused: {0}")]
    System(#[from] std::io::Error),
}
