//! The checkers of what is said under names, of counters and of properties pass what is right, and find what
//! is wrong.

use std::time::Duration;

use quorate_sim::check::Violation;
use quorate_sim::check::bearers::Bearers;
use quorate_sim::check::counts::Counts;
use quorate_sim::check::linear::versions::{Said, check};
use quorate_sim::check::linear::{self, Hints};
use quorate_sim::history::{Answer, Ask, Ending, Mark, Moment, Outcome, Record};
use quorate_vocab::{Epoch, Index, Name, SessionId};

fn at(millis: u64) -> Moment {
    Moment { at: Duration::from_millis(millis), nth: 0 }
}

fn epoch(index: u64) -> Epoch {
    Epoch::new(0, Index(index)).unwrap()
}

fn name() -> Name {
    Name::new("till").unwrap()
}

fn record(from: u64, to: u64, ask: Ask, outcome: Outcome) -> Record {
    Record {
        client: "c1".to_owned(),
        asked: "n1".to_owned(),
        name: name(),
        ask,
        invoked: at(from),
        returned: at(to),
        outcome,
    }
}

fn told(from: u64, to: u64, ask: Ask, answer: Answer) -> Record {
    record(from, to, ask, Outcome::Done(answer))
}

fn registers(from: u64, to: u64, index: u64, value: u64) -> Record {
    let ask = Ask::Register { value: Mark(value), session: None, replace: None };
    told(from, to, ask, Answer::Registered { epoch: epoch(index) })
}

fn amend(of: u64, expected: Option<u64>, value: u64) -> Ask {
    Ask::Amend { epoch: epoch(of), expected: expected.map(Index), value: Mark(value) }
}

fn amended(version: u64) -> Answer {
    Answer::Amended { version: Index(version) }
}

fn sees(from: u64, to: u64, version: u64, value: u64) -> Record {
    let (version, value) = (Index(version), Mark(value));
    told(from, to, Ask::Find, Answer::FoundAmended { epoch: epoch(5), version, value })
}

fn said(versions: &[(u64, u64)]) -> Said {
    versions.iter().map(|(version, value)| ((name(), Index(*version)), Mark(*value))).collect()
}

#[track_caller]
fn finds(violations: &[Violation], words: &str) {
    assert_eq!(violations.len(), 1, "{violations:?}");
    assert!(violations[0].what.contains(words), "{}", violations[0]);
}

#[test]
fn what_is_said_in_turn_is_legal_and_so_is_what_nobody_was_told_of() {
    let history = [
        registers(0, 1, 5, 1),
        told(2, 3, amend(5, Some(5), 2), amended(7)),
        sees(4, 5, 7, 2),
        told(4, 5, amend(5, Some(5), 3), Answer::Changed { present: Index(7) }),
        record(6, 7, amend(5, Some(7), 4), Outcome::Unknown),
        sees(8, 9, 9, 4),
        told(10, 11, Ask::Confirm { epoch: epoch(5), value: Mark(6) }, Answer::NotReserved),
    ];
    assert_eq!(check(&history, &said(&[(5, 1), (7, 2), (9, 4)])), []);
    // Nor does it disturb who holds the name.
    assert_eq!(linear::check(&history, &[], &Hints::new(), 1_000).violations, []);
}

#[test]
fn a_change_that_followed_another_version_than_it_expected_is_found() {
    let history = [
        registers(0, 1, 5, 1),
        told(2, 3, amend(5, None, 2), amended(7)),
        told(2, 9, amend(5, Some(5), 3), amended(8)),
    ];
    finds(&check(&history, &said(&[(5, 1), (7, 2), (8, 3)])), "was to follow 5 and followed 7");
}

#[test]
fn an_older_version_after_a_newer_one_is_found() {
    let history = [
        registers(0, 1, 5, 1),
        told(2, 3, amend(5, None, 2), amended(7)),
        told(4, 5, Ask::Find, Answer::Found(Some((epoch(5), Mark(1))))),
    ];
    finds(&check(&history, &said(&[(5, 1), (7, 2)])), "after 7");
}

