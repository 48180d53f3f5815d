//! Who is on the other side, and what this side is to do with what arrives.

use std::fmt;

use bytes::Bytes;
use quorate_env::BoxFuture;
use quorate_vocab::{Boot, ClusterId, NodeId, NodeName};
use serde::{Deserialize, Serialize};

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
/// A panic in `mail` or `call` ends the link it came over with [`Reason::Inside`](crate::Reason::Inside).
pub trait Inbound: Send + Sync + 'static {
    /// A body came by [`Mesh::send`](crate::Mesh::send): at most once, and in the order of its road. It may
    /// come shortly before [`met`](Self::met), when only its own road is up yet.
    fn mail(&self, from: &Peer, road: Road, body: Bytes);

    /// A body came by [`Mesh::call`](crate::Mesh::call); what the future gives is the answer. It runs as a
    /// task of its own and to its end, even when the caller is gone. At most `calls_max` of a peer's road are
    /// under way; beyond that the road is not read from.
    fn call(&self, from: &Peer, body: Bytes) -> BoxFuture<'static, Bytes>;

    /// Both roads to a peer are up. Comes again only after [`parted`](Self::parted).
    fn met(&self, peer: &Peer);

    /// A peer that was met no longer has both roads: what was sent to it may be lost. The road that is
    /// left, if one is, may still carry.
    fn parted(&self, peer: NodeId);
}
