//! The search for a legal order, after Wing and Gong, with Lowe's memory of what was tried in vain.
//!
//! An operation that nobody knows the end of may be placed anywhere after its call, or left out. If it
//! registers, its epoch is open until some answer names it.
//!
//! Two cuts make it fast enough: an operation that changes nothing and is legal now is placed now, as it can
//! do no harm; and what has no effect and no answer is never placed.

use std::collections::{BTreeMap, BTreeSet};

use quorate_vocab::{Epoch, SessionId};

use super::{Call, Deed, Hints, Judgement};
use crate::history::{Answer, Ask, Mark};

/// Looks for a legal order, in so many steps at most.
pub fn judge(calls: &[Call], hints: &Hints, steps_max: u64) -> Judgement {
    Search::new(calls, hints).run(steps_max)
}

/// A name, as far as answers tell it apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    held: Option<Held>,
    /// The greatest epoch that is known to have been given; the next is greater (I1).
    greatest: Option<Epoch>,
    /// The sessions that have ended, which register nothing any more.
    ended: BTreeSet<SessionId>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    /// `None` until some answer names it.
    epoch: Option<Epoch>,
    value: Mark,
    session: Option<SessionId>,
}

struct Search<'a> {
    calls: &'a [Call],
    hints: &'a Hints,
    /// Epochs that an answer gave to its own registration, which so are nobody else's.
    given: BTreeMap<Epoch, Mark>,
    events: Vec<Event>,
    next: Vec<usize>,
    prev: Vec<usize>,
}

/// A call or a return; event 0 stands before all.
#[derive(Clone, Copy)]
struct Event {
    call: usize,
    /// Where the call's return stands; `None` for returns, and for calls that may be left out.
    returns: Option<usize>,
    is_return: bool,
}

/// A placed call, and what to return to if it was wrong.
struct Placed {
    event: usize,
    before: State,
    /// It could do no harm, so nothing else needs to be tried in its place.
    harmless: bool,
}

impl<'a> Search<'a> {
    fn new(calls: &'a [Call], hints: &'a Hints) -> Self {
        let mut given = BTreeMap::new();
        let mut order = Vec::new();
        for (nth, call) in calls.iter().enumerate() {
            if let (Deed::Ask(Ask::Register { value, .. }), Some(Answer::Registered { epoch })) =
                (&call.deed, &call.answer)
            {
                given.insert(*epoch, *value);
            }
            // At one moment calls come before returns: whoever meets there may come in either order.
            order.push((call.invoked, false, nth));
            if call.is_certain() {
                order.push((call.returned, true, nth));
            }
        }
        order.sort_unstable();
        let start = Event { call: usize::MAX, returns: None, is_return: true };
        let mut events = vec![start];
        let mut called = vec![0; calls.len()];
        for (_, is_return, call) in order {
            let at = events.len();
            if is_return {
                events[called[call]].returns = Some(at);
            } else {
                called[call] = at;
            }
            events.push(Event { call, returns: None, is_return });
        }
        let count = events.len();
        let next = (1..=count).collect();
        let prev = (0..count).map(|at: usize| at.saturating_sub(1)).chain([count - 1]).collect();
        Self { calls, hints, given, events, next, prev }
    }

    fn run(mut self, steps_max: u64) -> Judgement {
        let mut state = State::default();
        let mut done = vec![0u64; self.calls.len().div_ceil(64)];
        let mut tried = BTreeSet::new();
        let mut placed: Vec<Placed> = Vec::new();
        let mut open = self.calls.iter().filter(|call| call.is_certain()).count();
        let mut deepest = (0, 0);
        let mut at = self.next[0];
        for _ in 0..steps_max {
            if open == 0 {
                return Judgement::Legal;
            }
            let event = self.events[at];
            if !event.is_return {
                let after = self.step(&state, &self.calls[event.call]);
                let Some(after) = after else {
                    at = self.next[at];
                    continue;
                };
                done[event.call / 64] |= 1 << (event.call % 64);
                if tried.insert((done.clone(), after.clone())) {
                    let harmless = after == state;
                    placed.push(Placed { event: at, before: state, harmless });
                    state = after;
                    open -= usize::from(event.returns.is_some());
                    self.lift(at);
                    at = self.next[0];
                } else {
                    done[event.call / 64] &= !(1 << (event.call % 64));
                    at = self.next[at];
                }
                continue;
            }
            // This call must be placed by now and cannot be: something before was placed wrongly.
            if placed.len() >= deepest.0 {
                deepest = (placed.len(), event.call);
            }
            loop {
                let Some(last) = placed.pop() else {
                    return Judgement::Illegal(self.describe(deepest.1));
                };
                let call = self.events[last.event].call;
                done[call / 64] &= !(1 << (call % 64));
                open += usize::from(self.events[last.event].returns.is_some());
                self.unlift(last.event);
                state = last.before;
                at = self.next[last.event];
                if !last.harmless {
                    break;
                }
            }
        }
        Judgement::Undecided("the search ran out of steps")
    }

    /// Takes a call and its return out of the list.
    fn lift(&mut self, event: usize) {
        for at in [Some(event), self.events[event].returns].into_iter().flatten() {
            let (prev, next) = (self.prev[at], self.next[at]);
            self.next[prev] = next;
            self.prev[next] = prev;
        }
    }

