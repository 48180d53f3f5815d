//! Whose clock is off, and when that cannot be told.

use std::time::Duration;

use proptest::prelude::*;
use quorate_mesh::clocks::{Clocks, Opinion, Reading};
use quorate_mesh::span::Offset;
use quorate_vocab::NodeId;

const TOLERANCE: Duration = Duration::from_millis(100);
const OWN: NodeId = NodeId(1);

fn reading(node: u64, offset: Option<Offset>) -> Reading {
    Reading { node: NodeId(node), offset, round_trips: None }
}

/// The own node is 1; the peers are 2, 3 and so on, ahead of it by so many milliseconds, give or take one.
fn compare(peers: &[i64]) -> Clocks {
    let offset = |millis| Offset { nanos: millis * 1_000_000, error: Duration::from_millis(1) };
    let readings = (2..).zip(peers).map(|(node, millis)| reading(node, Some(offset(*millis))));
    Clocks::compare(OWN, readings, TOLERANCE)
}

fn opinions(clocks: &Clocks) -> String {
    let letter = |opinion| match opinion {
        Opinion::Unsure => '?',
        Opinion::Agrees => '=',
        Opinion::Off => '!',
    };
    clocks.iter().map(|clock| letter(clock.opinion)).collect()
}

#[test]
fn the_one_that_is_off_is_named_wherever_it_is_looked_at_from() {
    let clocks = compare(&[1, 400, -2]);
    assert_eq!((opinions(&clocks).as_str(), clocks.off()), ("==!=", 1));
    let own = compare(&[400, 401, 399]);
    assert_eq!(opinions(&own), "!===");
    let skew = own.own().skew.unwrap();
    assert_eq!((skew.nanos, skew.error), (-399_500_000, Duration::from_millis(1)));
}

#[test]
fn of_two_clocks_that_differ_nobody_says_which_one_is_wrong() {
    assert_eq!(opinions(&compare(&[400])), "??");
    assert_eq!(opinions(&compare(&[20])), "==");
    assert_eq!(opinions(&compare(&[])), "?", "and one alone is no evidence");
}

#[test]
fn clocks_without_a_majority_that_agrees_convict_nobody() {
    assert_eq!(opinions(&compare(&[0, 10_000, 10_000])), "????");
    assert_eq!(opinions(&compare(&[5_000, 10_000])), "???");
}

#[test]
fn what_is_within_its_error_of_the_tolerance_cannot_be_told() {
    assert_eq!(opinions(&compare(&[0, 0, 98])), "====");
    assert_eq!(opinions(&compare(&[0, 0, 100])), "===?");
    assert_eq!(opinions(&compare(&[0, 0, 103])), "===!");
    let readings = [reading(2, None), reading(3, None), reading(4, Some(Offset::default()))];
    let clocks = Clocks::compare(OWN, readings, TOLERANCE);
    assert_eq!(opinions(&clocks), "=??=", "a clock that nobody has read");
}

#[test]
fn a_peer_that_claims_to_be_this_node_and_the_ends_of_time_change_nothing() {
    let error = Duration::MAX;
    let wild = [i64::MIN, i64::MAX, i64::MIN, i64::MAX].map(|nanos| Some(Offset { nanos, error }));
    let readings = (1..).zip(wild).map(|(node, offset)| reading(node, offset));
    let clocks = Clocks::compare(OWN, readings, Duration::MAX);
    assert_eq!(
        opinions(&clocks),
        "????".replace('?', "="),
        "all is within a tolerance of all time"
    );
    assert_eq!(clocks.iter().count(), 4);
    let clocks = Clocks::compare(OWN, [reading(1, wild[0])], TOLERANCE);
    assert_eq!(clocks.own().skew.unwrap().nanos, 0);
}

proptest! {
    #[test]
    fn a_minority_of_liars_moves_no_right_clock_out_of_the_tolerance(
        right in prop::collection::vec(-20_000_000_i64..=20_000_000, 2..8),
        lies in prop::collection::vec(any::<i64>(), 0..8),
    ) {
        // The own clock is right, too.
        let lies = &lies[..lies.len().min(right.len())];
        let error = Duration::from_millis(1);
        let offsets = right.iter().chain(lies).map(|nanos| Some(Offset { nanos: *nanos, error }));
        let readings = (2..).zip(offsets).map(|(node, offset)| reading(node, offset));
        let clocks = Clocks::compare(OWN, readings, TOLERANCE);
        prop_assert_eq!(clocks.own().opinion, Opinion::Agrees);
        for clock in clocks.iter().take(1 + right.len()) {
            prop_assert_eq!(clock.opinion, Opinion::Agrees);
        }
        for (clock, lie) in clocks.iter().skip(1 + right.len()).zip(lies) {
            if lie.unsigned_abs() > 200_000_000 {
                prop_assert_eq!(clock.opinion, Opinion::Off);
            }
        }
    }
}
