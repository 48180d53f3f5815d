//! Waiting on a plain thread: for a future, and for a lock. What is opened before a node runs has no runtime
//! to wait in.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::error::StorageError;

/// How often a lock is tried.
const LOCK_TRIES: usize = 10;
/// How long to rest between two tries.
const LOCK_AGAIN: Duration = Duration::from_millis(100);

/// Runs a future to its end on this thread, inside or outside of a runtime.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            // A wake before this leaves a permit, and parking then returns at once.
            Poll::Pending => thread::park(),
        }
    }
}

/// Takes a lock that may be free in a moment. A process that is just being started, such as the `sync` that
/// sled runs, holds a copy of each lock of this one until it runs its own program, even of a lock that was
/// let go since; and sled says that it has closed an instant before it lets go.
pub(crate) fn take_lock<T>(
    mut attempt: impl FnMut() -> Result<T, StorageError>,
) -> Result<T, StorageError> {
    for _ in 1..LOCK_TRIES {
        match attempt() {
            Err(StorageError::Locked { .. }) => thread::sleep(LOCK_AGAIN),
            outcome => return outcome,
        }
    }
    attempt()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
