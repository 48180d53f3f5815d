//! I6 of singletons: nothing is applied under an epoch that is not the present one.
//!
//! What a turn does to the registry says under which epoch it was done. Of each deed that was applied, and
//! of each that was acknowledged, the log tells whether that epoch was the present one when its entry came.
//! Turns leave somebody behind who acts under their epoch when they are long over, so there is something to
//! refuse.

use quorate_vocab::{Epoch, Index, Name};

use super::Violation;
use super::grants::Grants;

/// All deeds of turns.
#[derive(Debug, Default)]
pub struct StaleActs {
    deeds: Vec<(Name, Epoch, Index, &'static str)>,
    refused: u64,
}

impl StaleActs {
    /// A deed of a singleton under an epoch took effect at an index, by what `seen` tells.
    pub fn done(&mut self, name: &Name, epoch: Epoch, at: Index, seen: &'static str) {
        self.deeds.push((name.clone(), epoch, at, seen));
    }

    /// A deed was refused, as its epoch is over.
    pub fn refused(&mut self) {
        self.refused += 1;
    }

    /// How many were done, and how many refused.
    pub fn counts(&self) -> (u64, u64) {
        (self.deeds.len() as u64, self.refused)
    }

    /// Finds deeds of turns that were over.
    pub fn finish(self, grants: &Grants) -> Vec<Violation> {
        let stale = |(name, epoch, at, _): &&(Name, Epoch, Index, &'static str)| {
            !grants.held(name, *epoch, *at)
        };
        let found = self.deeds.iter().filter(stale).map(|(name, epoch, at, seen)| {
            let granted = grants.find(name, *epoch);
            let what = format_args!("{seen} of {name} under {epoch} at {at}, with {granted:?}");
            Violation::new("I6", what)
        });
        found.collect()
    }
}
