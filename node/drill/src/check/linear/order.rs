//! The judge that reads the order of registrations from their epochs.
//!
//! A *tenure* is the time of one registration. The epochs in the answers tell which tenures there were and
//! in which order (I1); what remains is to place their begins and ends in time. Every answer bounds one of
//! them: whoever registered bounds the begin, whoever released the end, and whoever saw the tenure was under
//! way at some time of it. Whoever saw the name free was under way outside of all tenures.
//!
//! ```text
//!   time ─────────────────────────────────────────────▶
//!   tenure 7        S├───────────────┤F
//!   registered {7}  [──●──]
//!   taken {7}            [───────]              must meet S..F:  invoked ≤ F, returned ≥ S
//!   released {7}                  [──●──]
//!   found nobody                        [──]    must not lie in S..F
//!   tenure 12                                S├────────── …
//! ```
//!
//! All these bounds say "if this comes so late, that comes so late as well", and therefore have one earliest
//! solution: every point is placed as early as the points before it allow. If even that is too late for some
//! answer, no legal order exists. Tenures that replace one another have no gap between them and are placed as
//! one block.
//!
//! An unanswered release of whatever is held may have ended any one tenure, or none. Two ways of spending
//! such releases are tried: only on tenures that nothing else ends, and on all that they end earlier.
//!
//! It does not decide where an unanswered operation would have to be guessed otherwise.

use std::collections::BTreeMap;

use quorate_vocab::{Epoch, SessionId};

use super::{Call, Deed, Hints, Judgement};
use crate::history::{Answer, Ask, Mark, Moment};

/// Judges the history of one name.
pub fn judge(calls: &[Call], hints: &Hints) -> Judgement {
    match Reading::new(calls, hints).and_then(|reading| reading.place()) {
        Ok(()) => Judgement::Legal,
        Err(No::Illegal(why)) => Judgement::Illegal(why),
        Err(No::Undecided(why)) => Judgement::Undecided(why),
    }
}

/// Why there is no yes.
enum No {
    Illegal(String),
    Undecided(&'static str),
}

fn illegal<T>(why: String) -> Result<T, No> {
    Err(No::Illegal(why))
}

/// When a call may have happened.
#[derive(Clone, Copy)]
struct Span {
    from: Moment,
    to: Moment,
}

impl From<&Call> for Span {
    fn from(call: &Call) -> Self {
        Self { from: call.invoked, to: call.returned }
    }
}

/// One registration, as the answers tell of it.
#[derive(Default)]
struct Tenure {
    value: Option<Mark>,
    starter: Option<Starter>,
    /// The latest call, and the earliest return, of those who saw it.
    seen_from: Option<Moment>,
    seen_to: Option<Moment>,
    /// Who was told to have released it.
    released: Option<Span>,
    /// What may have ended it unanswered.
    ends: Vec<Span>,
    /// When its session had ended for certain.
    ended_by: Option<Moment>,
}

#[derive(Clone, Copy)]
struct Starter {
    span: Span,
    session: Option<SessionId>,
    replaces: Option<Epoch>,
}

/// The unanswered releases of whatever is held that have not been placed yet.
#[derive(Clone)]
struct Releases {
    /// By the moment of the call.
    open: Vec<Moment>,
    spent: Spent,
}

/// What such releases are spent on.
#[derive(Clone, Copy)]
enum Spent {
    InNeed,
    Freely,
}

impl Releases {
    /// When a tenure ends, from a moment on, that would end at `own` without a release.
    fn end(&mut self, from: Moment, own: Option<Moment>) -> Option<Moment> {
        let earliest = self.open.first().map(|called| from.max(*called));
        let is_spent = earliest.is_some_and(|at| match self.spent {
            Spent::InNeed => own.is_none(),
            Spent::Freely => own.is_none_or(|own| at < own),
        });
        if !is_spent {
            return own;
        }
        self.open.remove(0);
        earliest
    }
}

struct Reading {
    tenures: BTreeMap<Epoch, Tenure>,
    /// Whoever saw the name free, by call.
    free: Vec<Span>,
    /// Since when each unanswered release of whatever is held may have come.
    releases: Vec<Moment>,
    /// An unanswered operation may have done something that is not considered, so a no means little.
    guesses: bool,
}

impl Reading {
    fn new(calls: &[Call], hints: &Hints) -> Result<Self, No> {
        let (tenures, free, releases) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut reading = Self { tenures, free, releases, guesses: false };
        for call in calls {
            if let (Deed::Ask(ask), Some(answer)) = (&call.deed, &call.answer) {
                reading.answered(call.into(), ask, answer)?;
            }
        }
        reading.find_starters(calls, hints)?;
        reading.find_ends(calls);
        reading.free.sort_by_key(|span| span.from);
        Ok(reading)
    }

