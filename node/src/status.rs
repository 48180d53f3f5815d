//! What a node says of itself and of the cluster, as it sees it.

use std::time::Duration;

use quorate_consensus::GroupStatus;
use quorate_registry::NodeRole;
use quorate_storage::{Standing, StandingWatch};
use quorate_vocab::{ClusterId, Index, NodeId, NodeName, SessionId};

/// One node's view.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whose view.
    pub node: NodeId,
    /// What people call it.
    pub name: NodeName,
    /// Which cluster it belongs to; none while it waits for one.
    pub cluster: Option<ClusterId>,
    /// Whether it holds a valid lease, confirmed by a majority.
    pub quorate: bool,
    /// How long it may be silent before the others take it for dead.
    pub lease: Duration,
    /// Its present session.
    pub session: Option<SessionId>,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeName>,
    /// Raft's term.
    pub term: u64,
    /// The index that is applied here.
    pub index: Index,
    /// How old what it knows may be, as in [`crate::Found::stale`].
    pub stale: Duration,
    /// How many names are registered here.
    pub names: u64,
    /// How many sessions live here.
    pub sessions: u64,
    /// How its disk is.
    pub disk: Disk,
    /// Everybody who takes part.
    pub members: Vec<Member>,
    /// The group in detail.
    pub group: GroupStatus,
}

/// How a node's disk is.
#[derive(Clone, Debug)]
pub struct Disk {
    /// How it stands to the node.
    pub standing: Standing,
    /// Whether nothing can be made durable: then the node leads no more, takes no proposals, and lets its own
    /// lease end. What only costs the node later leaves this false.
    pub stuck: bool,
    /// What it said when it refused, if it does.
    pub why: Option<String>,
}

impl Disk {
    pub(crate) fn of(watch: &StandingWatch) -> Self {
        Self { standing: watch.current(), stuck: watch.is_stuck(), why: watch.why() }
    }
}

/// One member.
#[derive(Clone, Debug)]
pub struct Member {
    /// Which node.
    pub id: NodeId,
    /// What people call it.
    pub name: NodeName,
    /// Where its mesh can be dialled.
    pub address: String,
    /// Whether it votes.
    pub votes: bool,
    /// What it is to the others.
    pub role: NodeRole,
    /// Whether it leads.
    pub leads: bool,
    /// How it is.
    pub state: MemberState,
    /// Whether this node has a link to it (itself: always).
    pub linked: bool,
}

/// How a member is, by the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It has a session.
    Up,
    /// Its session ended, or it never opened one.
    Down,
}
