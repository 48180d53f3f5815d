//! I11: `apply` is a function of state and command, equal on all replicas, on every machine.
//!
//! Of each entry the checker keeps what it was first seen to do and the hash of the state behind it, and
//! whoever applies it later, another node or a later life that replays its log, must have seen the same. As
//! what was applied was committed, this also finds two logs that differ in an entry that both hold to be
//! agreed.

use std::collections::BTreeMap;

use quorate_vocab::Index;

use super::{Applied, Violation};
use quorate_drill::history::hash_of;

const I11: &str = "I11";

/// What each entry of the log did, where it was seen first.
#[derive(Debug, Default)]
pub struct SameEverywhere {
    effects: BTreeMap<Index, (u64, String)>,
    states: BTreeMap<Index, (u64, String)>,
    violations: Vec<Violation>,
}

impl SameEverywhere {
    /// Takes in what a node applied; the hash of that.
    pub fn applied(&mut self, applied: &Applied<'_>) -> u64 {
        let hash = hash_of(format!("{:?}", applied.effects).as_bytes());
        let found = compare(&mut self.effects, applied.index, hash, applied.node, "effects");
        self.violations.extend(found);
        hash
    }

    /// Takes in the hash of the state that a node has after an entry.
    pub fn state(&mut self, node: &str, index: Index, hash: u64) {
        self.violations.extend(compare(&mut self.states, index, hash, node, "state"));
    }

    /// What was found.
    pub fn finish(self) -> Vec<Violation> {
        self.violations
    }
}

fn compare(
    seen: &mut BTreeMap<Index, (u64, String)>,
    index: Index,
    hash: u64,
    node: &str,
    what: &str,
) -> Option<Violation> {
    let (first, by) = seen.entry(index).or_insert_with(|| (hash, node.to_owned()));
    (*first != hash).then(|| {
        let text = format_args!("after {index} the {what} of {node} and of {by} differ");
        Violation::new(I11, text)
    })
}
