//! What a node counts of singletons: how their holders ended, and for how long nobody ran them. Pure.
//!
//! All of it is counted from what this node heard, by its own clock: from the word that a holder has ended to
//! the word that the next one runs. What was told to stop is not missed.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_registry::Evidence;
use quorate_vocab::{Name, Time};

/// How often singletons changed hands, since this node began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turnover {
    /// How many of their holders ended, by how that is known.
    pub ended: BTreeMap<&'static str, u64>,
    /// How often another one came to run after that.
    pub gaps: u64,
    /// For how long nobody ran, all of these together.
    pub idle: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Tally {
    turnover: Turnover,
    /// Who is missed, and since when.
    missed: BTreeMap<Name, Time>,
}

impl Tally {
    pub(super) fn ended(&mut self, now: Time, name: &Name, evidence: Evidence) {
        *self.turnover.ended.entry(word(evidence)).or_default() += 1;
        self.missed.entry(name.clone()).or_insert(now);
    }

    pub(super) fn misses(&self, name: &Name) -> bool {
        self.missed.contains_key(name)
    }

    pub(super) fn runs(&mut self, now: Time, name: &Name) {
        if let Some(since) = self.missed.remove(name) {
            self.turnover.gaps += 1;
            self.turnover.idle += now.since(since);
        }
    }

    /// Nobody is to run it.
    pub(super) fn rests(&mut self, name: &Name) {
        self.missed.remove(name);
    }

    pub(super) fn turnover(&self) -> Turnover {
        self.turnover.clone()
    }
}

fn word(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Stopped => "stopped",
        Evidence::Expired { .. } => "expired",
        Evidence::Superseded { .. } => "superseded",
        Evidence::NodeLeft => "node_left",
        Evidence::NameGone => "gone",
        Evidence::ProvenDead => "proven_dead",
        Evidence::Forced => "forced",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missed_is_counted_until_it_runs_and_what_rests_is_not() {
        let (till, shop) = (Name::new("till").unwrap(), Name::new("shop").unwrap());
        let mut tally = Tally::default();
        tally.ended(Time(100), &till, Evidence::Expired { term: 3 });
        tally.ended(Time(110), &till, Evidence::Stopped);
        tally.ended(Time(120), &shop, Evidence::Stopped);
        assert!(tally.misses(&till) && tally.misses(&shop));
        tally.rests(&shop);
        tally.runs(Time(350), &shop);
        tally.runs(Time(400), &till);
        tally.runs(Time(900), &till);
        let Turnover { ended, gaps, idle } = tally.turnover();
        assert_eq!(ended, BTreeMap::from([("expired", 1), ("stopped", 2)]));
        assert_eq!((gaps, idle), (1, Duration::from_nanos(300)));
    }
}
