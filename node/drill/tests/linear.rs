//! The judges of linearizability, against histories that are known to be legal, and against lies.

use std::time::Duration;

use quorate_drill::check::linear::{self, Call, Deed, Hints, Judgement, order, search};
use quorate_drill::history::{Answer, Ask, Ending, Mark, Moment, Outcome, Record};
use quorate_vocab::{Epoch, Index, Name, SessionId};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

const STEPS_MAX: u64 = 200_000;

fn at(millis: u64) -> Moment {
    Moment { at: Duration::from_millis(millis), nth: 0 }
}

fn epoch(index: u64) -> Epoch {
    Epoch::new(0, Index(index)).unwrap()
}

fn register(value: u64) -> Ask {
    Ask::Register { value: Mark(value), session: None, replace: None }
}

fn replace(value: u64, expected: u64) -> Ask {
    Ask::Register { value: Mark(value), session: None, replace: Some(epoch(expected)) }
}

fn registered(index: u64) -> Answer {
    Answer::Registered { epoch: epoch(index) }
}

fn released(index: u64) -> Answer {
    Answer::Released { epoch: epoch(index) }
}

fn found(index: u64, value: u64) -> Answer {
    Answer::Found(Some((epoch(index), Mark(value))))
}

const NOBODY: Answer = Answer::Found(None);
const RELEASE: Ask = Ask::Release { epoch: None };

fn release(expected: u64) -> Ask {
    Ask::Release { epoch: Some(epoch(expected)) }
}

fn told(from: u64, to: u64, ask: Ask, answer: Answer) -> Call {
    Call { invoked: at(from), returned: at(to), deed: Deed::Ask(ask), answer: Some(answer) }
}

fn unknown(from: u64, ask: Ask) -> Call {
    Call { invoked: at(from), returned: Moment::NEVER, deed: Deed::Ask(ask), answer: None }
}

fn judge(calls: &[Call]) -> Judgement {
    let hints = Hints::new();
    let (by_order, by_search) =
        (order::judge(calls, &hints), search::judge(calls, &hints, STEPS_MAX));
    assert!(!matches!(by_search, Judgement::Undecided(_)), "so short a history can be searched");
    agree(&by_order, &by_search, calls);
    by_search
}

fn agree(one: &Judgement, other: &Judgement, calls: &[Call]) {
    let opposite = matches!(
        (one, other),
        (Judgement::Legal, Judgement::Illegal(_)) | (Judgement::Illegal(_), Judgement::Legal)
    );
    assert!(!opposite, "by order {one:?}, by search {other:?} of {calls:#?}");
}

#[track_caller]
fn legal(calls: &[Call]) {
    assert_eq!(judge(calls), Judgement::Legal);
}

#[track_caller]
fn illegal(calls: &[Call]) {
    assert!(matches!(judge(calls), Judgement::Illegal(_)), "this passed for legal: {calls:#?}");
}

#[test]
fn an_ordinary_life_of_a_name_is_legal() {
    legal(&[
        told(0, 1, Ask::Find, NOBODY),
        told(2, 3, register(1), registered(5)),
        told(4, 5, register(2), Answer::Taken { epoch: epoch(5) }),
        told(6, 7, Ask::Find, found(5, 1)),
        told(8, 9, replace(3, 5), registered(8)),
        told(10, 11, replace(4, 5), Answer::Stale { present: Some(epoch(8)) }),
        told(12, 13, release(5), Answer::Stale { present: Some(epoch(8)) }),
        told(14, 15, release(8), released(8)),
        told(16, 17, RELEASE, Answer::Free),
        told(18, 19, replace(5, 8), Answer::Stale { present: None }),
        told(20, 21, Ask::Find, NOBODY),
        told(22, 23, register(6), registered(13)),
    ]);
}

