//! What may block (files, HTTP) on threads of its own, and a bound on how many of them there are.
//!
//! A look that is given up cannot end its thread: one that reads from a disk that never answers stays. So
//! there is a bound, beyond which looks fail at once, and the rest of the node is left in peace.

use std::sync::atomic::{AtomicUsize, Ordering};

use quorate_env::blocking;
use tokio::sync::oneshot;

/// How many looks of a process may be stuck or under way at once.
const THREADS_MAX: usize = 128;

static THREADS: AtomicUsize = AtomicUsize::new(0);

/// A place among the threads. Dropped, it is free again.
struct Place;

impl Place {
    fn take() -> Result<Self, String> {
        let place = Self;
        match THREADS.fetch_add(1, Ordering::Relaxed) {
            0..THREADS_MAX => Ok(place),
            _ => Err(format!("{THREADS_MAX} looks are stuck; nothing more is begun")),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs what may block, and waits for it.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match begin(work)?.await {
        Ok(Ok(done)) => done,
        Ok(Err(_)) | Err(_) => Err("the look ended in a panic".to_owned()),
    }
}

/// Begins what may block.
pub(crate) fn begin<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<std::thread::Result<T>>, String> {
    let place = Place::take()?;
    let work = move || {
        let _place = place;
        work()
    };
    blocking("quorate-look", work).map_err(|e| format!("no thread: {e}"))
}
