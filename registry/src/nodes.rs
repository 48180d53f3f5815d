//! Nodes: who takes part, what people call them, and the two commands that change it.

use std::collections::BTreeMap;

use imbl::OrdMap;
use quorate_vocab::{NodeId, NodeName};
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::names::{fits, weight};
use crate::rows::Key;
use crate::{Broken, Effect, Evidence, Machine, Refusal, Verdict};

/// A node that takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Which node.
    pub id: NodeId,
    /// What people call it. No two nodes that take part are called the same.
    pub name: NodeName,
    /// Where its mesh listens.
    pub address: String,
    /// What placement and topology rules know of it.
    pub labels: BTreeMap<String, String>,
}

impl Node {
    /// The longest address, in bytes.
    pub const ADDRESS_BYTES_MAX: usize = 512;
    /// The most that keys and values of all labels may weigh together, in bytes.
    pub const LABELS_BYTES_MAX: usize = 4096;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    by_id: OrdMap<NodeId, Node>,
    /// Derived.
    by_name: OrdMap<NodeName, NodeId>,
}

impl Machine {
    /// A name is refused only while its bearer lives. One that is silent gives way, and is told so by its
    /// next session being refused: a machine that was set up anew takes its predecessor's name at once.
    pub(crate) fn join(&mut self, node: Node, out: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        fits("the address", node.address.len() as u64, Node::ADDRESS_BYTES_MAX)?;
        fits("the labels", weight(&[], &node.labels), Node::LABELS_BYTES_MAX)?;
        self.lets_in(&node)?;
        if let Some(other) = self.nodes.named(&node.name).filter(|other| *other != node.id) {
            if self.sessions.of_node(other).is_some() {
                return Err(Refusal::NodeNameTaken);
            }
            self.nodes.remove(other, &mut self.changes);
            self.singletons.set_drained(other, None, &mut self.changes);
            out.push(Effect::NodeLeft(other));
        }
        if self.nodes.find(node.id) != Some(&node) {
            let id = node.id;
            self.nodes.put(node.clone(), &mut self.changes);
            self.roster.forget();
            out.push(Effect::NodeJoined(node));
            self.place_waiting_on(id, out);
        }
        Ok(Verdict::Joined)
    }

    pub(crate) fn leave(
        &mut self,
        node: NodeId,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        if self.nodes.find(node).is_none() {
            return Err(Refusal::NoNode);
        }
        // Before its session ends, so that nothing is placed on it any more.
        self.nodes.remove(node, &mut self.changes);
        self.roster.forget();
        self.singletons.set_drained(node, None, &mut self.changes);
        if let Some((session, _)) = self.sessions.of_node(node) {
            self.end_session(session, Evidence::NodeLeft, out);
        }
        out.push(Effect::NodeLeft(node));
        Ok(Verdict::Left)
    }
}

impl Nodes {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn find(&self, node: NodeId) -> Option<&Node> {
        self.by_id.get(&node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.by_id.values()
    }

    fn named(&self, name: &NodeName) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    fn put(&mut self, node: Node, changes: &mut Changes) {
        let (id, name) = (node.id, node.name.clone());
        match self.by_id.insert(id, node) {
            Some(before) => {
                self.by_name.remove(&before.name);
                changes.altered(Key::Node(id));
            }
            None => changes.born(Key::Node(id)),
        }
        self.by_name.insert(name, id);
    }

    fn remove(&mut self, node: NodeId, changes: &mut Changes) {
        if let Some(node) = self.by_id.remove(&node) {
            self.by_name.remove(&node.name);
            changes.died(Key::Node(node.id));
        }
    }

    /// Takes in what was stored; an audit follows.
    pub(crate) fn load(&mut self, node: Node) {
        self.by_name.insert(node.name.clone(), node.id);
        self.by_id.insert(node.id, node);
    }

    pub(crate) fn audit(&self, id: NodeId) -> Result<(), Broken> {
        let broken = |what| Err(Broken { invariant: "state", what });
        let Some(node) = self.by_id.get(&id) else {
            return Ok(());
        };
        if node.id != id || self.by_name.get(&node.name) != Some(&id) {
            return broken("two nodes are called the same");
        }
        if node.address.len() > Node::ADDRESS_BYTES_MAX
            || weight(&[], &node.labels) > Node::LABELS_BYTES_MAX as u64
        {
            return broken("a node's entry is larger than any may be");
        }
        Ok(())
    }

    pub(crate) fn audit_all(&self) -> Result<(), Broken> {
        if self.by_id.len() != self.by_name.len() {
            return Err(Broken { invariant: "state", what: "the names of nodes do not add up" });
        }
        self.by_id.keys().try_for_each(|node| self.audit(*node))
    }
}