#[test]
fn concurrent_operations_may_come_in_any_order() {
    // A slow registration may be seen before it returns, and may not yet be seen.
    legal(&[
        told(0, 10, register(1), registered(5)),
        told(1, 2, Ask::Find, NOBODY),
        told(3, 4, Ask::Find, found(5, 1)),
    ]);
    illegal(&[
        told(0, 10, register(1), registered(5)),
        told(1, 2, Ask::Find, found(5, 1)),
        told(3, 4, Ask::Find, NOBODY),
    ]);
    // Operations that meet at one moment are concurrent.
    legal(&[told(0, 5, register(1), registered(5)), told(5, 6, Ask::Find, NOBODY)]);
}

#[test]
fn a_stale_read_is_found() {
    let before = [told(0, 1, register(1), registered(5)), told(2, 3, RELEASE, released(5))];
    let with = |call| [before[0].clone(), before[1].clone(), call];
    legal(&with(told(4, 5, Ask::Find, NOBODY)));
    illegal(&with(told(4, 5, Ask::Find, found(5, 1))));
    // Also when it is the old holder's value under the new holder's reign.
    let mut calls = with(told(4, 5, register(2), registered(9))).to_vec();
    calls.push(told(6, 7, Ask::Find, found(5, 1)));
    illegal(&calls);
}

#[test]
fn two_owners_are_found() {
    illegal(&[told(0, 1, register(1), registered(5)), told(2, 3, register(2), registered(6))]);
    illegal(&[told(0, 9, register(1), registered(5)), told(0, 9, register(2), registered(6))]);
    illegal(&[told(0, 1, register(1), registered(5)), told(0, 1, register(2), registered(5))]);
    // A release that came too late explains nothing.
    illegal(&[
        told(0, 1, register(1), registered(5)),
        told(2, 3, register(2), registered(6)),
        told(4, 5, release(5), released(5)),
    ]);
}

#[test]
fn a_lost_acknowledgement_is_found() {
    illegal(&[told(0, 1, register(1), registered(5)), told(2, 3, Ask::Find, NOBODY)]);
    illegal(&[told(0, 1, register(1), registered(5)), told(2, 3, RELEASE, Answer::Free)]);
    illegal(&[
        told(0, 1, register(1), registered(5)),
        told(2, 3, release(5), released(5)),
        told(4, 5, Ask::Find, found(5, 1)),
    ]);
    illegal(&[
        told(0, 1, register(1), registered(5)),
        told(2, 3, release(5), released(5)),
        told(4, 5, release(5), released(5)),
    ]);
}

#[test]
fn a_false_refusal_is_found() {
    illegal(&[told(0, 1, register(1), Answer::Taken { epoch: epoch(5) })]);
    illegal(&[
        told(0, 1, register(1), registered(5)),
        told(2, 3, RELEASE, released(5)),
        told(4, 5, register(2), Answer::Taken { epoch: epoch(5) }),
    ]);
    illegal(&[
        told(0, 1, register(1), registered(5)),
        told(2, 3, release(5), Answer::Stale { present: Some(epoch(5)) }),
    ]);
    illegal(&[
        told(0, 1, register(1), registered(5)),
        told(2, 3, replace(2, 5), Answer::Stale { present: None }),
    ]);
}

#[test]
fn epochs_that_fall_are_found() {
    illegal(&[
        told(0, 1, register(1), registered(5)),
        told(2, 3, release(5), released(5)),
        told(4, 5, register(2), registered(4)),
    ]);
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    illegal(&[told(0, 1, register(1), registered(5)), told(2, 3, Ask::Find, found(5, 2))]);
    illegal(&[told(0, 1, Ask::Find, found(5, 2))]);
    illegal(&[told(0, 1, Ask::Find, registered(3))]);
}

