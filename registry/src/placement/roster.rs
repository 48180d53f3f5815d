//! What placement asks of the nodes that take part, prepared once for a membership.
//!
//! It follows from the nodes and is no part of the state: made when it is first asked for, and forgotten
//! when a node comes, goes or changes.

use std::sync::{Arc, OnceLock};

use quorate_vocab::NodeId;

use crate::nodes::Nodes;
use crate::{Node, Ring};

/// The nodes that take part, as placement sees them.
#[derive(Debug)]
pub(crate) struct Roster {
    /// In the order of nodes.
    hosts: Vec<Host>,
    pub(super) ring: Ring,
}

/// One node, and how much it takes.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) node: Node,
    pub(super) weight: u32,
    pub(super) capacity: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct CachedRoster(OnceLock<Arc<Roster>>);

impl Roster {
    fn of(nodes: &Nodes) -> Self {
        let host = |node: &Node| {
            let (weight, capacity) = (node.weight(), node.capacity());
            Host { node: node.clone(), weight, capacity }
        };
        let hosts: Vec<Host> = nodes.iter().map(host).collect();
        let ring = Ring::build(hosts.iter().map(|host| (host.node.id, host.weight)));
        Self { hosts, ring }
    }

    pub(super) fn host(&self, node: NodeId) -> Option<&Host> {
        let place = self.hosts.binary_search_by_key(&node, |host| host.node.id).ok()?;
        self.hosts.get(place)
    }
}

impl CachedRoster {
    pub(super) fn of(&self, nodes: &Nodes) -> &Roster {
        self.0.get_or_init(|| Arc::new(Roster::of(nodes)))
    }

    /// Nodes came, went or changed.
    pub(crate) fn forget(&mut self) {
        self.0 = OnceLock::new();
    }
}

/// It follows from the nodes.
impl PartialEq for CachedRoster {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for CachedRoster {}
