//! A window: how much may be under way in one lane, and how that follows the way. A core.
//!
//! A sender that has to wait for credit sends one window a round trip, however fast the way is. So the window
//! of a lane grows while a window's worth of bytes comes in less than two round trips, which is when it may
//! be what bounds the lane, and no further than its most. On a short way it stays small, so that what is
//! urgent finds little before it.
//!
//! ```text
//! bytes under way ≤ window ≤ 4 × rate × shortest round trip, or as it was at the start
//! ```
//!
//! Not here: who is granted when; see [`reader`](crate::reader).

use std::time::Duration;

use quorate_vocab::Time;

/// A window that takes at least so many round trips to come is wide enough.
const ROUND_TRIPS: u32 = 2;

/// How much may be under way in one lane.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    bytes: u32,
    most: u32,
    /// When the present count began, and what has come since.
    since: Option<Time>,
    read: u64,
}

impl Window {
    /// Of so many bytes, which may become `most`.
    pub fn new(bytes: u32, most: u32) -> Self {
        Self { bytes, most: most.max(bytes), since: None, read: 0 }
    }

    /// How wide it is.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// So much has come since it was last said. By how much the window grows, where it is known how long the
    /// shortest round trip takes.
    pub fn read(&mut self, bytes: u32, now: Time, round_trip: Option<Duration>) -> u32 {
        let Some(since) = self.since else {
            // What came before may have come at any time.
            self.since = Some(now);
            return 0;
        };
        self.read += u64::from(bytes);
        if self.read < u64::from(self.bytes) {
            return 0;
        }
        (self.since, self.read) = (Some(now), 0);
        let is_narrow = round_trip.is_some_and(|trip| now.since(since) < trip * ROUND_TRIPS);
        let more = if is_narrow { self.bytes.min(self.most - self.bytes) } else { 0 };
        self.bytes += more;
        more
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KIB: u32 = 1024;

    /// Has bytes come at a rate, over a way on which credit takes a round trip, for so many windows. How wide
    /// the window is then.
    fn carry(window: &mut Window, rate: u64, trip: Duration, known: bool, windows: usize) -> u64 {
        let mut now = Time::default() + Duration::from_secs(1);
        for _ in 0..windows * 4 {
            let quarter = window.bytes() / 4;
            // As fast as the way is, or as the window lets it be.
            let by_rate = Duration::from_secs_f64(f64::from(quarter) / rate as f64);
            now = now + by_rate.max(trip / 4);
            window.read(quarter, now, known.then_some(trip));
        }
        u64::from(window.bytes())
    }

    #[test]
    fn a_window_grows_on_a_long_fast_way_and_on_no_other() {
        let (ms, us) = (Duration::from_millis, Duration::from_micros);
        let width = |rate, trip, known| {
            carry(&mut Window::new(512 * KIB, 64 * 1024 * KIB), rate, trip, known, 40)
        };
        // 40 ms at 1 GB/s are 40 MB.
        assert_eq!(width(1_000_000_000, ms(40), true), 64 << 20);
        assert_eq!(width(1_000_000_000, ms(40), false), 512 << 10, "how far it is is not known");
        assert_eq!(width(1_000_000_000, us(100), true), 512 << 10, "loopback");
        assert_eq!(width(1_000_000, ms(40), true), 512 << 10, "a narrow way");
    }

    #[test]
    fn a_rest_between_two_bursts_is_no_speed() {
        let mut window = Window::new(100, 1000);
        let trip = Duration::from_secs(1);
        let mut now = Time::default();
        for _ in 0..100 {
            assert_eq!(window.read(60, now, Some(trip)), 0);
            now = now + trip;
        }
        // Twice the same without a rest.
        window.read(60, now, Some(trip));
        assert_eq!(window.read(100, now, Some(trip)), 100);
    }

    proptest! {
        #[test]
        fn a_window_ends_between_one_and_four_times_what_the_way_holds(
            rate in 10_000_u64..4_000_000_000,
            micros in 50_u64..500_000,
            first in 64_u32..4096,
        ) {
            let (first, most) = (first * KIB, 64 * 1024 * KIB);
            let trip = Duration::from_micros(micros);
            let width = carry(&mut Window::new(first, most), rate, trip, true, 40);
            let holds = (rate as f64 * trip.as_secs_f64()) as u64;
            prop_assert!(width >= holds.min(u64::from(most)), "{width} of {holds}");
            // A quarter is rounded down.
            let bound = (holds * 4 + 64).clamp(u64::from(first), u64::from(most));
            prop_assert!(width <= bound.max(u64::from(first)), "{width} of {holds}");
        }
    }
}
