//! I12: mail between two processes keeps its order; and no letter arrives twice.
//!
//! Each sender numbers its letters. Letters may be missing, as a link may break and a holder may end; what
//! arrives at one process rises, and what arrived anywhere never arrives again.

use std::collections::{BTreeMap, BTreeSet};

use quorate_vocab::Pid;

use super::Violation;

/// What arrived where.
#[derive(Debug, Default)]
pub struct MailInOrder {
    sent: u64,
    arrived: BTreeSet<(u64, u64)>,
    newest: BTreeMap<(u64, Pid), u64>,
    violations: Vec<Violation>,
}

impl MailInOrder {
    /// A letter was sent.
    pub fn sent(&mut self) {
        self.sent += 1;
    }

    /// A letter has reached a process.
    pub fn arrived(&mut self, sender: u64, number: u64, at: Pid) {
        if !self.arrived.insert((sender, number)) {
            let what = format_args!("letter {number} of {sender} arrived twice, now at {at}");
            self.violations.push(Violation::new("I12", what));
        }
        let newest = self.newest.entry((sender, at)).or_insert(number);
        if number < *newest {
            let what = format_args!("{at} got letter {number} of {sender} after {newest}");
            self.violations.push(Violation::new("I12", what));
        }
        *newest = number.max(*newest);
    }

    /// How many letters were sent and how many arrived.
    pub fn counts(&self) -> (u64, u64) {
        (self.sent, self.arrived.len() as u64)
    }

    /// What was found.
    pub fn finish(self) -> Vec<Violation> {
        self.violations
    }
}