#[test]
fn an_unanswered_registration_may_have_happened_or_not() {
    legal(&[unknown(0, register(1)), told(2, 3, Ask::Find, NOBODY)]);
    legal(&[unknown(0, register(1)), told(2, 3, Ask::Find, found(5, 1))]);
    legal(&[
        unknown(0, register(1)),
        told(2, 3, Ask::Find, NOBODY),
        told(4, 5, Ask::Find, found(5, 1)),
    ]);
    illegal(&[
        unknown(0, register(1)),
        told(2, 3, Ask::Find, found(5, 1)),
        told(4, 5, Ask::Find, NOBODY),
    ]);
    // It has one epoch, and not before it was asked for.
    illegal(&[
        unknown(0, register(1)),
        told(2, 3, Ask::Find, found(5, 1)),
        told(4, 5, Ask::Find, found(6, 1)),
    ]);
    illegal(&[told(2, 3, Ask::Find, found(5, 1)), unknown(4, register(1))]);
    // What nobody was told the value of.
    legal(&[unknown(0, register(1)), told(2, 3, register(2), Answer::Taken { epoch: epoch(5) })]);
    illegal(&[
        unknown(0, register(1)),
        told(2, 3, register(2), Answer::Taken { epoch: epoch(5) }),
        told(4, 5, register(3), Answer::Taken { epoch: epoch(6) }),
    ]);
}

#[test]
fn an_unanswered_release_may_explain_one_end() {
    let taken = told(0, 1, register(1), registered(5));
    legal(&[taken.clone(), unknown(2, release(5)), told(4, 5, Ask::Find, NOBODY)]);
    legal(&[taken.clone(), unknown(2, RELEASE), told(4, 5, register(2), registered(7))]);
    illegal(&[taken.clone(), unknown(2, release(4)), told(4, 5, Ask::Find, NOBODY)]);
    illegal(&[
        taken.clone(),
        unknown(2, release(5)),
        told(4, 5, Ask::Find, NOBODY),
        told(6, 7, Ask::Find, found(5, 1)),
    ]);
    // An unanswered replacement that nobody saw, and then an unanswered release.
    legal(&[
        taken.clone(),
        unknown(2, replace(2, 5)),
        unknown(2, RELEASE),
        told(4, 5, register(3), registered(9)),
    ]);
    illegal(&[
        taken,
        unknown(2, RELEASE),
        told(4, 5, release(5), released(5)),
        told(6, 7, register(3), registered(9)),
        told(8, 9, register(4), registered(10)),
        told(10, 11, register(4), registered(11)),
    ]);
}

#[test]
fn the_end_of_a_session_frees_its_name_once() {
    let session = Some(SessionId(3));
    let mine = |value| Ask::Register { value: Mark(value), session, replace: None };
    let end = |from, to| Call {
        invoked: at(from),
        returned: to,
        deed: Deed::End(SessionId(3)),
        answer: None,
    };
    let taken = told(0, 1, mine(1), registered(5));
    let free = told(4, 5, Ask::Find, NOBODY);
    legal(&[taken.clone(), end(2, at(3)), free.clone()]);
    legal(&[taken.clone(), end(0, Moment::NEVER), free.clone()]);
    illegal(&[taken.clone(), end(6, at(7)), free.clone()]);
    illegal(&[taken.clone(), end(2, at(3)), told(4, 5, Ask::Find, found(5, 1))]);
    legal(&[taken.clone(), end(2, Moment::NEVER), told(4, 5, Ask::Find, found(5, 1))]);
    illegal(&[taken.clone(), end(2, Moment::NEVER), free, told(6, 7, mine(2), registered(9))]);
    illegal(&[taken, end(2, at(3)), told(4, 5, release(5), released(5))]);
}

/// A history that really happened, on a name that only this test knows.
struct World {
    rng: SmallRng,
    calls: Vec<Call>,
    hints: Hints,
}

#[derive(Clone)]
struct Held {
    epoch: Epoch,
    value: Mark,
    session: Option<SessionId>,
}

impl World {
    fn new(seed: u64, operations: usize, clients: u64, unknown_per_cent: u32) -> Self {
        let mut world =
            Self { rng: SmallRng::seed_from_u64(seed), calls: vec![], hints: Hints::new() };
        world.live(operations, clients, unknown_per_cent);
        world
    }

