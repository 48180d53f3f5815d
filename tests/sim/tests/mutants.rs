//! The simulator's own test: deliberate bugs in the product must be found, and nothing where there is none.
//!
//! Run it with `cargo test --release -p quorate-sim --features mutants --test mutants`.
#![cfg(feature = "mutants")]

use std::time::Duration;

use quorate::Bug;
use quorate_drill::nemesis::{Action, Planned};
use quorate_sim::shrink::shrink;
use quorate_sim::sweep::{Case, sweep};
use quorate_sim::world::{Mutant, Plan};

const JOBS: usize = 2;

/// Which of some seeds find a bug, and that they do by the invariant that it breaks.
fn caught_by(invariant: &str, mutant: Mutant, seeds: std::ops::Range<u64>) -> Vec<u64> {
    caught_in(invariant, mutant, seeds.map(|seed| world_of(seed, Plan::Everything, Some(mutant))))
}

/// Three nodes with that bug in them, or without.
fn world_of(seed: u64, plan: Plan, mutant: Option<Mutant>) -> Case {
    let mut case = Case::of_seed(seed, Some(3), Some(plan));
    case.settings.mutant = mutant;
    case
}

/// Which of these worlds find a bug by that invariant.
fn caught_in(
    invariant: &str,
    mutant: Mutant,
    cases: impl Iterator<Item = Case> + Send,
) -> Vec<u64> {
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
    let found = caught_by("counts", Mutant::Hall(Bug::ForgetsMarks), 0..8);
    assert!(!found.is_empty(), "nobody noticed that something was counted twice");
}

#[test]
fn a_change_of_what_its_author_never_saw_is_found_within_three_seeds() {
    let found = caught_by("versions", Mutant::Hall(Bug::AmendsBlindly), 0..3);
    assert!(!found.is_empty(), "nobody noticed a change of another version than was expected");
}

#[test]
fn a_follower_that_believes_to_be_as_young_as_what_it_hears_is_found_within_three_seeds() {
    let found = caught_by("I13", Mutant::YoungByAppend, 0..3);
    assert!(!found.is_empty(), "nobody noticed that a state was older than it said");
}

#[test]
fn a_session_that_expires_early_is_found_within_eight_seeds() {
    let found = caught_by("I4", Mutant::Hall(Bug::ExpiresEarly), 0..8);
    assert!(!found.is_empty(), "nobody noticed that a promise of time was broken");
}

#[test]
fn a_voter_that_forgets_what_it_said_it_would_remember_is_found() {
    let found = caught_by("I3", Mutant::Hall(Bug::ForgetsRenewals), 0..40);
    assert!(!found.is_empty(), "nobody noticed that a new leader counted from too early a time");
}

#[test]
fn a_lease_that_is_counted_from_the_answer_is_found() {
    let mutant = Mutant::Hall(Bug::CountsFromReceipt);
    let cases = (0..32).map(|seed| {
        let mut case = world_of(seed, Plan::Everything, Some(mutant));
        let plans = (0..6).map(|nth| answered_late_and_then_cut(seed + nth));
        case.settings.plans = Some(plans.collect());
        case
    });
    let found = caught_in("I3", mutant, cases);
    assert!(!found.is_empty(), "nobody noticed that a lease was counted from too late a time");
}

/// What it takes to see that: answers come late, as late as they may, and from some time on nobody is asked
/// any more, though the last answer still comes.
fn answered_late_and_then_cut(nth: u64) -> Planned {
    let hosts = ["n1", "n2", "n3"].map(str::to_owned);
    let [to, others @ ..] = [0, 1, 2].map(|next| hosts[(nth as usize + next) % 3].clone());
    let each =
        |act: &dyn Fn(String, String) -> Action| others.clone().map(|from| act(from, to.clone()));
    let slow = |extra| each(&move |from, to| Action::Slow { from, to, extra });
    let wait = |ms| Action::Wait(Duration::from_millis(ms));
    let actions = [
        slow(Duration::from_millis(220 + nth % 6 * 30)).to_vec(),
        vec![wait(1_500 + nth * 130)],
        each(&|from, to| Action::Cut { from: to, to: from }).to_vec(),
        vec![wait(4_500)],
        each(&|from, to| Action::Heal { from: to, to: from }).to_vec(),
        slow(Duration::ZERO).to_vec(),
        vec![wait(3_000)],
    ];
    Planned { at: Duration::ZERO, actions: actions.concat() }
}

#[test]
fn a_node_that_ends_nothing_when_it_loses_its_lease_is_found_within_eight_seeds() {
    let found = caught_by("I3", Mutant::Hall(Bug::NeverFences), 0..8);
    assert!(!found.is_empty(), "nobody noticed that turns outlived the lease");
}

#[test]
fn a_turn_that_begins_without_a_lease_is_found_within_eight_seeds() {
    let found = caught_by("I3", Mutant::Hall(Bug::BeginsWithoutLease), 0..8);
    assert!(!found.is_empty(), "nobody noticed that a turn began without a lease");
}

#[test]
fn a_grant_that_comes_before_the_last_one_is_over_is_found_within_eight_seeds() {
    let found = caught_by("I3", Mutant::Hall(Bug::ExpiresEarly), 0..8);
    assert!(!found.is_empty(), "nobody noticed that two had a singleton");
}

#[test]
fn a_state_that_is_not_handed_on_is_found_within_three_seeds() {
    let found = caught_by("I7", Mutant::Hall(Bug::ForgetsState), 0..3);
    assert!(!found.is_empty(), "nobody noticed that a count went back");
}

#[test]
fn a_call_that_is_put_twice_is_found_within_eight_seeds() {
    let found = caught_by("calls", Mutant::Hall(Bug::RepeatsCalls), 0..8);
    assert!(!found.is_empty(), "nobody noticed that a call was acted on twice");
}

/// Which of some seeds find a bug.
fn caught(mutant: Option<Mutant>, seeds: std::ops::Range<u64>) -> Vec<u64> {
    let cases = seeds.map(|seed| world_of(seed, Plan::PowerCuts, mutant));
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

#[test]
fn what_it_takes_to_find_a_bug_is_shrunk_to_little_and_finds_it_again() {
    let bug = Mutant::Hall(Bug::NeverFences);
    let found = caught_by("I3", bug, 0..8);
    let settings = world_of(found[0], Plan::Everything, Some(bug)).settings;
    let shrunk = shrink(&settings).expect("it fails, and fails when it is told");
    println!("{shrunk}");
    let left = shrunk.settings.plans.as_ref().expect("it is told").len();
    assert!(left * 2 < shrunk.before, "{left} of {}", shrunk.before);
    let again = quorate_sim::world::run(shrunk.settings.clone());
    assert_eq!(again.violations, shrunk.outcome.violations, "what is left repeats itself");
    let without = quorate_sim::world::run(quorate_sim::world::Settings {
        mutant: None,
        ..shrunk.settings.clone()
    });
    assert_eq!(without.violations, [], "nothing is wrong without the bug");
}
