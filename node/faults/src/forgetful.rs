//! A disk that forgets what was not synced, when its process is killed.
//!
//! What is written to a file stays in memory until that file is synced, and renames and removals until the
//! folder is. Whoever asks sees all of it, as an operating system would show it; whoever looks into the
//! folder after a SIGKILL finds what a power cut would have left there.
//!
//! It is a hard disk to live with, yet an honest one: it may carry anything over sooner, as any disk may, and
//! does so where keeping it back would cost too much (memory, or the order of names).
//!
//! Not here: torn writes and syncs that lie (the simulation has both). And what a full disk refuses is
//! refused by the sync, when it is too late to take the write back.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quorate_storage::{Disk, File, Prepared, Sync};

/// How much is kept back of all files together. More passes through.
const HELD_BYTES_MAX: usize = 64 << 20;

/// A disk that carries over at a sync what was written before it.
pub(crate) struct ForgetfulDisk(Arc<Folder>);

struct Folder {
    inner: Arc<dyn Disk>,
    /// Held while the folder is looked at or changed.
    names: Mutex<Names>,
    held_bytes: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Names {
    /// The files that were opened, by what they are called now.
    known: BTreeMap<String, Arc<Kept>>,
    /// What is still to be done to the folder below, oldest first.
    changes: Vec<Change>,
}

enum Change {
    Rename(String, String),
    Remove(String),
}

/// One file, whoever has opened it and whatever it is called.
struct Kept {
    inner: Box<dyn File>,
    /// What was written since the last sync, oldest first.
    writes: Mutex<Vec<(u64, Vec<u8>)>>,
    held_bytes: Arc<AtomicUsize>,
}

/// One opening of it.
struct Handle(Arc<Kept>);

impl ForgetfulDisk {
    pub(crate) fn new(inner: Arc<dyn Disk>) -> Self {
        let (names, held_bytes) = (Mutex::default(), Arc::default());
        Self(Arc::new(Folder { inner, names, held_bytes }))
    }
}

impl Folder {
    fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does to the folder below what was done to this one.
    fn settle(&self, names: &mut Names) -> io::Result<()> {
        while let Some(change) = names.changes.first() {
            match change {
                Change::Rename(from, to) => self.inner.rename(from, to)?,
                Change::Remove(name) => self.inner.remove(name)?,
            }
            names.changes.remove(0);
        }
        Ok(())
    }

    /// The names as they are seen.
    fn seen(&self, names: &Names) -> io::Result<BTreeSet<String>> {
        let mut seen: BTreeSet<String> = self.inner.list()?.into_iter().collect();
        for change in &names.changes {
            match change {
                Change::Rename(from, to) => {
                    seen.remove(from);
                    seen.insert(to.clone());
                }
                Change::Remove(name) => {
                    seen.remove(name);
                }
            }
        }
        Ok(seen)
    }

    fn must_see(&self, names: &Names, name: &str) -> io::Result<()> {
        match self.seen(names)?.contains(name) {
            true => Ok(()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The handle on a file that was just opened or made below, or on what is known as it already.
    fn know(&self, names: &mut Names, name: &str, inner: Box<dyn File>) -> Box<dyn File> {
        let held_bytes = self.held_bytes.clone();
        let new = || Arc::new(Kept { inner, writes: Mutex::default(), held_bytes });
        let kept = names.known.entry(name.to_owned()).or_insert_with(new);
        Box::new(Handle(kept.clone()))
    }
}

impl Disk for ForgetfulDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.seen(&self.0.names())?.into_iter().collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
        let mut names = self.0.names();
        // The name may be one that is still to be given up below.
        self.0.settle(&mut names)?;
        let inner = self.0.inner.create(name, len)?;
        Ok(self.0.know(&mut names, name, inner))
    }

    fn prepare(&self, name: &str, len: u64) -> io::Result<Prepared> {
        let mut names = self.0.names();
        self.0.settle(&mut names)?;
        let prepared = self.0.inner.prepare(name, len)?;
        let (folder, name) = (self.0.clone(), name.to_owned());
        Ok(Box::pin(async move {
            let inner = prepared.await?;
            Ok(folder.know(&mut folder.names(), &name, inner))
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut names = self.0.names();
        if let Some(kept) = names.known.get(name) {
            return Ok(Box::new(Handle(kept.clone())));
        }
        // Whoever is not known has its name below, unless that was changed.
        self.0.settle(&mut names)?;
        let inner = self.0.inner.open(name)?;
        Ok(self.0.know(&mut names, name, inner))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut names = self.0.names();
        self.0.must_see(&names, from)?;
        if from != to {
            names.known.remove(to);
            if let Some(kept) = names.known.remove(from) {
                names.known.insert(to.to_owned(), kept);
            }
            names.changes.push(Change::Rename(from.to_owned(), to.to_owned()));
        }
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut names = self.0.names();
        self.0.must_see(&names, name)?;
        names.known.remove(name);
        names.changes.push(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(async {
            self.0.settle(&mut self.0.names())?;
            self.0.inner.sync().await
        })
    }
}

impl Kept {
    fn writes(&self) -> MutexGuard<'_, Vec<(u64, Vec<u8>)>> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries over what was kept back. What the disk below refuses is kept on.
    fn settle(&self, writes: &mut Vec<(u64, Vec<u8>)>) -> io::Result<()> {
        let mut settled = 0;
        let mut outcome = Ok(());
        for (position, bytes) in writes.iter() {
            outcome = self.inner.write_at(*position, bytes);
            if outcome.is_err() {
                break;
            }
            settled += 1;
        }
        let carried: usize = writes.drain(..settled).map(|(_, bytes)| bytes.len()).sum();
        self.held_bytes.fetch_sub(carried, Ordering::Relaxed);
        outcome
    }

    fn len(&self, writes: &[(u64, Vec<u8>)]) -> io::Result<u64> {
        let ends = writes.iter().map(|(position, bytes)| position + bytes.len() as u64);
        Ok(ends.max().unwrap_or(0).max(self.inner.len()?))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let lost: usize = self.writes().iter().map(|(_, bytes)| bytes.len()).sum();
        self.held_bytes.fetch_sub(lost, Ordering::Relaxed);
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        self.0.len(&self.0.writes())
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        let writes = self.0.writes();
        let end = position.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| self.0.len(&writes).is_ok_and(|len| end > len)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let below = self.0.inner.len()?.saturating_sub(position);
        let below = bytes.len().min(usize::try_from(below).unwrap_or(usize::MAX));
        self.0.inner.read_at(position, &mut bytes[..below])?;
        bytes[below..].fill(0);
        for (at, written) in writes.iter() {
            overlay(bytes, position, written, *at);
        }
        Ok(())
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        if position.checked_add(bytes.len() as u64).is_none() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut writes = self.0.writes();
        let held = self.0.held_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
        writes.push((position, bytes.to_vec()));
        if held + bytes.len() > HELD_BYTES_MAX { self.0.settle(&mut writes) } else { Ok(()) }
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(async {
            self.0.settle(&mut self.0.writes())?;
            self.0.inner.sync().await
        })
    }
}

/// Puts what was written at a place over what was read from another, as far as they meet.
fn overlay(read: &mut [u8], read_at: u64, written: &[u8], written_at: u64) {
    let start = read_at.max(written_at);
    let end = (read_at + read.len() as u64).min(written_at + written.len() as u64);
    if start < end {
        let span = |from: u64| (start - from) as usize..(end - from) as usize;
        read[span(read_at)].copy_from_slice(&written[span(written_at)]);
    }
}
