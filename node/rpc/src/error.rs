//! Why a call has no answer, and what that means for the world.

use quorate_actor::{CallError, NotSent, SendError};
use thiserror::Error;

use crate::ask::Refusal;

/// A call has no answer, or a process was not started. [`maybe_done`](Self::maybe_done) says of each whether
/// the function may have run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RpcError {
    /// No function of that name is registered there. Nothing was run; do not call again until the node runs
    /// another release.
    #[error("the node knows no such function")]
    UnknownFunction,
    /// The node knows the function in another version. Nothing was run; do not call again until both run the
    /// same.
    #[error("the node knows version {there} of the function")]
    Version {
        /// The version that it knows.
        there: u16,
    },
    /// The node knows the function by this version, but what it takes or gives has another shape there.
    /// Nothing was run; do not call again until both run the same.
    #[error("the node knows the function with another shape")]
    Digest,
    /// The rules there do not let this node's role call it. Nothing was run; do not call again while they
    /// stand.
    #[error("the rules of the node forbid the call")]
    Denied,
    /// So much runs there for this node that there is no room for more. Nothing was run; call again later.
    #[error("too much runs there for this node already")]
    Overloaded,
    /// The letter was not sent. Nothing was run; why says whether to call again.
    #[error(transparent)]
    NotSent(NotSent),
    /// The link broke, or this node closes, while the call waited: it may have run. Call again only if a
    /// repetition is harmless.
    #[error("the link broke; the function may have run")]
    MaybeDelivered,
    /// The time is over. What may have run is killed there. Call again only if a repetition is harmless.
    #[error("no answer came in time")]
    Timeout,
    /// It panicked, with these words. It has run in part.
    #[error("the function panicked: {0}")]
    Panic(String),
    /// Nobody answers calls there, or what ran was killed. Call again only if a repetition is harmless.
    #[error("nobody answers calls there, or the function was killed")]
    NoProc,
    /// What it takes cannot be written or read. Nothing was run; do not call again.
    #[error("the arguments cannot travel")]
    Args,
    /// What it gives cannot be written or read. It has run.
    #[error("the answer cannot travel")]
    Answer,
}

impl RpcError {
    /// Whether the function may have run, in whole or in part. When it says no, nothing was started and
    /// nothing will be.
    pub fn maybe_done(&self) -> bool {
        match self {
            Self::MaybeDelivered | Self::Timeout | Self::Panic(_) | Self::NoProc | Self::Answer => {
                true
            }
            Self::UnknownFunction
            | Self::Version { .. }
            | Self::Digest
            | Self::Denied
            | Self::Overloaded
            | Self::NotSent(_)
            | Self::Args => false,
        }
    }
}

impl From<Refusal> for RpcError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unknown => Self::UnknownFunction,
            Refusal::Version(there) => Self::Version { there },
            Refusal::Digest => Self::Digest,
            Refusal::Denied => Self::Denied,
            Refusal::Overloaded => Self::Overloaded,
            Refusal::Args => Self::Args,
            Refusal::Answer => Self::Answer,
            Refusal::Panic(words) => Self::Panic(words),
        }
    }
}

impl From<CallError> for RpcError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NotSent(why) => Self::NotSent(why),
            CallError::Timeout => Self::Timeout,
            CallError::MaybeDelivered => Self::MaybeDelivered,
            // The desk's own mailbox, or ours: nobody has seen the request.
            CallError::Full | CallError::Busy => Self::Overloaded,
            // Another release of the desk itself, which has not seen it.
            CallError::Protocol => Self::UnknownFunction,
            CallError::TooLong { .. } | CallError::Unencodable => Self::Args,
            CallError::Answer => Self::Answer,
            _ => Self::NoProc,
        }
    }
}

impl From<SendError> for RpcError {
    fn from(error: SendError) -> Self {
        CallError::from(error).into()
    }
}
