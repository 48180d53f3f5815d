//! I1: the epochs of a name strictly rise, also across restart and restore.
//!
//! Two views are checked against each other and in themselves: the log, where a later entry must carry the
//! greater epoch; and the clients, where a registration that was asked for after another one was answered
//! must be told the greater epoch.

use std::collections::BTreeMap;

use quorate_registry::Effect;
use quorate_vocab::{Epoch, Index, Name};

use super::{Applied, Violation};
use crate::history::{Answer, Outcome, Record};

const I1: &str = "I1";

/// What has been seen of epochs.
#[derive(Debug, Default)]
pub struct RisingEpochs {
    by_name: BTreeMap<Name, BTreeMap<Index, Epoch>>,
    violations: Vec<Violation>,
}

impl RisingEpochs {
    /// Takes in what a node applied, for the first time or again.
    pub fn applied(&mut self, applied: &Applied<'_>) {
        for effect in applied.effects {
            if let Effect::Registered(held) = effect {
                self.registered(applied, &held.name, held.epoch);
            }
        }
    }

    fn registered(&mut self, applied: &Applied<'_>, name: &Name, epoch: Epoch) {
        let (node, index) = (applied.node, applied.index);
        let epochs = self.by_name.entry(name.clone()).or_default();
        if epochs.get(&index) == Some(&epoch) {
            return;
        }
        let before = epochs.range(..=index).next_back();
        let after = epochs.range(index..).next();
        let falls = before.is_some_and(|(_, before)| *before >= epoch);
        if falls || after.is_some_and(|(_, after)| *after <= epoch) {
            let what = format_args!(
                "{node} gave {name} epoch {epoch} at {index}, between {before:?} and {after:?}"
            );
            self.violations.push(Violation::new(I1, what));
        }
        epochs.entry(index).or_insert(epoch);
    }

    /// Ends the check with what clients were told.
    pub fn finish(mut self, history: &[Record]) -> Vec<Violation> {
        let mut by_name = BTreeMap::<&Name, Vec<(&Record, Epoch)>>::new();
        for record in history {
            if let Outcome::Done(Answer::Registered { epoch }) = &record.outcome {
                by_name.entry(&record.name).or_default().push((record, *epoch));
            }
        }
        for (name, asked) in by_name {
            self.told(name, asked);
        }
        self.violations
    }

    fn told(&mut self, name: &Name, mut asked: Vec<(&Record, Epoch)>) {
        let mut answered = asked.clone();
        asked.sort_by_key(|(record, _)| record.invoked);
        answered.sort_by_key(|(record, _)| record.returned);
        let mut answered = answered.into_iter().peekable();
        let mut greatest: Option<Epoch> = None;
        for (record, epoch) in asked {
            while let Some((_, before)) =
                answered.next_if(|(before, _)| before.returned < record.invoked)
            {
                greatest = greatest.max(Some(before));
            }
            if let Some(before) = greatest.filter(|before| *before >= epoch) {
                let client = &record.client;
                let what = format_args!(
                    "{client} was told epoch {epoch} of {name}, after {before} had been told"
                );
                self.violations.push(Violation::new(I1, what));
            }
        }
    }
}
