//! Who is on the other side, and what this side is to do with what arrives.

use std::fmt;

use bytes::Bytes;
use quorate_env::BoxFuture;
use quorate_vocab::{Boot, ClusterId, NodeId, NodeName};
use serde::{Deserialize, Serialize};

use crate::Reason;

/// A priority between two nodes. Each road is a connection of its own, so what is lost or stuck in one does
/// not hold up the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Road {
    /// Small and urgent: elections, leases, heartbeats.
    Control,
    /// Everything else.
    Data,
}

impl Road {
    /// Both roads.
    pub const ALL: [Self; 2] = [Self::Control, Self::Data];

    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Control => "control",
            Self::Data => "data",
        })
    }
}

/// A node that has proved the cookie to this one, in the life that was seen last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which node. Proved to know the cookie, not to own the id: all who know the cookie trust each other.
    pub id: NodeId,
    /// What people call it.
    pub name: NodeName,
    /// Which life of it.
    pub boot: Boot,
    /// Where it says that it can be dialled.
    pub address: String,
    /// Whether the control road is up.
    pub control_up: bool,
    /// Whether the data road is up.
    pub data_up: bool,
    /// Which cluster it says that it belongs to; `None` while it belongs to none.
    pub cluster: Option<ClusterId>,
}

impl Peer {
    /// Whether a road is up.
    pub fn is_up(&self, road: Road) -> bool {
        match road {
            Road::Control => self.control_up,
            Road::Data => self.data_up,
        }
    }
}

/// What the mesh hands to the inside. The hall implements it.
///
/// The methods are called from the tasks that read links, so they must not block; they may call the mesh.
/// A panic in one that is called for a body ends the link it came over with [`Reason::Inside`].
pub trait Inbound: Send + Sync + 'static {
    /// A body came by [`Mesh::send`](crate::Mesh::send): at most once, and in the order of its flow.
    fn mail(&self, from: NodeId, body: &[u8]);

    /// A body came by [`Mesh::call`](crate::Mesh::call); what the future gives is the answer. It runs as a
    /// task of its own and to its end, even when the caller is gone. At most `calls_max` of a peer's road are
    /// under way; who calls beyond that is told [`Busy`](crate::CallError::Busy).
    fn call(&self, from: &Peer, body: Bytes) -> BoxFuture<'static, Bytes>;

    /// A road to a peer is open. Comes again only after [`down`](Self::down), and before anything that came
    /// over it.
    fn up(&self, peer: &Peer, road: Road);

    /// A road to a peer is open no more, or could not be opened. What was sent over it may be lost, unless
    /// the reason is [`Unneeded`](Reason::Unneeded): then both sides agreed, and nothing was under way.
    fn down(&self, peer: NodeId, road: Road, reason: Reason);

    /// Whether the data road to a peer has to stay though nothing goes over it: somebody is to be told when
    /// it breaks.
    fn needs(&self, peer: NodeId) -> bool;
}
