//! Requests that say who they are: what passes, what does not, and what a restart remembers.

use std::time::Duration;

use quorate_guard::{BarFile, Denied, KeepError, Problem, Unmarked, Verifier};

use crate::common::{epoch, token};

const NONE: [&str; 0] = [];

fn status(verifier: &Verifier, names: &[&str], epochs: &[&str]) -> u16 {
    match verifier.verify(names.iter().copied(), epochs.iter().copied()) {
        Ok(_) => 200,
        Err(denied) => denied.problem().status,
    }
}

/// A thing that takes each request which a check lets through. The old owner wakes up too late.
fn woken_too_late(check: impl Fn(&str) -> bool) -> Vec<&'static str> {
    let requests = [("17", "old"), ("18", "new"), ("17", "stale")];
    requests.into_iter().filter(|(epoch, _)| check(epoch)).map(|(_, text)| text).collect()
}

#[test]
fn a_stale_request_has_its_effect_where_nothing_compares() {
    assert_eq!(woken_too_late(|_| true), ["old", "new", "stale"], "this is what the check is for");
    let verifier = Verifier::forgetful(10, Unmarked::Refused);
    let check = |epoch: &str| verifier.verify(["billing"], [epoch]).is_ok();
    assert_eq!(woken_too_late(check), ["old", "new"]);
}

#[test]
fn a_request_without_both_headers_or_with_odd_ones_does_not_slip_through() {
    let strict = Verifier::forgetful(10, Unmarked::Refused);
    let lenient = Verifier::forgetful(10, Unmarked::Pass);
    assert_eq!(status(&strict, &NONE, &NONE), 428);
    assert_eq!(status(&lenient, &NONE, &NONE), 200);
    for verifier in [&strict, &lenient] {
        for (names, epochs) in [
            (&["a"][..], &NONE[..]),
            (&NONE, &["1"]),
            (&["a", "a"], &["1"]),
            (&["a"], &["1", "2"]),
            (&["a b"], &["1"]),
            (&[""], &["1"]),
            (&["a"], &[""]),
            (&["a"], &["+1"]),
            (&["a"], &["-1"]),
            (&["a"], &["1 "]),
            (&["a"], &["0x1"]),
            (&["a"], &["9007199254740992"]),
            (&["a"], &["99999999999999999999999999"]),
        ] {
            assert_eq!(status(verifier, names, epochs), 400, "{names:?} {epochs:?}");
        }
        assert_eq!(status(verifier, &["a"], &["9007199254740991"]), 200);
    }
    let bytes: [&[u8]; 1] = [b"\xff"];
    assert!(matches!(strict.verify(bytes, bytes), Err(Denied::BadMark(_))));
}

#[test]
fn a_verifier_remembers_across_restarts_and_forgets_nobody_for_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("epochs");
    let open = |floor| Verifier::remembering(&path, floor, 2, Unmarked::Refused);
    let verifier = open(None).unwrap();
    assert_eq!(status(&verifier, &["a"], &["18"]), 200);
    let second = BarFile::open(&path, 2, Duration::ZERO);
    assert!(matches!(second, Err(KeepError::Busy { .. })), "two guards would not see each other");
    drop(verifier);
    let verifier = open(Some(epoch(10))).unwrap();
    assert_eq!(status(&verifier, &["a"], &["17"]), 412);
    assert_eq!(status(&verifier, &["b"], &["9"]), 412);
    assert_eq!(status(&verifier, &["b"], &["10"]), 200);
    assert_eq!(status(&verifier, &["c"], &["11"]), 507);
    assert_eq!(status(&verifier, &["a"], &["18"]), 200);
}

#[test]
fn what_cannot_be_kept_does_not_pass_and_older_ones_still_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("epochs");
    let verifier = Verifier::remembering(&path, None, 2, Unmarked::Refused).unwrap();
    assert_eq!(status(&verifier, &["a"], &["17"]), 200);
    let in_the_way = dir.path().join(".epochs.quorate-tmp");
    std::fs::create_dir_all(in_the_way.join("x")).unwrap();
    assert_eq!(status(&verifier, &["a"], &["18"]), 503);
    assert_eq!(status(&verifier, &["a"], &["17"]), 200, "18 had no effect, so 17 is the newest");
    std::fs::remove_dir_all(in_the_way).unwrap();
    assert_eq!(status(&verifier, &["a"], &["18"]), 200);
    assert_eq!(status(&verifier, &["a"], &["17"]), 412);
}

#[test]
fn of_many_at_once_none_passes_behind_a_newer_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("epochs");
    let verifier = Verifier::remembering(&path, None, 2, Unmarked::Refused).unwrap();
    std::thread::scope(|scope| {
        for first in 1..=4_u64 {
            let verifier = &verifier;
            scope.spawn(move || {
                let mut passed = 0;
                for number in (first..100).step_by(4) {
                    // Once admitted, nothing older passes any more, for anybody.
                    if verifier.admit(&token("a", number)).is_ok() {
                        assert!(number >= passed);
                        passed = number;
                        let older = verifier.admit(&token("a", number - 1));
                        assert!(matches!(older, Err(Denied::Stale { .. })), "{older:?}");
                    }
                }
            });
        }
    });
    drop(verifier);
    let verifier = Verifier::remembering(&path, None, 2, Unmarked::Refused).unwrap();
    assert_eq!(status(&verifier, &["a"], &["98"]), 412, "99 was kept");
}

#[test]
fn a_refusal_is_a_problem_in_json() {
    let verifier = Verifier::forgetful(10, Unmarked::Refused);
    verifier.admit(&token("shop/till", 18)).unwrap();
    let problem = verifier.admit(&token("shop/till", 17)).unwrap_err().problem();
    assert_eq!((problem.status, problem.code, problem.outcome), (412, 601, "refused"));
    let json = problem.json();
    assert!(json.starts_with(r#"{"code":"Q0601","title":"#) && json.ends_with(r#""refused"}"#));
    let detail = r#""detail":"shop/till was seen under epoch 18, and this says 17""#;
    assert!(json.contains(detail), "{json}");
    assert_eq!(Problem::MEDIA_TYPE, "application/problem+json");
}
