//! Each target takes what the encoders make, and stands a bounded number of hostile inputs.

use std::sync::atomic::AtomicU64;

use quorate_fuzz::targets::{Frames, Handshakes, Journals, Snapshots, Wire, all};
use quorate_fuzz::{Plan, Target, Until, fuzz};

#[test]
fn every_valid_input_is_accepted_and_is_the_sum_of_its_parts() {
    for target in all() {
        for (at, valid) in target.corpus().iter().enumerate() {
            let name = target.name();
            assert!(target.run(valid), "{name}: number {at} of the corpus is refused");
            let again = target.assemble(&target.parts(valid));
            assert!(
                again == *valid,
                "{name}: number {at} of the corpus is not the sum of its parts"
            );
        }
    }
}

#[test]
fn frames_and_handshakes_stand_hostile_streams() {
    stands(&Frames::new(), 12_000);
}

#[test]
fn both_sides_of_a_handshake_stand_hostile_strangers() {
    stands(&Handshakes::new(), 20_000);
}

#[test]
fn snapshots_and_rows_stand_hostile_states() {
    stands(&Snapshots::new(), 6_000);
}

#[test]
fn the_raft_wire_stands_hostile_items() {
    stands(&Wire::new(), 100_000);
}

#[test]
fn the_journal_stands_damaged_and_forged_segments() {
    stands(&Journals::new(), 4_000);
}

/// So many runs as take about two seconds in a build without optimization. Some inputs must get through and
/// some must not, or the mutations are too harsh or too mild to say anything.
fn stands(target: &dyn Target, runs: u64) {
    let plan = Plan { seed: 1, from: 0, until: Until::Runs(runs) };
    let report = fuzz(target, plan, &AtomicU64::new(0));
    let report = report.unwrap_or_else(|found| panic!("{}\nagain: {}", found.what, found.line()));
    assert_eq!(report.runs, runs);
    let accepted = report.accepted as f64 / runs as f64;
    assert!((0.01..0.9).contains(&accepted), "{:.1} % were accepted", 100.0 * accepted);
    println!("{}: {report:?}", target.name());
}