#[test]
fn what_nobody_said_and_what_no_log_has_is_found() {
    let history = [registers(0, 1, 5, 1), sees(2, 3, 7, 9)];
    finds(&check(&history, &said(&[(5, 1)])), "nobody had asked");
    let history = [registers(0, 1, 5, 1), told(2, 3, amend(5, None, 2), amended(7))];
    finds(&check(&history, &said(&[(5, 1)])), "no log has it");
    let history = [registers(0, 1, 5, 1), told(2, 3, amend(5, None, 2), amended(7))];
    finds(&check(&history, &said(&[(5, 1), (7, 3)])), "says both");
}

#[test]
fn a_leased_name_ends_with_the_session_that_began_with_it() {
    let lease = told(0, 1, Ask::Lease { value: Mark(1) }, Answer::Registered { epoch: epoch(5) });
    let free = told(9, 10, Ask::Find, Answer::Found(None));
    let ended = Ending { session: SessionId(5), from: at(0), by: at(8) };
    let history = [lease, free];
    let judge = |endings: &[Ending]| {
        linear::check(&history, endings, &Hints::new(), 1_000).violations.len()
    };
    assert_eq!(judge(&[ended]), 0);
    assert_eq!(judge(&[]), 1, "nothing else can have freed it");
}

fn counts(look: impl FnOnce(&mut Counts)) -> Vec<Violation> {
    let mut counts = Counts::default();
    look(&mut counts);
    counts.finish()
}

#[test]
fn what_was_answered_is_counted_once_and_what_was_not_may_be() {
    let right = counts(|counts| {
        let (one, two) = (counts.asked(&name(), 3, at(0)), counts.asked(&name(), 4, at(2)));
        let _unknown = counts.asked(&name(), 5, at(1));
        counts.answered(&one, 3, at(1));
        counts.answered(&two, 12, at(3));
        counts.read(&name(), at(4), at(5), 12);
        counts.stands(&name(), 12);
    });
    assert_eq!(right, []);
}

#[test]
fn what_is_counted_twice_or_lost_is_found() {
    let twice = counts(|counts| {
        let one = counts.asked(&name(), 3, at(0));
        counts.answered(&one, 6, at(1));
    });
    finds(&twice, "unaccounted for");
    let refused = counts(|counts| {
        let (one, two) = (counts.asked(&name(), 3, at(0)), counts.asked(&name(), 4, at(0)));
        counts.not_done(&one);
        counts.answered(&two, 7, at(1));
    });
    finds(&refused, "unaccounted for");
    let lost = counts(|counts| {
        let one = counts.asked(&name(), 3, at(0));
        counts.answered(&one, 3, at(1));
        counts.stands(&name(), 0);
    });
    finds(&lost, "0 is in it");
    let stale = counts(|counts| {
        let one = counts.asked(&name(), 3, at(0));
        counts.answered(&one, 3, at(1));
        counts.read(&name(), at(2), at(3), 0);
    });
    finds(&stale, "after 3");
}

#[test]
fn a_bearer_finds_what_it_said_for_as_long_as_it_lives() {
    let (bearer, ended) = (SessionId(4), Ending { session: SessionId(4), from: at(0), by: at(8) });
    let mut right = Bearers::default();
    right.found(&name(), bearer, None, at(0));
    right.says(&name(), bearer, Some(Mark(1)));
    right.found(&name(), bearer, Some(Mark(1)), at(1));
    right.may_say(&name(), bearer, Some(Mark(2)));
    right.found(&name(), bearer, Some(Mark(2)), at(2));
    right.found(&name(), bearer, None, at(9));
    assert_eq!(right.finish(&[ended]), []);

    let mut gone = Bearers::default();
    gone.says(&name(), bearer, Some(Mark(1)));
    gone.found(&name(), bearer, None, at(7));
    finds(&gone.finish(&[ended]), "was gone");
    let mut old = Bearers::default();
    old.says(&name(), bearer, Some(Mark(1)));
    old.says(&name(), bearer, Some(Mark(2)));
    old.found(&name(), bearer, Some(Mark(1)), at(1));
    finds(&old.finish(&[]), "should be");
}
