//! The shelf on sled: the quick copy of the applied state.
//!
//! sled does not always keep what it acknowledged through a power cut, and a damaged one may panic as it
//! opens, or wait for itself for ever. So nothing here is the only copy, and sled lives on a thread of
//! its own: a panic becomes an error, a call that is not answered in time becomes an error, and such a
//! thread is left behind. A shelf that does not open, or does not read, is set aside and rebuilt.
//!
//! One call at a time is under way. sled 1.0.0-alpha names a deadlock between its merges of leaves and
//! concurrent batches among its open points.

use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::error::StorageError;
use crate::real_disk::{make_private_dir, sync_dir};
use crate::shelf::{Row, Shelf};
use crate::thread::take_lock;

/// How many rows a leaf holds; sled asks for the same number at every opening.
const LEAF_ROWS: usize = 256;
/// The applied state is held in memory by the room above, so little is gained by holding it here, too.
const CACHE_BYTES: usize = 16 << 20;
/// How hard sled tries to make its pages small; its own default, 3, takes twice the time for little.
const COMPRESSION: i32 = 1;
/// How long an opening may take. Taking a good shelf for a bad one costs a rebuild, and no more.
const OPENING: Duration = Duration::from_secs(10);
/// How long any other call may take. Long, since a disk may stall, and since nothing but the speed of the
/// next start depends on it.
const CALL: Duration = Duration::from_secs(60);
/// How many rows of a scan are handed over at once.
const ROWS_AT_ONCE: usize = 512;

type Db = sled::Db<LEAF_ROWS>;
type Ask = Box<dyn FnOnce(&Db) + Send>;

/// A shelf in a folder. Only what was flushed is there after a crash, and not always that.
pub struct SledShelf {
    /// `None` once it is closing.
    asks: Option<SyncSender<Ask>>,
    /// Ends when sled has closed its files.
    closed: Mutex<Receiver<()>>,
    turn: Mutex<()>,
    /// A call was not answered, and none will be.
    is_stuck: AtomicBool,
    /// What was read to see whether the shelf can be: a start asks for the same rows next.
    read: Mutex<Option<Rows>>,
}

type Rows = Vec<(sled::InlineArray, sled::InlineArray)>;

/// Opens the shelf in a folder. One that will not open, or whose rows cannot all be read, is moved aside
/// (to `<dir>.aside`, where one generation is kept), and an empty one is made. Says what was wrong, so
/// that the state is rebuilt.
pub fn open_or_replace_shelf(dir: &Path) -> Result<(SledShelf, Option<String>), StorageError> {
    let why = match SledShelf::open(dir) {
        Ok(shelf) => {
            let mut read = Vec::new();
            match shelf.scan_within(OPENING, &mut |rows| read.extend(rows)) {
                Ok(()) => {
                    *shelf.read() = Some(read);
                    return Ok((shelf, None));
                }
                Err(error) => error.to_string(),
            }
        }
        Err(StorageError::Shelf { why, .. }) => why,
        Err(error) => return Err(error),
    };
    let aside = aside(dir);
    tracing::warn!(dir = %dir.display(), aside = %aside.display(), why, "the shelf is set aside");
    let doing = || StorageError::io(format!("moving {} aside", dir.display()));
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(doing()(error)),
        _ => {}
    }
    fs::rename(dir, &aside).map_err(doing())?;
    sync_dir(dir.parent().unwrap_or(Path::new("."))).map_err(doing())?;
    Ok((SledShelf::open(dir)?, Some(why)))
}

