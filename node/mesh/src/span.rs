//! How far a peer is: the time of a round trip, and by how much its wall clock differs from ours. A core.
//!
//! A sample has four times, as in NTP: when this node asked and when it got the answer, by its own clock,
//! and when the peer was asked and answered, by the peer's wall clock. What the peer held is taken out of the
//! round trip. The difference of the clocks is then known to half of the round trip, whichever way was the
//! longer one, and that half is shown as the error.
//!
//! ```text
//!   peer's wall      heard ──── answered
//!                  ╱                    ╲
//!   own clock   asked ───────────────── returned
//! ```
//!
//! This node's side is elapsed time, so a wall clock that is set in the middle spoils nothing; the own wall
//! is read only when the difference is asked for. A peer that sets its wall clock contradicts its earlier
//! samples, which are then forgotten.
//!
//! A peer can lie about its clock, and that spoils what is said of this peer. Nothing is decided by it.
//!
//! Not here: whose clock is right. That takes several; see [`clocks`](crate::clocks).

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use quorate_env::Wall;
use quorate_vocab::Time;

/// How many round trips are remembered.
const TRIPS_MAX: usize = 128;

/// Of so many round trips one has met with no delay, or the way has it always.
const TRIPS_BELIEVED: usize = 3;

/// A round trip that takes longer than the shortest one by this much looks as if something was lost on the
/// way: it is the least time after which the kernel sends again what was not acknowledged.
const SENT_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How many readings of the peer's clock are remembered; the best of them counts.
const READINGS_MAX: usize = 8;

/// In a million seconds two clocks drift apart by at most so many: as fast as a daemon ever slews one.
const DRIFT_PPM: u128 = 500;

/// Four times that one question and its answer were seen at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When this node asked. Its own note, not what the peer claims to have read.
    pub asked: Time,
    /// When the peer says that it was asked.
    pub heard: Wall,
    /// When the peer says that it answered.
    pub answered: Wall,
    /// When the answer came.
    pub returned: Time,
}

/// Why a sample counts for nothing. What was known stays as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Absurd {
    /// The answer was there before the question. This node has mixed up its notes.
    #[error("the answer came before the question")]
    Reversed,
    /// The peer answered before it was asked: its clock was set back, or it lies.
    #[error("the peer answered before it was asked")]
    Early,
    /// The peer says that it held the question for longer than the whole round trip took: its clock was set
    /// forward, or it lies.
    #[error("the peer held the question for longer than the round trip")]
    Held,
}

/// What is known of the way to one peer.
#[derive(Clone, Debug, Default)]
pub struct Span {
    /// Oldest first, as are the readings.
    trips: VecDeque<Duration>,
    readings: VecDeque<Reading>,
    refused: u64,
    late: u64,
}

/// The times of round trips, over the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoundTrips {
    /// The shortest: the way itself.
    pub min: Duration,
    /// Half were at most as long.
    pub p50: Duration,
    /// Of a hundred, 99 were at most as long.
    pub p99: Duration,
    /// How many there were.
    pub count: usize,
}

/// By how much a wall clock is ahead of this node's, and how far that may be wrong to either side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offset {
    /// Negative when it is behind; as much as fits when it is more.
    pub nanos: i64,
    /// The truth lies within this, as long as the peer tells it.
    pub error: Duration,
}

impl Span {
    /// Of a way that nobody has gone yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a sample in, or says why it cannot be one.
    pub fn sample(&mut self, sample: Sample) -> Result<(), Absurd> {
        let reading = Reading::of(sample).inspect_err(|_| {
            self.refused = self.refused.saturating_add(1);
        })?;
        let shortest = self.trips.iter().min().copied().unwrap_or(reading.trip);
        self.late += u64::from(reading.trip >= shortest.saturating_add(SENT_AGAIN_AFTER));
        keep(&mut self.trips, reading.trip, TRIPS_MAX);
        // What the new one contradicts was read before the peer's clock was set.
        self.readings.retain(|older| older.agrees_with(&reading));
        keep(&mut self.readings, reading, READINGS_MAX);
        Ok(())
    }