    fn answered(&mut self, span: Span, ask: &Ask, answer: &Answer) -> Result<(), No> {
        match (ask, answer) {
            (Ask::Register { value, session, replace }, Answer::Registered { epoch }) => {
                let tenure = self.tenures.entry(*epoch).or_default();
                let starter = Starter { span, session: *session, replaces: *replace };
                if tenure.starter.replace(starter).is_some() {
                    return illegal(format!("epoch {epoch} was given twice"));
                }
                tenure.values_agree(*epoch, *value)?;
                if let Some(replaced) = replace {
                    self.tenures.entry(*replaced).or_default();
                }
                Ok(())
            }
            (Ask::Register { replace: None, .. }, Answer::Taken { epoch }) => {
                self.seen(*epoch, span);
                Ok(())
            }
            (Ask::Register { replace: Some(_), .. }, Answer::Stale { present: None })
            | (Ask::Release { .. }, Answer::Free)
            | (Ask::Find, Answer::Found(None)) => {
                self.free.push(span);
                Ok(())
            }
            (
                Ask::Register { replace: Some(expected), .. }
                | Ask::Release { epoch: Some(expected) },
                Answer::Stale { present: Some(present) },
            ) if present != expected => {
                self.seen(*present, span);
                Ok(())
            }
            (Ask::Release { epoch: expected }, Answer::Released { epoch })
                if expected.is_none_or(|expected| expected == *epoch) =>
            {
                let tenure = self.tenures.entry(*epoch).or_default();
                match tenure.released.replace(span) {
                    Some(_) => illegal(format!("epoch {epoch} was released twice")),
                    None => Ok(()),
                }
            }
            (Ask::Find, Answer::Found(Some((epoch, value)))) => {
                self.seen(*epoch, span);
                self.tenures.entry(*epoch).or_default().values_agree(*epoch, *value)
            }
            (Ask::Find, Answer::FoundAmended { epoch, .. })
            | (Ask::Amend { epoch, .. }, Answer::Amended { .. } | Answer::Changed { .. })
            | (Ask::Confirm { epoch, .. }, Answer::Confirmed | Answer::NotReserved) => {
                self.seen(*epoch, span);
                Ok(())
            }
            (Ask::Amend { .. } | Ask::Confirm { .. }, Answer::Free) => {
                self.free.push(span);
                Ok(())
            }
            (
                Ask::Amend { epoch, .. } | Ask::Confirm { epoch, .. },
                Answer::Stale { present: Some(present) },
            ) if present != epoch => {
                self.seen(*present, span);
                Ok(())
            }
            _ => illegal(format!("{answer:?} is no answer to {ask:?}")),
        }
    }

    fn seen(&mut self, epoch: Epoch, span: Span) {
        let tenure = self.tenures.entry(epoch).or_default();
        tenure.seen_from = tenure.seen_from.max(Some(span.from));
        tenure.seen_to = Some(tenure.seen_to.map_or(span.to, |to| to.min(span.to)));
    }

