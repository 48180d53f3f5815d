//! The checkers of singletons pass what is right, and find what is wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_registry::{Effect, Evidence, Grant, Phase};
use quorate_sim::check::calls::{Calls, Told};
use quorate_sim::check::grants::Grants;
use quorate_sim::check::i05_turns::{Turn, Turns};
use quorate_sim::check::i06_stale_acts::StaleActs;
use quorate_sim::check::i07_handoffs::Handoffs;
use quorate_sim::check::l01_runs_again::{BOUND, RunsAgain};
use quorate_sim::check::{Applied, Violation};
use quorate_sim::history::Moment;
use quorate_vocab::{Epoch, Index, Name, NodeId, SessionId};

const STOPPED: Evidence = Evidence::Stopped;

fn at(millis: u64) -> Moment {
    Moment { at: Duration::from_millis(millis), nth: 0 }
}

fn epoch(index: u64) -> Epoch {
    Epoch::new(0, Index(index)).unwrap()
}

fn till() -> Name {
    Name::new("till").unwrap()
}

fn granted(index: u64, node: u64) -> Effect {
    let (session, node) = (SessionId(node), NodeId(node));
    let grant = Grant { epoch: epoch(index), session, node, phase: Phase::Active, ready: false };
    Effect::Granted { name: till(), grant }
}

fn closed(index: u64, node: u64, evidence: Evidence) -> Effect {
    Effect::GrantClosed { name: till(), epoch: epoch(index), session: SessionId(node), evidence }
}

fn log(entries: &[(u64, Vec<Effect>)]) -> Grants {
    let mut grants = Grants::default();
    for (index, effects) in entries {
        let index = Index(*index);
        grants.applied(&Applied { node: "n1", life: 1, index, op: None, effects });
    }
    grants
}

/// Under 5 on the first node; from 9 on, in whose entry that was closed, on the second one.
fn moved() -> Grants {
    log(&[(5, vec![granted(5, 1)]), (9, vec![closed(5, 1, STOPPED), granted(9, 2)])])
}

fn turn(index: u64, node: u64, (begun, ended): (u64, u64)) -> Turn {
    Turn {
        name: till(),
        epoch: epoch(index),
        node: NodeId(node),
        life: (format!("n{node}"), 1),
        begun: at(begun),
        ended: at(ended),
        granted: true,
    }
}

fn turns(all: impl IntoIterator<Item = Turn>) -> Vec<Violation> {
    let mut turns = Turns::default();
    for turn in all {
        turns.begun(turn);
    }
    turns.finish(&moved())
}

fn broken(violations: &[Violation]) -> Vec<&str> {
    violations.iter().map(|violation| violation.invariant).collect()
}

#[test]
fn a_turn_begins_when_the_one_before_has_ended_and_not_earlier() {
    assert_eq!(turns([turn(5, 1, (0, 10)), turn(5, 1, (12, 20)), turn(9, 2, (21, 30))]), []);
    let overlaps = turns([turn(5, 1, (0, 22)), turn(9, 2, (21, 30))]);
    assert_eq!(broken(&overlaps), ["I3"]);
    // Two runs under one epoch are two, as well.
    assert_eq!(broken(&turns([turn(5, 1, (0, 13)), turn(5, 1, (12, 20))])), ["I3"]);
    // A short one that overlaps does not hide that the long one goes on.
    let hidden = turns([turn(5, 1, (0, 50)), turn(5, 1, (12, 20)), turn(9, 2, (21, 30))]);
    assert_eq!(broken(&hidden), ["I3", "I3"]);
}

#[test]
fn a_turn_that_ended_with_its_node_ended_then() {
    let mut turns = Turns::default();
    let lives = Turn { ended: Moment::NEVER, ..turn(5, 1, (0, 0)) };
    let id = turns.begun(lives.clone());
    assert!(turns.running(&till()).is_some());
    assert_eq!(turns.died(&lives.life, at(10)), 1);
    // What is dropped later was over before.
    turns.ended(id, at(40));
    assert!(turns.running(&till()).is_none());
    turns.begun(turn(9, 2, (11, 30)));
    assert_eq!(turns.finish(&moved()), []);
}

#[test]
fn an_older_epoch_does_not_begin_after_a_newer_one() {
    let back = turns([turn(9, 2, (0, 10)), turn(5, 1, (12, 20))]);
    assert_eq!(broken(&back), ["I1"]);
}

#[test]
fn a_turn_that_nobody_granted_is_found() {
    assert_eq!(broken(&turns([turn(7, 1, (0, 10))])), ["I5"]);
    assert_eq!(broken(&turns([turn(5, 2, (0, 10))])), ["I5"], "it is another node's");
    assert_eq!(broken(&turns([Turn { granted: false, ..turn(5, 1, (0, 10)) }])), ["I5"]);
}

