//! The simulator's own test: deliberate bugs in the product must be found, and nothing where there is none.
//!
//! Run it with `cargo test --release -p quorate-sim --features mutants --test mutants`.
#![cfg(feature = "mutants")]

use quorate_sim::sweep::{Case, sweep};
use quorate_sim::world::{Mutant, Plan};

const JOBS: usize = 2;

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
