//! What a caller says to the desk of another node.

use quorate_actor::{Blob, Message, Origin, ReplyTo, Wire};
use quorate_vocab::{NodeId, Pid, Ref};
use serde::{Deserialize, Serialize};

use crate::tables::Table;

/// The name under which each node's desk is found.
pub(crate) const DESK: &str = "quorate.rpc";

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Run it and answer.
    Call {
        from: Origin,
        which: Which,
        args: Blob,
        /// How long the caller waits from now on.
        left_ms: u64,
        /// What the caller calls this call.
        id: u64,
        to: ReplyTo<Result<Blob, Refusal>>,
    },
    /// The caller waits no more.
    Cancel { from: Origin, id: u64 },
    /// Run it.
    Cast { from: Origin, which: Which, args: Blob },
    /// Run it as a process, and say which.
    Spawn { from: Origin, which: Which, args: Blob, tie: Tie, to: ReplyTo<Result<Pid, Refusal>> },
    /// A road to a node is open, or no more. Only this node says it.
    Road { from: Origin, node: NodeId, is_open: bool },
    /// What the other may call here; and whether it is to say the same of itself.
    Known { from: Origin, table: Table, answer: bool },
}

impl Message for Ask {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("quorate.rpc", 1));
}

/// Which function is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Which {
    pub(crate) name: String,
    pub(crate) version: u16,
    /// Of the shapes of what it takes and gives.
    pub(crate) digest: u64,
}

/// What is to tie the new process to its caller, from before its first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Tie {
    Nothing,
    Link(Pid),
    Monitor(Pid, Ref),
}

/// Why the desk did not do it, or what it ran has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Refusal {
    Unknown,
    /// The version that is known there.
    Version(u16),
    Digest,
    Denied,
    Overloaded,
    Args,
    Answer,
    Panic(String),
}
