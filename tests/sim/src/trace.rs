//! What has happened, as a running hash and, if wanted, as lines.
//!
//! Two runs of a seed must give the same hash: every event of the world is folded in with its true time, so
//! a difference of one nanosecond, one byte or one place in the order shows. The lines are for people who
//! read a failing seed; they cost memory and are kept only when asked for.
//!
//! Not here: what the events mean. Checkers read the history, never the trace.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_drill::history::{NO_HASH, hash_on};
use tokio::time::Instant;

use crate::clock;

/// How many lines of a trace are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// None: only the hash.
    Nothing,
    /// The newest ones.
    Last(usize),
    /// Every one.
    All,
}

/// The trace of one world. A clone writes to the same trace.
#[derive(Clone, Debug)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    origin: Instant,
    keep: Keep,
    hash: u64,
    count: u64,
    line: String,
    lines: VecDeque<String>,
}

impl Trace {
    /// Begins a trace; its times count from now.
    pub fn new(keep: Keep) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            origin: clock::now(),
            keep,
            hash: NO_HASH,
            count: 0,
            line: String::new(),
            lines: VecDeque::new(),
        })))
    }

    /// Notes an event that happens now.
    pub fn note(&self, event: fmt::Arguments<'_>) {
        let mut inner = self.inner();
        let nanos = clock::now().duration_since(inner.origin).as_nanos();
        inner.fold(nanos, event);
    }

    /// The hash of all events so far.
    pub fn hash(&self) -> u64 {
        self.inner().hash
    }

    /// How many events there were.
    pub fn count(&self) -> u64 {
        self.inner().count
    }

    /// The lines that were kept, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.inner().lines.iter().cloned().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while it holds the trace")
    }
}

impl Inner {
    fn fold(&mut self, nanos: u128, event: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.line, "{nanos:>14} {event}");
        // The line's end is hashed as well, so that two events never read like one.
        self.hash = hash_on(hash_on(self.hash, self.line.as_bytes()), b"\n");
        self.count += 1;
        let kept_max = match self.keep {
            Keep::Nothing => return,
            Keep::Last(lines) => lines,
            Keep::All => usize::MAX,
        };
        self.lines.push_back(self.line.clone());
        if self.lines.len() > kept_max {
            self.lines.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn told(events: &[(u64, &str)], keep: Keep) -> Trace {
        let trace = Trace::new(keep);
        for (millis, text) in events {
            clock::pause(Duration::from_millis(*millis)).await;
            trace.note(format_args!("{text}"));
        }
        trace
    }

    #[tokio::test(start_paused = true)]
    async fn the_hash_tells_order_time_and_text_apart() {
        let same = told(&[(1, "a"), (1, "b")], Keep::Nothing).await.hash();
        assert_eq!(same, told(&[(1, "a"), (1, "b")], Keep::All).await.hash());
        assert_ne!(same, told(&[(1, "b"), (1, "a")], Keep::All).await.hash());
        assert_ne!(same, told(&[(1, "a"), (2, "b")], Keep::All).await.hash());
        assert_ne!(same, told(&[(1, "a"), (1, "c")], Keep::All).await.hash());
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_newest_lines_are_kept_when_so_asked() {
        let trace = told(&[(1, "a"), (1, "b"), (1, "c")], Keep::Last(2)).await;
        let ends: Vec<_> = trace.lines().iter().map(|line| line.chars().last().unwrap()).collect();
        assert_eq!(ends, ['b', 'c']);
        assert_eq!(trace.count(), 3);
        assert!(told(&[(1, "a")], Keep::Nothing).await.lines().is_empty());
    }
}
