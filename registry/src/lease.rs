//! Leases: when a silent session may be ended, and until when its owner may act.
//!
//! ```text
//!  holder   s ──────────── ttl ───────────▶ lost       its clock, from the SEND
//!            ╲ renew
//!  grantor    r ──── (ttl + guard)(1 + ρ)/(1 − ρ) ────▶ expire       its clock, from the RECEIPT
//! ```
//!
//! The two never compare their clocks; they only trust that both run at a rate within 1 ± ρ. As `r` is not
//! before `s`, `lost` always comes before `expire` in real time (I3), and at least `guard` lies between them.
//!
//! Not here: messages, the quorum round that stands behind every answer to a renew, and the log that carries
//! the expiry. Time is a parameter; nothing here waits.

use std::time::Duration;

use crate::TermsError;

pub mod grantor;
pub mod holder;
pub mod memory;

pub use grantor::Grantor;
pub use holder::Holder;
pub use memory::Memory;

/// What all nodes of a cluster agree on about leases, beside each session's time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    guard: Duration,
    /// Parts of a million.
    drift: u32,
}

impl Terms {
    /// The largest drift that is accepted. Real clocks stay below a thousandth.
    pub const DRIFT_MAX: f64 = 0.25;

    /// `guard` is what a holder needs to come to rest, and `drift` is ρ, by which the rate of a clock may
    /// differ from 1; it is taken as the next whole millionth.
    pub fn new(guard: Duration, drift: f64) -> Result<Self, TermsError> {
        if !(0.0..=Self::DRIFT_MAX).contains(&drift) {
            return Err(TermsError::Drift { drift, drift_max: Self::DRIFT_MAX });
        }
        Ok(Self { guard, drift: (drift * f64::from(MILLION)).ceil() as u32 })
    }

    /// How long a leader hears nothing, on its own clock, before it may end a session:
    /// (ttl + guard)(1 + ρ)/(1 − ρ), rounded up.
    pub fn wait(&self, ttl: Duration) -> Duration {
        let span = ttl.saturating_add(self.guard).as_nanos();
        let nanos =
            (span * u128::from(MILLION + self.drift)).div_ceil((MILLION - self.drift).into());
        Duration::from_nanos(nanos.try_into().unwrap_or(u64::MAX))
    }
}

const MILLION: u32 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_the_design_s_sum_rounded_up() {
        let terms = Terms::new(Duration::from_millis(100), 0.01).unwrap();
        let wait = terms.wait(Duration::from_secs(2));
        let exact = Duration::from_nanos(2_100_000_000 * 101 / 99);
        assert!(wait > exact && wait < exact + Duration::from_micros(1), "{wait:?}");
        assert!(terms.wait(Duration::MAX) > Duration::from_secs(500 * 365 * 86_400));
        let even = Terms::new(Duration::from_millis(100), 0.25).unwrap();
        assert_eq!(even.wait(Duration::from_millis(200)), Duration::from_millis(500));
    }

    #[test]
    fn a_drift_that_is_no_rate_is_refused() {
        for drift in [-0.01, 0.26, f64::NAN, f64::INFINITY] {
            assert!(Terms::new(Duration::ZERO, drift).is_err());
        }
    }
}
