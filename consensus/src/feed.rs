//! What changed, by index, for watchers that must miss nothing.
//!
//! A bounded ring of the newest changes. A watcher holds a position, not a queue: one that is slow costs no
//! memory, and one that falls behind the ring is told to start anew rather than served with a hole.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use quorate_registry::Effect;
use quorate_vocab::Index;
use tokio::sync::{Notify, watch};

/// All effects of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry's index.
    pub index: Index,
    /// What it changed; never empty.
    pub effects: Vec<Effect>,
}

/// The watcher has to take the present state and watch on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "changes up to index {floor} are no longer kept; take the present state and watch on from it"
)]
pub struct TooOld {
    /// Changes after this index are kept.
    pub floor: Index,
}

#[derive(Debug)]
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    tip: watch::Sender<Index>,
    /// Somebody waits for what is not applied yet.
    wanted: Notify,
}

#[derive(Debug)]
struct Ring {
    changes: VecDeque<Arc<Change>>,
    /// Every change with a greater index is in the ring.
    floor: Index,
    kept: usize,
}

/// A position in the feed.
#[derive(Debug)]
pub struct Watch {
    feed: Arc<Feed>,
    tip: watch::Receiver<Index>,
    seen: Index,
}

impl Feed {
    pub(crate) fn new(at: Index, kept: usize) -> Self {
        let ring = Ring { changes: VecDeque::new(), floor: at, kept };
        Self { ring: Mutex::new(ring), tip: watch::Sender::new(at), wanted: Notify::new() }
    }

    /// Entries were applied up to an index; these are the changes that they made.
    pub(crate) fn publish(&self, changes: Vec<Change>, upto: Index) {
        if !changes.is_empty() {
            let mut ring = self.lock();
            for change in changes {
                if ring.changes.len() == ring.kept
                    && let Some(oldest) = ring.changes.pop_front()
                {
                    ring.floor = oldest.index;
                }
                ring.changes.push_back(Arc::new(change));
            }
        }
        self.tip.send_replace(upto);
    }

    /// The state was replaced by a snapshot: what lies between is not known one by one.
    pub(crate) fn restart(&self, at: Index) {
        let mut ring = self.lock();
        ring.changes.clear();
        ring.floor = at;
        drop(ring);
        self.tip.send_replace(at);
    }

    pub(crate) fn tip(&self) -> Index {
        *self.tip.borrow()
    }

    /// Returns once everything up to `index` is applied here.
    pub(crate) async fn reached(&self, index: Index) {
        let mut tip = self.tip.subscribe();
        if *tip.borrow() < index {
            self.wanted.notify_one();
        }
        // The sender lives as long as `self`.
        let _ = tip.wait_for(|applied| *applied >= index).await;
    }

    /// Returns when somebody waits for what is not applied yet, or has since this was last asked.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(crate) fn watch(self: &Arc<Self>, from: Index) -> Watch {
        Watch { feed: self.clone(), tip: self.tip.subscribe(), seen: from }
    }

    fn after(&self, seen: Index) -> Result<Option<Arc<Change>>, TooOld> {
        let ring = self.lock();
        if seen < ring.floor {
            return Err(TooOld { floor: ring.floor });
        }
        let at = ring.changes.partition_point(|change| change.index <= seen);
        Ok(ring.changes.get(at).cloned())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.ring.lock().expect("nothing panics while it holds the ring")
    }
}

impl Watch {
    /// The next change after the last one seen.
    pub async fn next(&mut self) -> Result<Arc<Change>, TooOld> {
        loop {
            self.tip.borrow_and_update();
            if let Some(change) = self.feed.after(self.seen)? {
                self.seen = change.index;
                return Ok(change);
            }
            // The feed, and with it the sender, lives as long as this watch.
            let _ = self.tip.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_vocab::NodeId;

    use super::*;

    fn change(feed: &Feed, index: u64) {
        let effects = vec![Effect::NodeLeft(NodeId(index))];
        feed.publish(vec![Change { index: Index(index), effects }], Index(index));
    }

    #[tokio::test]
    async fn a_watcher_sees_every_change_once_and_in_order() {
        let feed = Arc::new(Feed::new(Index(0), 8));
        let mut watch = feed.watch(Index(1));
        for index in 1..=4 {
            change(&feed, index);
            feed.publish(Vec::new(), Index(index));
        }
        for index in 2..=4 {
            assert_eq!(watch.next().await.unwrap().index, Index(index));
        }
    }

    #[tokio::test]
    async fn a_watcher_that_falls_behind_is_told_to_start_anew() {
        let feed = Arc::new(Feed::new(Index(0), 2));
        let mut watch = feed.watch(Index(0));
        for index in 1..=3 {
            change(&feed, index);
        }
        assert_eq!(watch.next().await, Err(TooOld { floor: Index(1) }));
        assert_eq!(feed.watch(Index(1)).next().await.unwrap().index, Index(2));
        feed.restart(Index(9));
        assert_eq!(feed.watch(Index(3)).next().await, Err(TooOld { floor: Index(9) }));
    }
}
