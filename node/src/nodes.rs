//! The other nodes: who is there, and who comes and goes.
//!
//! All of it is told by the registry, not by links: a node is up while it has a session, so every node tells
//! the same, a link that breaks is no news, and a node without any link to another hears of its end. Edge
//! nodes are hidden: they are told of only to whoever asks for them.
//!
//! Not here: opening and closing links, and asking a node whether it is there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use quorate_consensus::Watch;
use quorate_registry::{Effect, Evidence, Machine, Node, NodeRole, SessionOwner};
use quorate_vocab::{Boot, NodeId, NodeName, SessionId};

use crate::hall::Hall;
use crate::links::facts;
use crate::status::MemberState;

/// Which nodes are meant. Never the node that is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Which {
    /// Those that are up, without edges.
    #[default]
    Visible,
    /// The edges that are up.
    Hidden,
    /// Everybody who takes part: visible or hidden, up or down.
    Known,
}

/// Another node, by what the registry knows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Which node.
    pub id: NodeId,
    /// What people call it.
    pub name: NodeName,
    /// What it is to the others.
    pub role: NodeRole,
    /// How it is.
    pub state: MemberState,
    /// Where its mesh can be dialled.
    pub address: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A node came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeNews {
    /// It has a session.
    Up {
        /// Which node.
        node: NodeId,
        /// What people call it.
        name: NodeName,
        /// Which life of it.
        boot: Boot,
    },
    /// Its session has ended, and every name that it held under it is released.
    Down {
        /// Which node.
        node: NodeId,
        /// What people call it.
        name: NodeName,
        /// Which life of it.
        boot: Boot,
        /// How that is known.
        reason: DownReason,
    },
}

/// How a node is known to be down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DownReason {
    /// It said so: it was shut down, or gave up a session that it could not keep.
    Stopped,
    /// It was silent for longer than its lease. It may run on, but holds nothing any more.
    Silent,
    /// It has ended: whoever guarded it saw that.
    Died,
    /// A later life of it has begun.
    Restarted,
    /// It was taken out of the cluster.
    Left,
    /// It went while whoever listens had fallen behind; how is no longer kept.
    Unseen,
}

/// What is told of nodes that come and go, without a hole: each `Down` follows the `Up` of the same life, or
/// that life was among [`NodeMonitor::present`] at the beginning.
#[derive(Debug)]
pub struct NodeMonitor {
    hall: HallRef,
    which: Which,
    watch: Watch,
    attendance: Attendance,
    untold: VecDeque<NodeNews>,
}

struct HallRef(Arc<Hall>);

impl std::fmt::Debug for HallRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.id())
    }
}

/// The other nodes, in the order of their names.
pub(crate) fn nodes(hall: &Hall, which: Which) -> Vec<NodeInfo> {
    let voters = hall.group().status().voters;
    let mut nodes: Vec<NodeInfo> = hall.group().read(|machine, _| {
        let info = |node: &Node| NodeInfo {
            id: node.id,
            name: node.name.clone(),
            role: facts(node, &voters).role(),
            state: match machine.session_of(node.id) {
                Some(_) => MemberState::Up,
                None => MemberState::Down,
            },
            address: node.address.clone(),
            labels: node.labels.clone(),
        };
        let others = machine.nodes().filter(|node| node.id != hall.id());
        others.map(info).filter(|node| which.means(node.role, node.state)).collect()
    });
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    nodes
}

impl Which {
    fn means(self, role: NodeRole, state: MemberState) -> bool {
        match self {
            Self::Known => true,
            Self::Visible => state == MemberState::Up && role != NodeRole::Edge,
            Self::Hidden => state == MemberState::Up && role == NodeRole::Edge,
        }
    }
}

impl NodeMonitor {
    pub(crate) fn new(hall: Arc<Hall>, which: Which) -> Self {
        let (watch, attendance) = Self::look(&hall, which);
        Self { hall: HallRef(hall), which, watch, attendance, untold: VecDeque::new() }
    }

    /// The nodes that are up by what was told so far; at first, by what was so when this began.
    pub fn present(&self) -> impl Iterator<Item = (NodeId, &NodeName)> {
        self.attendance.up.values().map(|life| (life.node, &life.name))
    }

