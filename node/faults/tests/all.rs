//! The tests of this crate in one binary, so that it is linked once.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

mod disk;
mod forgetful;
mod silence;
mod switches;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(60);

/// For a fault that is not to end in a test.
const LONG: Duration = Duration::from_secs(600);

/// What must come in time.
async fn in_time<F: Future>(future: F) -> F::Output {
    quorate_env::timeout(PATIENCE, future).await.expect("it comes in time")
}

/// Whether a future has to wait, as things stand.
fn waits(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}