    /// How long round trips take; `None` before the first.
    pub fn round_trips(&self) -> Option<RoundTrips> {
        let mut sorted: Vec<Duration> = self.trips.iter().copied().collect();
        sorted.sort_unstable();
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100) - 1];
        let min = *sorted.first()?;
        Some(RoundTrips { min, p50: rank(50), p99: rank(99), count: sorted.len() })
    }

    /// The shortest of the round trips, once there were enough that one of them can be believed.
    pub fn shortest(&self) -> Option<Duration> {
        self.trips.iter().min().copied().filter(|_| self.trips.len() >= TRIPS_BELIEVED)
    }

    /// By how much the peer's wall clock is ahead of the own one, which shows `wall` at `now`; `None` before
    /// the first sample. The error grows while no new sample comes.
    pub fn offset(&self, now: Time, wall: Wall) -> Option<Offset> {
        let best = self.readings.iter().min_by_key(|reading| reading.error_nanos(now))?;
        let ahead = best.ahead_nanos + i128::from(now.0) - i128::from(wall.0);
        let error = u64::try_from(best.error_nanos(now)).unwrap_or(u64::MAX);
        Some(Offset { nanos: saturated(ahead), error: Duration::from_nanos(error) })
    }

    /// How many round trips took so much longer than the shortest that something was probably lost, or stood
    /// in a queue, on the way.
    pub fn late(&self) -> u64 {
        self.late
    }

    /// How many samples were refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Checks what holds at all times.
    pub fn check(&self) {
        assert!(self.trips.len() <= TRIPS_MAX, "{} round trips", self.trips.len());
        assert!(self.readings.len() <= READINGS_MAX, "{} readings", self.readings.len());
        assert_eq!(self.trips.is_empty(), self.readings.is_empty(), "a trip without a reading");
        let newest = self.readings.back();
        let contradicted = newest
            .is_some_and(|newest| self.readings.iter().any(|older| !older.agrees_with(newest)));
        assert!(!contradicted, "a reading that the newest contradicts: {:?}", self.readings);
    }
}

impl Offset {
    /// Whether both may be the same.
    pub fn agrees_with(self, other: Self) -> bool {
        let apart = self.nanos.abs_diff(other.nanos);
        u128::from(apart) <= self.error.saturating_add(other.error).as_nanos()
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.nanos as f64 / 1e6;
        write!(f, "{millis:+.3} ms ± {:.3} ms", self.error.as_nanos() as f64 / 1e6)
    }
}

/// One reading of the peer's wall clock against the own elapsed one.
#[derive(Clone, Copy, Debug)]
struct Reading {
    asked: Time,
    returned: Time,
    trip: Duration,
    ahead_nanos: i128,
}

impl Reading {
    fn of(sample: Sample) -> Result<Self, Absurd> {
        let [asked, heard, answered, returned] =
            [sample.asked.0, sample.heard.0, sample.answered.0, sample.returned.0];
        let round = returned.checked_sub(asked).ok_or(Absurd::Reversed)?;
        let held = answered.checked_sub(heard).ok_or(Absurd::Early)?;
        let trip = round.checked_sub(held).ok_or(Absurd::Held)?;
        let there = i128::from(heard) - i128::from(asked);
        let back = i128::from(answered) - i128::from(returned);
        Ok(Self {
            asked: sample.asked,
            returned: sample.returned,
            trip: Duration::from_nanos(trip),
            ahead_nanos: (there + back).div_euclid(2),
        })
    }

    /// Half of the trip, what the clocks may have drifted since, and one for what halving rounds away.
    fn error_nanos(&self, now: Time) -> u128 {
        let drift = now.since(self.asked).as_nanos() * DRIFT_PPM;
        self.trip.as_nanos().div_ceil(2) + drift.div_ceil(1_000_000) + 1
    }

    /// Whether one clock that was never set can have given both.
    fn agrees_with(&self, other: &Self) -> bool {
        let both_were_in = self.returned.max(other.returned);
        let apart = self.ahead_nanos.abs_diff(other.ahead_nanos);
        apart <= self.error_nanos(both_were_in) + other.error_nanos(both_were_in)
    }
}

fn keep<T>(window: &mut VecDeque<T>, new: T, most: usize) {
    if window.len() == most {
        window.pop_front();
    }
    window.push_back(new);
}

fn saturated(nanos: i128) -> i64 {
    nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}
