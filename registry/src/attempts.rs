//! What becomes of something that ended by itself: whether it is started again, when, and how often before it
//! is somebody else's turn. Pure, and the same for a process of a node and for a command.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_vocab::Time;

use crate::{Restart, Restarts};

/// How long after a failure it is started again; twice as long after each that follows.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// What to do when something has ended by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sequel {
    /// Start it again after a while.
    Again(Duration),
    /// It has done what it was for.
    Done,
    /// It is somebody else's turn.
    GiveUp,
}

/// The ends of one turn, as far as they count.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    /// When it ended, within the time that counts.
    ended: VecDeque<Time>,
    /// How many in a row did not run for long.
    in_a_row: u32,
}

impl Attempts {
    /// It ended by itself after it had run from some time on.
    pub fn ended(&mut self, now: Time, begun: Time, is_well: bool, restarts: &Restarts) -> Sequel {
        match restarts.when {
            Restart::OnFailure | Restart::Never if is_well => return Sequel::Done,
            Restart::Never => return Sequel::GiveUp,
            Restart::OnFailure | Restart::Always => {}
        }
        let within = Duration::from_millis(restarts.within_ms);
        self.ended.push_back(now);
        while self.ended.front().is_some_and(|first| now.since(*first) > within) {
            self.ended.pop_front();
        }
        if self.ended.len() as u64 > u64::from(restarts.most) {
            return Sequel::GiveUp;
        }
        // What ran for long before is not what fails at once.
        if now.since(begun) > BACKOFF_MAX {
            self.in_a_row = 0;
        }
        let doubled = BACKOFF_MIN.saturating_mul(1 << self.in_a_row.min(16));
        self.in_a_row += 1;
        Sequel::Again(doubled.min(BACKOFF_MAX))
    }

    /// How often it ended within the time that counts.
    pub fn count(&self) -> usize {
        self.ended.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESTARTS: Restarts = Restarts { when: Restart::OnFailure, most: 3, within_ms: 60_000 };

    fn at(ms: u64) -> Time {
        Time(1_000_000_000_000) + Duration::from_millis(ms)
    }

    fn again(ms: u64) -> Sequel {
        Sequel::Again(Duration::from_millis(ms))
    }

    #[test]
    fn what_fails_again_and_again_waits_longer_each_time_and_is_given_up() {
        let mut attempts = Attempts::default();
        for (now, wait) in [(0, 100), (1_000, 200), (2_000, 400)] {
            assert_eq!(attempts.ended(at(now), at(now), false, &RESTARTS), again(wait));
        }
        assert_eq!(attempts.ended(at(3_000), at(3_000), false, &RESTARTS), Sequel::GiveUp);
        assert_eq!(attempts.count(), 4);
    }

    #[test]
    fn ends_of_long_ago_do_not_count_and_what_ran_for_long_begins_anew() {
        let mut attempts = Attempts::default();
        for now in [0, 1_000, 2_000] {
            attempts.ended(at(now), at(now), false, &RESTARTS);
        }
        let late = attempts.ended(at(61_500), at(3_000), false, &RESTARTS);
        assert_eq!((late, attempts.count()), (again(100), 2));
    }

    #[test]
    fn who_is_done_is_not_started_again_unless_it_always_is() {
        let ended = |when, is_well| {
            let restarts = Restarts { when, ..RESTARTS };
            Attempts::default().ended(at(5), at(0), is_well, &restarts)
        };
        assert_eq!(ended(Restart::OnFailure, true), Sequel::Done);
        assert_eq!(ended(Restart::Never, true), Sequel::Done);
        assert_eq!(ended(Restart::Never, false), Sequel::GiveUp);
        assert_eq!(ended(Restart::Always, true), again(100));
    }
}
