//! The simulator's own test: deliberate bugs in the product must be found, and nothing where there is none.
//!
//! Run it with `cargo test --release -p quorate-sim --features mutants --test mutants`.
#![cfg(feature = "mutants")]

use quorate_sim::sweep::{Case, sweep};
use quorate_sim::world::{Mutant, Plan};

const JOBS: usize = 2;

/// Which of some seeds find a bug, and that they do by the invariant that it breaks.
fn caught_by(invariant: &str, mutant: Mutant, seeds: std::ops::Range<u64>) -> Vec<u64> {
    let cases = seeds.map(|seed| {
        let mut case = Case::of_seed(seed, Some(3), Some(Plan::Everything));
        case.settings.mutant = Some(mutant);
        case
    });
    let total = sweep(cases, JOBS, |_, _| ());
    let mut found = Vec::new();
    for (case, outcome) in &total.failed {
        let mut violations = outcome.violations.iter();
        if let Some(violation) = violations.find(|violation| violation.invariant == invariant) {
            println!("{mutant:?}, seed {}: {violation}", case.settings.seed);
            found.push(case.settings.seed);
        }
    }
    found
}

#[test]
fn a_command_that_is_counted_twice_is_found_within_eight_seeds() {
    let found = caught_by("counts", Mutant::ForgetsMarks, 0..8);
    assert!(!found.is_empty(), "nobody noticed that something was counted twice");
}

#[test]
fn a_change_of_what_its_author_never_saw_is_found_within_three_seeds() {
    let found = caught_by("versions", Mutant::AmendsBlindly, 0..3);
    assert!(!found.is_empty(), "nobody noticed a change of another version than was expected");
}

#[test]
fn a_session_that_expires_early_is_found_within_eight_seeds() {
    let found = caught_by("I4", Mutant::ExpiresEarly, 0..8);
    assert!(!found.is_empty(), "nobody noticed that a promise of time was broken");
}

/// Which of some seeds find a bug.
fn caught(mutant: Option<Mutant>, seeds: std::ops::Range<u64>) -> Vec<u64> {
    let cases = seeds.map(|seed| {
        let mut case = Case::of_seed(seed, Some(3), Some(Plan::PowerCuts));
        case.settings.mutant = mutant;
        case
    });
    let total = sweep(cases, JOBS, |_, _| ());
    for (case, outcome) in total.failed.iter().take(3) {
        println!("{mutant:?}, seed {}: {}", case.settings.seed, outcome.violations[0]);
    }
    total.failed.iter().map(|(case, _)| case.settings.seed).collect()
}

#[test]
fn an_acknowledgement_before_the_sync_is_found_within_twelve_seeds() {
    let found = caught(Some(Mutant::AckBeforeSync), 0..12);
    assert!(!found.is_empty(), "nobody noticed that acknowledged entries are not durable");
    println!("found by {found:?}");
}

#[test]
fn a_leader_that_resumes_without_an_election_is_found_within_eight_seeds() {
    let found = caught(Some(Mutant::LeaderRestore), 0..8);
    assert!(!found.is_empty(), "nobody noticed a leader with an old state");
    println!("found by {found:?}");
}

#[test]
fn the_same_seeds_are_clean_without_a_bug() {
    assert_eq!(caught(None, 0..40), Vec::<u64>::new());
}
