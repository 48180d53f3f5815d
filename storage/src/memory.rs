//! A disk and a shelf that live in memory and lose nothing, for the tests of other rooms. What a crash does
//! to a disk, the twins in `tests/sim` know.

use std::collections::BTreeMap;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, File, Sync};
use crate::shelf::{Row, Shelf};

/// A folder in memory. Clones are the same folder.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<BTreeMap<String, MemoryFile>>>);

#[derive(Clone, Debug, Default)]
struct MemoryFile(Arc<Mutex<Vec<u8>>>);

/// A shelf in memory. Clones are the same shelf.
#[derive(Clone, Debug, Default)]
pub struct MemoryShelf(Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl MemoryDisk {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// A folder with the same files, which goes its own way from here.
    pub fn copy(&self) -> Self {
        let files = locked(&self.0);
        let copied = files.iter().map(|(name, file)| {
            (name.clone(), MemoryFile(Arc::new(Mutex::new(locked(&file.0).clone()))))
        });
        Self(Arc::new(Mutex::new(copied.collect())))
    }

    /// What a file holds.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        locked(&self.0).get(name).map(|file| locked(&file.0).clone())
    }

    /// Puts a file there, whatever was there before.
    pub fn place(&self, name: &str, contents: Vec<u8>) {
        let file = MemoryFile(Arc::new(Mutex::new(contents)));
        locked(&self.0).insert(name.to_owned(), file);
    }
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(locked(&self.0).keys().cloned().collect())
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
        let mut files = locked(&self.0);
        if files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let length = usize::try_from(len).map_err(|_| io::ErrorKind::StorageFull)?;
        let file = MemoryFile(Arc::new(Mutex::new(vec![0; length])));
        files.insert(name.to_owned(), file.clone());
        Ok(Box::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = locked(&self.0).get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = locked(&self.0);
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        locked(&self.0).remove(name).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(ready(Ok(())))
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(locked(&self.0).len() as u64)
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        let held = locked(&self.0);
        let range = span(position, bytes.len()).and_then(|(from, to)| held.get(from..to));
        bytes.copy_from_slice(range.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        let (from, to) = span(position, bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
        let mut held = locked(&self.0);
        if held.len() < to {
            held.resize(to, 0);
        }
        held[from..to].copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(ready(Ok(())))
    }
}

impl Shelf for MemoryShelf {
    fn scan(&self, take: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
        locked(&self.0).iter().for_each(|(key, value)| take(key, value));
        Ok(())
    }

    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(locked(&self.0).get(key).cloned())
    }

    fn commit(&self, rows: Vec<Row>) -> io::Result<()> {
        let mut held = locked(&self.0);
        for (key, value) in rows {
            match value {
                Some(value) => drop(held.insert(key, value)),
                None => drop(held.remove(&key)),
            }
        }
        Ok(())
    }

    fn clear(&self) -> io::Result<()> {
        locked(&self.0).clear();
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn span(position: u64, length: usize) -> Option<(usize, usize)> {
    let from = usize::try_from(position).ok()?;
    Some((from, from.checked_add(length)?))
}

/// A test that failed elsewhere must not hide its reason behind a poisoned lock.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
