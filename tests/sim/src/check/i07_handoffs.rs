//! I7: in a handoff at most one side admits, and what was acknowledged reaches the new side.
//!
//! A singleton counts, and its count only grows. It is saved (and then acknowledged), or left behind with the
//! end of a turn, which the log acknowledges by closing the grant in its owner's words. No later turn may
//! begin with less, unless it was told that something left before did not reach it. That at most one side
//! admits calls follows from turns that never overlap: calls are taken by turns alone.

use std::collections::BTreeMap;

use quorate_vocab::{Epoch, Name};

use super::Violation;
use super::grants::Grants;
use crate::history::Moment;

/// What turns said for their successors, and what those began with.
#[derive(Debug, Default)]
pub struct Handoffs {
    saved: Vec<(Name, Moment, u64)>,
    /// The last word of each epoch.
    left: BTreeMap<(Name, Epoch), u64>,
    begun: Vec<(Name, Epoch, Moment, u64)>,
}

impl Handoffs {
    /// A turn begins with a count.
    pub fn begun(&mut self, name: &Name, epoch: Epoch, count: u64, now: Moment) {
        // What another run under the same epoch left, nobody took: it ended as a failure.
        self.left.remove(&(name.clone(), epoch));
        self.begun.push((name.clone(), epoch, now, count));
    }

    /// The cluster has acknowledged a count.
    pub fn saved(&mut self, name: &Name, count: u64, now: Moment) {
        self.saved.push((name.clone(), now, count));
    }

    /// A turn leaves a count and returns.
    pub fn left(&mut self, name: &Name, epoch: Epoch, count: u64) {
        self.left.insert((name.clone(), epoch), count);
    }

    /// A turn is about to begin that was told that something left before did not reach it.
    pub fn missed(&mut self, name: &Name, epoch: Epoch) {
        self.left.retain(|(of, before), _| of != name || *before >= epoch);
    }

    /// Finds turns that began with less than was acknowledged before.
    pub fn finish(self, grants: &Grants) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (name, epoch, begun, count) in &self.begun {
            let saved = self.saved.iter().filter(|(of, at, _)| of == name && at < begun);
            let saved = saved.map(|(.., count)| (*count, "was saved"));
            let before = self.left.iter().filter(|((of, before), _)| of == name && before < epoch);
            let left = before.filter(|((_, before), _)| {
                let closed = grants.find(name, *before).and_then(|granted| granted.closed);
                closed.is_some_and(|closed| closed.by_owner)
            });
            let left = left.map(|(_, left)| (*left, "was left behind"));
            if let Some((most, how)) = saved.chain(left).max()
                && most > *count
            {
                let what = format_args!(
                    "{name} began under {epoch} at {:?} with {count}, and {most} {how}",
                    begun.at
                );
                violations.push(Violation::new("I7", what));
            }
        }
        violations
    }
}
