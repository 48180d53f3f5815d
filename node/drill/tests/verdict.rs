//! A verdict passes what went well, and each of its checks fails what it is there to fail.

use std::time::Duration;

use quorate_drill::history::{Answer, Ask, Mark, Moment, Outcome, Record};
use quorate_drill::story::{Call, Done, End, Letters, Replicas, Stale, Story, Turn};
use quorate_drill::verdict::judge;
use quorate_vocab::{Epoch, Name};

fn turn(epoch: u64, node: &str, from: f64, until: f64) -> Turn {
    Turn { name: "one".to_owned(), epoch, node: node.to_owned(), from, until }
}

fn done(from: f64, until: f64, calm: Option<f64>, quorum: bool) -> Done {
    let (deed, what, on) = ("cut".to_owned(), "n1 cut off".to_owned(), vec!["n1".to_owned()]);
    Done { deed, what, on, from, until, calm, quorum }
}

fn call(end: End) -> Call {
    let word = || "word".to_owned();
    Call { client: word(), node: word(), what: word(), answer: word(), end, from: 1.0, until: 2.0 }
}

fn find(at: u64, found: Option<(u64, u64)>) -> Record {
    let found = found.map(|(epoch, value)| (Epoch::from_shown(epoch).unwrap(), Mark(value)));
    record(at, Ask::Find, Answer::Found(found))
}

fn register(at: u64, value: u64, epoch: u64) -> Record {
    let ask = Ask::Register { value: Mark(value), session: None, replace: None };
    record(at, ask, Answer::Registered { epoch: Epoch::from_shown(epoch).unwrap() })
}

fn record(at: u64, ask: Ask, answer: Answer) -> Record {
    let moment = |ms| Moment { at: Duration::from_millis(ms), nth: ms };
    Record {
        client: "c1".to_owned(),
        asked: "n1".to_owned(),
        name: Name::new("till").unwrap(),
        ask,
        invoked: moment(at),
        returned: moment(at + 1),
        outcome: Outcome::Done(answer),
    }
}

/// n1 is cut off for five seconds, and n2 takes over after two.
fn well() -> (Story, Vec<Record>) {
    let story = Story {
        bound_ms: 6_000,
        took_ms: 10_000.0,
        done: vec![done(1_000.0, 6_000.0, Some(6_500.0), true)],
        turns: vec![turn(5, "n1", 0.0, 2_600.0), turn(9, "n2", 3_100.0, 10_000.0)],
        calls: vec![call(End::Done), call(End::Unknown)],
        replicas: Some(Replicas { index: Some(40), parties: vec![vec!["n1".to_owned()]] }),
        letters: Some(Letters { arrived: 7, ..Letters::default() }),
        stale: vec![Stale { at: 7_000.0, name: "one".to_owned(), epoch: 5, refused: Some(true) }],
        ..Story::default()
    };
    (story, vec![register(10, 7, 5), find(20, Some((5, 7)))])
}

/// Which checks do not pass.
fn failed((story, records): &(Story, Vec<Record>)) -> Vec<String> {
    let checks = judge(story, records).into_iter();
    checks.filter(|check| !check.passed).map(|check| check.what).collect()
}

fn but(change: impl FnOnce(&mut Story, &mut Vec<Record>)) -> Vec<String> {
    let (mut story, mut records) = well();
    change(&mut story, &mut records);
    failed(&(story, records))
}

#[test]
fn what_went_well_passes() {
    assert_eq!(failed(&well()), [""; 0]);
}

#[test]
fn each_check_fails_what_it_is_there_to_fail() {
    let two_lived = but(|story, _| story.wrongs.push("one: two lived".to_owned()));
    assert_eq!(two_lived, ["one owner at a time"]);
    assert_eq!(but(|story, _| story.turns[1].from = 8_700.0), ["gap"]);
    assert_eq!(but(|story, _| story.done[0].calm = None), ["calm afterwards"]);
    assert_eq!(but(|story, _| story.done[0].calm = Some(12_001.0)), ["calm afterwards"]);
    assert_eq!(but(|_, records| records.push(find(30, None))), ["names"], "it was lost");
    let mail = |change: fn(&mut Letters)| {
        but(|story, _| story.letters.as_mut().into_iter().for_each(change))
    };
    let overtaken = mail(|mail| mail.wrongs.push("one overtook another".to_owned()));
    assert_eq!(overtaken, ["letters"]);
    assert_eq!(mail(|mail| mail.silent.push("n1 to n2".to_owned())), ["letters"]);
    assert_eq!(mail(|mail| mail.arrived = 0), ["letters"]);
    let apart = |parties: &[&str], index| {
        let parties = parties.iter().map(|&one| vec![one.to_owned()]).collect();
        but(move |story, _| story.replicas = Some(Replicas { index, parties }))
    };
    assert_eq!(apart(&["n1", "n3"], Some(40)), ["replicas"]);
    assert_eq!(apart(&[], None), ["replicas"]);
    assert_eq!(but(|story, _| story.replicas = None), [""; 0], "nobody looked");
    assert_eq!(but(|story, _| story.stale[0].refused = Some(false)), ["late writes"]);
}

#[test]
fn a_drill_that_saw_nothing_does_not_pass() {
    assert_eq!(but(|story, _| story.turns.clear()), ["one owner at a time"]);
    assert_eq!(but(|_, records| records.clear()), ["names"]);
    assert_eq!(but(|story, _| story.done.clear()), ["calm afterwards"]);
    assert_eq!(but(|story, _| story.calls.clear()), ["calls"]);
    let unanswered =
        but(|story, _| story.calls.iter_mut().for_each(|call| call.end = End::Unknown));
    assert_eq!(unanswered, ["calls"]);
}

#[test]
fn what_no_protocol_can_do_is_not_asked_for() {
    // Nobody had a majority for ten seconds, and it runs again three seconds later.
    let long = |quorum| {
        but(move |story, _| {
            story.done = vec![done(1_000.0, 11_000.0, Some(14_000.0), quorum)];
            story.turns = vec![turn(5, "n1", 0.0, 2_600.0), turn(9, "n2", 14_000.0, 20_000.0)];
        })
    };
    assert_eq!(long(false), [""; 0]);
    assert_eq!(long(true), ["gap"]);
}
