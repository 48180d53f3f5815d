//! I12: mail between two processes keeps its order; and no letter arrives twice.
//!
//! Each sender numbers its letters. Letters may be missing, as a link may break and a receiver may end; what
//! arrives at one process rises, and what arrived anywhere never arrives again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::Violation;

/// What arrived where, by whatever senders and receivers are known by.
#[derive(Debug)]
pub struct MailInOrder<Sender, Receiver> {
    sent: u64,
    arrived: BTreeSet<(Sender, u64)>,
    newest: BTreeMap<(Sender, Receiver), u64>,
    violations: Vec<Violation>,
}

impl<Sender, Receiver> Default for MailInOrder<Sender, Receiver> {
    fn default() -> Self {
        let (arrived, newest) = (BTreeSet::new(), BTreeMap::new());
        Self { sent: 0, arrived, newest, violations: Vec::new() }
    }
}

impl<Sender, Receiver> MailInOrder<Sender, Receiver>
where
    Sender: Clone + Display + Ord,
    Receiver: Clone + Display + Ord,
{
    /// A letter was sent.
    pub fn sent(&mut self) {
        self.sent += 1;
    }

    /// A letter has reached a process.
    pub fn arrived(&mut self, sender: &Sender, number: u64, at: &Receiver) {
        if !self.arrived.insert((sender.clone(), number)) {
            let what = format_args!("letter {number} of {sender} arrived twice, now at {at}");
            self.violations.push(Violation::new("I12", what));
        }
        let newest = self.newest.entry((sender.clone(), at.clone())).or_insert(number);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(arrivals: &[(&str, u64, &str)]) -> Vec<String> {
        let mut mail = MailInOrder::default();
        for (sender, number, at) in arrivals {
            mail.arrived(sender, *number, at);
        }
        mail.finish().into_iter().map(|violation| violation.what).collect()
    }

    #[test]
    fn letters_may_be_missing_and_those_of_others_come_between() {
        assert!(judged(&[("a", 1, "x"), ("b", 9, "x"), ("a", 4, "x"), ("a", 2, "y")]).is_empty());
    }

    #[test]
    fn one_that_comes_after_a_later_one_is_found() {
        let wrongs = judged(&[("a", 2, "x"), ("a", 1, "x"), ("a", 3, "x")]);
        assert_eq!(wrongs, ["x got letter 1 of a after 2"]);
    }

    #[test]
    fn one_that_comes_twice_is_found_wherever_it_comes() {
        let wrongs = judged(&[("a", 1, "x"), ("a", 1, "y")]);
        assert_eq!(wrongs, ["letter 1 of a arrived twice, now at y"]);
    }
}
