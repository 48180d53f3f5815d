//! Round trips, and clocks that differ.

use std::time::Duration;

use proptest::prelude::*;
use quorate_env::Wall;
use quorate_mesh::span::{Absurd, Offset, Sample, Span};
use quorate_vocab::Time;

const BEGIN: u64 = 1_000_000_000_000_000;
const WALL: u64 = 1_767_225_600_000_000_000;
const MILLI: u64 = 1_000_000;

/// Two nodes in true time, which both walls show but for what the peer's is wrong by.
#[derive(Clone, Copy)]
struct Two {
    peer_ahead: i64,
    /// In parts per million, how much faster than true time the peer's wall runs.
    peer_fast_ppm: i64,
}

impl Two {
    fn ahead(peer_ahead: i64) -> Self {
        Self { peer_ahead, peer_fast_ppm: 0 }
    }

    fn peer(self, at: u64) -> Wall {
        let drifted = i128::from(at - BEGIN) * i128::from(self.peer_fast_ppm) / 1_000_000;
        let shown = WALL.saturating_add(at - BEGIN).saturating_add_signed(self.peer_ahead);
        Wall(shown.saturating_add_signed(drifted as i64))
    }

    fn sample(self, at: u64, there: u64, held: u64, back: u64) -> Sample {
        Sample {
            asked: Time(at),
            heard: self.peer(at + there),
            answered: self.peer(at + there + held),
            returned: Time(at + there + held + back),
        }
    }

    /// What is read at a moment, and what is true then.
    fn read(self, span: &Span, at: u64) -> (Offset, i64) {
        let wall = Wall(WALL + (at - BEGIN));
        (span.offset(Time(at), wall).unwrap(), self.peer(at).ahead_of(wall))
    }
}

fn within(offset: Offset, truth: i64) -> bool {
    u128::from(offset.nanos.abs_diff(truth)) <= offset.error.as_nanos()
}

#[test]
fn a_round_trip_that_takes_as_long_as_a_packet_that_is_sent_again_is_a_sign_of_loss() {
    let (two, mut span) = (Two::ahead(0), Span::new());
    // However far away the peer is, and however it jitters by less.
    for (nth, back) in [40, 60, 90, 239, 240, 41, 900, 10].into_iter().enumerate() {
        let at = BEGIN + nth as u64 * 5_000 * MILLI;
        span.sample(two.sample(at, 40 * MILLI, 0, back * MILLI)).unwrap();
    }
    assert_eq!(span.late(), 2);
}

#[test]
fn the_best_of_eight_samples_counts_and_the_ninth_forgets_it() {
    let (two, mut span) = (Two::ahead(-3 * MILLI as i64), Span::new());
    span.sample(two.sample(BEGIN, MILLI, 0, MILLI)).unwrap();
    for nth in 1..8 {
        span.sample(two.sample(BEGIN + nth * 1000, 90 * MILLI, 5, 10 * MILLI)).unwrap();
        span.check();
    }
    let (offset, truth) = two.read(&span, BEGIN + 100 * MILLI);
    assert_eq!((offset.nanos, truth), (-3 * MILLI as i64, -3 * MILLI as i64));
    assert!(offset.error < Duration::from_millis(2), "{offset}");
    span.sample(two.sample(BEGIN + 8000, 90 * MILLI, 0, 10 * MILLI)).unwrap();
    let (offset, truth) = two.read(&span, BEGIN + 200 * MILLI);
    assert!(offset.error > Duration::from_millis(50) && within(offset, truth), "{offset}");
}

#[test]
fn what_a_clock_drifts_while_the_peer_holds_the_question_is_part_of_the_error() {
    let (two, mut span) = (Two { peer_ahead: 0, peer_fast_ppm: 500 }, Span::new());
    // The worst there is: as fast as assumed, all of the way back, and read at once.
    span.sample(two.sample(BEGIN, 0, 1000 * MILLI, 10 * MILLI)).unwrap();
    let (offset, truth) = two.read(&span, BEGIN + 1010 * MILLI);
    assert!(within(offset, truth), "{offset}, and {truth} is true");
}

