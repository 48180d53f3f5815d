//! Topology rules: which nodes may send to which, over which lanes, and how fast.
//!
//! A list that is read from its first rule on. The first rule whose two selectors fit decides alone, and what
//! no rule fits is open: a cluster without rules is one in which everybody may send to everybody.
//!
//! Rules have a direction. They say what FROM may send to TO on a data link, its opening included; a call is
//! answered, so it needs both ways. They say nothing of control sessions: what keeps a node in the cluster
//! (its lease, the log, the way to a leader) is never denied, so that no rule can cut off whoever must be
//! reached to change it.
//!
//! Not here: links. Whoever keeps some asks [`Rules::judge`], which is a function of the rules and of what
//! the registry knows of two nodes, and so gives the same on every node.

use std::collections::BTreeMap;

use quorate_vocab::{Lane, NodeName};
use serde::{Deserialize, Serialize};

use crate::Node;

mod judge;
mod list;
mod text;

pub use judge::{Explanation, Judgement, Passed};
pub use list::{Rules, RulesError};
pub use text::TextError;

/// What a node is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeRole {
    /// It votes on what is written into the log. This follows from the group and is not for a node to say.
    Voter,
    /// It takes part.
    Member,
    /// It takes part at the rim: it is not listed unless asked for, and opens links only when it speaks.
    Edge,
}

/// What rules see of a node: its entry in the registry, and whether it votes.
#[derive(Clone, Copy, Debug)]
pub struct NodeFacts<'a> {
    /// Its entry.
    pub node: &'a Node,
    /// Whether it votes.
    pub votes: bool,
}

/// Whom one side of a rule means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selector {
    /// Every node.
    Any,
    /// Nodes of a role. Each node has exactly one.
    Role(NodeRole),
    /// Nodes with this label.
    Label {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Nodes that are in a group.
    Group(String),
    /// One node, by the name that people call it.
    Node(NodeName),
}

/// What a rule says of the lanes that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stance {
    /// They are open, and the others are not.
    Allow,
    /// They are not open, and the others are.
    Deny,
}

/// A set of lanes, by [`Lane::index`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lanes([bool; 3]);

/// How much may be sent: a bucket that holds `burst` bytes and is filled at a steady rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// How fast the bucket is filled.
    pub bytes_per_second: u64,
    /// How much it holds.
    pub burst_bytes: u64,
}

/// One rule. It may be anything that can be decoded; [`Rules::new`] judges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Who sends.
    pub from: Selector,
    /// Who receives.
    pub to: Selector,
    /// What is said of `lanes`.
    pub stance: Stance,
    /// The lanes that it is said of.
    pub lanes: Lanes,
    /// How fast each lane may be, by [`Lane::index`], as far as it is open.
    pub rates: [Option<Rate>; 3],
}

impl Node {
    /// The key of the label that makes a node an edge: `role=edge`.
    pub const ROLE: &str = "role";
    /// The key of the label that names a node's groups, with commas between: `group=a,b`.
    pub const GROUP: &str = "group";
}

impl<'a> NodeFacts<'a> {
    /// What it is to the others. What is neither a voter nor an edge is a member, whatever its label says.
    pub fn role(&self) -> NodeRole {
        match self.node.labels.get(Node::ROLE) {
            _ if self.votes => NodeRole::Voter,
            Some(role) if role == NodeRole::Edge.as_str() => NodeRole::Edge,
            _ => NodeRole::Member,
        }
    }

    /// The groups that it is in, as its label names them.
    pub fn groups(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let label = self.node.labels.get(Node::GROUP).map_or("", String::as_str);
        label.split(',').map(str::trim).filter(|group| !group.is_empty())
    }
}

impl Lanes {
    /// All lanes.
    pub const ALL: Self = Self([true; 3]);
    /// No lane.
    pub const NONE: Self = Self([false; 3]);

    /// Whether a lane is in it.
    pub fn has(self, lane: Lane) -> bool {
        self.0[lane.index()]
    }

    /// The same with one lane more.
    #[must_use]
    pub fn with(mut self, lane: Lane) -> Self {
        self.0[lane.index()] = true;
        self
    }

    /// Those that are not in it.
    #[must_use]
    pub fn others(self) -> Self {
        Self(self.0.map(|has| !has))
    }

    /// Whether it holds none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Its lanes, the most urgent first.
    pub fn iter(self) -> impl Iterator<Item = Lane> {
        Lane::ALL.into_iter().filter(move |lane| self.has(*lane))
    }

    /// Whether each lane is in it, by [`Lane::index`].
    pub fn flags(self) -> [bool; 3] {
        self.0
    }
}

impl Rate {
    /// The most bytes of a rate and of a burst. More is no limit.
    pub const BYTES_MAX: u64 = 1 << 50;
    /// The least bytes of a burst: what travels in one piece must fit, or it would wait for ever.
    pub const BURST_MIN: u64 = 128 * 1024;

    /// A rate, with a burst of an eighth of a second and no less than [`Rate::BURST_MIN`].
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second, burst_bytes: (bytes_per_second / 8).max(Self::BURST_MIN) }
    }

    fn can_be(self) -> bool {
        (1..=Self::BYTES_MAX).contains(&self.bytes_per_second)
            && (Self::BURST_MIN..=Self::BYTES_MAX).contains(&self.burst_bytes)
    }
}

/// The labels of a node say something that a node cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the label role={0} is no role of a node: it may be `member` or `edge`, and who is a voter follows from \
     the group; use another key for roles of your own"
)]
pub struct RoleError(pub String);

/// Checks the labels that this room gives a meaning, for whoever sets them. The machine does not ask: an
/// entry that is in the log already means a member.
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), RoleError> {
    match labels.get(Node::ROLE) {
        Some(role) if !["member", "edge"].contains(&role.as_str()) => Err(RoleError(role.clone())),
        _ => Ok(()),
    }
}
