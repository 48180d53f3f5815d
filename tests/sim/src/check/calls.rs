//! Calls to singletons by name: what was answered was acted on exactly once, what is said not to have been
//! seen was never acted on, and nothing was acted on twice.

use quorate_vocab::{Epoch, Name};

use super::Violation;

const CALLS: &str = "calls";

/// How a call ended for its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Answered by a turn of this epoch.
    Answered(Epoch),
    /// Nobody has seen it.
    NotSeen,
    /// It may have been acted on, or nothing is known.
    Maybe,
}

/// All calls.
#[derive(Debug, Default)]
pub struct Calls {
    asked: Vec<Call>,
    /// How many callers were answered, were told that nobody saw it, and know nothing.
    counts: [u64; 3],
}

#[derive(Debug)]
struct Call {
    to: Name,
    acted: Vec<Epoch>,
    told: Told,
}

impl Calls {
    /// Somebody calls; gives the call's number.
    pub fn asked(&mut self, to: &Name) -> u64 {
        self.asked.push(Call { to: to.clone(), acted: Vec::new(), told: Told::Maybe });
        self.asked.len() as u64 - 1
    }

    /// A turn acts on a call.
    pub fn acted(&mut self, number: u64, epoch: Epoch) {
        if let Some(call) = self.asked.get_mut(number as usize) {
            call.acted.push(epoch);
        }
    }

    /// The caller is told something.
    pub fn told(&mut self, number: u64, told: Told) {
        if let Some(call) = self.asked.get_mut(number as usize) {
            call.told = told;
        }
        let kind = match told {
            Told::Answered(_) => 0,
            Told::NotSeen => 1,
            Told::Maybe => 2,
        };
        self.counts[kind] += 1;
    }

    /// How many were answered, never seen, and in doubt.
    pub fn counts(&self) -> [u64; 3] {
        self.counts
    }

    /// Finds calls that were acted on otherwise than their callers were told.
    pub fn finish(self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for (number, call) in self.asked.iter().enumerate() {
            let is_so = match call.told {
                Told::Answered(epoch) => call.acted == [epoch],
                Told::NotSeen => call.acted.is_empty(),
                Told::Maybe => call.acted.len() <= 1,
            };
            if !is_so {
                let Call { to, acted, told } = call;
                let what =
                    format_args!("call {number} to {to} was {told:?}, and acted on {acted:?}");
                violations.push(Violation::new(CALLS, what));
            }
        }
        violations
    }
}
