//! Linearizability: every operation seems to happen at one instant between its call and its return.
//!
//! It is what I2, I8 and I10 come to for a client that sees answers only: no stale read, no two holders, no
//! lost acknowledgement, no false refusal. Names are independent of each other, so each is judged by itself.
//!
//! Two judges. [`order`] is told by the epochs in the answers in which order the registrations came and needs
//! O(n log n); it decides nearly all histories. [`search`] looks for a legal order in the manner of Wing,
//! Gong and Lowe, with a memory; it needs no epochs, may need exponential time, and has a budget. What
//! neither can decide is said, and counts neither for nor against.
//!
//! Both judge who holds a name. What is said under it changes under one epoch, and [`versions`] judges that.

use std::collections::{BTreeMap, BTreeSet};

use quorate_vocab::{Epoch, Name, SessionId};

use super::Violation;
use crate::history::{Answer, Ask, Ending, Mark, Moment, Outcome, Record};

pub mod order;
pub mod search;
pub mod versions;

/// What a judge says about the history of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// A legal order exists.
    Legal,
    /// None exists; why.
    Illegal(String),
    /// It cannot tell; why.
    Undecided(&'static str),
}

/// An operation on one name, as a judge sees it: what may have happened when.
#[derive(Clone, Debug)]
pub struct Call {
    /// Not before this.
    pub invoked: Moment,
    /// Not after this; [`Moment::NEVER`] if nobody knows whether it happened at all.
    pub returned: Moment,
    /// What happened.
    pub deed: Deed,
    /// What was answered; `None` if nobody knows.
    pub answer: Option<Answer>,
}

/// What may happen to a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Somebody asks.
    Ask(Ask),
    /// A session ends.
    End(SessionId),
}

impl Call {
    /// Whether it happened for certain.
    pub fn is_certain(&self) -> bool {
        self.returned != Moment::NEVER
    }
}

/// What the check of a whole history found.
#[derive(Debug, Default)]
pub struct Report {
    /// Names with a history that no legal order explains.
    pub violations: Vec<Violation>,
    /// How many names the order of epochs decided.
    pub by_order: usize,
    /// How many names needed the search.
    pub by_search: usize,
    /// Names that neither decided, and why.
    pub undecided: Vec<(Name, &'static str)>,
}

/// What the log tells of registrations whose clients were not answered: which value got which epoch. It may
/// be empty; then more names need the search.
pub type Hints = BTreeMap<Epoch, Mark>;

/// Judges a whole history, with so many steps for the search of each name.
pub fn check(records: &[Record], endings: &[Ending], hints: &Hints, steps_max: u64) -> Report {
    let mut report = Report::default();
    let mut by_name = BTreeMap::<&Name, Vec<&Record>>::new();
    for record in records {
        by_name.entry(&record.name).or_default().push(record);
    }
    // Whoever takes a lock says nothing that a reader could know it by; I3 judges locks.
    let locks = records.iter().filter(|record| record.ask == Ask::Lock).map(|record| &record.name);
    let locks: BTreeSet<&Name> = locks.collect();
    for (name, records) in by_name.into_iter().filter(|(name, _)| !locks.contains(name)) {
        let calls = calls(&records, endings, hints);
        let (judgement, judge) = match order::judge(&calls, hints) {
            Judgement::Undecided(_) => {
                (search::judge(&calls, hints, steps_max), &mut report.by_search)
            }
            judgement => (judgement, &mut report.by_order),
        };
        *judge += 1;
        match judgement {
            Judgement::Legal => {}
            Judgement::Illegal(why) => {
                let what = format_args!("{name} has no legal order: {why}");
                report.violations.push(Violation::new("linearizability", what));
            }
            Judgement::Undecided(why) => report.undecided.push((name.clone(), why)),
        }
    }
    report
}

/// What may have happened to one name. Left out is what cannot matter: what did not happen, reads that were
/// not answered, refusals for other reasons.
fn calls(records: &[&Record], endings: &[Ending], hints: &Hints) -> Vec<Call> {
    let mut sessions = BTreeSet::new();
    let mut calls = Vec::new();
    for record in records {
        let ask = match &record.ask {
            Ask::Lease { value } => lease(*value, &record.outcome, hints),
            ask => ask.clone(),
        };
        if let Ask::Register { session: Some(session), .. } = &ask {
            sessions.insert(*session);
        }
        let answer = match (&record.outcome, &ask) {
            (Outcome::NotDone | Outcome::Done(Answer::Void), _) => continue,
            // It changes nothing of who holds the name.
            (Outcome::Unknown, Ask::Find | Ask::Amend { .. } | Ask::Confirm { .. }) => continue,
            (Outcome::Unknown, _) => None,
            (Outcome::Done(answer), _) => Some(answer.clone()),
        };
        let returned = if answer.is_some() { record.returned } else { Moment::NEVER };
        let (invoked, deed) = (record.invoked, Deed::Ask(ask));
        calls.push(Call { invoked, returned, deed, answer });
    }
    for ending in endings.iter().filter(|ending| sessions.contains(&ending.session)) {
        calls.push(Call {
            invoked: ending.from,
            returned: ending.by,
            deed: Deed::End(ending.session),
            answer: None,
        });
    }
    calls
}

/// A claim to a name with a life of its own, as a registration in the session of that life: the life is
/// called by the entry that began it, as the epoch is.
fn lease(value: Mark, outcome: &Outcome, hints: &Hints) -> Ask {
    let epoch = match outcome {
        Outcome::Done(Answer::Registered { epoch }) => Some(*epoch),
        _ => hints.iter().find(|(_, seen)| **seen == value).map(|(epoch, _)| *epoch),
    };
    let session = epoch.map(|epoch| SessionId(epoch.index().0));
    Ask::Register { value, session, replace: None }
}