    /// Waits for the next node that comes or goes. Nothing is lost when it is not waited for to the end.
    pub async fn next(&mut self) -> NodeNews {
        loop {
            if let Some(news) = self.untold.pop_front() {
                return news;
            }
            match self.watch.next().await {
                Ok(change) => {
                    let voters = self.hall.0.group().status().voters;
                    for effect in &change.effects {
                        self.untold.extend(self.attendance.hear(effect, &voters));
                    }
                }
                Err(_) => {
                    let (watch, attendance) = Self::look(&self.hall.0, self.which);
                    self.untold.extend(self.attendance.catch_up(&attendance));
                    (self.watch, self.attendance) = (watch, attendance);
                }
            }
        }
    }

    fn look(hall: &Arc<Hall>, which: Which) -> (Watch, Attendance) {
        let voters = hall.group().status().voters;
        let (attendance, index) = hall
            .group()
            .read(|machine, index| (Attendance::of(machine, hall.id(), which, &voters), index));
        (hall.group().watch(index), attendance)
    }
}

/// Who is up, by what was told: the pure part of a monitor.
#[derive(Debug)]
struct Attendance {
    me: NodeId,
    which: Which,
    /// Entries of nodes, as an opening names only the node.
    nodes: BTreeMap<NodeId, Node>,
    up: BTreeMap<SessionId, Life>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Life {
    node: NodeId,
    name: NodeName,
    boot: Boot,
}

impl Attendance {
    fn of(machine: &Machine, me: NodeId, which: Which, voters: &BTreeSet<NodeId>) -> Self {
        let nodes = machine.nodes().map(|node| (node.id, node.clone())).collect();
        let mut attendance = Self { me, which, nodes, up: BTreeMap::new() };
        for session in machine.sessions() {
            attendance.open(session.id, session.owner, voters);
        }
        attendance
    }

    fn hear(&mut self, effect: &Effect, voters: &BTreeSet<NodeId>) -> Option<NodeNews> {
        match effect {
            Effect::NodeJoined(node) => drop(self.nodes.insert(node.id, node.clone())),
            Effect::NodeLeft(node) => drop(self.nodes.remove(node)),
            Effect::SessionOpened { session, owner, .. } => {
                return self.open(*session, *owner, voters).map(Life::up);
            }
            Effect::SessionEnded { session, evidence } => {
                return self.up.remove(session).map(|life| life.down(DownReason::from(*evidence)));
            }
            _ => {}
        }
        None
    }

    /// Notes a life if it is one of those that are meant.
    fn open(
        &mut self,
        session: SessionId,
        owner: SessionOwner,
        voters: &BTreeSet<NodeId>,
    ) -> Option<Life> {
        let SessionOwner::Node { node, boot } = owner else { return None };
        let entry = self.nodes.get(&node).filter(|entry| entry.id != self.me)?;
        if !self.which.means(facts(entry, voters).role(), MemberState::Up) {
            return None;
        }
        let life = Life { node, name: entry.name.clone(), boot };
        self.up.insert(session, life.clone());
        Some(life)
    }

    /// What differs from a later look: first who went, then who came.
    fn catch_up(&self, later: &Self) -> Vec<NodeNews> {
        let only_in = |one: &Self, other: &Self| -> Vec<Life> {
            let gone = |(session, _): &(&SessionId, &Life)| !other.up.contains_key(session);
            one.up.iter().filter(gone).map(|(_, life)| life.clone()).collect()
        };
        let went = only_in(self, later).into_iter().map(|life| life.down(DownReason::Unseen));
        went.chain(only_in(later, self).into_iter().map(Life::up)).collect()
    }
}

impl Life {
    fn up(self) -> NodeNews {
        let Self { node, name, boot } = self;
        NodeNews::Up { node, name, boot }
    }

