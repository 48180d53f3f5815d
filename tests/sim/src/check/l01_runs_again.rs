//! L1 of singletons: in a whole cluster each of them runs within a bound, and then nothing moves without a
//! cause.
//!
//! The bound, from the moment on at which all nodes serve and no word of an operator is outstanding, is the
//! sum of what may still have to pass one after the other: the silence of a life that nobody renews, by the
//! slowest clock; the time that one may take which was told to end, as it was on the move; the pauses before
//! it is started again if it failed; and a while for the entries in between.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_vocab::{Epoch, Name};

use super::Violation;

const L1: &str = "L1";

/// The lease and the guard, (2 s + 0.1 s)(1 + ρ)/(1 − ρ), by a clock that is slow by ρ.
const SILENCE: Duration = Duration::from_millis(2_165);
/// What a turn may take that was told to end, by a slow clock.
const STOPPING: Duration = Duration::from_millis(10_102);
/// Entries, elections within the lease, and the pauses after failures.
const AROUND: Duration = Duration::from_secs(3);

/// Within this time each singleton runs.
pub const BOUND: Duration = SILENCE.checked_add(STOPPING).unwrap().checked_add(AROUND).unwrap();

/// Who runs after everything was healed.
#[derive(Debug, Default)]
pub struct RunsAgain {
    whole_since: Duration,
    /// Under which epoch each ran when all did.
    settled: Option<BTreeMap<Name, Epoch>>,
    took: Duration,
    violations: Vec<Violation>,
}

impl RunsAgain {
    /// From now on nothing is broken, and nobody asks for anything.
    pub fn whole(&mut self, at: Duration) {
        self.whole_since = at;
    }

    /// Who runs now, of all that shall. Tells whether nothing has to be waited for any more.
    pub fn saw(&mut self, at: Duration, running: BTreeMap<Name, Option<Epoch>>) -> bool {
        if let Some(settled) = &self.settled {
            for (name, epoch) in settled {
                let now = running.get(name).copied().flatten();
                if now != Some(*epoch) {
                    let what = format_args!(
                        "{name} ran under {epoch}, and without a cause runs under {now:?} at {at:?}"
                    );
                    self.violations.push(Violation::new(L1, what));
                }
            }
            return true;
        }
        self.took = at.saturating_sub(self.whole_since);
        let missing: Vec<_> =
            running.iter().filter(|(_, epoch)| epoch.is_none()).map(|(name, _)| name).collect();
        if missing.is_empty() {
            let epochs = running.into_iter().filter_map(|(name, epoch)| Some((name, epoch?)));
            self.settled = Some(epochs.collect());
            return true;
        }
        if self.took > BOUND {
            let what = format_args!("{missing:?} did not run within {BOUND:?} after the heal");
            self.violations.push(Violation::new(L1, what));
            return true;
        }
        false
    }

    /// How long it took until all ran.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// What was found.
    pub fn finish(self) -> Vec<Violation> {
        self.violations
    }
}
