//! Everything the log may say.

use std::collections::BTreeMap;

use quorate_vocab::{Boot, Epoch, Index, Name, NodeId, NodeName, Pid, SessionId};
use serde::{Deserialize, Serialize};

use crate::Rule;
use crate::names::weight;

/// One entry of the log: what is asked, and how a repetition of it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// How a repetition of this command is known.
    pub once: Once,
    /// What is asked.
    pub op: Op,
}

/// How a repeated command is told from a new one. A proposal whose outcome is unknown may be proposed again
/// under the same mark: it is applied once, and answered twice with the same verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Once {
    /// Every copy is applied. For what is harmless to repeat.
    Free,
    /// The `seq`-th command of a session. A session numbers its commands upwards, and none that is under way
    /// lies [`Once::WINDOW`] or more below the newest: such a one is refused as forgotten.
    Seq {
        /// Whose command.
        session: SessionId,
        /// Which of its commands.
        seq: u64,
    },
    /// A key that the client chose. The newest [`Once::KEYS_MAX`] are remembered.
    Key(u128),
}

impl Command {
    /// About how much memory it takes, in bytes: what is asked may be long in one place only.
    pub fn weight(&self) -> usize {
        let long = match &self.op {
            Op::Register { claim, .. } => weight(&claim.value, &claim.meta),
            Op::Join { address, labels, .. } => address.len() as u64 + weight(&[], labels),
            Op::SetRules { rules, .. } => size_of_val(rules.as_slice()) as u64,
            _ => 0,
        };
        size_of::<Self>() + usize::try_from(long).unwrap_or(usize::MAX)
    }
}

impl Once {
    /// How many of a session's newest numbers are remembered.
    pub const WINDOW: usize = 256;
    /// How many client keys are remembered.
    pub const KEYS_MAX: usize = 16_384;
}

/// What may be asked of the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// A node takes part, or changed its address or labels.
    Join {
        /// Which node.
        node: NodeId,
        /// What people call it; refused while another live node is called so.
        name: NodeName,
        /// Where its mesh listens.
        address: String,
        /// What placement and topology rules know of it.
        labels: BTreeMap<String, String>,
    },
    /// A node is taken out for good; its sessions end.
    Leave {
        /// Which node.
        node: NodeId,
    },
    /// A life begins.
    Open {
        /// Whose life.
        owner: SessionOwner,
        /// How long it may stay silent, in milliseconds; 0 means that it never expires.
        ttl_ms: u64,
    },
    /// A life ends, and every name that it held is released.
    End {
        /// Which life.
        session: SessionId,
        /// How it is known to have ended.
        evidence: Evidence,
    },
    /// Take a name.
    Register {
        /// Which name.
        name: Name,
        /// What is registered.
        claim: Claim,
        /// `None`: only if the name is free. `Some`: only if it is held under exactly this epoch, which the
        /// new registration replaces.
        replace: Option<Epoch>,
    },
    /// Give a name back.
    Release {
        /// Which name.
        name: Name,
        /// Only if it is held under exactly this epoch.
        epoch: Option<Epoch>,
    },
    /// Put other topology rules in the place of those in force; none at all opens everything.
    SetRules {
        /// The rules, the first to be asked first. Judged when this is applied, whoever judged them before.
        rules: Vec<Rule>,
        /// Only if those in force have exactly this version; 0 when none were ever set.
        replace: Option<Index>,
    },
}

/// Whose life a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionOwner {
    /// A node's. A later boot of the same node ends the sessions of its earlier ones.
    Node {
        /// Which node.
        node: NodeId,
        /// Which life of it.
        boot: Boot,
    },
    /// A client's, which came over HTTP.
    Client,
}

/// How a session is known to have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// Its owner said so.
    Stopped,
    /// The leader of this term waited for longer than its lease and heard nothing. Void when the term that
    /// applies it is another, so `term` is compared by whoever proposes, in the entry itself.
    Expired {
        /// The Raft term of the leader that waited.
        term: u64,
    },
    /// A later life of the same node exists.
    Superseded {
        /// The life that came after.
        by: Boot,
    },
    /// Its node was taken out.
    NodeLeft,
}

/// What is registered under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The life it is bound to; `None` for a durable name, which only a release ends.
    pub session: Option<SessionId>,
    /// The process that holds it, if a process does.
    pub holder: Option<Pid>,
    /// What the holder wants to be known under this name.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Labels of the registration.
    pub meta: BTreeMap<String, String>,
}

impl Claim {
    /// The most that value and metadata may weigh together, in bytes.
    pub const BYTES_MAX: usize = 64 * 1024;
}
