//! Timers: messages that are sent later, once or again and again.
//!
//! All timers of a runtime lie in one queue, by when they are due, and one task waits for the first of them.
//! So a timer costs an entry, not a task; setting and cancelling take a lock and a step in a tree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_vocab::{Ref, Time};
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// What a timer does. A repeated one says whether to go on.
pub(crate) enum Fire {
    Once(Box<dyn FnOnce() + Send>),
    Every(Duration, Box<dyn FnMut() -> bool + Send>),
}

/// A timer that was set. Dropping it does not cancel it.
#[derive(Clone)]
pub struct Timer {
    timers: Arc<Timers>,
    id: Ref,
}

impl Timer {
    /// Cancels it; whether it was still to fire. After that it does not fire any more, though a message that
    /// it sent before may still lie in its mailbox.
    pub fn cancel(&self) -> bool {
        let mut queue = self.timers.lock();
        let entry = queue.entries.remove(&self.id);
        if let Some(entry) = &entry {
            queue.due.remove(&(entry.due, self.id));
        }
        drop(queue);
        entry.is_some()
    }
}

impl fmt::Debug for Timer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timer({})", self.id.0)
    }
}

pub(crate) struct Timers {
    /// Where the task that attends to them runs; who sets one may be on a thread of its own.
    tokio: Handle,
    queue: Mutex<Queue>,
    /// The first timer became another.
    changed: Notify,
}

#[derive(Default)]
struct Queue {
    entries: BTreeMap<Ref, Entry>,
    due: BTreeSet<(Time, Ref)>,
    attended: bool,
}

struct Entry {
    due: Time,
    /// Away while it fires.
    fire: Option<Fire>,
}

impl Timers {
    /// The timers of a runtime that lives in this one of tokio's.
    pub(crate) fn new(tokio: Handle) -> Self {
        Self { tokio, queue: Mutex::default(), changed: Notify::new() }
    }

    pub(crate) fn set(self: &Arc<Self>, id: Ref, after: Duration, fire: Fire) -> Timer {
        let due = quorate_env::now() + after;
        let mut queue = self.lock();
        queue.due.insert((due, id));
        queue.entries.insert(id, Entry { due, fire: Some(fire) });
        let first = queue.due.first() == Some(&(due, id));
        let attend = !std::mem::replace(&mut queue.attended, true);
        drop(queue);
        if attend {
            let _inside = self.tokio.enter();
            quorate_env::spawn(attend_to(self.clone()));
        } else if first {
            self.changed.notify_one();
        }
        Timer { timers: self.clone(), id }
    }

    /// Cancels all.
    pub(crate) fn clear(&self) {
        let mut queue = self.lock();
        queue.due.clear();
        let entries = std::mem::take(&mut queue.entries);
        drop(queue);
        // Nothing waits any more; who attends to them sees that and ends.
        self.changed.notify_one();
        // What they hold is dropped outside of the lock, one by one.
        entries.into_values().for_each(|entry| {
            contained(|| drop(entry));
        });
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Sets off what is due. When the next one will be; `None` when there is none.
    fn fire_due(&self, now: Time) -> Option<Time> {
        loop {
            let mut queue = self.lock();
            let (due, id) = match queue.due.first() {
                Some(first) => *first,
                None => {
                    queue.attended = false;
                    return None;
                }
            };
            if due > now {
                return Some(due);
            }
            queue.due.pop_first();
            let fire = queue.entries.get_mut(&id).and_then(|entry| entry.fire.take());
            match fire {
                Some(Fire::Once(fire)) => {
                    queue.entries.remove(&id);
                    drop(queue);
                    contained(fire);
                }
                Some(Fire::Every(span, mut fire)) => {
                    drop(queue);
                    let goes_on = contained(&mut fire) == Some(true);
                    self.again(
                        id,
                        due + span.max(Duration::from_micros(1)),
                        now,
                        goes_on.then_some((span, fire)),
                    );
                }
                None => {}
            }
        }
    }

    /// Sets a repeated timer for its next time, unless it was cancelled while it fired.
    fn again(
        &self,
        id: Ref,
        due: Time,
        now: Time,
        fire: Option<(Duration, Box<dyn FnMut() -> bool + Send>)>,
    ) {
        let mut queue = self.lock();
        let Some((span, fire)) = fire else {
            queue.entries.remove(&id);
            return;
        };
        // Beats that were missed are not made up for.
        let due = due.max(now);
        if let Some(entry) = queue.entries.get_mut(&id) {
            entry.due = due;
            entry.fire = Some(Fire::Every(span, fire));
            queue.due.insert((due, id));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nothing panics while it holds the timers")
    }
}

/// Foreign code may panic; that ends its own timer only.
fn contained<R>(fire: impl FnOnce() -> R) -> Option<R> {
    let fired = catch_unwind(AssertUnwindSafe(fire));
    if fired.is_err() {
        tracing::warn!("a timer panicked when it fired");
    }
    fired.ok()
}

/// Waits for timers and sets them off, until none is left.
async fn attend_to(timers: Arc<Timers>) {
    while let Some(next) = timers.fire_due(quorate_env::now()) {
        tokio::select! {
            () = quorate_env::sleep_until(next) => {}
            () = timers.changed.notified() => {}
        }
    }
}
