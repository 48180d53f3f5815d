//! How long to rest between two looks: never for a foreseeable span, and longer after each failure.

use std::time::Duration;

use quorate_env::dice;
use rand::RngExt;

/// After the first failure.
const FIRST: Duration = Duration::from_secs(1);

/// After many.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts failures, and deals out rests.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    failures: u32,
}

impl Pause {
    /// After an answer: about the source's own rest, so that nodes that started together part.
    pub(crate) fn after_answer(&mut self, rest: Duration) -> Duration {
        self.failures = 0;
        rest.mul_f64(dice().random_range(0.8..1.2))
    }

    /// After a failure: between half of the span and all of it, and the span doubles each time.
    pub(crate) fn after_failure(&mut self) -> Duration {
        let span = (FIRST * 2_u32.saturating_pow(self.failures.min(10))).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        span.mul_f64(dice().random_range(0.5..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_with_failures_to_a_bound_and_an_answer_ends_them() {
        let mut pause = Pause::default();
        let rests: Vec<Duration> = (0..40).map(|_| pause.after_failure()).collect();
        assert!(rests[0] < FIRST && rests[0] >= FIRST / 2);
        assert!(rests[5..].iter().all(|rest| (LONGEST / 2..LONGEST).contains(rest)), "{rests:?}");
        let rest = pause.after_answer(Duration::from_secs(10));
        assert!((Duration::from_secs(8)..Duration::from_secs(12)).contains(&rest));
        assert!(pause.after_failure() < FIRST);
    }
}
