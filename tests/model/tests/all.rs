//! The model holds within bounds that a gate has time for, and does not with any one rule left out.
//!
//! Each space is explored by one thread, as tests run beside each other; nothing here is about time, and
//! what is explored is the same each time.

use std::collections::BTreeSet;

use quorate_model::{Bounds, Mutant, Protocol};
use stateright::{Checker, HasDiscoveries, Model};

const TWO_RUN: &str = "I3 no two run at once";
const CLOSED_RUNS: &str = "I5 what is closed has ended";
const OVER_IS_HELD: &str = "I5 a session that is over has no valid lease";
const ANSWERED_ALONE: &str = "I8 a majority stands behind every answer";
const EPOCH_FELL: &str = "I1 epochs rise";

/// Nothing goes wrong: messages are late or lost, that is all.
const CALM: Bounds = Bounds {
    holders: 2,
    ttl: 6,
    budget: 0,
    elections: 0,
    crashes: 0,
    pauses: 0,
    moves: 0,
    entries: 1,
    asks: 1,
    remember: false,
    mutant: None,
};

/// A new leader counts on from what the voters remember. Whose session it ends does not matter to that.
const REMEMBERED: Bounds = Bounds { holders: 1, ttl: 9, elections: 1, remember: true, ..CALM };

/// Explores all, and fails unless every law holds and everything happens that is to happen.
#[track_caller]
fn holds(bounds: Bounds) {
    let checker = Protocol { bounds }.checker().spawn_bfs().join();
    assert!(checker.is_done());
    checker.assert_properties();
}

/// Explores until a law is broken, and says by how many steps.
#[track_caller]
fn breaks(mutant: Mutant, law: &'static str, bounds: &Bounds) {
    let protocol = Protocol { bounds: Bounds { mutant: Some(mutant), ..*bounds } };
    let found = HasDiscoveries::AnyOf(BTreeSet::from([law]));
    let checker = protocol.checker().finish_when(found).spawn_bfs().join();
    let path = checker.discovery(law);
    let path = path.unwrap_or_else(|| panic!("{mutant:?} keeps this law: {law}"));
    let (steps, states) = (path.into_actions().len(), checker.unique_state_count());
    println!("{mutant:?}: {law}: {steps} steps, {states} states");
}

#[test]
fn everything_holds_over_a_change_of_leaders() {
    holds(Bounds { elections: 1, ..CALM });
}

#[test]
fn everything_holds_where_a_new_leader_counts_on_from_what_voters_remember() {
    holds(Bounds { crashes: 1, ..REMEMBERED });
}

#[test]
fn everything_holds_where_a_leader_is_stopped_and_its_successor_counts_on() {
    holds(Bounds { pauses: 1, ..REMEMBERED });
}

#[test]
fn everything_holds_over_crashes_and_pauses() {
    holds(Bounds { crashes: 1, pauses: 1, ..CALM });
}

#[test]
fn everything_holds_while_the_singleton_moves_and_holders_come_back() {
    holds(Bounds { moves: 1, entries: 2, ..CALM });
}

#[test]
fn everything_holds_where_stopping_takes_time() {
    holds(Bounds { ttl: 9, budget: 3, pauses: 1, ..CALM });
}

#[test]
fn everything_holds_where_renews_overtake_each_other() {
    holds(Bounds { asks: 2, ..CALM });
}

#[test]
fn a_lease_that_counts_from_the_answer_outlives_its_session() {
    breaks(Mutant::CountsFromReceipt, TWO_RUN, &Bounds { ttl: 9, ..CALM });
}

#[test]
fn an_answer_without_a_round_keeps_alive_what_the_next_leader_ended() {
    breaks(Mutant::NoRound, OVER_IS_HELD, &Bounds { elections: 1, ..CALM });
}

#[test]
fn a_round_that_began_before_the_renew_came_proves_nothing() {
    breaks(Mutant::EarlyRound, ANSWERED_ALONE, &Bounds { elections: 1, ..CALM });
}

#[test]
fn without_a_guard_an_expiry_overtakes_the_fencer() {
    breaks(Mutant::NoGuard, CLOSED_RUNS, &Bounds { pauses: 1, ..CALM });
}

#[test]
fn without_the_drift_a_fast_leader_overtakes_a_slow_fencer() {
    breaks(Mutant::NoDrift, CLOSED_RUNS, &Bounds { pauses: 1, ..CALM });
}

#[test]
fn an_expiry_of_an_old_term_ends_what_the_new_leader_renewed() {
    breaks(Mutant::UnboundExpiry, OVER_IS_HELD, &Bounds { elections: 1, ..CALM });
}

#[test]
fn a_new_leader_that_does_not_wait_anew_ends_what_the_old_one_renewed() {
    breaks(Mutant::NoFreshStart, OVER_IS_HELD, &Bounds { elections: 1, ..CALM });
}

#[test]
fn a_leader_that_renews_what_it_condemned_ends_a_valid_lease() {
    // Only a first renew can come after the wait: whoever had a lease has lost it by then.
    breaks(Mutant::ForgetsCondemned, OVER_IS_HELD, &Bounds { crashes: 1, entries: 2, ..CALM });
}

#[test]
fn whoever_starts_before_the_owner_has_ended_is_the_second_one() {
    breaks(Mutant::EarlyStart, TWO_RUN, &Bounds { moves: 1, ..CALM });
}

#[test]
fn an_epoch_that_is_used_again_does_not_rise() {
    breaks(Mutant::EpochReused, EPOCH_FELL, &CALM);
}

#[test]
fn without_a_fencer_a_paused_owner_is_still_there_when_the_next_one_starts() {
    breaks(Mutant::NoFencer, TWO_RUN, &Bounds { pauses: 1, ..CALM });
}

#[test]
fn a_renew_that_no_majority_stored_is_over_too_early_for_the_next_leader() {
    breaks(Mutant::NotStored, OVER_IS_HELD, &REMEMBERED);
}

#[test]
fn a_renew_that_came_before_its_leader_counted_is_over_too_early() {
    breaks(Mutant::NotCounted, OVER_IS_HELD, &REMEMBERED);
}

#[test]
fn what_a_voter_stores_for_a_former_leader_the_present_one_was_not_told() {
    breaks(Mutant::ForgetsOffice, OVER_IS_HELD, &REMEMBERED);
}

#[test]
fn a_voter_that_started_anew_and_takes_all_for_long_silent_ends_what_was_renewed() {
    breaks(Mutant::RemembersNothing, OVER_IS_HELD, &Bounds { crashes: 1, ..REMEMBERED });
}
