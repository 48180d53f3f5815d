//! The twin of `quorate_storage::Disk`: two images, what a program sees and what a power cut leaves.
//!
//! A write changes the view; only a sync carries it over to the durable image, sector by sector, as it was
//! when the sync was asked for. The same holds for the folder: creations, renames and removals are durable
//! after the folder's sync. A power cut puts the durable image in the view's place, and may let any part of
//! what was not synced survive, torn and out of order, as disks do.
//!
//! Not here: a block cache that is ever full, or files that shrink, since the door has no truncation.
//!
//! Files are sparse, so that a preallocated file costs only what was written to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_drill::nemesis::{DiskCall, Loss};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::clock;
use crate::trace::Trace;

mod door;
mod file;

pub use door::Mounted;
use file::{Capture, Inode};

/// A host's disk, which outlives its processes. A clone is the same disk.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

/// Whether a sync tells the truth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Honesty {
    /// It does.
    #[default]
    Honest,
    /// It answers at once, and what it should have made durable becomes so after this span.
    Late(Duration),
    /// It answers, and leaves everything to the next honest sync.
    Never,
}

/// What is wrong with a disk at present.
#[derive(Clone, Debug)]
pub struct DiskFaults {
    /// How long a sync takes.
    pub sync_takes: RangeInclusive<Duration>,
    /// Syncs fail. The kernel then forgets that the data was not written, as Linux does: the next sync
    /// succeeds, and a power cut still takes what the failed one should have saved.
    pub fail_syncs: bool,
    /// Writes, creations, renames and removals fail.
    pub fail_writes: bool,
    /// The same are refused, as by a file system that was mounted anew without the right to write.
    pub read_only: bool,
    /// Whether syncs tell the truth.
    pub honesty: Honesty,
}

impl Default for DiskFaults {
    fn default() -> Self {
        Self {
            sync_takes: Duration::ZERO..=Duration::from_millis(4),
            fail_syncs: false,
            fail_writes: false,
            read_only: false,
            honesty: Honesty::Honest,
        }
    }
}

