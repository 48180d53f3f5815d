//! Properties: what a bearer was told that it says is said, until it says something else or its life ends.
//!
//! Each bearer is one client, who says one thing after the other and looks at it itself. So it must find what
//! it was answered last, or something of which it never learned what came of it.

use std::collections::{BTreeMap, BTreeSet};

use quorate_vocab::{Name, SessionId};

use super::Violation;
use crate::history::{Ending, Mark, Moment};

/// What bearers said, and found to be said.
#[derive(Debug, Default)]
pub struct Bearers {
    borne: BTreeMap<(Name, SessionId), Borne>,
    /// Who found nothing where something was to be found, and when.
    missed: Vec<(Name, SessionId, Moment)>,
    violations: Vec<Violation>,
}

/// What one bearer may be found to say under one key; `None` is nothing.
#[derive(Debug, Default)]
struct Borne {
    last: Option<Mark>,
    unknown: BTreeSet<Option<Mark>>,
}

impl Bearers {
    /// A bearer was answered that it says this.
    pub fn says(&mut self, key: &Name, bearer: SessionId, what: Option<Mark>) {
        self.borne.entry((key.clone(), bearer)).or_default().last = what;
    }

    /// A bearer may say this, now or later.
    pub fn may_say(&mut self, key: &Name, bearer: SessionId, what: Option<Mark>) {
        self.borne.entry((key.clone(), bearer)).or_default().unknown.insert(what);
    }

    /// A bearer looked, linearizably, and finds this.
    pub fn found(&mut self, key: &Name, bearer: SessionId, what: Option<Mark>, now: Moment) {
        let borne = self.borne.entry((key.clone(), bearer)).or_default();
        if borne.last == what || borne.unknown.contains(&what) {
            return;
        }
        match what {
            None => self.missed.push((key.clone(), bearer, now)),
            Some(_) => {
                let what = format_args!("{key} of {bearer} is {what:?}, and should be {borne:?}");
                self.violations.push(Violation::new("properties", what));
            }
        }
    }

    /// What was found, with when lives ended.
    pub fn finish(mut self, endings: &[Ending]) -> Vec<Violation> {
        let ended: BTreeMap<SessionId, Moment> =
            endings.iter().map(|ending| (ending.session, ending.by)).collect();
        for (key, bearer, at) in self.missed {
            // Whoever applies the end of a life drops what it said in the same entry.
            if ended.get(&bearer).is_none_or(|by| by.at > at.at) {
                let what = format_args!("{key} of {bearer}, who lives, was gone at {:?}", at.at);
                self.violations.push(Violation::new("properties", what));
            }
        }
        self.violations
    }
}