    fn live(&mut self, operations: usize, clients: u64, unknown_per_cent: u32) {
        let mut free_at: Vec<u64> = (0..clients).collect();
        let mut spans = Vec::new();
        for _ in 0..operations {
            let client = self.rng.random_range(0..clients as usize);
            let invoked = free_at[client] + self.rng.random_range(1..8);
            let point = invoked + self.rng.random_range(0..8);
            let returned = point + self.rng.random_range(0..8);
            free_at[client] = returned;
            spans.push((point, invoked, returned));
        }
        spans.sort_unstable();
        let mut held: Option<Held> = None;
        let mut seen: Vec<Epoch> = vec![epoch(1)];
        for (nth, (_, invoked, returned)) in spans.into_iter().enumerate() {
            let index = 10 + nth as u64;
            if index.is_multiple_of(40) {
                self.end_session(index / 40, invoked, returned, &mut held);
                continue;
            }
            let ask = self.ask(index, &held, &seen);
            let is_unknown = self.rng.random_range(0..100) < unknown_per_cent;
            let happens = !is_unknown || self.rng.random_bool(0.5);
            let answer = happens.then(|| perform(&ask, index, &mut held));
            if let Some(Answer::Registered { epoch }) = &answer {
                seen.push(*epoch);
                if let Ask::Register { value, .. } = &ask {
                    self.hints.insert(*epoch, *value);
                }
            }
            if !is_unknown {
                self.calls.push(told(invoked, returned, ask, answer.unwrap()));
            } else if ask != Ask::Find {
                self.calls.push(unknown(invoked, ask));
            }
        }
    }

    /// Sessions end in the order of their numbers, and no later registration is under one that has.
    fn end_session(&mut self, nth: u64, invoked: u64, returned: u64, held: &mut Option<Held>) {
        let session = SessionId(nth);
        let is_certain = self.rng.random_bool(0.7);
        if is_certain || self.rng.random_bool(0.5) {
            held.take_if(|held| held.session == Some(session));
        }
        let returned = if is_certain { at(returned) } else { Moment::NEVER };
        let deed = Deed::End(session);
        self.calls.push(Call { invoked: at(invoked), returned, deed, answer: None });
    }

    fn ask(&mut self, index: u64, held: &Option<Held>, seen: &[Epoch]) -> Ask {
        let guess = match held {
            Some(held) if self.rng.random_bool(0.7) => held.epoch,
            _ => seen[self.rng.random_range(0..seen.len())],
        };
        let session = self.rng.random_bool(0.3).then_some(SessionId(index / 40 + 1));
        let value = Mark(index);
        match self.rng.random_range(0..10) {
            0..3 => Ask::Register { value, session, replace: None },
            3 => Ask::Register { value, session, replace: Some(guess) },
            4..6 => Ask::Release { epoch: Some(guess) },
            6 => RELEASE,
            _ => Ask::Find,
        }
    }

    /// Changes one answer to another one that could be right elsewhere.
    fn lie(&mut self) {
        let told: Vec<usize> =
            (0..self.calls.len()).filter(|nth| self.calls[*nth].answer.is_some()).collect();
        let one = told[self.rng.random_range(0..told.len())];
        let other = told[self.rng.random_range(0..told.len())];
        match self.rng.random_range(0..4) {
            0 => self.calls[one].answer = self.calls[other].answer.clone(),
            1 => self.calls[one].answer = Some(NOBODY),
            2 => {
                let same = |call: &&Call| {
                    std::mem::discriminant(&call.deed)
                        == std::mem::discriminant(&self.calls[one].deed)
                        && matches!(call.deed, Deed::Ask(Ask::Find))
                };
                let finds: Vec<_> =
                    self.calls.iter().filter(same).filter_map(|call| call.answer.clone()).collect();
                if !finds.is_empty() {
                    let nth = self.rng.random_range(0..finds.len());
                    self.calls[one].deed = Deed::Ask(Ask::Find);
                    self.calls[one].answer = Some(finds[nth].clone());
                }
            }
            _ => {
                let shift = at(self.rng.random_range(0..60)).at;
                let call = &mut self.calls[one];
                call.invoked.at += shift;
                call.returned.at += shift;
            }
        }
    }
}