impl SledShelf {
    /// Opens the shelf in a folder, which is made if need be.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        take_lock(|| Self::open_now(dir))
    }

    fn open_now(dir: &Path) -> Result<Self, StorageError> {
        let making = StorageError::io(format!("making {}", dir.display()));
        make_private_dir(dir).map_err(making)?;
        let config = sled::Config::new()
            .path(dir)
            .flush_every_ms(None)
            .cache_capacity_bytes(CACHE_BYTES)
            .zstd_compression_level(COMPRESSION);
        let (asks, asked) = sync_channel::<Ask>(1);
        let (opened, opening) = sync_channel(1);
        let (closing, closed) = sync_channel(1);
        let live = move || {
            let db = match fenced("opening the shelf", || config.open()) {
                Ok(db) => db,
                Err(error) => return drop(opened.send(Err(error))),
            };
            // If nobody waits any more, nobody asks either.
            let _ = opened.send(Ok(()));
            asked.iter().for_each(|ask: Ask| ask(&db));
            let _ = fenced("closing the shelf", || {
                drop(db);
                Ok(())
            });
            drop(closing);
        };
        let outcome = thread::Builder::new()
            .name("quorate-shelf".to_owned())
            .spawn(live)
            .and_then(|_| answer(&opening, OPENING)?);
        let shelf = Self {
            asks: Some(asks),
            closed: Mutex::new(closed),
            turn: Mutex::new(()),
            is_stuck: AtomicBool::new(outcome.is_err()),
            read: Mutex::default(),
        };
        outcome.map(|()| shelf).map_err(|error| match error.kind() {
            // sled locks its folder.
            io::ErrorKind::WouldBlock => StorageError::Locked { dir: dir.to_owned() },
            _ => StorageError::Shelf { dir: dir.to_owned(), why: error.to_string() },
        })
    }

    /// Has sled's thread do something, and waits for what comes of it.
    fn call<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnOnce(&Db) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let _turn = self.turn()?;
        let outcome = self.ask(what, act)?;
        self.await_answer(&outcome, CALL)?
    }

    fn turn(&self) -> io::Result<MutexGuard<'_, ()>> {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match self.is_stuck.load(Ordering::Relaxed) {
            true => Err(unanswered()),
            false => Ok(turn),
        }
    }

    fn ask<T: Send + 'static>(
        &self,
        what: &'static str,
        act: impl FnOnce(&Db) -> io::Result<T> + Send + 'static,
    ) -> io::Result<Receiver<io::Result<T>>> {
        let (answer, outcome) = sync_channel(1);
        let ask: Ask = Box::new(move |db| drop(answer.send(fenced(what, || act(db)))));
        let asks = self.asks.as_ref().ok_or_else(unanswered)?;
        asks.send(ask).map_err(|_| unanswered())?;
        Ok(outcome)
    }

    fn await_answer<T>(&self, outcome: &Receiver<T>, patience: Duration) -> io::Result<T> {
        answer(outcome, patience).inspect_err(|_| self.is_stuck.store(true, Ordering::Relaxed))
    }

    fn read(&self) -> MutexGuard<'_, Option<Rows>> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn scan_within(&self, patience: Duration, take: &mut dyn FnMut(Rows)) -> io::Result<()> {
        let _turn = self.turn()?;
        let (rows, found) = sync_channel(1);
        let outcome = self.ask("reading the shelf", move |db| {
            let mut some = Vec::new();
            for row in db.iter() {
                some.push(row?);
                if some.len() == ROWS_AT_ONCE && rows.send(std::mem::take(&mut some)).is_err() {
                    return Ok(());
                }
            }
            let _ = rows.send(some);
            Ok(())
        })?;
        loop {
            match found.recv_timeout(patience) {
                Ok(rows) => take(rows),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    self.is_stuck.store(true, Ordering::Relaxed);
                    return Err(unanswered());
                }
            }
        }
        self.await_answer(&outcome, patience)?
    }
}

impl Drop for SledShelf {
    /// Waits until the folder is free for the next opening, unless sled is stuck.
    fn drop(&mut self) {
        self.asks = None;
        let closed = self.closed.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !self.is_stuck.load(Ordering::Relaxed)
            && closed.recv_timeout(CALL) == Err(RecvTimeoutError::Timeout)
        {
            tracing::warn!("the shelf does not close, and is left behind");
        }
    }
}

impl Shelf for SledShelf {
    fn scan(&self, take: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        let mut give = |rows: Rows| rows.iter().for_each(|(key, value)| take(key, value));
        let read = self.read().take();
        match read {
            Some(rows) => {
                give(rows);
                Ok(())
            }
            None => self.scan_within(CALL, &mut give),
        }
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let key = key.to_vec();
        self.call("reading the shelf", |db| Ok(db.get(key)?.map(|value| value.to_vec())))
    }

    fn commit(&self, rows: Vec<Row>) -> io::Result<()> {
        *self.read() = None;
        let mut batch = sled::Batch::default();
        for (key, value) in rows {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.call("writing the shelf", |db| {
            // Whoever reads it is waited for, by a start; whoever writes to it is not.
            quorate_env::yield_to_others();
            db.apply_batch(batch)
        })
    }

    fn clear(&self) -> io::Result<()> {
        *self.read() = None;
        self.call("clearing the shelf", |db| db.clear())
    }

    fn flush(&self) -> io::Result<()> {
        self.call("flushing the shelf", |db| db.flush().map(drop))
    }
}

/// Waits, but not for ever.
fn answer<T>(outcome: &Receiver<T>, patience: Duration) -> io::Result<T> {
    outcome.recv_timeout(patience).map_err(|_| unanswered())
}

fn unanswered() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the shelf does not answer")
}

/// Turns a panic of sled into an error.
fn fenced<T>(what: &str, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
        Err(io::Error::other(format!("{what}: {said}")))
    })
}

fn aside(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(".aside");
    dir.with_file_name(name)
}
