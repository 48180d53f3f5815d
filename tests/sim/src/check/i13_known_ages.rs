//! I13: a state that a node says is so old has whatever was committed before that.
//!
//! What any node has applied was committed by then. So a state must have come at least as far as any node
//! had, as long ago as the state is said to be old: by the nodes' own clocks, which may be wrong by ρ.

use std::time::Duration;

use quorate_vocab::Index;

use super::Violation;

const I13: &str = "I13";
/// How slow a clock may be: what it says was a second may have been so much longer.
const SLOWEST: f64 = 0.99;
/// What the rounding of a time may make up.
const ROUNDING: Duration = Duration::from_micros(1);

/// How far anybody had come, when.
#[derive(Debug, Default)]
pub struct KnownAges {
    /// Both rise.
    reached: Vec<(Duration, Index)>,
    known: u64,
    unknown: u64,
    violations: Vec<Violation>,
}

impl KnownAges {
    /// A node has applied so much.
    pub fn applied(&mut self, at: Duration, index: Index) {
        if self.reached.last().is_none_or(|(_, reached)| index > *reached) {
            self.reached.push((at, index));
        }
    }

    /// A node has shown a state, and says that it may be so old.
    pub fn shown(&mut self, at: Duration, node: &str, index: Index, age: Duration) {
        if age == Duration::MAX {
            self.unknown += 1;
            return;
        }
        self.known += 1;
        let since = at.saturating_sub(age.div_f64(SLOWEST) + ROUNDING);
        let before = self.reached.partition_point(|(when, _)| *when < since);
        let Some((when, reached)) = before.checked_sub(1).map(|last| self.reached[last]) else {
            return;
        };
        if index < reached {
            let ago = at - when;
            let what = format_args!(
                "{node} showed {index}, {age:?} old as it said, but {reached} was reached {ago:?} ago"
            );
            self.violations.push(Violation::new(I13, what));
        }
    }

    /// How many states were of a known age, and how many not.
    pub fn counts(&self) -> (u64, u64) {
        (self.known, self.unknown)
    }

    /// What was found.
    pub fn finish(self) -> Vec<Violation> {
        self.violations
    }
}
