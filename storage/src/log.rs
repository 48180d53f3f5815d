//! The log as the room above sees it: entries by index, a vote, and what is known about them.
//!
//! Whoever appends never waits. Work goes into a queue, is readable at once, and the [`Scribe`] makes it
//! durable: it takes all that waits, writes it, syncs once, and calls back in order. Bytes and indexes
//! only; what they mean, consensus knows.
//!
//! What was acknowledged is there after any crash (I10); a vote that was saved is never forgotten (I9).
//! After the first failure of the disk nothing is acknowledged any more: a sync that failed once says
//! nothing when it succeeds later. A disk that is full or takes no writes has not failed: what waits goes on
//! when it has room, and [`Log::standing`] tells meanwhile.
//!
//! Not here: any file format (`record`, `segment`), any thread.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};

use crate::disk::{Disk, File};
use crate::error::StorageError;
use crate::journal::{self, OpenReport};
use crate::queue::{Done, Job, Queue};
use crate::record::{self, ENTRY_BYTES_MAX, Found, NOTE_BYTES_MAX, Record, Seal, look};
use crate::scribe::Scribe;
use crate::standing::StandingWatch;
use crate::sum::Sum;
use crate::window::{Held, Place, Window};

/// How a log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// Whose journal it is: the node's id. A journal of another is refused.
    pub journal: u64,
    /// How long a segment is. Longer for a single entry that needs it.
    pub segment_bytes: u64,
    /// How many bytes of young entries stay in memory.
    pub cache_bytes: usize,
    /// A disk that has not answered for so long is called slow.
    pub slow_after: Duration,
    /// Acknowledges before the sync: a deliberate bug, which the simulation must catch.
    #[cfg(feature = "mutants")]
    pub ack_before_sync: bool,
}

/// The log. Cheap to clone; the scribe ends when the last clone is dropped.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    _alive: Arc<Alive>,
}

/// What the log holds, counting what is not synced yet.
#[derive(Clone, Debug)]
pub struct LogState {
    /// The lowest index that is held, or that could be.
    pub first: u64,
    /// The highest index that is held; none when there is no entry.
    pub last: Option<u64>,
    /// The vote that was saved last.
    pub vote: Option<Bytes>,
    /// How far the log was last said to be committed.
    pub committed: Option<Bytes>,
    /// Up to where entries were dropped from the front, and the marker that was given with that.
    pub purged: Option<(u64, Bytes)>,
    /// Up to where the shelf was last said to be flushed.
    pub shelved: u64,
    /// What opening the journal found.
    pub report: OpenReport,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            journal: 0,
            segment_bytes: 8 << 20,
            cache_bytes: 16 << 20,
            slow_after: Duration::from_secs(1),
            #[cfg(feature = "mutants")]
            ack_before_sync: false,
        }
    }
}

impl LogConfig {
    /// How long a segment must be that holds `needed` bytes at least.
    pub(crate) fn capacity_for(&self, needed: u64) -> u64 {
        const PAGE: u64 = 4096;
        self.segment_bytes.clamp(PAGE, 256 << 20).max(needed).next_multiple_of(PAGE)
    }
}

impl Log {
    /// When more than this waits to be written, [`Log::room`] makes callers wait.
    pub const WAITING_BYTES: usize = 16 << 20;
    /// When this much waits, further entries are refused.
    pub const WAITING_BYTES_MAX: usize = 256 << 20;

    /// Opens the journal in a folder, or makes one if there is none. The scribe must be run for anything to
    /// become durable.
    pub async fn open(
        disk: Arc<dyn Disk>,
        config: LogConfig,
    ) -> Result<(Self, Scribe), StorageError> {
        let journal = journal::open(&*disk, &config).await?;
        tracing::debug!(report = ?journal.report, "the journal is open");
        let files = journal.segments.iter().map(|(&number, s)| (number, Arc::clone(&s.file)));
        let shared = Arc::new(Shared {
            journal: config.journal,
            report: journal.report,
            state: Mutex::new(State {
                sum: journal.sum.clone(),
                window: journal.window,
                files: files.collect(),
                queue: Queue::default(),
                stopped: None,
                is_closed: false,
            }),
            work: Notify::new(),
            room: Notify::new(),
            standing: StandingWatch::new(config.slow_after),
        });
        let log =
            Self { shared: Arc::clone(&shared), _alive: Arc::new(Alive(Arc::clone(&shared))) };
        let scribe = Scribe::new(shared, disk, config, journal.sum, journal.segments, journal.tail);
        Ok((log, scribe))
    }

