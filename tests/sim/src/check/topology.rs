//! The rules of the topology are obeyed: what a node's newest rules forbid, it has no data road for.
//!
//! Rules take effect a moment after they were applied, so a road is judged once the same verdict has stood
//! for [`SETTLE`]. The verdict is the checker's own: the rules of a simulated world name single nodes or all,
//! and their first that fits decides, so that little has to be understood here.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_registry::{Lanes, Rule, Selector, Stance};

use super::Violation;

/// How long a node has to close a road that its rules forbid, and to let go of one that was opening.
pub const SETTLE: Duration = Duration::from_secs(2);

/// One life of a node, and who is on the other side.
type Side = (String, u64, String);

/// What was seen of roads.
#[derive(Debug, Default)]
pub struct Topology {
    /// Since when a side's rules forbid its road.
    forbidden_since: BTreeMap<Side, Duration>,
    violations: Vec<Violation>,
}

impl Topology {
    /// A life of a node was looked at: what its rules forbid between it and `peer`, and whether it has a data
    /// road there.
    pub fn saw(&mut self, at: Duration, node: (&str, u64), peer: &str, rules: &[Rule], up: bool) {
        let side = (node.0.to_owned(), node.1, peer.to_owned());
        // A road is for both ways: one that is open is reason enough for it.
        if !(forbids(rules, node.0, peer) && forbids(rules, peer, node.0)) {
            self.forbidden_since.remove(&side);
            return;
        }
        let since = *self.forbidden_since.entry(side).or_insert(at);
        if up && at.saturating_sub(since) > SETTLE {
            let (node, life) = node;
            let what = format_args!(
                "life {life} of {node} has a data road to {peer} at {at:?}, forbidden since {since:?}"
            );
            self.violations.push(Violation::new("topology", what));
        }
    }

    /// A node went on after it had been stopped: it has as long as ever from now on.
    pub fn woke(&mut self, node: &str) {
        self.forbidden_since.retain(|(of, ..), _| of != node);
    }

    /// What was found.
    pub fn finish(self) -> Vec<Violation> {
        self.violations
    }
}

/// Whether rules let nothing through from one node to another.
pub fn forbids(rules: &[Rule], from: &str, to: &str) -> bool {
    let means = |selector: &Selector, node: &str| match selector {
        Selector::Any => true,
        Selector::Node(name) => name.as_str() == node,
        _ => false,
    };
    let first = rules.iter().find(|rule| means(&rule.from, from) && means(&rule.to, to));
    first.is_some_and(|rule| match rule.stance {
        Stance::Deny => rule.lanes == Lanes::ALL,
        Stance::Allow => rule.lanes == Lanes::NONE,
    })
}