fn perform(ask: &Ask, index: u64, held: &mut Option<Held>) -> Answer {
    let present = held.as_ref().map(|held| held.epoch);
    match ask {
        Ask::Register { value, session, replace } => match (present, replace) {
            (Some(epoch), None) => Answer::Taken { epoch },
            (present, Some(expected)) if present != Some(*expected) => Answer::Stale { present },
            _ => {
                let (epoch, value, session) = (epoch(index), *value, *session);
                *held = Some(Held { epoch, value, session });
                Answer::Registered { epoch }
            }
        },
        Ask::Release { epoch: expected } => match present {
            None => Answer::Free,
            Some(epoch) if expected.is_some_and(|expected| expected != epoch) => {
                Answer::Stale { present }
            }
            Some(epoch) => {
                *held = None;
                Answer::Released { epoch }
            }
        },
        Ask::Find => Answer::Found(held.as_ref().map(|held| (held.epoch, held.value))),
        other => unreachable!("nobody asks {other:?} in this world"),
    }
}

#[test]
fn what_really_happened_is_legal_to_both_judges() {
    let (mut by_order, mut by_search, mut unhinted) = (0, 0, 0);
    for seed in 0..600 {
        let unknown_per_cent = [0, 2, 10][seed as usize % 3];
        let world = World::new(seed, 60, 2 + seed % 4, unknown_per_cent);
        let judgements = [
            (order::judge(&world.calls, &world.hints), &mut by_order),
            (order::judge(&world.calls, &Hints::new()), &mut unhinted),
            (search::judge(&world.calls, &world.hints, STEPS_MAX), &mut by_search),
        ];
        for (judgement, decided) in judgements {
            assert!(!matches!(judgement, Judgement::Illegal(_)), "seed {seed}: {judgement:?}");
            *decided += usize::from(judgement == Judgement::Legal);
        }
    }
    assert!(by_order >= 500 && by_search >= 550, "{by_order} {by_search} {unhinted}");
    assert!(unhinted >= 300 && unhinted < by_order, "{by_order} {by_search} {unhinted}");
}

#[test]
fn the_two_judges_never_contradict_each_other_about_lies() {
    let (mut found, mut decided) = (0, 0);
    for seed in 0..3000 {
        let unknown_per_cent = [0, 3, 10][seed as usize % 3];
        let mut world = World::new(seed, 30, 2 + seed % 4, unknown_per_cent);
        world.lie();
        let by_order = order::judge(&world.calls, &world.hints);
        let by_search = search::judge(&world.calls, &world.hints, STEPS_MAX);
        agree(&by_order, &by_search, &world.calls);
        found += usize::from(matches!(by_search, Judgement::Illegal(_)));
        decided += usize::from(!matches!(by_order, Judgement::Undecided(_)));
    }
    assert!((800..2900).contains(&found), "{found} lies were found");
    assert!(decided > 1500, "the order of epochs decided {decided}");
}

/// Tries every order there is. Knows no unanswered operations.
fn brute(calls: &[Call], placed: &mut Vec<usize>) -> bool {
    if placed.len() == calls.len() {
        return explains(calls, placed);
    }
    for nth in 0..calls.len() {
        let is_next = !placed.contains(&nth)
            && (0..calls.len()).all(|other| {
                placed.contains(&other) || calls[other].returned >= calls[nth].invoked
            });
        if is_next {
            placed.push(nth);
            if brute(calls, placed) {
                return true;
            }
            placed.pop();
        }
    }
    false
}

fn explains(calls: &[Call], placed: &[usize]) -> bool {
    let (mut held, mut newest) = (None, 0);
    placed.iter().all(|nth| {
        let (Deed::Ask(ask), Some(answer)) = (&calls[*nth].deed, &calls[*nth].answer) else {
            return false;
        };
        let index = match answer {
            Answer::Registered { epoch } => epoch.get(),
            _ => u64::from(u32::MAX),
        };
        let right = perform(ask, index, &mut held) == *answer;
        let rises = !matches!(answer, Answer::Registered { .. }) || index > newest;
        if matches!(answer, Answer::Registered { .. }) {
            newest = index;
        }
        right && rises
    })
}

