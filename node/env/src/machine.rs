//! The machine's clock, and how fast this node's own runs beside it.
//!
//! The two are one, until a drill gives this process's clock another rate ([`set_clock_rate`]). From then on
//! the own clock marches on from what it showed, faster or slower, and never goes back. When the rate is put
//! right again the clock keeps what it has gained or lost: no two nodes' clocks are compared, so only its
//! rate was ever wrong.
//!
//! What leaves this process as a time must be the machine's: see [`at`].
//!
//! Not here: a [`Life`](crate::Life), which has a rate of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use quorate_vocab::Time;

use crate::Life;

/// By how much a clock may be put wrong, in millionths. Real ones are wrong by a hundred of them.
pub const CLOCK_RATE_PPM_MAX: i32 = 300_000;

/// The end of time is so by every clock.
const NEVER: Time = Time(u64::MAX);

const MILLION: i128 = 1_000_000;

/// Whether the rate was ever changed. As long as it was not, nobody looks at the march.
static IS_OWN: AtomicBool = AtomicBool::new(false);

static MARCH: RwLock<March> = RwLock::new(March { since: 0, shown: 0, ppm: 0 });

/// What the own clock shows: since when by the machine's clock, from what on, and how much faster.
#[derive(Clone, Copy, Debug)]
struct March {
    since: u64,
    shown: u64,
    ppm: i32,
}

impl March {
    /// What is shown when the machine's clock shows this.
    fn shows(self, machine: u64) -> u64 {
        let elapsed = i128::from(machine.saturating_sub(self.since));
        let gained = (elapsed * i128::from(self.ppm)).div_euclid(MILLION);
        clamped(i128::from(self.shown) + elapsed + gained)
    }

    /// What the machine's clock shows when this is shown; rather too early than too late.
    fn machine(self, shown: u64) -> u64 {
        let ahead = i128::from(shown) - i128::from(self.shown);
        let elapsed = ahead * MILLION / (MILLION + i128::from(self.ppm));
        clamped(i128::from(self.since) + elapsed)
    }

    /// The same clock, which goes on at another rate.
    fn turned(self, machine: u64, ppm: i32) -> Self {
        Self { since: machine, shown: self.shows(machine), ppm }
    }
}

fn clamped(nanos: i128) -> u64 {
    u64::try_from(nanos.max(0)).unwrap_or(u64::MAX)
}

/// What the machine's clock shows; in a [`Life`], what the life's own shows.
pub fn now() -> Time {
    Life::current().map_or_else(|| Time(read()), |life| life.now())
}

/// What the machine's clock will show when this node's shows `at`, if its rate stays as it is. This is how
/// another process is told of a time: it has the machine's clock, and knows nothing of this one's rate.
pub fn at(at: Time) -> Time {
    let has_own = IS_OWN.load(Ordering::Relaxed) && at != NEVER && Life::current().is_none();
    if has_own { Time(march().machine(at.0)) } else { at }
}

/// Waits for a span of the machine's time.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn sleep(span: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(span)
}

/// Lets this process's own clock run faster (or slower, below zero) by so many millionths from now on, at
/// most [`CLOCK_RATE_PPM_MAX`]; 0 is right. For drills. A wait that is under way keeps to the rate at which
/// it was begun. No machine's clock is touched, and no [`Life`] is.
pub fn set_clock_rate(ppm: i32) {
    let ppm = ppm.clamp(-CLOCK_RATE_PPM_MAX, CLOCK_RATE_PPM_MAX);
    let mut march = MARCH.write().unwrap_or_else(PoisonError::into_inner);
    if march.ppm == ppm {
        return;
    }
    // Before the clock is read: whoever still goes by the machine's has read it by then.
    IS_OWN.swap(true, Ordering::SeqCst);
    *march = march.turned(read(), ppm);
}

/// By how many millionths this process's own clock runs too fast: what a status should show.
pub fn clock_rate() -> i32 {
    march().ppm
}

/// What this process's own clock shows.
pub(crate) fn own() -> Time {
    let machine = read();
    if !IS_OWN.load(Ordering::Relaxed) {
        return Time(machine);
    }
    let march = MARCH.read().unwrap_or_else(PoisonError::into_inner);
    // Read anew, so that it is not from before the march that it is measured by.
    Time(march.shows(read()))
}

/// How long a span of this process's own time takes by the machine's clock.
pub(crate) fn span(own: Duration) -> Duration {
    if !IS_OWN.load(Ordering::Relaxed) {
        return own;
    }
    let ppm = march().ppm;
    own.div_f64(1.0 + f64::from(ppm) / 1e6)
}

fn march() -> March {
    *MARCH.read().unwrap_or_else(PoisonError::into_inner)
}

fn read() -> u64 {
    let read = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    read.tv_sec as u64 * 1_000_000_000 + read.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use proptest::prelude::*;

    use super::*;

    const EXACT: March = March { since: 0, shown: 0, ppm: 0 };

    proptest! {
        #[test]
        fn a_clock_never_goes_back_whatever_its_rates_and_runs_as_fast_as_they_say(
            begins in 0..u64::from(u32::MAX) * 1_000_000_000,
            turns in prop::collection::vec(
                (0..200_000_000_000_u64, -CLOCK_RATE_PPM_MAX..=CLOCK_RATE_PPM_MAX), 1..20),
        ) {
            let (mut march, mut machine) = (EXACT, begins);
            let mut shown = march.shows(machine);
            prop_assert_eq!(shown, machine);
            for (elapsed, ppm) in turns {
                march = march.turned(machine, ppm);
                prop_assert_eq!(march.shows(machine), shown, "it goes on from where it was");
                machine += elapsed;
                let gained = (march.shows(machine) - shown) as f64;
                let due = elapsed as f64 * (1.0 + f64::from(ppm) / 1e6);
                prop_assert!((gained - due).abs() < 1_000.0, "{} ns, due were {}", gained, due);
                prop_assert!(march.shows(machine) >= shown);
                shown = march.shows(machine);
                let back = march.machine(shown);
                prop_assert!((back..back + 4).contains(&machine), "{} is not {}", back, machine);
            }
        }
    }

    #[test]
    fn many_threads_never_see_the_clock_go_back_while_its_rate_changes() {
        let seen = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100_000 {
                        let before = seen.load(Ordering::SeqCst);
                        let now = crate::now().0;
                        assert!(now >= before, "{now} comes after {before}");
                        seen.fetch_max(now, Ordering::SeqCst);
                    }
                });
            }
            for turn in 0..1_000 {
                set_clock_rate([CLOCK_RATE_PPM_MAX, 0, -CLOCK_RATE_PPM_MAX, 100][turn % 4]);
            }
            // What another process is told is ahead by as much as it takes there.
            set_clock_rate(-CLOCK_RATE_PPM_MAX);
            let told = at(crate::now() + Duration::from_secs(7));
            let left = told.since(now());
            assert!((9..=10).contains(&left.as_secs()), "{left:?} for seven slow seconds");
            assert_eq!(at(NEVER), NEVER);
            assert_eq!(span(Duration::from_secs(7)).as_secs(), 10);
            set_clock_rate(0);
        });
        assert_eq!(clock_rate(), 0);
        assert_eq!(span(Duration::from_secs(7)), Duration::from_secs(7));
    }
}
