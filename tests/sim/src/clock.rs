//! True time: the one clock of the world, which no node can read.
//!
//! A node's own clock (`quorate_env::now`) may run fast or slow; cables, disks, faults and the history of
//! what clients saw go by this one. It stands still until nobody in the world has anything left to do, and
//! then leaps to the next moment at which somebody has.

use std::cell::Cell;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

thread_local! {
    /// When the world began that lives on this thread.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time in the world that lives on this thread, before what its nodes log.
#[derive(Clone, Copy, Debug)]
pub struct Stamp;

impl FormatTime for Stamp {
    fn format_time(&self, line: &mut Writer<'_>) -> fmt::Result {
        match BEGAN.get() {
            Some(began) => write!(line, "{:>10.3}", now().duration_since(began).as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// A world begins on this thread.
pub(crate) fn begin() -> Instant {
    let now = now();
    BEGAN.set(Some(now));
    now
}

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "this is the world's clock, which the nodes' go by")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for a span of true time.
pub async fn pause(span: Duration) {
    tokio::time::sleep_until(now() + span).await;
}
