//! Never more than the rate, and never less than was promised.

use std::time::Duration;

use proptest::prelude::*;
use quorate_mesh::bucket::{Bucket, Rate};
use quorate_vocab::Time;

const BEGIN: Time = Time(1_000_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
/// In parts of a token, of which a rate of one pours one in a nanosecond.
const TOKEN: u128 = 1_000_000_000;

fn bucket(per_second: u64, burst: u64) -> Bucket {
    Bucket::new(Rate { per_second, burst }, BEGIN)
}

#[test]
fn a_burst_passes_at_once_and_what_follows_waits_for_the_rate() {
    let mut bucket = bucket(10, 5);
    assert_eq!(bucket.take(BEGIN, 5), Ok(()));
    assert_eq!(bucket.take(BEGIN, 1), Err(Duration::from_millis(100)));
    assert_eq!(bucket.take(BEGIN, 3), Err(Duration::from_millis(300)));
    let soon = BEGIN + Duration::from_nanos(299_999_999);
    assert_eq!(bucket.take(soon, 3), Err(Duration::from_nanos(1)));
    assert_eq!(bucket.take(BEGIN + Duration::from_millis(300), 3), Ok(()));
    assert_eq!(bucket.holds(BEGIN + 1000 * SECOND), 5, "it never holds more than a burst");
}

#[test]
fn all_are_taken_or_none() {
    let mut bucket = bucket(1, 10);
    assert_eq!(bucket.take(BEGIN, 7), Ok(()));
    assert_eq!(bucket.take(BEGIN, 4), Err(SECOND));
    assert_eq!(bucket.take(BEGIN, 3), Ok(()));
    assert_eq!(bucket.take(BEGIN, 0), Ok(()), "nothing is always there");
}

#[test]
fn asking_every_nanosecond_rounds_nothing_away() {
    // 3 tokens in a second: a token is due after 333,333,333 and a third nanoseconds.
    let mut bucket = bucket(3, 1);
    bucket.take(BEGIN, 1).unwrap();
    let mut now = BEGIN;
    for _ in 0..1_000_000 {
        now = now + Duration::from_nanos(1);
        assert!(bucket.take(now, 1).is_err());
    }
    assert_eq!(bucket.take(now, 1), Err(Duration::from_nanos(333_333_334 - 1_000_000)));
    assert!(bucket.take(BEGIN + Duration::from_nanos(333_333_333), 1).is_err());
    assert!(bucket.take(BEGIN + Duration::from_nanos(333_333_334), 1).is_ok());
}

#[test]
fn what_will_never_be_there_is_said_to_be_never() {
    assert_eq!(bucket(1_000_000, 10).take(BEGIN, 11), Err(Duration::MAX));
    let mut dry = bucket(0, 10);
    assert_eq!(dry.take(BEGIN, 10), Ok(()));
    assert_eq!(dry.take(Time(u64::MAX), 1), Err(Duration::MAX));
    assert_eq!(bucket(10, 0).take(BEGIN, 1), Err(Duration::MAX));
}

#[test]
fn another_rate_holds_from_now_on_and_gives_no_burst_as_a_present() {
    let mut bucket = bucket(10, 100);
    bucket.take(BEGIN, 100).unwrap();
    let later = BEGIN + SECOND;
    bucket.set_rate(later, Rate { per_second: 1, burst: 1000 });
    assert_eq!(bucket.holds(later), 10, "that much had come by the old rate");
    assert_eq!(bucket.holds(later + SECOND), 11);
    bucket.set_rate(later + SECOND, Rate { per_second: 1, burst: 5 });
    bucket.check();
    assert_eq!(bucket.holds(later + SECOND), 5);
    assert_eq!(bucket.rate(), Rate { per_second: 1, burst: 5 });
}

#[test]
fn a_clock_that_goes_back_pours_nothing_twice() {
    let mut bucket = bucket(1, 10);
    bucket.take(BEGIN, 10).unwrap();
    assert_eq!(bucket.holds(BEGIN + 5 * SECOND), 5);
    assert_eq!(bucket.holds(BEGIN), 5);
    assert_eq!(bucket.holds(BEGIN + 5 * SECOND), 5);
}

#[test]
fn the_greatest_numbers_are_survived() {
    for (per_second, burst) in [(u64::MAX, u64::MAX), (1, u64::MAX), (u64::MAX, 1), (0, 0)] {
        let mut bucket = Bucket::new(Rate { per_second, burst }, Time(0));
        assert_eq!(bucket.take(Time(0), burst), Ok(()));
        bucket.check();
        assert_eq!(
            bucket.holds(Time(u64::MAX)),
            burst.min(per_second.saturating_mul(18_446_744_073))
        );
        bucket.check();
    }
    let mut slow = bucket(1, u64::MAX);
    slow.take(BEGIN, u64::MAX).unwrap();
    assert_eq!(slow.take(BEGIN, u64::MAX), Err(Duration::from_secs(u64::MAX)));
}

proptest! {
    #[test]
    fn in_no_window_passes_more_than_a_burst_and_the_rate(
        per_second in 0_u64..10_000,
        burst in 0_u64..1000,
        steps in prop::collection::vec((0_u64..50_000_000, 0_u64..300), 0..80),
    ) {
        let (mut bucket, mut now, mut passed) = (bucket(per_second, burst), BEGIN, Vec::new());
        for (wait, tokens) in steps {
            now = now + Duration::from_nanos(wait);
            if bucket.take(now, tokens).is_ok() {
                passed.push((now, tokens));
            }
            bucket.check();
        }
        for (nth, (begin, _)) in passed.iter().enumerate() {
            let mut sum = 0;
            for (end, tokens) in &passed[nth..] {
                sum += u128::from(*tokens);
                let poured = u128::from(per_second) * end.since(*begin).as_nanos();
                prop_assert!(sum * TOKEN <= u128::from(burst) * TOKEN + poured);
            }
        }
    }

    #[test]
    fn who_comes_back_when_told_to_is_served_and_gets_the_full_rate(
        per_second in 1_u64..1_000_000_000_000,
        burst in 1_u64..1_000_000,
        wants in prop::collection::vec(1_u64..1_000_000, 1..80),
    ) {
        let (mut bucket, mut now) = (bucket(per_second, burst), BEGIN);
        let (mut passed, mut waits) = (0, 0);
        let wants: Vec<_> = wants.into_iter().map(|tokens| tokens.min(burst)).collect();
        for tokens in &wants {
            if let Err(wait) = bucket.take(now, *tokens) {
                let early = now + (wait - Duration::from_nanos(1));
                prop_assert!(bucket.clone().take(early, *tokens).is_err(), "too long a wait");
                now = now + wait;
                waits += 1;
                prop_assert_eq!(bucket.take(now, *tokens), Ok(()));
            }
            passed += u128::from(*tokens);
        }
        // All that was poured has passed or is there still, but for a part of a token, and for what a wait is
        // longer than it should be: less than a nanosecond's worth, which a full bucket spills.
        let elapsed = now.since(BEGIN).as_nanos();
        let poured = u128::from(burst) * TOKEN + u128::from(per_second) * elapsed;
        let found = (passed + u128::from(bucket.holds(now)) + 1) * TOKEN;
        prop_assert!(found + waits * u128::from(per_second) > poured);
    }
}