    /// Finds the unanswered registrations that must have happened, as somebody saw them.
    fn find_starters(&mut self, calls: &[Call], hints: &Hints) -> Result<(), No> {
        let mut unanswered = BTreeMap::new();
        for call in calls.iter().filter(|call| call.answer.is_none()) {
            if let Deed::Ask(Ask::Register { value, session, replace }) = &call.deed {
                let span = call.into();
                let starter = Starter { span, session: *session, replaces: *replace };
                if unanswered.insert(*value, starter).is_some() {
                    return Err(No::Undecided("two unanswered registrations share a value"));
                }
            }
        }
        let is_missing = |tenure: &Tenure| tenure.starter.is_none();
        let mut missing: Vec<Epoch> = self
            .tenures
            .iter()
            .filter_map(|(epoch, tenure)| is_missing(tenure).then_some(*epoch))
            .collect();
        while let Some(epoch) = missing.pop() {
            let tenure = self.tenures.entry(epoch).or_default();
            if !is_missing(tenure) {
                continue;
            }
            let Some(value) = tenure.value.or(hints.get(&epoch).copied()) else {
                return Err(No::Undecided("an epoch was seen whose registration is unknown"));
            };
            let Some(starter) = unanswered.remove(&value) else {
                return illegal(format!("nobody else can have registered epoch {epoch}"));
            };
            tenure.starter = Some(starter);
            // What an unanswered one replaced must have been there too.
            if let Some(replaced) = starter.replaces {
                self.tenures.entry(replaced).or_default();
                missing.push(replaced);
            }
        }
        // What replaced something and was seen by nobody may still have ended what it replaced.
        self.guesses |= unanswered.values().any(|starter| starter.replaces.is_some());
        Ok(())
    }

    fn find_ends(&mut self, calls: &[Call]) {
        let mut sessions = BTreeMap::<SessionId, Vec<Span>>::new();
        for call in calls {
            match (&call.deed, &call.answer) {
                (Deed::End(session), _) => sessions.entry(*session).or_default().push(call.into()),
                (Deed::Ask(Ask::Release { epoch: None }), None) => self.releases.push(call.invoked),
                (Deed::Ask(Ask::Release { epoch: Some(epoch) }), None) => {
                    if let Some(tenure) = self.tenures.get_mut(epoch) {
                        tenure.ends.push(call.into());
                    }
                }
                _ => {}
            }
        }
        self.releases.sort_unstable();
        // Which of two tenures such a release ended is a guess.
        self.guesses |= !self.releases.is_empty();
        // From the last tenure of a session backwards: only that one can be ended by the session's end.
        let mut open = sessions.clone();
        for tenure in self.tenures.values_mut().rev() {
            let Some(session) = tenure.starter.and_then(|starter| starter.session) else {
                continue;
            };
            tenure.ends.extend(open.remove(&session).unwrap_or_default());
            let certain = sessions.get(&session).into_iter().flatten().map(|span| span.to);
            tenure.ended_by = certain.filter(|by| *by != Moment::NEVER).min();
        }
    }

    fn place(&self) -> Result<(), No> {
        let spend = |spent| self.place_all(&mut Releases { open: self.releases.clone(), spent });
        let result = spend(Spent::InNeed).or_else(|_| spend(Spent::Freely));
        match result {
            Err(No::Illegal(_)) if self.guesses => {
                Err(No::Undecided("an unanswered operation may explain what seems illegal"))
            }
            result => result,
        }
    }

