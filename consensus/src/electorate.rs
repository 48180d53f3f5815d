//! Who votes, and whom this node's own vote is for: what a majority is counted by.
//!
//! Not here: anything that a feed tells. This is what Raft knows by this node's own log, and what of it is on
//! disk.

use std::collections::BTreeSet;

use quorate_vocab::{Index, NodeId};

/// What Raft knew of voters when it was last asked.
///
/// It may be a moment old, by one change of the voters at most: the second is written only after a majority
/// has stored the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Electorate {
    /// The latest leader, or candidate, that this node has voted for or followed, as its disk knows: its term
    /// and itself. It only grows, over restarts, too; zero until it is read.
    pub office: (u64, NodeId),
    /// Who wrote the entry that names the voters, and where it stands.
    pub named: ((u64, NodeId), Index),
    /// The voters; while they change, those before and those after.
    sets: Vec<BTreeSet<NodeId>>,
}

impl Electorate {
    pub(crate) fn new(
        office: (u64, NodeId),
        named: ((u64, NodeId), Index),
        sets: Vec<BTreeSet<NodeId>>,
    ) -> Self {
        Self { office, named, sets }
    }

    /// All voters, those before and those after a change.
    pub fn voters(&self) -> BTreeSet<NodeId> {
        self.sets.iter().flatten().copied().collect()
    }

    /// Whether these are a majority: of those before and of those after, while the voters change.
    pub fn is_majority(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let is_majority = |set: &BTreeSet<NodeId>| set.intersection(nodes).count() > set.len() / 2;
        !self.sets.is_empty() && self.sets.iter().all(is_majority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    #[test]
    fn while_voters_change_both_have_to_agree() {
        let of = |sets| Electorate::new((1, NodeId(1)), ((1, NodeId(1)), Index(1)), sets);
        let one = of(vec![nodes(&[1, 2, 3])]);
        assert!(one.is_majority(&nodes(&[1, 3, 9])) && !one.is_majority(&nodes(&[1, 8, 9])));
        let both = of(vec![nodes(&[1, 2, 3]), nodes(&[3, 4, 5])]);
        assert!(!both.is_majority(&nodes(&[1, 2, 3])) && both.is_majority(&nodes(&[1, 3, 4])));
        assert_eq!(both.voters(), nodes(&[1, 2, 3, 4, 5]));
        assert!(
            !of(vec![]).is_majority(&nodes(&[1])) && !of(vec![nodes(&[])]).is_majority(&nodes(&[]))
        );
    }
}
