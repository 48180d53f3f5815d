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
    /// No link in this road is up to that node. Retry after it was met.
    #[error("not sent: there is no link to that node")]
    NoLink,
    /// The road's queue is full, or did not move in time. Retry later, or send less.
    #[error("not sent: the link's queue is full")]
    Full,
    /// The body is longer than a frame may be. Retrying is useless; send it in pieces.
    #[error("not sent: a body of {bytes} bytes is too long; {bytes_max} is the most")]
    TooLong {
        /// How long the body is.
        bytes: usize,
        /// How long it may be.
        bytes_max: usize,
    },
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nothing has left this node, so the other side certainly has not done it. Safe to retry as the reason
    /// says.
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// It was handed to the socket, and no answer came in time, or the link broke, or the other side failed
    /// while it worked on it: it may have been done, not done, or be done later. Retry only what may be
    /// done twice.
    #[error("unknown: the call was sent, and no answer came")]
    Unknown,
}