#[test]
fn both_judges_agree_with_trying_every_order() {
    let mut found = 0;
    for seed in 0..3000 {
        let mut world = World::new(seed, 7, 3, 0);
        if seed % 4 > 0 {
            world.lie();
        }
        let right = brute(&world.calls, &mut vec![]);
        found += usize::from(!right);
        for judgement in [
            order::judge(&world.calls, &Hints::new()),
            search::judge(&world.calls, &Hints::new(), STEPS_MAX),
        ] {
            let same = match &judgement {
                Judgement::Legal => right,
                Judgement::Illegal(_) => !right,
                Judgement::Undecided(_) => true,
            };
            assert!(same, "seed {seed}: {judgement:?}, in truth {right}: {:#?}", world.calls);
        }
    }
    assert!((600..2200).contains(&found), "{found} of the lies were lies");
}

#[test]
fn a_long_history_of_one_hot_name_is_decided_by_order() {
    let world = World::new(1, 100_000, 16, 0);
    assert_eq!(order::judge(&world.calls, &world.hints), Judgement::Legal);
    let mut world = World::new(2, 100_000, 16, 0);
    let middle = world
        .calls
        .iter()
        .skip(50_000)
        .position(|call| matches!(&call.answer, Some(Answer::Found(Some(_)))));
    world.calls[50_000 + middle.unwrap()].answer = Some(found(10, 10));
    assert!(matches!(order::judge(&world.calls, &world.hints), Judgement::Illegal(_)));
}

#[test]
fn unanswered_operations_do_not_make_a_long_history_too_hard() {
    // Ten per cent of 2,000: the search has no hope, as any of 40 releases may have ended any tenure.
    let decided = (0..50).filter(|seed| {
        let world = World::new(*seed, 2_000, 12, 10);
        order::judge(&world.calls, &world.hints) == Judgement::Legal
    });
    let decided = decided.count();
    assert!(decided >= 49, "the order of epochs decided {decided} of 50");
}

#[test]
fn a_search_that_takes_too_long_says_so() {
    let world = World::new(7, 400, 12, 10);
    let judgement = search::judge(&world.calls, &Hints::new(), 300);
    assert!(matches!(judgement, Judgement::Undecided(_)));
}

#[test]
fn a_whole_history_is_judged_name_by_name() {
    let record = |name: &str, nth: u64, ask: Ask, outcome: Outcome| Record {
        client: "c1".to_owned(),
        asked: "n1".to_owned(),
        name: Name::new(name).unwrap(),
        ask,
        invoked: at(10 * nth),
        returned: at(10 * nth + 5),
        outcome,
    };
    let session = Some(SessionId(3));
    let bound = Ask::Register { value: Mark(1), session, replace: None };
    let mut records = vec![
        record("a", 0, bound, Outcome::Done(registered(5))),
        record("b", 1, register(2), Outcome::Done(registered(6))),
        record("a", 2, register(3), Outcome::NotDone),
        record("b", 3, register(4), Outcome::Done(Answer::Void)),
        record("a", 4, Ask::Find, Outcome::Done(NOBODY)),
        record("b", 5, Ask::Find, Outcome::Unknown),
        record("c", 6, register(5), Outcome::Unknown),
        record("c", 7, register(6), Outcome::Done(Answer::Taken { epoch: epoch(9) })),
    ];
    let endings = [Ending { session: SessionId(3), from: at(6), by: at(30) }];
    let report = linear::check(&records, &endings, &Hints::new(), STEPS_MAX);
    assert!(report.violations.is_empty() && report.undecided.is_empty(), "{report:?}");
    assert_eq!((report.by_order, report.by_search), (2, 1));
    let hints = Hints::from([(epoch(9), Mark(5))]);
    assert_eq!(linear::check(&records, &endings, &hints, STEPS_MAX).by_order, 3);

    records.push(record("b", 8, Ask::Find, Outcome::Done(NOBODY)));
    let report = linear::check(&records, &endings, &hints, STEPS_MAX);
    assert_eq!(report.violations.len(), 1);
    assert!(report.violations[0].to_string().contains("b has no legal order"), "{report:?}");
    assert_eq!(linear::check(&records, &[], &hints, STEPS_MAX).violations.len(), 2);
}
