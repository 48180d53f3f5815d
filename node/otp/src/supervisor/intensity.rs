//! How many restarts a supervisor allows in a span of time, before it gives up. Pure: time is an input.
//!
//! This is what keeps a fault that a restart cannot mend from burning the machine: it goes up the tree,
//! to a supervisor that restarts more.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_vocab::Time;

/// At most `restarts` within any span of `within`; one more, and the supervisor gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intensity {
    /// How many restarts are allowed.
    pub restarts: u32,
    /// In how long a span.
    pub within: Duration,
}

impl Default for Intensity {
    /// As OTP: one restart in five seconds.
    fn default() -> Self {
        Self { restarts: 1, within: Duration::from_secs(5) }
    }
}

/// The restarts that still count.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    limit: Intensity,
    /// Oldest first, and never more of them than the limit.
    at: VecDeque<Time>,
}

impl Restarts {
    pub(crate) fn new(limit: Intensity) -> Self {
        Self { limit, at: VecDeque::new() }
    }

    /// Counts a restart at `now`, or says that it is one too many. A restart that is exactly as old as the
    /// span still counts, as in OTP.
    pub(crate) fn admit(&mut self, now: Time) -> bool {
        while self.at.front().is_some_and(|&oldest| now.since(oldest) > self.limit.within) {
            self.at.pop_front();
        }
        let admitted = self.at.len() < self.limit.restarts as usize;
        if admitted {
            self.at.push_back(now);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn one_restart_more_than_allowed_is_refused_until_the_oldest_is_out_of_the_window() {
        let mut restarts = Restarts::new(Intensity { restarts: 2, within: millis(1000) });
        let begin = Time(7_000_000_000);
        assert!(restarts.admit(begin));
        assert!(restarts.admit(begin + millis(400)));
        assert!(!restarts.admit(begin + millis(1000)), "the first still counts at its very edge");
        assert!(restarts.admit(begin + millis(1001)));
        assert!(!restarts.admit(begin + millis(1400)));
    }

    #[test]
    fn no_restart_is_allowed_where_none_is() {
        let mut restarts = Restarts::new(Intensity { restarts: 0, within: millis(1) });
        assert!(!restarts.admit(Time(1)));
        assert!(!restarts.admit(Time(u64::MAX)));
    }

    proptest! {
        /// The rule said again, over the whole history: a restart is admitted if and only if fewer than the
        /// limit were admitted in the span that ends with it. And what is remembered stays bounded.
        #[test]
        fn a_restart_is_admitted_exactly_when_fewer_than_the_limit_lie_in_its_window(
            limit in 0u32..6,
            within in 0u64..50,
            steps in prop::collection::vec(0u64..30, 0..60),
        ) {
            let mut restarts = Restarts::new(Intensity { restarts: limit, within: millis(within) });
            let (mut now, mut admitted) = (Time(1_000_000_000), Vec::<Time>::new());
            for step in steps {
                now = now + millis(step);
                let inside = admitted.iter().filter(|&&at| now.since(at) <= millis(within)).count();
                let expected = inside < limit as usize;
                prop_assert_eq!(restarts.admit(now), expected);
                if expected {
                    admitted.push(now);
                }
                prop_assert!(restarts.at.len() <= limit as usize);
            }
        }
    }
}