    /// Appends entries, whose indexes follow the last one. They are readable at once; `done` is called when
    /// they are durable. Of several calls, the earlier one's `done` is called first.
    ///
    /// Never waits. A caller who can wait does so in [`Log::room`] first, which bounds the memory.
    /// Entries that do not follow, are too long, or find [`Log::WAITING_BYTES_MAX`] bytes waiting are
    /// refused as a whole: `done` is called with the reason, from within this call, and the log is as it
    /// was.
    pub fn append(&self, entries: Vec<(u64, Bytes)>, done: Done) {
        let mut state = self.shared.lock();
        match state.append(entries) {
            Ok((records, stamp)) => {
                state.queue.push(Job { records, stamp, done: Some(done) }, true);
                drop(state);
                self.shared.work.notify_one();
            }
            Err(error) => {
                drop(state);
                done(Err(error));
            }
        }
    }

    /// Waits until the disk has caught up so far that more entries are welcome. Returns at once when the
    /// journal has stopped.
    pub async fn room(&self) {
        loop {
            let mut notified = pin!(self.shared.room.notified());
            notified.as_mut().enable();
            {
                let state = self.shared.lock();
                if state.queue.bytes() < Self::WAITING_BYTES || state.stopped.is_some() {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Saves the vote. It is durable when this returns, and so is everything that was appended before. If
    /// the caller gives up waiting, the vote is saved nevertheless.
    pub async fn save_vote(&self, vote: Bytes) -> io::Result<()> {
        bounded(&vote, "the vote")?;
        let (sender, receiver) = oneshot::channel();
        // A caller who gave up needs no answer.
        let done: Done = Box::new(move |outcome| drop(sender.send(outcome)));
        self.shared.enqueue(Record::Vote(vote), Some(done), true)?;
        receiver.await.unwrap_or_else(|_| Err(stopped("the scribe has ended")))
    }

    /// Notes how far the log is committed. Durable with the next sync, which it does not force.
    pub fn save_committed(&self, committed: Bytes) {
        if committed.len() > NOTE_BYTES_MAX {
            tracing::error!(bytes = committed.len(), "a committed mark is too long to be kept");
            return;
        }
        let mut state = self.shared.lock();
        if state.stopped.is_none() {
            state.sum.committed = Some(committed.clone());
            state.queue.commit(committed);
        }
    }

    /// Drops the entries at and above `from`, at once for readers; durable with the next sync, which it
    /// does not force. Does not wait.
    pub async fn truncate_from(&self, from: u64) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.check()?;
        if state.window.last().is_some_and(|held| held >= from) {
            state.enqueue(Record::Truncate { from }, None, false)?;
        }
        Ok(())
    }

    /// Drops the entries up to `upto`, at once for readers. `marker` is kept with that. Segments without a
    /// needed entry are deleted once this is durable. `upto` may lie beyond the last entry: then the log is
    /// empty and goes on behind it. Going back does nothing.
    pub fn purge(&self, upto: u64, marker: Bytes) {
        let mut state = self.shared.lock();
        let is_behind = state.sum.purged.as_ref().is_some_and(|(purged, _)| *purged >= upto);
        if is_behind || state.stopped.is_some() {
            return;
        }
        let outcome = bounded(&marker, "the purge marker")
            .and_then(|()| state.enqueue(Record::Purge { upto, marker }, None, true));
        drop(state);
        match outcome {
            Ok(()) => self.shared.work.notify_one(),
            Err(error) => tracing::error!(%error, upto, "a purge was refused"),
        }
    }

    /// Notes that the shelf was flushed up to `index`; `done` is called when that is durable.
    pub fn mark_shelved(&self, index: u64, done: Done) {
        let mut state = self.shared.lock();
        match state.check() {
            Ok(()) => {
                state.sum.shelved = index;
                let records = vec![Record::Shelved { index }];
                state.queue.push(Job { records, stamp: 0, done: Some(done) }, true);
                drop(state);
                self.shared.work.notify_one();
            }
            Err(error) => {
                drop(state);
                done(Err(error));
            }
        }
    }

    /// The entries from `from` on, below `to_exclusive`: as many as fit in `bytes_max`, but at least one
    /// if it is held. Nothing if `from` is not held. Blocks on the file for entries that left the memory.
    pub fn read(
        &self,
        from: u64,
        to_exclusive: u64,
        bytes_max: usize,
    ) -> io::Result<Vec<(u64, Bytes)>> {
        let mut found = Vec::new();
        let held = {
            let state = self.shared.lock();
            let held = state.window.find(from, to_exclusive, bytes_max);
            let with_file = |(index, held)| match held {
                Held::Here(data) => (index, Ok(data)),
                Held::There(place) => {
                    (index, Err((place, state.files.get(&place.segment).cloned())))
                }
            };
            held.into_iter().map(with_file).collect::<Vec<_>>()
        };
        for (index, held) in held {
            let data = match held {
                Ok(data) => data,
                Err((place, file)) => match self.shared.fetch(index, place, file) {
                    Ok(data) => data,
                    // Dropped while we looked: then it is not held.
                    Err(_) if !self.shared.holds(index, place) => break,
                    Err(error) => return Err(error),
                },
            };
            found.push((index, data));
        }
        Ok(found)
    }

    /// How the disk stands, to be watched.
    pub fn standing(&self) -> StandingWatch {
        self.shared.standing.clone()
    }

    /// What the log holds.
    pub fn state(&self) -> LogState {
        let state = self.shared.lock();
        let sum = state.sum.clone();
        LogState {
            first: state.window.first().or(sum.next).unwrap_or(0),
            last: state.window.last(),
            vote: sum.vote,
            committed: sum.committed,
            purged: sum.purged,
            shelved: sum.shelved,
            report: self.shared.report,
        }
    }
}

/// What the log and its scribe share.
pub(crate) struct Shared {
    journal: u64,
    report: OpenReport,
    state: Mutex<State>,
    /// There is something to write, or nobody is left to write for.
    pub(crate) work: Notify,
    /// Something was written.
    pub(crate) room: Notify,
    pub(crate) standing: StandingWatch,
}

pub(crate) struct State {
    /// What holds once all that waits is written.
    sum: Sum,
    pub(crate) window: Window,
    /// What entries are read from.
    pub(crate) files: BTreeMap<u64, Arc<dyn File>>,
    pub(crate) queue: Queue,
    /// Why nothing is written any more.
    pub(crate) stopped: Option<String>,
    /// Nobody is left to write for.
    pub(crate) is_closed: bool,
}

/// Tells the scribe when the last log is gone.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.work.notify_one();
    }
}

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the log")
    }

    fn enqueue(&self, record: Record, done: Option<Done>, is_urgent: bool) -> io::Result<()> {
        self.lock().enqueue(record, done, is_urgent)?;
        self.work.notify_one();
        Ok(())
    }

    /// Reads an entry from its segment.
    fn fetch(&self, index: u64, place: Place, file: Option<Arc<dyn File>>) -> io::Result<Bytes> {
        let damaged = || {
            let name = crate::segment::name(place.segment);
            let why = "an entry cannot be read back";
            let place = place.at.into();
            io::Error::other(StorageError::corrupt(&name, place, record::ENTRY, why).of(index))
        };
        let file = file.ok_or_else(damaged)?;
        let mut bytes = vec![0; place.bytes as usize];
        file.read_at(place.at.into(), &mut bytes)?;
        let Found::Sound(frame) = look(Seal::new(self.journal, place.segment), &bytes) else {
            return Err(damaged());
        };
        match Record::read(&frame) {
            Some(Record::Entry { index: found, data }) if found == index => Ok(data),
            _ => Err(damaged()),
        }
    }

    fn holds(&self, index: u64, place: Place) -> bool {
        let found = self.lock().window.find(index, index.saturating_add(1), 0);
        matches!(found[..], [(_, Held::There(found))] if found == place)
    }
}