/// What a crash took, or kept by chance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Sectors that were written, not synced, and lost.
    pub sectors: usize,
    /// Sectors that were written, not synced, and survived.
    pub sectors_kept: usize,
    /// Creations, renames and removals that were not synced and are undone.
    pub names: usize,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(host: &str, seed: u64, trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(State {
            host: host.to_owned(),
            trace,
            rng: SmallRng::seed_from_u64(seed),
            generation: 0,
            faults: DiskFaults::default(),
            stalled_until: None,
            bytes_max: None,
            trap: None,
            view: BTreeMap::new(),
            durable: BTreeMap::new(),
            changes: Vec::new(),
            changes_synced: 0,
            late: Vec::new(),
            next_inode: 0,
        })))
    }

    /// The door for one life of a process. A crash shuts it, and all files opened through it, for good.
    pub fn mount(&self) -> Mounted {
        Mounted { disk: self.clone(), generation: self.state().generation }
    }

    /// Ends the present life.
    pub fn crash(&self, loss: Loss) -> Lost {
        let mut state = self.state();
        state.settle();
        state.generation += 1;
        let lost = match loss {
            Loss::Process => Lost::default(),
            Loss::Unsynced => state.lose_power(0.0),
            Loss::Torn => {
                // A whole range of moods: from a cache that wrote nothing back to one that wrote nearly all.
                let kept = [0.0, 0.1, 0.5, 0.9, 1.0][state.rng.random_range(0..5)];
                state.lose_power(kept)
            }
        };
        state.note(format_args!("crash {loss:?} {lost:?}"));
        lost
    }

    /// Changes what is wrong with the disk.
    pub fn set_faults(&self, faults: DiskFaults) {
        let mut state = self.state();
        state.note(format_args!("faults {faults:?}"));
        state.faults = faults;
    }

    /// No sync that is under way or asked for ends before this span is over.
    pub fn stall(&self, span: Duration) {
        let mut state = self.state();
        state.note(format_args!("stall {span:?}"));
        let until = clock::now() + span;
        state.stalled_until = Some(state.stalled_until.map_or(until, |at| at.max(until)));
    }

    /// How long it still holds all syncs.
    pub fn stalls_for(&self) -> Duration {
        let until = self.state().stalled_until;
        until.map_or(Duration::ZERO, |until| until.duration_since(clock::now()))
    }

    /// Leaves room for so many bytes more; `None` for ever so many.
    pub fn set_room(&self, bytes: Option<u64>) {
        let mut state = self.state();
        state.note(format_args!("room {bytes:?}"));
        state.bytes_max = bytes.map(|bytes| state.bytes_used() + bytes);
    }

    /// Ends the present life in one of its next calls of this kind, so many halves of them from now: an
    /// even one is the beginning of a call, which then comes to nothing, and an odd one its end, of which
    /// nobody is told. Whoever set the trap is told when, and has to crash the disk then.
    pub fn trap(&self, call: DiskCall, after: u32) -> oneshot::Receiver<()> {
        let (spring, sprung) = oneshot::channel();
        self.state().trap = Some(Trap { call, left: after, spring });
        sprung
    }

    /// Takes the trap away, if there is one.
    pub fn untrap(&self) {
        self.state().trap = None;
    }

    /// Whether there is room for so many bytes and no more.
    pub fn is_limited(&self) -> bool {
        self.state().bytes_max.is_some()
    }

    /// Turns one bit of a durable file, chosen by the seed among the written sectors of the files whose names
    /// begin so. Tells where, or `None` if there is none.
    pub fn flip_bit(&self, prefix: &str) -> Option<(String, u64)> {
        let mut state = self.state();
        state.settle();
        let mut places = Vec::new();
        for (name, inode) in state.durable.iter().filter(|(name, _)| name.starts_with(prefix)) {
            let inode = lock(inode);
            places.extend(inode.durable.written().map(|sector| (name.clone(), sector)));
        }
        if places.is_empty() {
            return None;
        }
        let (name, sector) = places.swap_remove(state.rng.random_range(0..places.len()));
        let inode = state.durable[&name].clone();
        let mut inode = lock(&inode);
        let start = sector * file::SECTOR_BYTES as u64;
        let end = (start + file::SECTOR_BYTES as u64).min(inode.durable.len);
        let position = state.rng.random_range(start..end.max(start + 1));
        let bit = state.rng.random_range(0..8);
        inode.flip(position, bit);
        state.note(format_args!("flip {name}@{position}.{bit}"));
        Some((name, position))
    }

    /// Takes every file away, durable or not, and ends the present life: a new disk in the old one's place.
    pub fn wipe(&self) {
        let mut state = self.state();
        state.note(format_args!("wipe"));
        state.generation += 1;
        state.view.clear();
        state.durable.clear();
        state.changes_synced += state.changes.len() as u64;
        state.changes.clear();
        state.late.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it holds the disk")
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "SimDisk({}, {} files)", state.host, state.view.len())
    }
}

type Folder = BTreeMap<String, Arc<Mutex<Inode>>>;

struct State {
    host: String,
    trace: Trace,
    rng: SmallRng,
    /// Which life the doors of today belong to.
    generation: u64,
    faults: DiskFaults,
    stalled_until: Option<Instant>,
    bytes_max: Option<u64>,
    trap: Option<Trap>,
    view: Folder,
    durable: Folder,
    /// What was done to the folder since its last sync, oldest first.
    changes: Vec<Change>,
    /// How many changes of the folder are durable, since ever.
    changes_synced: u64,
    /// What lying syncs still owe.
    late: Vec<(Instant, Owed)>,
    next_inode: u64,
}

/// Where a life ends.
struct Trap {
    call: DiskCall,
    left: u32,
    spring: oneshot::Sender<()>,
}

/// A change of the folder.
#[derive(Clone)]
enum Change {
    Create(String, Arc<Mutex<Inode>>),
    Rename(String, String),
    Remove(String),
}