    fn place_all(&self, releases: &mut Releases) -> Result<(), No> {
        let mut tenures = self.tenures.iter().peekable();
        let mut free = self.free.as_slice();
        let mut end = Moment::START;
        let mut last: Option<Epoch> = None;
        while let Some((epoch, tenure)) = tenures.next() {
            if let Some(replaced) = tenure.starter.and_then(|starter| starter.replaces) {
                return illegal(format!(
                    "epoch {epoch} replaced {replaced}, before it was {last:?}"
                ));
            }
            let mut block = vec![(*epoch, tenure)];
            while let Some((epoch, tenure)) = tenures.next_if(|(_, tenure)| {
                let replaces = tenure.starter.and_then(|starter| starter.replaces);
                replaces.is_some() && replaces == block.last().map(|(epoch, _)| *epoch)
            }) {
                block.push((*epoch, tenure));
            }
            let is_last = tenures.peek().is_none();
            end = place_block(&block, end, is_last, &mut free, releases)?;
            last = block.last().map(|(epoch, _)| *epoch);
        }
        Ok(())
    }
}

impl Tenure {
    fn values_agree(&mut self, epoch: Epoch, value: Mark) -> Result<(), No> {
        match self.value.replace(value) {
            Some(other) if other != value => illegal(format!("epoch {epoch} has two values")),
            _ => Ok(()),
        }
    }
}

/// Places the begins and the end of tenures that replaced one another; tells when the name is free again.
fn place_block(
    block: &[(Epoch, &Tenure)],
    after: Moment,
    is_last: bool,
    free: &mut &[Span],
    releases: &mut Releases,
) -> Result<Moment, No> {
    let first = starter_span(block[0].1);
    let mut begin = after.max(first.from);
    // Nothing is spent yet.
    let (_, end) = points(block, begin, is_last, &mut releases.clone())?;

    // Whoever saw the name free and was answered before this block ends was so before it began.
    while let Some((span, rest)) = free.split_first() {
        if span.from >= end {
            break;
        }
        if span.from > begin && span.to < end {
            begin = span.from;
        }
        *free = rest;
    }
    let (points, end) = points(block, begin, is_last, releases)?;
    for ((epoch, tenure), at) in block.iter().zip(points) {
        if starter_span(tenure).to < at {
            return illegal(format!(
                "epoch {epoch} was given at {:?} and cannot have begun before {:?}",
                starter_span(tenure).to.at,
                at.at,
            ));
        }
        if let Some(seen) = tenure.seen_to.filter(|seen| *seen < at) {
            return illegal(format!(
                "epoch {epoch} was seen by {:?} and cannot have begun before {:?}",
                seen.at, at.at,
            ));
        }
    }
    Ok(end)
}

/// The earliest begin of each tenure of a block, and its earliest end.
fn points(
    block: &[(Epoch, &Tenure)],
    begin: Moment,
    is_last: bool,
    releases: &mut Releases,
) -> Result<(Vec<Moment>, Moment), No> {
    let mut begins = vec![begin];
    let mut at = begin;
    for (nth, (epoch, tenure)) in block.iter().enumerate() {
        at = tenure.seen_from.map_or(at, |seen| seen.max(at));
        if let Some((_, next)) = block.get(nth + 1) {
            if tenure.released.is_some() {
                return illegal(format!("epoch {epoch} was both released and replaced"));
            }
            at = at.max(starter_span(next).from);
            begins.push(at);
        } else {
            at = end_of(*epoch, tenure, at, is_last, releases)?;
        }
        if let Some(by) = tenure.ended_by.filter(|by| *by < at) {
            return illegal(format!(
                "the session of epoch {epoch} ended by {:?}, and the epoch not before {:?}",
                by.at, at.at,
            ));
        }
    }
    Ok((begins, at))
}

/// The earliest end of a tenure that nobody replaced, from a moment on.
fn end_of(
    epoch: Epoch,
    tenure: &Tenure,
    from: Moment,
    is_last: bool,
    releases: &mut Releases,
) -> Result<Moment, No> {
    let ends = match &tenure.released {
        Some(span) => std::slice::from_ref(span),
        None => &tenure.ends,
    };
    let possible = ends.iter().map(|span| (span.from.max(from), span.to));
    let own = possible.filter(|(at, to)| at <= to).map(|(at, _)| at).min();
    if tenure.released.is_some() {
        return own.map_or_else(|| no_end(epoch, from), Ok);
    }
    match releases.end(from, own) {
        Some(at) => Ok(at),
        None if is_last => Ok(Moment::NEVER),
        None => no_end(epoch, from),
    }
}

fn no_end<T>(epoch: Epoch, from: Moment) -> Result<T, No> {
    illegal(format!("epoch {epoch} had no end from {:?} on", from.at))
}

fn starter_span(tenure: &Tenure) -> Span {
    // Every tenure has one by now; without, nothing would be bounded.
    tenure.starter.map_or(Span { from: Moment::START, to: Moment::NEVER }, |starter| starter.span)
}
