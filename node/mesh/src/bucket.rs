//! A token bucket: how much may pass, on average and at once. A core; time is a parameter.
//!
//! A bucket holds up to `burst` tokens and is filled with `rate` of them in a second. What is taken from it
//! in any span of time `t` is never more than `burst + rate · t`, and whoever comes back when told to gets
//! the full rate. All is whole numbers: a billionth of a token is the unit, so a nanosecond at a rate of one
//! token a second counts, and nothing is rounded away however often one asks.
//!
//! Not here: waiting, and what a token stands for (bytes, messages, dials).

use std::time::Duration;

use quorate_vocab::Time;

/// So many parts has a token: as many as a second has nanoseconds, so a rate is parts per nanosecond.
const PARTS: u128 = 1_000_000_000;

/// What a bucket allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens in a second, on average; 0 allows nothing beyond what is in the bucket.
    pub per_second: u64,
    /// Tokens at once; 0 allows nothing.
    pub burst: u64,
}

/// A bucket and what is in it.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: Rate,
    /// Parts of tokens.
    level: u128,
    /// Until when it was filled.
    filled: Time,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate, now: Time) -> Self {
        Self { rate, level: parts(rate.burst), filled: now }
    }

    /// Takes `tokens`, all or none. When they are not there it says how long it is until they are, if nobody
    /// takes any meanwhile: [`Duration::MAX`] when that is never, as more are wanted than the bucket holds or
    /// nothing fills it. Nobody should wait for that; cut what is so large into pieces of at most a burst.
    pub fn take(&mut self, now: Time, tokens: u64) -> Result<(), Duration> {
        self.fill(now);
        match self.level.checked_sub(parts(tokens)) {
            Some(rest) => {
                self.level = rest;
                Ok(())
            }
            None => Err(self.wait_for(tokens)),
        }
    }

    /// How many whole tokens are there.
    pub fn holds(&mut self, now: Time) -> u64 {
        self.fill(now);
        u64::try_from(self.level / PARTS).unwrap_or(u64::MAX)
    }

    /// What it allows.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// From now on it allows something else. What is in it stays, as far as it fits.
    pub fn set_rate(&mut self, now: Time, rate: Rate) {
        self.fill(now);
        self.rate = rate;
        self.level = self.level.min(parts(rate.burst));
    }

    /// Checks what holds at all times.
    pub fn check(&self) {
        let (level, burst) = (self.level, self.rate.burst);
        assert!(level <= parts(burst), "{level} parts are more than a burst of {burst}");
    }

    fn fill(&mut self, now: Time) {
        let elapsed = now.since(self.filled).as_nanos();
        // Two numbers of 64 bits make one of at most 128; the sum may be too much, and is cut anyway.
        let poured = elapsed * u128::from(self.rate.per_second);
        self.level = self.level.saturating_add(poured).min(parts(self.rate.burst));
        self.filled = self.filled.max(now);
    }

    fn wait_for(&self, tokens: u64) -> Duration {
        let Rate { per_second, burst } = self.rate;
        if tokens > burst || per_second == 0 {
            return Duration::MAX;
        }
        let missing = parts(tokens).saturating_sub(self.level);
        let nanos = missing.div_ceil(per_second.into());
        // The seconds fit: at most u64::MAX tokens at one a second.
        Duration::new((nanos / PARTS) as u64, (nanos % PARTS) as u32)
    }
}

fn parts(tokens: u64) -> u128 {
    u128::from(tokens) * PARTS
}