/// What a sync carries over.
enum Owed {
    File(Arc<Mutex<Inode>>, Capture),
    /// The changes of the folder, up to this one since ever.
    Folder(u64),
}

fn lock(inode: &Arc<Mutex<Inode>>) -> MutexGuard<'_, Inode> {
    inode.lock().expect("nothing panics while it holds a file")
}

impl State {
    fn note(&self, event: fmt::Arguments<'_>) {
        self.trace.note(format_args!("disk {} {event}", self.host));
    }

    fn bytes_used(&self) -> u64 {
        self.view.values().map(|inode| lock(inode).view.len).sum()
    }

    /// Refuses to grow a file beyond the room that there is.
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match self.bytes_max {
            Some(max) if self.bytes_used().saturating_add(bytes) > max => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    fn may_write(&self) -> io::Result<()> {
        if self.faults.read_only {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if self.faults.fail_writes {
            return Err(io::Error::other("the disk failed to write (simulated EIO)"));
        }
        Ok(())
    }

    /// A call begins or ends. An error is that the life ends here.
    fn step(&mut self, call: DiskCall) -> io::Result<()> {
        let Some(trap) = self.trap.as_mut().filter(|trap| trap.call == call) else {
            return Ok(());
        };
        if trap.left > 0 {
            trap.left -= 1;
            return Ok(());
        }
        self.note(format_args!("trap sprung in {call:?}"));
        self.generation += 1;
        if let Some(trap) = self.trap.take() {
            // Who set it may be gone.
            let _ = trap.spring.send(());
        }
        Err(over())
    }

    /// Pays what lying syncs owe and is due.
    fn settle(&mut self) {
        let now = clock::now();
        let owed = std::mem::take(&mut self.late);
        let (due, late): (Vec<_>, _) = owed.into_iter().partition(|(at, _)| *at <= now);
        self.late = late;
        for (_, owed) in due {
            self.pay(owed);
        }
    }

    /// Carries over what a sync promised.
    fn pay(&mut self, owed: Owed) {
        match owed {
            Owed::File(inode, capture) => lock(&inode).settle(capture),
            Owed::Folder(last) => {
                // A sync that was asked for later may have ended sooner.
                let count = last.saturating_sub(self.changes_synced);
                self.changes_synced += count;
                for change in self.changes.drain(..count as usize) {
                    perform(&mut self.durable, change);
                }
            }
        }
    }

    /// Puts the durable image in the view's place. Each sector and each change of the folder that was not
    /// synced survives with a chance of `kept`.
    fn lose_power(&mut self, kept: f64) -> Lost {
        let mut lost = Lost::default();
        // What happens to one name or file stays in order; different names are different places on the disk.
        let mut broken = BTreeSet::new();
        self.changes_synced += self.changes.len() as u64;
        for change in std::mem::take(&mut self.changes) {
            let names: Vec<String> = match &change {
                Change::Create(name, _) | Change::Remove(name) => vec![name.clone()],
                Change::Rename(from, to) => vec![from.clone(), to.clone()],
            };
            let survives = self.rng.random_bool(kept);
            if survives && names.iter().all(|name| !broken.contains(name)) {
                perform(&mut self.durable, change);
            } else {
                broken.extend(names);
                lost.names += 1;
            }
        }
        self.late.clear();
        self.stalled_until = None;
        for inode in self.durable.values() {
            lock(inode).lose_power(kept, &mut self.rng, &mut lost);
        }
        self.view = self.durable.clone();
        lost
    }
}

fn over() -> io::Error {
    io::Error::other("this door belongs to a life that has ended")
}

fn perform(folder: &mut Folder, change: Change) {
    match change {
        Change::Create(name, inode) => {
            folder.insert(name, inode);
        }
        Change::Rename(from, to) => {
            if let Some(inode) = folder.remove(&from) {
                folder.insert(to, inode);
            }
        }
        Change::Remove(name) => {
            folder.remove(&name);
        }
    }
}
