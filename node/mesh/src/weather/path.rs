//! When bytes arrive: one way of one connection, as a pure function of what was sent and of the dice.

use std::time::Duration;

use quorate_vocab::Time;

use super::{Conditions, HELD_BYTES_MAX};

/// What TCP puts into one packet, about.
pub(super) const SEGMENT_BYTES: usize = 1460;

/// More would be no connection.
const LOSS_MAX: f64 = 0.9;

/// A round trip is no shorter; it is what the window is divided by.
const ROUND_TRIP_MIN: Duration = Duration::from_micros(100);

/// The window falls no lower than this many segments.
const WINDOW_MIN_SEGMENTS: usize = 2;

/// The state of one way of one connection, for who holds bytes back by himself.
#[derive(Debug)]
pub struct Path {
    /// When all before has arrived: bytes do not overtake each other, and a rate is a queue.
    busy_until: Time,
    /// How many bytes a round trip carries while segments are lost.
    window: f64,
}

impl Default for Path {
    fn default() -> Self {
        Self { busy_until: Time::default(), window: HELD_BYTES_MAX as f64 }
    }
}

impl Path {
    /// When bytes arrive that are sent now, behind all that were sent before. `draw` gives numbers from 0
    /// to 1.
    pub fn due(
        &mut self,
        now: Time,
        bytes: usize,
        conditions: &Conditions,
        mut draw: impl FnMut() -> f64,
    ) -> Time {
        let Conditions { delay, jitter, loss, bytes_per_second } = *conditions;
        let jitter = if jitter.is_zero() { jitter } else { jitter.mul_f64(draw().clamp(0.0, 1.0)) };
        let mut arrives = (now + delay + jitter).max(self.busy_until);
        let round_trip = (delay * 2).max(ROUND_TRIP_MIN);
        // A number that is none compares as false: it loses nothing.
        let mut slowest = 0.0_f64;
        if loss > 0.0 {
            let segments = bytes.div_ceil(SEGMENT_BYTES) as f64;
            if draw() < 1.0 - (1.0 - loss.min(LOSS_MAX)).powf(segments) {
                arrives = arrives + round_trip;
                self.window /= 2.0;
            } else {
                self.window += SEGMENT_BYTES as f64 * bytes as f64 / self.window;
            }
            let least = (WINDOW_MIN_SEGMENTS * SEGMENT_BYTES) as f64;
            self.window = self.window.clamp(least, HELD_BYTES_MAX as f64);
            slowest = bytes as f64 / self.window * round_trip.as_secs_f64();
        }
        if let Some(rate) = bytes_per_second {
            slowest = slowest.max(bytes as f64 / rate.max(1) as f64);
        }
        arrives = arrives + Duration::from_secs_f64(slowest);
        self.busy_until = arrives;
        arrives
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn started() -> Time {
        Time::default() + Duration::from_secs(1000)
    }

    #[test]
    fn calm_bytes_arrive_at_once_and_slow_ones_after_their_delay() {
        let mut path = Path::default();
        assert_eq!(path.due(started(), 10, &Conditions::CALM, || 0.5), started());
        let slow = Conditions { delay: ms(20), jitter: ms(10), ..Conditions::CALM };
        assert_eq!(path.due(started(), 10, &slow, || 0.5), started() + ms(25));
        assert_eq!(path.due(started(), 10, &slow, || 0.0), started() + ms(25), "no overtaking");
    }

    #[test]
    fn a_rate_is_a_queue() {
        let narrow = Conditions { bytes_per_second: Some(1000), ..Conditions::CALM };
        let mut path = Path::default();
        for second in 1..=5 {
            assert_eq!(path.due(started(), 1000, &narrow, || 0.5), started() + ms(1000 * second));
        }
        let later = started() + ms(60_000);
        assert_eq!(path.due(later, 500, &narrow, || 0.5), later + ms(500), "it was idle meanwhile");
    }

    #[test]
    fn a_lost_segment_stalls_for_a_round_trip_and_halves_the_window() {
        let lossy = Conditions { delay: ms(20), loss: 0.01, ..Conditions::CALM };
        let (mut path, before) = (Path::default(), Path::default().window);
        let due = path.due(started(), SEGMENT_BYTES, &lossy, || 0.001);
        assert!(due >= started() + ms(60) && due < started() + ms(61), "{due:?}");
        assert_eq!(path.window, before / 2.0);
        path.due(started(), SEGMENT_BYTES, &lossy, || 0.999);
        assert!(path.window > before / 2.0);
    }

    proptest! {
        #[test]
        fn whatever_the_weather_bytes_arrive_in_order_late_enough_and_no_faster_than_the_rate(
            delay in 0_u64..500,
            jitter in 0_u64..500,
            loss in prop_oneof![Just(f64::NAN), -1.0..2.0_f64],
            rate in prop_oneof![Just(None), (0_u64..10_000_000).prop_map(Some)],
            sends in prop::collection::vec((0_u64..100, 0..=16_384_usize, 0.0..1.0_f64), 1..100),
        ) {
            let conditions =
                Conditions { delay: ms(delay), jitter: ms(jitter), loss, bytes_per_second: rate };
            let (mut path, mut now, mut last) = (Path::default(), started(), Time::default());
            let mut carried = 0;
            for (pause, bytes, drawn) in sends {
                now = now + ms(pause);
                let due = path.due(now, bytes, &conditions, || drawn);
                prop_assert!(due >= last && due >= now + conditions.delay);
                carried += bytes;
                if let Some(rate) = rate {
                    let took = due.since(started()).as_secs_f64() + 1e-3;
                    prop_assert!(took >= carried as f64 / rate.max(1) as f64 * 0.999);
                }
                prop_assert!(path.window.is_finite() && path.window >= SEGMENT_BYTES as f64);
                last = due;
            }
        }
    }
}
