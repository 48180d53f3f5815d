//! The twin of `quorate_storage::Shelf`: rows that a crash may take, in whole commits from the newest back.
//!
//! It promises as little as the door does. Committed rows wait in the process until they are flushed, so even
//! a crash of the process alone may take them; and the shelf may have forgotten everything, or not open.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_storage::{Row, Shelf};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::trace::Trace;
use quorate_drill::nemesis::Loss;

/// A host's shelf, which outlives its processes. A clone is the same shelf.
#[derive(Clone)]
pub struct SimShelf(Arc<Mutex<State>>);

/// How many commits wait to be flushed before the store begins to write them back by itself.
const UNFLUSHED_MAX: usize = 1024;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

struct State {
    host: String,
    trace: Trace,
    rng: SmallRng,
    generation: u64,
    opens: bool,
    view: Rows,
    durable: Rows,
    unflushed: VecDeque<Commit>,
}

enum Commit {
    Rows(Vec<Row>),
    Clear,
}

impl SimShelf {
    /// An empty shelf.
    pub fn new(host: &str, seed: u64, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            host: host.to_owned(),
            trace,
            rng: SmallRng::seed_from_u64(seed),
            generation: 0,
            opens: true,
            view: Rows::new(),
            durable: Rows::new(),
            unflushed: VecDeque::new(),
        })))
    }

    /// Opens the shelf for one life of a process; a crash shuts it for good.
    pub fn mount(&self) -> io::Result<MountedShelf> {
        let state = self.state();
        if !state.opens {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the shelf cannot be opened (simulated)",
            ));
        }
        Ok(MountedShelf { shelf: self.clone(), generation: state.generation })
    }

    /// Ends the present life; tells how many commits it took. Of those that were not flushed the oldest may
    /// survive, unless all that is not synced is lost.
    pub fn crash(&self, loss: Loss) -> usize {
        let mut state = self.state();
        state.generation += 1;
        let kept = match loss {
            Loss::Unsynced => 0,
            Loss::Process | Loss::Torn => {
                let count = state.unflushed.len();
                state.rng.random_range(0..=count)
            }
        };
        let mut unflushed = std::mem::take(&mut state.unflushed);
        let lost = unflushed.split_off(kept).len();
        for commit in unflushed {
            perform(&mut state.durable, commit);
        }
        state.view = state.durable.clone();
        state.note(format_args!("crash {loss:?} lost {lost} commits"));
        lost
    }

    /// Loses every row, as a store does that cannot read its own files after a power cut.
    pub fn forget_all(&self) {
        let mut state = self.state();
        state.view.clear();
        state.durable.clear();
        state.unflushed.clear();
        state.note(format_args!("forget all"));
    }

    /// Whether the shelf can be opened from now on.
    pub fn set_opens(&self, opens: bool) {
        let mut state = self.state();
        state.opens = opens;
        state.note(format_args!("opens {opens}"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the shelf")
    }
}

impl fmt::Debug for SimShelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "SimShelf({}, {} rows)", state.host, state.view.len())
    }
}

impl State {
    fn note(&self, event: fmt::Arguments<'_>) {
        self.trace.note(format_args!("shelf {} {event}", self.host));
    }

    fn commit(&mut self, commit: Commit) {
        match &commit {
            Commit::Rows(rows) => put(&mut self.view, rows.clone()),
            Commit::Clear => self.view.clear(),
        }
        self.unflushed.push_back(commit);
        if self.unflushed.len() > UNFLUSHED_MAX
            && let Some(oldest) = self.unflushed.pop_front()
        {
            perform(&mut self.durable, oldest);
        }
    }
}

fn perform(rows: &mut Rows, commit: Commit) {
    match commit {
        Commit::Rows(new) => put(rows, new),
        Commit::Clear => rows.clear(),
    }
}

fn put(rows: &mut Rows, new: Vec<Row>) {
    for (key, value) in new {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
}

/// A shelf as one life of a process sees it.
#[derive(Clone, Debug)]
pub struct MountedShelf {
    shelf: SimShelf,
    generation: u64,
}

impl MountedShelf {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.shelf.state();
        if state.generation != self.generation {
            return Err(io::Error::other("this shelf belongs to a life that has ended"));
        }
        Ok(state)
    }
}

impl Shelf for MountedShelf {
    fn scan(&self, take: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        // Whoever takes rows may ask for others meanwhile.
        let rows = self.state()?.view.clone();
        for (key, value) in &rows {
            take(key, value);
        }
        Ok(())
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.state()?.view.get(key).cloned())
    }

    fn commit(&self, rows: Vec<Row>) -> io::Result<()> {
        self.state()?.commit(Commit::Rows(rows));
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        self.state()?.commit(Commit::Clear);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut state = self.state()?;
        for commit in std::mem::take(&mut state.unflushed) {
            perform(&mut state.durable, commit);
        }
        Ok(())
    }
}
