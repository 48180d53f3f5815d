//! What a node sees of its disk: the folder and its files, through one life's door.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use quorate_drill::nemesis::DiskCall;
use quorate_storage::{Disk, File, Sync};
use rand::RngExt;
use tokio::time::sleep_until;

use super::file::Inode;
use super::{Change, Honesty, Owed, SimDisk, State, lock, over, perform};
use crate::clock;

/// A disk as one life of a process sees it.
#[derive(Clone, Debug)]
pub struct Mounted {
    pub(super) disk: SimDisk,
    pub(super) generation: u64,
}

impl Mounted {
    /// The disk's state, for as long as the life lasts that this door belongs to.
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.disk.state();
        if state.generation != self.generation {
            return Err(over());
        }
        state.settle();
        Ok(state)
    }

    /// Does what alters the disk, if it may be altered.
    fn alter<T>(
        &self,
        call: DiskCall,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state()?;
        state.step(call)?;
        state.may_write()?;
        let done = act(&mut state)?;
        state.step(call)?;
        Ok(done)
    }

    /// Takes the time of a sync, and then carries over what was owed when it was asked for.
    fn paid(&self, call: DiskCall, owed: io::Result<Owed>) -> Sync<'_> {
        Box::pin(async move {
            let owed = owed?;
            let mut until = {
                let mut state = self.state()?;
                state.step(call)?;
                let range = state.faults.sync_takes.clone();
                clock::now() + state.rng.random_range(range)
            };
            loop {
                if until > clock::now() {
                    sleep_until(until).await;
                }
                // A stall that began meanwhile holds this sync as well.
                match self.state()?.stalled_until {
                    Some(stalled) if stalled > clock::now() => until = stalled,
                    _ => break,
                }
            }
            let mut state = self.state()?;
            state.finish(owed)?;
            state.step(call)
        })
    }
}

impl State {
    fn change(&mut self, change: Change) {
        self.changes.push(change.clone());
        perform(&mut self.view, change);
    }

    fn finish(&mut self, owed: Owed) -> io::Result<()> {
        let fails = self.faults.fail_syncs;
        match &owed {
            Owed::File(inode, _) => {
                self.note(format_args!("sync #{} ok {}", lock(inode).id, !fails));
            }
            Owed::Folder(_) => self.note(format_args!("sync folder ok {}", !fails)),
        }
        if fails {
            if let Owed::File(inode, capture) = &owed {
                lock(inode).clean(capture);
            }
            return Err(io::Error::other("the disk failed to sync (simulated EIO)"));
        }
        match self.faults.honesty {
            Honesty::Honest => self.pay(owed),
            Honesty::Late(span) => self.late.push((clock::now() + span, owed)),
            Honesty::Never => {}
        }
        Ok(())
    }
}

impl Disk for Mounted {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.state()?.view.keys().cloned().collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
        let inode = self.alter(DiskCall::Create, |state| {
            if state.view.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.allocate(len)?;
            state.next_inode += 1;
            let inode = Arc::new(Mutex::new(Inode::new(state.next_inode, len)));
            state.change(Change::Create(name.to_owned(), inode.clone()));
            Ok(inode)
        })?;
        Ok(Box::new(Handle { door: self.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let state = self.state()?;
        let inode = state.view.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Handle { door: self.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.alter(DiskCall::Rename, |state| {
            if !state.view.contains_key(from) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if from != to {
                state.change(Change::Rename(from.to_owned(), to.to_owned()));
            }
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.alter(DiskCall::Remove, |state| {
            if !state.view.contains_key(name) {
                return Err(io::ErrorKind::NotFound.into());
            }
            state.change(Change::Remove(name.to_owned()));
            Ok(())
        })
    }

    fn sync(&self) -> Sync<'_> {
        let last = |state: MutexGuard<'_, State>| state.changes_synced + state.changes.len() as u64;
        self.paid(DiskCall::SyncFolder, self.state().map(|state| Owed::Folder(last(state))))
    }
}

/// An open file. It stays open when the file gets another name or none.
struct Handle {
    door: Mounted,
    inode: Arc<Mutex<Inode>>,
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        let _alive = self.door.state()?;
        Ok(lock(&self.inode).view.len)
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        let _alive = self.door.state()?;
        let inode = lock(&self.inode);
        match position.checked_add(bytes.len() as u64) {
            Some(end) if end <= inode.view.len => inode.view.read(position, bytes),
            _ => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.door.alter(DiskCall::Write, |state| {
            let end =
                position.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
            let len = lock(&self.inode).view.len;
            if end > len {
                state.allocate(end - len)?;
            }
            lock(&self.inode).write(position, bytes);
            Ok(())
        })
    }

    fn sync(&self) -> Sync<'_> {
        let owed = self.door.state().map(|_alive| {
            let capture = lock(&self.inode).capture();
            Owed::File(self.inode.clone(), capture)
        });
        self.door.paid(DiskCall::Sync, owed)
    }
}
