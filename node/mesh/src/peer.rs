//! Who is on the other side, and what this side is to do with what arrives.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use quorate_env::BoxFuture;
use quorate_vocab::{Boot, ClusterId, NodeId, NodeName};
use serde::{Deserialize, Serialize};

use crate::bucket::Rate;
use crate::pulse::Verdict;
use crate::span::{Offset, RoundTrips};
use crate::{Reason, SendError, Traffic};

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

/// What may go over the data road to a node, and come over it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which lanes may be sent in, by [`Lane::index`](quorate_vocab::Lane::index).
    pub lanes: [bool; 3],
    /// How fast each may be sent in. What is faster waits.
    pub rates_out: [Option<Rate>; 3],
    /// Whether the peer may send anything.
    pub admits: bool,
    /// How fast the peer may send in each lane. One that is faster is granted nothing, and so waits.
    pub rates_in: [Option<Rate>; 3],
}

impl Rule {
    /// Nothing is limited.
    pub const OPEN: Self =
        Self { lanes: [true; 3], rates_out: [None; 3], admits: true, rates_in: [None; 3] };

    /// Whether there is nothing to be carried in either direction.
    pub fn is_shut(&self) -> bool {
        !self.admits && self.lanes == [false; 3]
    }
}

impl Default for Rule {
    fn default() -> Self {
        Self::OPEN
    }
}

/// A link, or all that make up one road, as it is now.
#[derive(Clone, Debug)]
pub struct LinkState {
    /// To which node.
    pub node: NodeId,
    /// Which of the roads to it.
    pub road: Road,
    /// How many connections it has.
    pub connections: usize,
    /// Whether this node opened it.
    pub is_ours: bool,
    /// For how long it has been up.
    pub lasting: Duration,
    /// For how long no body has gone either way.
    pub idle: Duration,
    /// Whether the peer is quiet for longer than usual.
    pub is_suspect: bool,
    /// How many bytes wait to be written.
    pub waiting: usize,
    /// What went over it.
    pub traffic: Traffic,
    /// How far away the peer is.
    pub round_trips: Option<RoundTrips>,
    /// How many round trips took so long that something was probably lost on the way.
    pub late: u64,
    /// By how much the peer's wall clock is ahead of this node's.
    pub offset: Option<Offset>,
}

impl LinkState {
    /// The road that this and another connection make together.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        self.connections += other.connections;
        self.lasting = self.lasting.max(other.lasting);
        self.idle = self.idle.min(other.idle);
        self.is_suspect |= other.is_suspect;
        self.waiting += other.waiting;
        self.traffic += other.traffic;
        self.late += other.late;
        self.round_trips = self.round_trips.or(other.round_trips);
        self.offset = self.offset.or(other.offset);
        self
    }
}

/// What the mesh hands to the inside. The hall implements it.
///
/// The methods are called from the tasks that read links, so they must not block; they may call the mesh.
/// A panic in one that is called for a body ends the link it came over with [`Reason::Inside`].
pub trait Inbound: Send + Sync + 'static {
    /// A body came by [`Mesh::send`](crate::Mesh::send): at most once, and in the order of its flow.
    fn mail(&self, from: NodeId, body: &[u8]);

    /// The same, where the body is long: it may be kept.
    fn long_mail(&self, from: NodeId, body: Bytes) {
        self.mail(from, &body);
    }

    /// A mail that [`Mesh::send`](crate::Mesh::send) has taken, when it was not yet known what the peer
    /// takes, is not sent after all, and will not be: see the error. What was sent after it goes on, and the
    /// link stays.
    fn returned(&self, to: NodeId, body: &[u8], error: SendError) {
        let _ = (to, body, error);
    }

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

    /// A link to a peer has become quiet for longer than usual, or is heard again.
    fn pulse(&self, peer: NodeId, verdict: Verdict);

    /// Whether the data road to a peer has to stay though nothing goes over it: somebody is to be told when
    /// it breaks.
    fn needs(&self, peer: NodeId) -> bool;
}
