//! A count that many bring down to zero, and that one looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Opens when it was hit so many times. Looking at it is free of allocation and of wake-ups, so that it adds
/// the same next to nothing to both sides.
#[derive(Clone, Debug)]
pub(crate) struct Latch(Arc<AtomicU64>);

impl Latch {
    pub(crate) fn new(hits: u64) -> Self {
        Self(Arc::new(AtomicU64::new(hits)))
    }

    /// Says whether this was the last.
    pub(crate) fn hit(&self) -> bool {
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire) == 0
    }

    /// Hits when it is dropped, however its owner ends.
    pub(crate) fn on_drop(&self) -> HitOnDrop {
        HitOnDrop(self.clone())
    }
}

/// See [`Latch::on_drop`].
#[derive(Debug)]
pub(crate) struct HitOnDrop(Latch);

impl Drop for HitOnDrop {
    fn drop(&mut self) {
        self.0.hit();
    }
}
