//! I8: a minority acknowledges no registration and no linearizable read.
//!
//! The checker knows of every cut and every crash. While a node could not hear and be heard by a majority of
//! the voters, not even by way of others, nothing that it was asked in that time may be answered in that
//! time: every answer, a refusal as well, would have needed the majority.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use crate::history::{Moment, Outcome, Record};

const I8: &str = "I8";

/// When which node was cut off from every majority.
#[derive(Debug, Default)]
pub struct SilentMinority {
    /// Who votes, or may.
    voters: BTreeSet<String>,
    /// How many of them it takes to decide, at the least.
    majority: usize,
    cut_off: BTreeMap<String, Vec<(Moment, Moment)>>,
}

impl SilentMinority {
    /// All voters are connected until something else is said.
    pub fn new<H: Into<String>>(voters: impl IntoIterator<Item = H>) -> Self {
        let voters: BTreeSet<String> = voters.into_iter().map(Into::into).collect();
        let count = voters.len();
        Self::among(voters, count)
    }

    /// So many of these vote, and which may change: whoever reaches fewer of them than a majority of so many
    /// reaches no majority, whoever votes. One of those that vote may have been taken out.
    pub fn among<H: Into<String>>(nodes: impl IntoIterator<Item = H>, voters: usize) -> Self {
        let voters_may_be = nodes.into_iter().map(Into::into).collect();
        Self { voters: voters_may_be, majority: voters / 2 + 1, cut_off: BTreeMap::new() }
    }

    /// From now on these hosts are down and these directions are cut, and nothing else.
    pub fn changed(
        &mut self,
        now: Moment,
        nodes: &BTreeSet<String>,
        down: &BTreeSet<String>,
        cuts: &BTreeSet<(String, String)>,
    ) {
        for node in nodes {
            let is_cut_off = !self.reaches_majority(node, nodes, down, cuts);
            let spans = self.cut_off.entry(node.clone()).or_default();
            match spans.last_mut().filter(|(_, until)| *until == Moment::NEVER) {
                None if is_cut_off => spans.push((now, Moment::NEVER)),
                Some((_, until)) if !is_cut_off => *until = now,
                _ => {}
            }
        }
    }

    /// Finds operations that a cut-off node was asked and answered within one span.
    pub fn finish(self, history: &[Record]) -> Vec<Violation> {
        let mut violations = Vec::new();
        for record in history {
            let (Some(spans), Outcome::Done(answer)) =
                (self.cut_off.get(&record.asked), &record.outcome)
            else {
                continue;
            };
            let within = |(from, until): &&(Moment, Moment)| {
                record.invoked > *from && record.returned < *until
            };
            if let Some((from, _)) = spans.iter().find(within) {
                let (node, name, ask) = (&record.asked, &record.name, &record.ask);
                let what = format_args!(
                    "{node} was cut off from {:?}, was asked {name} {ask:?} at {:?} and answered \
                     {answer:?}",
                    from.at, record.invoked.at,
                );
                violations.push(Violation::new(I8, what));
            }
        }
        violations
    }

    /// Whether a node could hear and be heard by a majority of the voters. It counts itself.
    fn reaches_majority(
        &self,
        node: &str,
        nodes: &BTreeSet<String>,
        down: &BTreeSet<String>,
        cuts: &BTreeSet<(String, String)>,
    ) -> bool {
        let flows = |from: &str, to: &str| {
            !down.contains(from)
                && !down.contains(to)
                && !cuts.contains(&(from.to_owned(), to.to_owned()))
        };
        let heard_by = reached(node, nodes, flows);
        let hears = reached(node, nodes, |from, to| flows(to, from));
        let both = heard_by.intersection(&hears).filter(|peer| self.voters.contains(**peer));
        both.count() >= self.majority
    }
}

/// All nodes that a way leads to, one step or more.
fn reached<'a>(
    start: &'a str,
    nodes: &'a BTreeSet<String>,
    flows: impl Fn(&str, &str) -> bool,
) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::from([start]);
    let mut open = vec![start];
    while let Some(from) = open.pop() {
        for to in nodes {
            if !found.contains(to.as_str()) && flows(from, to) {
                found.insert(to);
                open.push(to);
            }
        }
    }
    found
}
