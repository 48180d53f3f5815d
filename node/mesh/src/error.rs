//! What the mesh answers when it cannot, and what that means for the state of the world.

use std::io;

/// Why a mesh does not start. Nothing was left behind: no socket, no task.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeshError {
    /// The config contradicts itself. Retrying without changing it is useless.
    #[error("the mesh's config does not fit: {0}")]
    Config(String),
    /// The address could not be listened at. Worth retrying when another process may let go of it.
    #[error("cannot listen at {address}")]
    Listen {
        /// The address of the config.
        address: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Why mail was not sent. In every case no byte of it has left this node, and it will not be sent later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// No way leads to that node now. Retry later.
    #[error("not sent: there is no way to that node")]
    NoLink,
    /// What waits for that node is all that may, or it did not move in time. Retry later, or send less.
    #[error("not sent: too much waits for that node")]
    Full,
    /// The body is longer than either side takes. Retrying is useless; send it in pieces.
    #[error("not sent: a body of {bytes} bytes is too long; {bytes_max} is the most")]
    TooLong {
        /// How long the body is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
    /// The topology's rules do not allow it. Retry after they have changed.
    #[error("not sent: the rules of the topology do not allow it")]
    Denied,
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nothing has left this node, so the other side certainly has not done it. Safe to retry as the reason
    /// says.
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// The other side has too many calls under way and has not begun this one. Retry later.
    #[error("not begun: the other side is busy")]
    Busy,
    /// It was handed to the socket, and no answer came in time, or the link broke, or the other side failed
    /// while it worked on it: it may have been done, not done, or be done later. Retry only what may be
    /// done twice.
    #[error("unknown: the call was sent, and no answer came")]
    Unknown,
}
