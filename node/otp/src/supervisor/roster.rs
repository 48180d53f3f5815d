//! Which children a supervisor has, in the order of their start, and how each of them is. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_vocab::Pid;

use crate::child::Child;
use crate::supervisor::plan::{Restart, Strategy};

/// A child's place in the order of starts. Never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

/// How a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChildState {
    /// It runs.
    Running(Pid),
    /// It ended, and its restart failed; the supervisor is about to try again.
    Restarting,
    /// It was stopped by hand, or ended and is not to be restarted.
    Stopped,
}

/// One child.
pub(crate) struct Seat {
    pub(crate) child: Child,
    pub(crate) state: ChildState,
}

/// The children, known by key, by pid and (where they have ids that are their own) by id.
pub(crate) struct Roster {
    /// Dynamic children are not known by their ids, which need not differ.
    dynamic: bool,
    seats: BTreeMap<Key, Seat>,
    pids: BTreeMap<Pid, Key>,
    ids: BTreeMap<Arc<str>, Key>,
    next: u64,
}

impl Roster {
    pub(crate) fn new(strategy: Strategy) -> Self {
        let dynamic = strategy == Strategy::Dynamic;
        let (seats, pids, ids) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { dynamic, seats, pids, ids, next: 0 }
    }

    /// Adds a child behind the others, not yet running.
    pub(crate) fn add(&mut self, child: Child) -> Key {
        let key = Key(self.next);
        self.next += 1;
        if !self.dynamic {
            self.ids.insert(child.id_shared(), key);
        }
        self.seats.insert(key, Seat { child, state: ChildState::Stopped });
        key
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.set(key, ChildState::Stopped);
        if let Some(seat) = self.seats.remove(&key)
            && !self.dynamic
        {
            self.ids.remove(seat.child.id());
        }
    }

    /// The only way in which a child's state changes, so that `pids` always tells the truth.
    pub(crate) fn set(&mut self, key: Key, state: ChildState) {
        let Some(seat) = self.seats.get_mut(&key) else { return };
        if let ChildState::Running(pid) = seat.state {
            self.pids.remove(&pid);
        }
        if let ChildState::Running(pid) = state {
            self.pids.insert(pid, key);
        }
        seat.state = state;
    }

    pub(crate) fn seat(&self, key: Key) -> Option<&Seat> {
        self.seats.get(&key)
    }

    pub(crate) fn by_pid(&self, pid: Pid) -> Option<Key> {
        self.pids.get(&pid).copied()
    }

    pub(crate) fn by_id(&self, id: &str) -> Option<Key> {
        self.ids.get(id).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// All of them in the order of their start.
    pub(crate) fn seats(&self) -> impl DoubleEndedIterator<Item = (Key, &Seat)> {
        self.seats.iter().map(|(&key, seat)| (key, seat))
    }

    /// What `plan` asks for.
    pub(crate) fn kinds(&self) -> impl DoubleEndedIterator<Item = (Key, Restart)> {
        self.seats().map(|(key, seat)| (key, seat.child.restarts()))
    }
}
