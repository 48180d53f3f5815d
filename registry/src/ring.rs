//! The ring: which node a name falls to, equal on all machines and for all time (I11).
//!
//! Each node has many points on a circle of 2^64; a name belongs to the node whose point comes next. A node
//! that joins takes names only for itself, and one that leaves gives away only its own, as long as the number
//! of nodes does not cross [`Ring::SMALL`]: there, every node's points are thinned out or filled in.
//!
//! Not here: who may own, and how much. Bounded load and labels are placement's, which takes
//! [`Ring::walk`] as its order of preference.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};

use hashring::{DefaultHashBuilder, HashRing};
use quorate_vocab::{Name, NodeId};

/// Nodes on a circle. It is built once for a membership and never changes.
#[derive(Clone)]
pub struct Ring {
    nodes: Vec<NodeId>,
    points: HashRing<Point>,
    /// The node (its place in `nodes`) of each point, in the order of the circle.
    circle: Vec<u32>,
}

impl Ring {
    /// Up to how many nodes there are many points for each.
    pub const SMALL: usize = 20;
    /// A greater weight counts as this one, so that no membership makes a ring that does not fit in memory.
    pub const WEIGHT_MAX: u32 = 16;

    const POINTS_SMALL: u32 = 512;
    const POINTS_LARGE: u32 = 128;

    /// Places nodes by their weights, in whatever order they come. A node of weight 0 owns nothing, though it
    /// counts as a node, so that draining one does not disturb the others. Of a node that comes twice, the
    /// greater weight holds.
    pub fn build(nodes: impl IntoIterator<Item = (NodeId, u32)>) -> Self {
        let mut weights = BTreeMap::<NodeId, u32>::new();
        for (node, weight) in nodes {
            let most = weights.entry(node).or_default();
            *most = weight.min(Self::WEIGHT_MAX).max(*most);
        }
        let per_weight =
            if weights.len() <= Self::SMALL { Self::POINTS_SMALL } else { Self::POINTS_LARGE };

        weights.retain(|_, weight| *weight > 0);
        let mut points = Vec::new();
        for (place, (node, weight)) in (0..).zip(&weights) {
            let new = |replica| Point { node: *node, replica, place, position: 0 };
            points.extend((0..weight * per_weight).map(new));
        }
        // The crate resolves equal hashes by the order of insertion. No two points share one here: the
        // first in the order of nodes keeps it.
        points.sort_by_cached_key(|point| (hash(point), point.node, point.replica));
        points.dedup_by_key(|point| hash(point));
        for (position, point) in points.iter_mut().enumerate() {
            point.position = position;
        }

        let circle = points.iter().map(|point| point.place).collect();
        let mut ring = HashRing::new();
        ring.batch_add(points);
        Self { nodes: weights.into_keys().collect(), points: ring, circle }
    }

    /// The nodes that own something, in the order of their identities.
    pub fn nodes(&self) -> &[NodeId] {
        &self.nodes
    }

    /// The node that a name falls to; `None` when no node has weight.
    pub fn owner(&self, name: &Name) -> Option<NodeId> {
        self.points.get(&Text(name)).map(|point| point.node)
    }

    /// All nodes, each once: the owner, then who would own the name if those before were not there.
    pub fn walk(&self, name: &Name) -> impl Iterator<Item = NodeId> {
        let start = self.points.get(&Text(name)).map_or(0, |point| point.position);
        let (before, after) = self.circle.split_at(start);
        let mut met = vec![false; self.nodes.len()];
        after
            .iter()
            .chain(before)
            .map(|place| *place as usize)
            .filter(move |place| !std::mem::replace(&mut met[*place], true))
            .map(|place| self.nodes[place])
            .take(self.nodes.len())
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = self.circle.len();
        f.debug_struct("Ring").field("nodes", &self.nodes).field("points", &points).finish()
    }
}

#[derive(Clone)]
struct Point {
    node: NodeId,
    replica: u32,
    /// Where its node stands among the nodes.
    place: u32,
    /// Where it stands on the circle.
    position: usize,
}

/// By hand, and in one write: what the standard library feeds a hasher with differs between machines and
/// may differ between compilers.
impl Hash for Point {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // No name begins with a zero byte, so no name lies on a point by construction.
        let mut bytes = [0; 13];
        bytes[1..9].copy_from_slice(&self.node.0.to_le_bytes());
        bytes[9..].copy_from_slice(&self.replica.to_le_bytes());
        state.write(&bytes);
    }
}

struct Text<'a>(&'a Name);

impl Hash for Text<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.0.as_str().as_bytes());
    }
}

/// As the ring itself does: SipHash-2-4 under a key of zeros, so the same in every process.
fn hash(point: &Point) -> u64 {
    DefaultHashBuilder.hash_one(point)
}
