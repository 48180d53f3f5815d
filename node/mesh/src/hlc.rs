//! A hybrid logical clock: stamps that rise with every message, and read like a time of day.
//!
//! A stamp is one number, 48 bits of wall-clock milliseconds above 16 bits that count within one. A node
//! gives each message a [stamp](Hlc::now) and takes in the stamps of those that it [receives](Hlc::merge), so
//! whatever was caused by a message has a greater stamp than the message (happens-before). Stamps never go
//! back, also when the wall clock does; when more than 65,536 are wanted in a millisecond, the count carries
//! into the next.
//!
//! A wrong clock somewhere must not drag all others with it. A stamp that is further ahead of the own wall
//! clock than the bound is refused and counted; the clock stays where it was. The message that carried it is
//! none the worse; it only has no stamp that this node stands by.
//!
//! A node whose own wall was far ahead and is set back keeps stamps that others refuse, until the wall has
//! caught up or the node starts anew: giving smaller ones would be worse.
//!
//! Not here: decisions. Stamps order what is shown (events, traces); leases and names go by the log.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_env::Wall;
use serde::{Deserialize, Serialize};

const COUNT_BITS: u32 = 16;
const NANOS_PER_MILLI: u64 = 1_000_000;

/// A moment as a hybrid logical clock shows it: of two, the greater was not before the smaller.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Stamp(pub u64);

/// A stamp lies further ahead than the bound. The clock is where it was, and the refusal is counted; trying
/// again helps only when one of the two wall clocks was put right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stamp is {ahead:?} ahead of the wall clock, and less than {bound:?} is accepted")]
pub struct TooFarAhead {
    /// By how much.
    pub ahead: Duration,
    /// How much is too much.
    pub bound: Duration,
}

/// One node's hybrid logical clock: one atomic number, so that no batch ever waits for another.
#[derive(Debug)]
pub struct Hlc {
    last: AtomicU64,
    refused: AtomicU64,
    bound_millis: u64,
}

impl Hlc {
    /// The bound unless another is given.
    pub const BOUND: Duration = Duration::from_millis(500);
    /// The greatest bound; a greater one is cut to it.
    pub const BOUND_MAX: Duration = Duration::from_secs(86_400);

    /// Begins at nothing; the first stamp is the wall's. The bound is cut to whole milliseconds.
    pub fn new(bound: Duration) -> Self {
        let bound_millis = bound.min(Self::BOUND_MAX).as_millis() as u64;
        Self { last: AtomicU64::new(0), refused: AtomicU64::new(0), bound_millis }
    }

    /// The stamp of what happens now: greater than all that this clock has given or taken in.
    pub fn now(&self, wall: Wall) -> Stamp {
        self.rise(Stamp::of(wall))
    }

    /// Takes in the stamp of what was received. Gives the stamp of its arrival, which is greater than it and
    /// than all before; or refuses it, when it is so far ahead that it would drag this clock along.
    pub fn merge(&self, remote: Stamp, wall: Wall) -> Result<Stamp, TooFarAhead> {
        let ahead = remote.millis().saturating_sub(Stamp::of(wall).millis());
        // A remote that is behind, or even, is always taken. What is accepted lies at least a millisecond
        // below the bound, so that stamps of our own have room up to it.
        if ahead > 0 && ahead >= self.bound_millis {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let (ahead, bound) = (Duration::from_millis(ahead), self.bound());
            return Err(TooFarAhead { ahead, bound });
        }
        Ok(self.rise(Stamp(remote.0 + 1).max(Stamp::of(wall))))
    }

    /// The greatest stamp that it has given.
    pub fn last(&self) -> Stamp {
        Stamp(self.last.load(Ordering::Relaxed))
    }

    /// By how much the stamps run ahead of the wall: others have drawn them on, or the wall was set back.
    pub fn lead(&self, wall: Wall) -> Duration {
        let lead = self.last().millis().saturating_sub(Stamp::of(wall).millis());
        Duration::from_millis(lead)
    }

    /// How many stamps were refused.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How far ahead is too far.
    pub fn bound(&self) -> Duration {
        Duration::from_millis(self.bound_millis)
    }

    /// Rises to `least`, or by one when it is there already.
    ///
    /// Relaxed is enough: all changes of one number have one order, and what happens after a change on any
    /// thread comes after it in that order.
    fn rise(&self, least: Stamp) -> Stamp {
        let next = |last: u64| (last + 1).max(least.0);
        let mut last = self.last.load(Ordering::Relaxed);
        loop {
            let next = next(last);
            let swap =
                self.last.compare_exchange_weak(last, next, Ordering::Relaxed, Ordering::Relaxed);
            match swap {
                Ok(_) => return Stamp(next),
                Err(newer) => last = newer,
            }
        }
    }
}

impl Default for Hlc {
    fn default() -> Self {
        Self::new(Self::BOUND)
    }
}

impl Stamp {
    /// The first stamp of a wall's millisecond. A wall ends in the year 2554, a stamp's milliseconds long
    /// after it, so no bound and no count ever meets the end.
    pub fn of(wall: Wall) -> Self {
        Self((wall.0 / NANOS_PER_MILLI) << COUNT_BITS)
    }

    /// The milliseconds since the beginning of 1970.
    pub fn millis(self) -> u64 {
        self.0 >> COUNT_BITS
    }

    /// Which stamp of its millisecond it is.
    pub fn count(self) -> u16 {
        self.0 as u16
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.millis(), self.count())
    }
}