impl State {
    fn check(&self) -> io::Result<()> {
        self.stopped.as_deref().map_or(Ok(()), |why| Err(stopped(why)))
    }

    /// Takes entries, all or none.
    fn append(&mut self, entries: Vec<(u64, Bytes)>) -> io::Result<(Vec<Record>, u64)> {
        self.check()?;
        let bytes: usize = entries.iter().map(|(_, data)| data.len()).sum();
        let waiting = self.queue.bytes();
        if waiting > 0 && waiting.saturating_add(bytes) > Log::WAITING_BYTES_MAX {
            let why = format!("{waiting} bytes wait for the disk; the entries were not taken");
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        let mut next = self.sum.next;
        for (index, data) in &entries {
            if next.is_some_and(|next| next != *index) || *index == u64::MAX {
                let why = format!("entry {index} does not follow; the next is {next:?}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            if data.len() > ENTRY_BYTES_MAX {
                let why = format!("entry {index} has {} bytes, too many", data.len());
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
            next = Some(index + 1);
        }
        self.sum.next = next;
        let mut first = None;
        let mut take = |(index, data): (u64, Bytes)| {
            let stamp = self.window.push(index, data.clone());
            first.get_or_insert(stamp);
            Record::Entry { index, data }
        };
        let records = entries.into_iter().map(&mut take).collect();
        Ok((records, first.unwrap_or(0)))
    }

    /// Takes anything but entries.
    fn enqueue(&mut self, record: Record, done: Option<Done>, is_urgent: bool) -> io::Result<()> {
        self.check()?;
        self.sum.take(&record).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        match &record {
            Record::Truncate { from } => self.window.truncate(*from),
            Record::Purge { upto, .. } => self.window.purge(*upto),
            _ => {}
        }
        self.queue.push(Job { records: vec![record], stamp: 0, done }, is_urgent);
        Ok(())
    }
}

/// The journal is of no use any more in this life of the process.
pub(crate) fn stopped(why: &str) -> io::Error {
    io::Error::other(format!("the journal has stopped: {why}"))
}

fn bounded(note: &Bytes, what: &str) -> io::Result<()> {
    if note.len() > NOTE_BYTES_MAX {
        let why = format!("{what} has {} bytes, too many", note.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    }
    Ok(())
}
