//! The one place with openraft's generics.

use openraft::EmptyNode;
use quorate_registry::{Command, Verdict};

use crate::apply::Applier;
use crate::body::Body;
use crate::runtime::Runtime;

openraft::declare_raft_types!(
    /// What our Raft speaks of.
    pub(crate) Types:
        D = Asked,
        R = Answer,
        NodeId = u64,
        Node = EmptyNode,
        AsyncRuntime = Runtime,
);

pub(crate) type Raft = openraft::Raft<Types, Applier>;
pub(crate) type Metrics = openraft::RaftMetrics<Types>;
pub(crate) type LogId = openraft::alias::LogIdOf<Types>;
pub(crate) type LeaderId = openraft::alias::LeaderIdOf<Types>;
pub(crate) type Vote = openraft::alias::VoteOf<Types>;
pub(crate) type Entry = openraft::alias::EntryOf<Types>;
pub(crate) type Payload = openraft::alias::PayloadOf<Types>;
pub(crate) type Membership = openraft::Membership<u64, EmptyNode>;
pub(crate) type StoredMembership = openraft::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = openraft::alias::SnapshotOf<Types, Body>;

/// A command, as an entry carries it.
#[derive(Clone, Debug)]
pub(crate) struct Asked(pub(crate) Command);

/// A verdict, or nothing where Raft itself wrote the entry.
#[derive(Clone, Debug)]
pub(crate) struct Answer(pub(crate) Option<Verdict>);

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.op)
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

pub(crate) fn log_id(term: u64, leader: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId { term, node_id: leader }, index }
}
