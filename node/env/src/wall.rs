//! The wall clock: what people call the time. It decides nothing.
//!
//! Leases, timeouts and suspicions go by [`now`](crate::now), which only runs forward. The wall clock is set
//! by people and daemons, steps back, and differs from machine to machine; it is read for two things only:
//! to show how far the clocks of a cluster are apart, and to give the stamps of the hybrid logical clock a
//! number that means something to people. Whoever reads it for anything else has a bug.
//!
//! It can be put wrong on purpose, so that a drill or a laptop meets the clocks of a bad day.

use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::Life;

/// Nanoseconds since the beginning of 1970 by some machine's wall clock, until the year 2554. Two walls may
/// be compared, and their difference means no more than the clocks that showed them are worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(pub u64);

impl Wall {
    /// By how many nanoseconds this is ahead of another; as much as fits when it is more.
    pub fn ahead_of(self, other: Self) -> i64 {
        let ahead = i128::from(self.0) - i128::from(other.0);
        ahead.clamp(i64::MIN.into(), i64::MAX.into()) as i64
    }

    fn skewed(self, nanos: i64) -> Self {
        Self(self.0.saturating_add_signed(nanos))
    }
}

impl Add<Duration> for Wall {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Wall {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// What a simulated world takes for the present when it begins, on a wall clock that is right.
const WORLD_BEGINS: Wall = Wall(1_767_225_600_000_000_000);

/// By how many nanoseconds this process's wall clock is shown ahead. A [`Life`] has its own.
static SKEW_NANOS: AtomicI64 = AtomicI64::new(0);

/// What this node's wall clock shows. For people, and for the hybrid logical clock; never for a decision.
pub fn wall() -> Wall {
    if let Some(life) = Life::current() {
        let shown = WORLD_BEGINS + life.now().since(Life::CLOCK_BEGINS);
        return shown.skewed(life.wall_skew());
    }
    let read = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    // A machine that is set to a year before 1970 is shown at its beginning.
    let seconds = u64::try_from(read.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(read.tv_nsec).unwrap_or(0);
    let shown = Wall(seconds.saturating_mul(1_000_000_000).saturating_add(nanos));
    shown.skewed(SKEW_NANOS.load(Ordering::Relaxed))
}

/// Puts the wall clock wrong by so many nanoseconds, from now on: of the current [`Life`], else of the whole
/// process. For drills and development; no machine's clock is touched.
pub fn set_wall_skew(nanos: i64) {
    match Life::current() {
        Some(life) => life.set_wall_skew(nanos),
        None => SKEW_NANOS.store(nanos, Ordering::Relaxed),
    }
}

/// By how many nanoseconds the wall clock was put wrong: what a status should show beside the time.
pub fn wall_skew() -> i64 {
    match Life::current() {
        Some(life) => life.wall_skew(),
        None => SKEW_NANOS.load(Ordering::Relaxed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LifeConfig, now, sleep};

    const SECOND_NANOS: i64 = 1_000_000_000;

    #[expect(clippy::disallowed_methods, reason = "a world is made here")]
    fn life(clock_rate: f64, wall_skew_nanos: i64) -> Life {
        let origin = tokio::time::Instant::now();
        Life::begin(LifeConfig {
            seed: 1,
            clock_rate,
            deferrals_per_mille: 0,
            origin,
            wall_skew_nanos,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn two_lives_differ_by_their_skew_and_by_what_their_rates_make_of_the_time() {
        let (exact, fast) = (life(1.0, -SECOND_NANOS), life(1.01, 2 * SECOND_NANOS));
        let read =
            || async { (exact.scope(async { wall() }).await, fast.scope(async { wall() }).await) };
        let (one, two) = read().await;
        assert_eq!(two.ahead_of(one), 3 * SECOND_NANOS);
        exact.scope(sleep(Duration::from_secs(100))).await;
        let (one, two) = read().await;
        assert_eq!(two.ahead_of(one), 4 * SECOND_NANOS);
        assert_eq!(one, WORLD_BEGINS + Duration::from_secs(99));
    }

    #[tokio::test(start_paused = true)]
    async fn a_skew_that_is_set_moves_the_wall_of_its_life_alone_and_no_other_clock() {
        let (skewed, other) = (life(1.0, 0), life(1.0, 0));
        let elapsed = skewed.scope(async { now() }).await;
        skewed.scope(async { set_wall_skew(-3600 * SECOND_NANOS) }).await;
        let behind = skewed.scope(async { wall() }).await;
        let right = other.scope(async { (wall(), wall_skew()) }).await;
        assert_eq!(right, (WORLD_BEGINS, 0));
        assert_eq!(behind.ahead_of(right.0), -3600 * SECOND_NANOS);
        assert_eq!(
            skewed.scope(async { (now(), wall_skew()) }).await,
            (elapsed, -3600 * SECOND_NANOS)
        );
    }

    #[test]
    fn the_machine_s_wall_shows_this_century_and_the_skew_of_the_process() {
        assert!(wall() > WORLD_BEGINS - Duration::from_secs(10 * 365 * 86_400));
        let year = 365 * 86_400 * SECOND_NANOS;
        set_wall_skew(-year);
        let behind = wall();
        set_wall_skew(0);
        let right = wall();
        // Between the two reads the machine's clock may itself have been set, but hardly by half a year.
        assert!((year / 2..).contains(&right.ahead_of(behind)), "{behind:?} {right:?}");
    }

    #[test]
    fn nothing_overflows_at_either_end_of_time() {
        assert_eq!(Wall(u64::MAX).ahead_of(Wall(0)), i64::MAX);
        assert_eq!(Wall(0).ahead_of(Wall(u64::MAX)), i64::MIN);
        assert_eq!(Wall(5).skewed(i64::MIN), Wall(0));
        assert_eq!(Wall(u64::MAX).skewed(i64::MAX), Wall(u64::MAX));
        assert_eq!(Wall(5) - Duration::MAX, Wall(0));
        assert_eq!(Wall(5) + Duration::MAX, Wall(u64::MAX));
    }
}
