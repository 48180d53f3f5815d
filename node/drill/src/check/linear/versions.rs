//! The judge of what is said under a name, which changes while its epoch stays.
//!
//! Each change has a version of its own, the entry of the log that made it, and every answer tells one. So
//! what is said is a register whose writes are numbered, and four questions decide: whether whoever asked
//! after an answer sees no older version; whether a version says one thing, and what its writer meant;
//! whether a change that expected a version followed exactly that one; and whether the log has it.

use std::collections::BTreeMap;

use quorate_vocab::{Index, Name};

use crate::check::Violation;
use crate::history::{Answer, Ask, Mark, Moment, Outcome, Record};

/// What the log says under names since which entry.
pub type Said = BTreeMap<(Name, Index), Mark>;

/// Judges a whole history.
pub fn check(records: &[Record], said: &Said) -> Vec<Violation> {
    let mut by_name = BTreeMap::<&Name, Vec<&Record>>::new();
    for record in records {
        by_name.entry(&record.name).or_default().push(record);
    }
    let mut violations = Vec::new();
    for (name, records) in by_name {
        // A lock says nothing.
        if records.iter().all(|record| record.ask != Ask::Lock) {
            let found = Reading::new(name, &records, said).judge();
            let what = |why| Violation::new("versions", format_args!("{name}: {why}"));
            violations.extend(found.into_iter().map(what));
        }
    }
    violations
}

/// An answer that told a version.
#[derive(Clone, Copy)]
struct Sight {
    invoked: Moment,
    returned: Moment,
    version: Index,
    value: Option<Mark>,
    /// It made this version, and so nobody saw it before.
    wrote: bool,
    /// What it expected the version before to be.
    expected: Option<Index>,
}

struct Reading<'a> {
    sights: Vec<Sight>,
    /// Who said it, or may have, without being told under which version; since when.
    unanswered: BTreeMap<Mark, Moment>,
    /// All versions that are known, and what they say.
    said: BTreeMap<Index, Mark>,
    log: &'a Said,
    name: &'a Name,
}

impl<'a> Reading<'a> {
    fn new(name: &'a Name, records: &[&Record], log: &'a Said) -> Self {
        let mut reading = Self {
            sights: Vec::new(),
            unanswered: BTreeMap::new(),
            said: BTreeMap::new(),
            log,
            name,
        };
        let all = (name.clone(), Index(0))..=(name.clone(), Index(u64::MAX));
        reading.said.extend(log.range(all).map(|((_, version), value)| (*version, *value)));
        for record in records {
            match &record.outcome {
                Outcome::Done(answer) if *answer != Answer::Confirmed => {
                    reading.sights.extend(sight(record, answer));
                }
                Outcome::Unknown | Outcome::Done(_) => {
                    reading
                        .unanswered
                        .extend(meant(&record.ask).map(|mark| (mark, record.invoked)));
                }
                Outcome::NotDone => {}
            }
        }
        reading
    }

    fn judge(mut self) -> Vec<String> {
        let mut wrong = Vec::new();
        self.sights.sort_by_key(|sight| (!sight.wrote, sight.version));
        for sight in self.sights.clone() {
            self.one_thing(&sight, &mut wrong);
        }
        for sight in &self.sights {
            let followed = sight.expected.and_then(|expected| {
                let between = self.said.range(expected.next()..sight.version).next();
                between.map(|(between, _)| (expected, *between))
            });
            if let Some((expected, between)) = followed {
                let version = sight.version;
                wrong.push(format!("{version} was to follow {expected} and followed {between}"));
            }
        }
        self.in_order(&mut wrong);
        wrong
    }

    /// A version says one thing: what its writer meant.
    fn one_thing(&mut self, sight: &Sight, wrong: &mut Vec<String>) {
        let Sight { version, value: Some(value), .. } = *sight else { return };
        if sight.wrote && !self.log.contains_key(&(self.name.clone(), version)) {
            wrong.push(format!("version {version} was acknowledged, and no log has it"));
        }
        let known = *self.said.entry(version).or_insert(value);
        if known != value {
            wrong.push(format!("version {version} says both {known:?} and {value:?}"));
        }
        let is_written = |other: &Sight| other.wrote && other.version == version;
        let answered = sight.wrote || self.sights.iter().any(is_written);
        let asked = self.unanswered.get(&value);
        if !answered && asked.is_none_or(|asked| *asked > sight.returned) {
            wrong.push(format!("version {version} says {value:?}, which nobody had asked for"));
        }
    }

    /// Whoever asks after an answer sees that version or a later one; whoever writes then, a later one.
    fn in_order(&self, wrong: &mut Vec<String>) {
        let (mut asked, mut answered) = (self.sights.clone(), self.sights.clone());
        asked.sort_by_key(|sight| sight.invoked);
        answered.sort_by_key(|sight| sight.returned);
        let mut answered = answered.into_iter().peekable();
        let mut newest = Index(0);
        for sight in asked {
            while let Some(before) = answered.next_if(|before| before.returned < sight.invoked) {
                newest = newest.max(before.version);
            }
            if sight.version < newest || sight.wrote && sight.version == newest {
                let (version, at) = (sight.version, sight.invoked.at);
                wrong.push(format!("{version} was told to who asked at {at:?}, after {newest}"));
            }
        }
    }
}

/// What an operation means to say.
fn meant(ask: &Ask) -> Option<Mark> {
    match ask {
        Ask::Register { value, .. }
        | Ask::Lease { value }
        | Ask::Amend { value, .. }
        | Ask::Confirm { value, .. } => Some(*value),
        Ask::Lock | Ask::Release { .. } | Ask::Find => None,
    }
}

fn sight(record: &Record, answer: &Answer) -> Option<Sight> {
    let expected = match &record.ask {
        Ask::Amend { expected, .. } => *expected,
        _ => None,
    };
    let (version, value, wrote) = match answer {
        Answer::Registered { epoch } => (epoch.index(), meant(&record.ask), true),
        Answer::Amended { version } => (*version, meant(&record.ask), true),
        Answer::Found(Some((epoch, value))) => (epoch.index(), Some(*value), false),
        Answer::FoundAmended { version, value, .. } => (*version, Some(*value), false),
        Answer::Changed { present } => (*present, None, false),
        _ => return None,
    };
    let Record { invoked, returned, .. } = *record;
    let expected = expected.filter(|_| wrote);
    Some(Sight { invoked, returned, version, value, wrote, expected })
}