    /// Puts back what was lifted last.
    fn unlift(&mut self, event: usize) {
        for at in [self.events[event].returns, Some(event)].into_iter().flatten() {
            let (prev, next) = (self.prev[at], self.next[at]);
            self.next[prev] = at;
            self.prev[next] = at;
        }
    }

    fn describe(&self, call: usize) -> String {
        let Call { invoked, returned, deed, answer } = &self.calls[call];
        let (from, to) = (invoked.at, returned.at);
        match answer {
            Some(answer) => format!("{deed:?} from {from:?} to {to:?} answered {answer:?}"),
            None => format!("{deed:?} from {from:?} to {to:?}"),
        }
    }

    /// The state after a call, if its answer is legal; `None` as well for what nobody would notice.
    fn step(&self, state: &State, call: &Call) -> Option<State> {
        let ask = match &call.deed {
            Deed::Ask(ask) => ask,
            Deed::End(session) => {
                let mut after = state.clone();
                after.ended.insert(*session);
                if after.held.as_ref().is_some_and(|held| held.session == Some(*session)) {
                    after.held = None;
                }
                return Some(after);
            }
        };
        match &call.answer {
            Some(answer) => self.answered(state, ask, answer),
            None => self.unanswered(state, ask),
        }
    }

    fn answered(&self, state: &State, ask: &Ask, answer: &Answer) -> Option<State> {
        let is_free = state.held.is_none();
        let unchanged = || state.clone();
        match (ask, answer) {
            (Ask::Register { replace, .. }, Answer::Registered { epoch }) => {
                let state = match replace {
                    None => is_free.then(unchanged)?,
                    Some(expected) => self.held_under(state, *expected)?,
                };
                self.register(state, ask, Some(*epoch))
            }
            (Ask::Register { replace: None, .. }, Answer::Taken { epoch }) => {
                self.held_under(state, *epoch)
            }
            (Ask::Register { replace: Some(_), .. }, Answer::Stale { present: None })
            | (Ask::Release { .. }, Answer::Free)
            | (Ask::Find, Answer::Found(None)) => is_free.then(unchanged),
            (
                Ask::Register { replace: Some(expected), .. }
                | Ask::Release { epoch: Some(expected) },
                Answer::Stale { present: Some(present) },
            ) if present != expected => self.held_under(state, *present),
            (Ask::Release { epoch: expected }, Answer::Released { epoch })
                if expected.is_none_or(|expected| expected == *epoch) =>
            {
                let mut state = self.held_under(state, *epoch)?;
                state.held = None;
                Some(state)
            }
            (Ask::Find, Answer::Found(Some((epoch, value)))) => {
                let fits = state.held.as_ref().is_some_and(|held| held.value == *value);
                if fits { self.held_under(state, *epoch) } else { None }
            }
            (Ask::Find, Answer::FoundAmended { epoch, .. })
            | (Ask::Amend { epoch, .. }, Answer::Amended { .. } | Answer::Changed { .. })
            | (Ask::Confirm { epoch, .. }, Answer::Confirmed | Answer::NotReserved) => {
                self.held_under(state, *epoch)
            }
            (Ask::Amend { .. } | Ask::Confirm { .. }, Answer::Free) => is_free.then(unchanged),
            (
                Ask::Amend { epoch, .. } | Ask::Confirm { epoch, .. },
                Answer::Stale { present: Some(present) },
            ) if present != epoch => self.held_under(state, *present),
            _ => None,
        }
    }

    fn unanswered(&self, state: &State, ask: &Ask) -> Option<State> {
        match ask {
            Ask::Register { replace: None, .. } if state.held.is_some() => None,
            Ask::Register { replace: None, .. } => self.register(state.clone(), ask, None),
            Ask::Register { replace: Some(expected), .. } => {
                self.register(self.held_under(state, *expected)?, ask, None)
            }
            Ask::Release { epoch: None } => {
                let held = state.held.is_some();
                held.then(|| State { held: None, ..state.clone() })
            }
            Ask::Release { epoch: Some(expected) } => {
                Some(State { held: None, ..self.held_under(state, *expected)? })
            }
            // Who holds the name stays the same.
            Ask::Find | Ask::Amend { .. } | Ask::Confirm { .. } => None,
            // Neither comes here: the one is read as a registration, the other judged elsewhere.
            Ask::Lease { .. } | Ask::Lock => None,
        }
    }

    fn register(&self, mut state: State, ask: &Ask, epoch: Option<Epoch>) -> Option<State> {
        let Ask::Register { value, session, .. } = ask else {
            return None;
        };
        if session.is_some_and(|session| state.ended.contains(&session)) {
            return None;
        }
        if epoch.is_some() {
            if state.greatest >= epoch {
                return None;
            }
            state.greatest = epoch;
        }
        state.held = Some(Held { epoch, value: *value, session: *session });
        Some(state)
    }

    /// The state, if the name is held under this epoch or may be, which then is settled.
    fn held_under(&self, state: &State, epoch: Epoch) -> Option<State> {
        let held = state.held.as_ref()?;
        match held.epoch {
            Some(known) => (known == epoch).then(|| state.clone()),
            None => {
                let elsewhere = self.given.contains_key(&epoch)
                    || self.hints.get(&epoch).is_some_and(|value| *value != held.value);
                if elsewhere || state.greatest >= Some(epoch) {
                    return None;
                }
                let held = Some(Held { epoch: Some(epoch), ..held.clone() });
                Some(State { held, greatest: Some(epoch), ended: state.ended.clone() })
            }
        }
    }
}
