//! I3: authority intervals of two epochs of a name never overlap in real time.
//!
//! Here authority is a process that registered itself under a name and was told so: from the answer to its
//! end, it believes itself to be the one. The next epoch of the name begins when the first node applies it.
//! In between lies the end of the process, or the name was in two hands.

use std::collections::BTreeMap;

use quorate_vocab::{Epoch, Name};

use super::Violation;
use crate::history::Moment;

/// Who was the one, from when to when.
#[derive(Debug, Default)]
pub struct OneAtATime {
    bodies: Vec<Body>,
    begun: BTreeMap<(Name, Epoch), Moment>,
}

/// A process that was told that it holds a name.
#[derive(Debug)]
struct Body {
    name: Name,
    epoch: Epoch,
    told: Moment,
    ended: Moment,
}

/// A process whose end is still to be told.
#[derive(Debug)]
pub struct Bodied(usize);

impl OneAtATime {
    /// Some node has applied a registration; the first time counts.
    pub fn registered(&mut self, name: &Name, epoch: Epoch, now: Moment) {
        self.begun.entry((name.clone(), epoch)).or_insert(now);
    }

    /// A process is told that it holds a name.
    pub fn told(&mut self, name: &Name, epoch: Epoch, now: Moment) -> Bodied {
        self.bodies.push(Body { name: name.clone(), epoch, told: now, ended: Moment::NEVER });
        Bodied(self.bodies.len() - 1)
    }

    /// It has ended.
    pub fn ended(&mut self, body: &Bodied, now: Moment) {
        self.bodies[body.0].ended = now;
    }

    /// Finds bodies that were still there when the next epoch began.
    pub fn finish(self) -> Vec<Violation> {
        let mut violations = Vec::new();
        for Body { name, epoch, told, ended } in &self.bodies {
            let later = self.begun.range((name.clone(), *epoch)..);
            let next =
                later.take_while(|((of, _), _)| of == name).find(|((_, later), _)| later > epoch);
            // A process that is told late and ended at that very moment was the one for no time at all.
            let overlaps = |begun: &Moment| ended.at > begun.at && ended.at > told.at;
            if let Some(((_, later), begun)) = next.filter(|(_, begun)| overlaps(begun)) {
                let what = format_args!(
                    "the holder of {name} under {epoch} lived until {:?}, and {later} began at {:?}",
                    ended.at, begun.at
                );
                violations.push(Violation::new("I3", what));
            }
        }
        violations
    }
}