    fn down(self, reason: DownReason) -> NodeNews {
        let Self { node, name, boot } = self;
        NodeNews::Down { node, name, boot, reason }
    }
}

impl From<Evidence> for DownReason {
    fn from(evidence: Evidence) -> Self {
        match evidence {
            Evidence::Stopped => Self::Stopped,
            Evidence::Expired { .. } => Self::Silent,
            Evidence::ProvenDead | Evidence::Forced => Self::Died,
            Evidence::Superseded { .. } => Self::Restarted,
            // A name's life is no node's, so the last never comes here.
            Evidence::NodeLeft | Evidence::NameGone => Self::Left,
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_registry::{At, Command, Once, Op};
    use quorate_vocab::Index;

    use super::*;

    /// A registry with one listener.
    struct Scene {
        machine: Machine,
        attendance: Attendance,
        nobody: BTreeSet<NodeId>,
    }

    impl Scene {
        fn new(which: Which) -> Self {
            let machine = Machine::new(0);
            let nobody = BTreeSet::new();
            let attendance = Attendance::of(&machine, NodeId(1), which, &nobody);
            let mut scene = Self { machine, attendance, nobody };
            for (id, role) in [(1, "member"), (2, "member"), (3, "edge")] {
                scene.say(Op::Join {
                    node: NodeId(id),
                    name: format!("n{id}").try_into().unwrap(),
                    address: "10.0.0.1:1".to_owned(),
                    labels: BTreeMap::from([("role".to_owned(), role.to_owned())]),
                });
            }
            scene
        }

        /// Applies a command, and gives what the listener makes of it.
        fn say(&mut self, op: Op) -> Vec<NodeNews> {
            let at = At { index: self.machine.applied().next(), term: 1 };
            let mut effects = Vec::new();
            self.machine.apply(at, Command { once: Once::Free, op }, &mut effects);
            let Self { attendance, nobody, .. } = self;
            effects.iter().filter_map(|effect| attendance.hear(effect, nobody)).collect()
        }

        fn open(&mut self, node: u64, boot: u64) -> Vec<NodeNews> {
            let owner = SessionOwner::Node { node: NodeId(node), boot: Boot(boot) };
            self.say(Op::Open { owner, ttl_ms: 2000 })
        }

        fn end(&mut self, session: u64, evidence: Evidence) -> Vec<NodeNews> {
            self.say(Op::End { session: SessionId(session), evidence })
        }
    }

    fn up(node: u64, boot: u64) -> NodeNews {
        let name = format!("n{node}").try_into().unwrap();
        NodeNews::Up { node: NodeId(node), name, boot: Boot(boot) }
    }

    fn down(node: u64, boot: u64, reason: DownReason) -> NodeNews {
        let name = format!("n{node}").try_into().unwrap();
        NodeNews::Down { node: NodeId(node), name, boot: Boot(boot), reason }
    }

    #[test]
    fn a_node_comes_and_goes_with_its_session_and_for_a_reason() {
        let mut scene = Scene::new(Which::Visible);
        assert_eq!(scene.open(2, 1), [up(2, 1)]);
        assert_eq!(scene.open(2, 2), [down(2, 1, DownReason::Restarted), up(2, 2)]);
        assert_eq!(scene.end(5, Evidence::Expired { term: 1 }), [down(2, 2, DownReason::Silent)]);
        assert_eq!(scene.open(2, 3), [up(2, 3)]);
        assert_eq!(scene.end(7, Evidence::Stopped), [down(2, 3, DownReason::Stopped)]);
        assert_eq!(scene.open(2, 4), [up(2, 4)]);
        let left = scene.say(Op::Leave { node: NodeId(2) });
        assert_eq!(left, [down(2, 4, DownReason::Left)]);
        // Neither this node itself nor a client is another node.
        assert_eq!(scene.open(1, 1), []);
        assert_eq!(scene.say(Op::Open { owner: SessionOwner::Client, ttl_ms: 0 }), []);
    }

    #[test]
    fn an_edge_is_told_of_only_to_whoever_asks_for_it() {
        for (which, told) in [
            (Which::Visible, vec![]),
            (Which::Hidden, vec![up(3, 1)]),
            (Which::Known, vec![up(3, 1)]),
        ] {
            let mut scene = Scene::new(which);
            assert_eq!(scene.open(3, 1), told, "{which:?}");
            let seen = scene.open(2, 1);
            assert_eq!(seen.is_empty(), which == Which::Hidden);
            let gone = scene.end(4, Evidence::Stopped);
            assert_eq!(gone.len(), told.len(), "a Down follows an Up, and only an Up: {which:?}");
        }
    }

    #[test]
    fn whoever_fell_behind_hears_of_every_life_that_it_knew_and_that_is() {
        let mut scene = Scene::new(Which::Visible);
        scene.open(2, 1);
        let behind = std::mem::replace(
            &mut scene.attendance,
            Attendance::of(&Machine::new(0), NodeId(1), Which::Visible, &BTreeSet::new()),
        );
        scene.open(2, 2);
        let now = Attendance::of(&scene.machine, NodeId(1), Which::Visible, &scene.nobody);
        assert_eq!(behind.catch_up(&now), [down(2, 1, DownReason::Unseen), up(2, 2)]);
        assert_eq!(now.catch_up(&now), []);
        assert_eq!(scene.machine.applied(), Index(5));
    }
}
