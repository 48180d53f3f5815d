//! Keeps the shelf near the applied state, on a thread of its own: sled may take its time, and neither the
//! journal nor a snapshot waits for it.
//!
//! Askings coalesce: however many come while the shelf is being written, one visit covers them all. A shelf
//! that refused has missed changes, so from then on it is filled anew or not at all; until then it keeps what
//! it has under its old position, which a restart completes from the log.
//!
//! Not here: what makes a snapshot (`archive`), and whom a restart believes (`recover`).

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_env::now;
use quorate_storage::Row;
use quorate_vocab::Time;
use tokio::sync::Notify;

use crate::apply::Shared;
use crate::archive::{Doors, POSITION_KEY};
use crate::wire::{self, PositionBytes};

/// How long a shelf that refused is left alone, before it is filled anew.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// How many rows are committed at once when all of them are.
const ROWS_AT_ONCE: usize = 4096;

/// The shelver's orders, which anybody may give at any time.
#[derive(Clone, Default)]
pub(crate) struct Orders(Arc<(Mutex<Wanted>, Notify)>);

#[derive(Clone, Copy, Default)]
struct Wanted {
    /// What changed since the last visit.
    changes: bool,
    /// Everything, as the state was replaced.
    all: bool,
    /// What changed, and then nothing any more.
    stop: bool,
}

pub(crate) struct Shelver {
    orders: Orders,
    doors: Doors,
    state: Shared,
    /// Since when the shelf is left alone, because it refused a write.
    refused: Option<Time>,
}

impl Orders {
    pub(crate) fn changes(&self) {
        self.give(|wanted| wanted.changes = true);
    }

    pub(crate) fn all(&self) {
        self.give(|wanted| wanted.all = true);
    }

    pub(crate) fn stop(&self) {
        self.give(|wanted| wanted.stop = true);
    }

    fn give(&self, order: impl FnOnce(&mut Wanted)) {
        order(&mut self.wanted());
        self.0.1.notify_one();
    }

    /// What was ordered since the last time.
    fn take(&self) -> Wanted {
        std::mem::take(&mut self.wanted())
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelver {
    pub(crate) fn new(orders: Orders, doors: Doors, state: Shared) -> Self {
        Self { orders, doors, state, refused: None }
    }

    /// Shelves as ordered, until it is stopped.
    pub(crate) async fn run(mut self) {
        loop {
            let wanted = self.orders.take();
            self.visit(wanted);
            if wanted.stop {
                return;
            }
            self.orders.0.1.notified().await;
        }
    }

    fn visit(&mut self, wanted: Wanted) {
        let is_due = |since| now().since(since) >= LEFT_ALONE && !wanted.stop;
        let outcome = match self.refused {
            _ if wanted.all => self.restock(),
            Some(since) if is_due(since) => self.restock(),
            None if wanted.changes || wanted.stop => self.shelve(),
            _ => return,
        };
        match outcome {
            Ok(index) => {
                self.refused = None;
                // Losing the mark costs a longer replay, and nothing else.
                self.doors.log.mark_shelved(index, Box::new(|_| ()));
            }
            Err(error) => {
                self.refused = Some(now());
                tracing::warn!(
                    %error,
                    "the shelf refused a write; the node goes on without it, and the next start is longer"
                );
            }
        }
    }

    /// Puts what changed on the shelf, and says up to where it reaches now.
    fn shelve(&self) -> io::Result<u64> {
        let (index, frozen, changed, position) = {
            let mut state = self.state.write();
            // Ordered while the state was replaced: these changes are not of what is on the shelf.
            if std::mem::take(&mut self.orders.wanted().all) {
                drop(state);
                return self.restock();
            }
            let changed = state.machine.take_changed();
            (state.index().0, state.machine.freeze(), changed, state.position())
        };
        // Whoever applies goes on meanwhile.
        let mut rows: Vec<Row> = frozen.rows_of(changed).collect();
        rows.push(position_row(&position));
        self.doors.shelf.commit(rows)?;
        self.doors.shelf.flush()?;
        Ok(index)
    }

    /// Fills the shelf anew. Its position comes last, so that a half-filled shelf is an empty one.
    fn restock(&self) -> io::Result<u64> {
        // What changes between these two is on the shelf twice, in the same words.
        let changed = self.state.write().machine.take_changed();
        drop(changed);
        let (index, frozen, position) = {
            let state = self.state.read();
            (state.index().0, state.machine.freeze(), state.position())
        };
        let shelf = &*self.doors.shelf;
        shelf.clear()?;
        // Whoever applies goes on meanwhile.
        let mut rows = frozen.rows().map(|(key, value)| (key, Some(value)));
        loop {
            let some: Vec<Row> = rows.by_ref().take(ROWS_AT_ONCE).collect();
            if some.is_empty() {
                break;
            }
            shelf.commit(some)?;
        }
        shelf.flush()?;
        shelf.commit(vec![position_row(&position)])?;
        shelf.flush()?;
        Ok(index)
    }
}

fn position_row(position: &PositionBytes) -> Row {
    (POSITION_KEY.to_vec(), Some(wire::encode(position).to_vec()))
}
