//! The clock: elapsed time only.

use std::future::Future;
use std::time::Duration;

use quorate_vocab::Time;
/// A wait ran out. What was waited for may still happen.
pub use tokio::time::error::Elapsed as Late;

use crate::{Life, machine};

/// This node's own time. On Linux it is `CLOCK_BOOTTIME`, which counts while the machine is suspended: a
/// lease that ran out during a suspend must be seen to have run out. A drill may let it run faster or slower
/// ([`machine`]).
pub fn now() -> Time {
    match Life::current() {
        Some(life) => life.now(),
        None => machine::own(),
    }
}

/// True time, by which the clocks of lives go.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub(crate) fn true_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Waits for a span of true time.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub(crate) fn true_sleep(span: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(span)
}

/// Waits for a span of this node's own time.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn sleep(span: Duration) -> tokio::time::Sleep {
    tokio::time::sleep(in_true_time(span))
}

/// Waits until this node's clock shows `at`.
pub fn sleep_until(at: Time) -> tokio::time::Sleep {
    sleep(at.since(now()))
}

/// Gives `future` a bounded time.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn timeout<F: Future>(span: Duration, future: F) -> tokio::time::Timeout<F> {
    tokio::time::timeout(in_true_time(span), future)
}

fn in_true_time(span: Duration) -> Duration {
    match Life::current() {
        Some(life) => span.div_f64(life.clock_rate()),
        None => machine::span(span),
    }
}
