//! True time: the one clock of the world, which no node can read.
//!
//! A node's own clock (`quorate_env::now`) may run fast or slow; cables, disks, faults and the history of
//! what clients saw go by this one. It stands still until nobody in the world has anything left to do, and
//! then leaps to the next moment at which somebody has.

use std::time::Duration;

use tokio::time::Instant;

/// The present moment.
#[expect(clippy::disallowed_methods, reason = "this is the world's clock, which the nodes' go by")]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for a span of true time.
pub async fn pause(span: Duration) {
    tokio::time::sleep_until(now() + span).await;
}