#[test]
fn a_clock_that_merely_drifts_does_not_contradict_its_earlier_samples() {
    let (two, mut span) = (Two { peer_ahead: 0, peer_fast_ppm: -400 }, Span::new());
    span.sample(two.sample(BEGIN, 2 * MILLI, 0, 0)).unwrap();
    span.sample(two.sample(BEGIN + 1000 * MILLI, 0, 0, 10 * MILLI)).unwrap();
    span.check();
    let (offset, truth) = two.read(&span, BEGIN + 1010 * MILLI);
    assert!(within(offset, truth), "{offset}, and {truth} is true");
    assert!(offset.error < Duration::from_millis(2), "the first is still the best: {offset}");
}

#[test]
fn round_trips_have_their_shortest_their_middle_and_their_tail_and_old_ones_are_forgotten() {
    let (two, mut span) = (Two::ahead(0), Span::new());
    assert!(span.round_trips().is_none() && span.offset(Time(0), Wall(0)).is_none());
    let times = (1..=128).rev();
    for (nth, millis) in (0..).zip(times) {
        // What the peer holds is no part of the way.
        let sample = two.sample(BEGIN + nth * MILLI, 0, 7 * MILLI, millis * MILLI);
        span.sample(sample).unwrap();
    }
    let trips = span.round_trips().unwrap();
    assert_eq!([trips.min, trips.p50, trips.p99], [1, 64, 127].map(Duration::from_millis));
    assert_eq!(trips.count, 128);
    for nth in 0..1000 {
        span.sample(two.sample(BEGIN + (nth + 200) * MILLI, MILLI, 0, MILLI)).unwrap();
        span.check();
    }
    let trips = span.round_trips().unwrap();
    assert_eq!([trips.min, trips.p50, trips.p99], [2, 2, 2].map(Duration::from_millis));
}

#[test]
fn a_peer_that_sets_its_clock_is_believed_at_once() {
    let (before, after, mut span) = (Two::ahead(0), Two::ahead(3_600_000_000_000), Span::new());
    for nth in 0..8 {
        span.sample(before.sample(BEGIN + nth * MILLI, MILLI, 0, MILLI)).unwrap();
    }
    span.sample(after.sample(BEGIN + 500 * MILLI, 20 * MILLI, 0, MILLI)).unwrap();
    span.check();
    let (offset, truth) = after.read(&span, BEGIN + 600 * MILLI);
    assert!(within(offset, truth), "{offset} is not {truth}");
}

#[test]
fn an_own_clock_that_is_set_changes_the_offset_by_as_much_and_spoils_no_round_trip() {
    let (two, mut span) = (Two::ahead(0), Span::new());
    span.sample(two.sample(BEGIN, MILLI, 0, MILLI)).unwrap();
    let now = Time(BEGIN + 10 * MILLI);
    let offset = span.offset(now, Wall(WALL + 10 * MILLI - 3_600_000 * MILLI)).unwrap();
    assert_eq!(offset.nanos, 3_600_000 * MILLI as i64);
    assert_eq!(span.round_trips().unwrap().min, Duration::from_millis(2));
}

#[test]
fn a_sample_that_cannot_be_is_refused_and_counted_and_changes_nothing() {
    let (two, mut span) = (Two::ahead(0), Span::new());
    let good = two.sample(BEGIN, MILLI, MILLI, MILLI);
    span.sample(good).unwrap();
    let before = span.offset(Time(BEGIN), Wall(WALL));
    let absurd = [
        (Sample { returned: Time(BEGIN - 1), ..good }, Absurd::Reversed),
        (Sample { answered: Wall(0), ..good }, Absurd::Early),
        (Sample { answered: Wall(u64::MAX), ..good }, Absurd::Held),
        (Sample { heard: Wall(0), answered: Wall(u64::MAX), ..good }, Absurd::Held),
    ];
    for (sample, why) in absurd {
        assert_eq!(span.sample(sample), Err(why));
    }
    assert_eq!((span.refused(), span.offset(Time(BEGIN), Wall(WALL))), (4, before));
}

#[test]
fn stamps_at_the_ends_of_time_saturate() {
    let mut span = Span::new();
    let far = Sample {
        asked: Time(0),
        heard: Wall(u64::MAX),
        answered: Wall(u64::MAX),
        returned: Time(u64::MAX),
    };
    span.sample(far).unwrap();
    span.check();
    let offset = span.offset(Time(u64::MAX), Wall(0)).unwrap();
    assert_eq!(offset.nanos, i64::MAX);
    assert!(!offset.to_string().is_empty());
    span.sample(Sample { heard: Wall(0), answered: Wall(0), asked: Time(u64::MAX), ..far })
        .unwrap();
    span.check();
    assert_eq!(span.offset(Time(u64::MAX), Wall(u64::MAX)).unwrap().nanos, i64::MIN);
}

