//! What one direction of the link does to packets: which are lost, and when the others arrive.

use std::time::Duration;

use quorate_vocab::Time;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// What a direction is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// How long a packet is under way, apart from waiting.
    pub one_way: Duration,
    /// How often one is lost on the way, by chance: 0 to 1.
    pub loss: f64,
    /// How many bytes leave in a second.
    pub bytes_per_second: u64,
    /// How long a packet may wait for its turn to leave. One that would wait longer is dropped.
    pub wait_max: Duration,
}

/// One direction.
#[derive(Debug)]
pub struct Path {
    conditions: Conditions,
    dice: SmallRng,
    /// When the last packet that was taken has left.
    free_at: Time,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives then.
    Arrives(Time),
    /// It was lost on the way; it took its turn to leave.
    Lost,
    /// The queue was full.
    Dropped,
}

impl Path {
    /// A direction at rest; the seed decides what it loses.
    pub fn new(conditions: Conditions, seed: u64) -> Self {
        Self { conditions, dice: SmallRng::seed_from_u64(seed), free_at: Time::default() }
    }

    /// Takes a packet. Those that arrive do so in the order in which they were taken.
    pub fn take(&mut self, now: Time, bytes: usize) -> Fate {
        let leaves = self.free_at.max(now);
        if leaves.since(now) > self.conditions.wait_max {
            return Fate::Dropped;
        }
        let rate = self.conditions.bytes_per_second.max(1);
        self.free_at = leaves + Duration::from_nanos(bytes as u64 * 1_000_000_000 / rate);
        if self.dice.random_bool(self.conditions.loss.clamp(0.0, 1.0)) {
            return Fate::Lost;
        }
        Fate::Arrives(self.free_at + self.conditions.one_way)
    }
}
