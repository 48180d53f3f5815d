//! A latch: something that happens once, and that any number of tasks may wait for.

use tokio::sync::watch;

/// Holds nothing until it is set, and then the first value for good.
#[derive(Debug)]
pub(crate) struct Latch<T>(watch::Sender<Option<T>>);

impl<T: Copy> Latch<T> {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Sets it, unless it is set; says whether this call did.
    pub(crate) fn set(&self, value: T) -> bool {
        self.0.send_if_modified(|held| {
            let first = held.is_none();
            if first {
                *held = Some(value);
            }
            first
        })
    }

    pub(crate) fn value(&self) -> Option<T> {
        *self.0.borrow()
    }

    /// Waits until it is set.
    pub(crate) async fn wait(&self) -> T {
        let mut seen = self.0.subscribe();
        loop {
            if let Some(value) = *seen.borrow_and_update() {
                return value;
            }
            // The sender is `self`, so it lives for as long as anyone waits.
            let _ = seen.changed().await;
        }
    }
}