#[test]
fn an_offset_is_shown_with_its_sign_and_its_error() {
    let offset = Offset { nanos: -1_500_000, error: Duration::from_micros(250) };
    assert_eq!(offset.to_string(), "-1.500 ms ± 0.250 ms");
    let near = Offset { nanos: -1_200_000, error: Duration::from_micros(50) };
    let apart = Offset { nanos: -1_199_999, ..near };
    assert!(offset.agrees_with(near) && !offset.agrees_with(apart));
}

proptest! {
    #[test]
    fn equal_ways_there_and_back_give_the_very_offset(
        peer_ahead in -1_000_000_000_000_i64..1_000_000_000_000,
        way in 0_u64..1_000_000_000,
        held in 0_u64..1_000_000_000,
    ) {
        let (two, mut span) = (Two::ahead(peer_ahead), Span::new());
        span.sample(two.sample(BEGIN, way, held, way)).unwrap();
        let (offset, truth) = two.read(&span, BEGIN + 2 * way + held);
        prop_assert_eq!(offset.nanos, truth);
        prop_assert_eq!(span.round_trips().unwrap().min, Duration::from_nanos(2 * way));
    }

    #[test]
    fn however_unequal_the_ways_the_truth_is_within_the_error_and_half_the_round_trip(
        peer_ahead in any::<i32>(),
        ways in prop::collection::vec((0_u64..500_000_000, 0_u64..50_000_000, 0_u64..500_000_000), 1..40),
    ) {
        let (two, mut span) = (Two::ahead(i64::from(peer_ahead)), Span::new());
        let mut at = BEGIN;
        for (there, held, back) in ways {
            span.sample(two.sample(at, there, held, back)).unwrap();
            span.check();
            at += there + held + back;
            let (offset, truth) = two.read(&span, at);
            prop_assert!(within(offset, truth), "{offset}, and {truth} is true");
            // 8 samples of at most 1.05 s at 500 ppm, and what rounding takes.
            let half = Duration::from_nanos((there + back).div_ceil(2) + 8 * 525_000 + 2);
            prop_assert!(offset.error <= half, "{offset}, half a trip is {half:?}");
        }
    }

    #[test]
    fn a_peer_whose_clock_drifts_is_within_the_error_as_long_as_it_is_asked_nothing_for(
        peer_fast_ppm in -499_i64..=499,
        ways in prop::collection::vec((0_u64..500_000_000, 0_u64..2_000_000_000, 0_u64..500_000_000), 1..20),
        silence in 0_u64..100_000_000_000_000,
    ) {
        let (two, mut span) = (Two { peer_ahead: 0, peer_fast_ppm }, Span::new());
        let mut at = BEGIN;
        for (there, held, back) in ways {
            // A clock that runs fast may have held a question for longer than the trip took.
            if span.sample(two.sample(at, there, held, back)).is_err() {
                prop_assert!(peer_fast_ppm > 0 && there + back < held / 2000 + 2);
            }
            span.check();
            at += there + held + back;
        }
        let at = at + silence;
        if span.round_trips().is_some() {
            let (offset, truth) = two.read(&span, at);
            prop_assert!(within(offset, truth), "{offset}, and {truth} is true");
        }
    }

    #[test]
    fn no_stamps_of_a_peer_break_anything(
        stamps in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 0..40),
        now in any::<u64>(),
        wall in any::<u64>(),
    ) {
        let mut span = Span::new();
        let mut taken = 0;
        for (asked, heard, answered, returned) in &stamps {
            let sample = Sample {
                asked: Time(*asked),
                heard: Wall(*heard),
                answered: Wall(*answered),
                returned: Time(*returned),
            };
            taken += u64::from(span.sample(sample).is_ok());
            span.check();
        }
        prop_assert_eq!(taken + span.refused(), stamps.len() as u64);
        let shown = span.offset(Time(now), Wall(wall));
        prop_assert_eq!(shown.is_some(), taken > 0);
        prop_assert_eq!(span.round_trips().is_some(), taken > 0);
    }
}