#[test]
fn a_grant_is_made_where_the_one_before_is_closed_with_evidence() {
    assert_eq!(moved().finish(), []);
    let never = log(&[(5, vec![granted(5, 1)]), (9, vec![granted(9, 2)])]);
    assert_eq!(broken(&never.finish()), ["I5"]);
    let later = log(&[
        (5, vec![granted(5, 1)]),
        (9, vec![granted(9, 2)]),
        (11, vec![closed(5, 1, STOPPED)]),
    ]);
    assert_eq!(broken(&later.finish()), ["I5"]);
    let unproven =
        log(&[(5, vec![granted(5, 1)]), (9, vec![closed(5, 1, Evidence::Forced), granted(9, 2)])]);
    assert_eq!(broken(&unproven.finish()), ["I5"]);
    let two_owners = log(&[(5, vec![granted(5, 1)]), (5, vec![granted(5, 2)])]);
    assert_eq!(broken(&two_owners.finish()), ["I5"]);
}

#[test]
fn a_deed_under_an_epoch_that_is_over_is_found() {
    let done = |index, deed: u64| {
        let mut acts = StaleActs::default();
        acts.done(&till(), epoch(index), Index(deed), "a deed");
        acts.finish(&moved())
    };
    assert_eq!(done(5, 7), []);
    // What is said with the end of a turn is said under its epoch.
    assert_eq!(done(5, 9), []);
    assert_eq!(done(9, 12), []);
    assert_eq!(broken(&done(5, 10)), ["I6"]);
    assert_eq!(broken(&done(9, 7)), ["I6"], "it was not granted yet");
}

#[test]
fn what_was_saved_or_left_reaches_the_next_turn() {
    let handoff = |saved: u64, left: u64, next: u64, grants: &Grants| {
        let mut handoffs = Handoffs::default();
        handoffs.begun(&till(), epoch(5), 0, at(0));
        handoffs.saved(&till(), saved, at(5));
        handoffs.left(&till(), epoch(5), left);
        handoffs.begun(&till(), epoch(9), next, at(10));
        handoffs.saved(&till(), 90, at(15));
        handoffs.finish(grants)
    };
    assert_eq!(handoff(3, 4, 4, &moved()), []);
    assert_eq!(broken(&handoff(3, 0, 2, &moved())), ["I7"]);
    assert_eq!(broken(&handoff(0, 4, 3, &moved())), ["I7"]);
    // With the life of its owner goes what it left, and nobody acknowledged that.
    let expired = Evidence::Expired { term: 1 };
    let lost = log(&[(5, vec![granted(5, 1)]), (9, vec![closed(5, 1, expired), granted(9, 2)])]);
    assert_eq!(handoff(3, 4, 3, &lost), []);
    let mut told = Handoffs::default();
    told.begun(&till(), epoch(5), 0, at(0));
    told.left(&till(), epoch(5), 4);
    told.missed(&till(), epoch(9));
    told.begun(&till(), epoch(9), 0, at(10));
    assert_eq!(told.finish(&moved()), [], "it was told that it did not come");
}

#[test]
fn a_call_is_acted_on_as_its_caller_was_told() {
    let call = |acted: &[u64], told| {
        let mut calls = Calls::default();
        let number = calls.asked(&till());
        acted.iter().for_each(|index| calls.acted(number, epoch(*index)));
        calls.told(number, told);
        calls.finish()
    };
    let answered = Told::Answered(epoch(5));
    assert_eq!(call(&[5], answered), []);
    assert_eq!(call(&[], Told::NotSeen), []);
    assert_eq!(call(&[], Told::Maybe), []);
    assert_eq!(call(&[5], Told::Maybe), []);
    for (acted, told) in [
        (&[][..], answered),
        (&[9], answered),
        (&[5, 9], answered),
        (&[5], Told::NotSeen),
        (&[5, 9], Told::Maybe),
    ] {
        assert_eq!(broken(&call(acted, told)), ["calls"], "{acted:?} {told:?}");
    }
}

#[test]
fn who_does_not_run_within_the_bound_or_moves_without_a_cause_is_found() {
    let runs = |under: Option<u64>| BTreeMap::from([(till(), under.map(epoch))]);
    let watched = |looks: &[(Duration, Option<u64>)]| {
        let mut again = RunsAgain::default();
        again.whole(Duration::ZERO);
        for (at, under) in looks {
            again.saw(*at, runs(*under));
        }
        again.finish()
    };
    let (soon, second) = (Duration::from_secs(1), Duration::from_secs(2));
    assert_eq!(watched(&[(soon, None), (second, Some(5)), (BOUND, Some(5))]), []);
    assert_eq!(broken(&watched(&[(soon, None), (BOUND + soon, None)])), ["L1"]);
    assert_eq!(broken(&watched(&[(soon, Some(5)), (second, Some(9))])), ["L1"]);
    assert_eq!(broken(&watched(&[(soon, Some(5)), (second, None)])), ["L1"]);
}
