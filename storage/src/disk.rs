//! The door to the disk: a flat folder of files, and the only calls that storage makes of the world.
//!
//! What is written is not remembered until it is synced; the twin of this door in `tests/sim` takes that
//! literally. A sync is a future so that the twin can take (virtual) time for it; on a real disk it blocks,
//! which is why the journal's scribe runs on a thread of its own.

use std::future::{Future, ready};
use std::io;
use std::pin::Pin;

/// Resolves when what was written is on the disk for good.
pub type Sync<'a> = Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;

/// Resolves to a file that was prepared.
pub type Prepared = Pin<Box<dyn Future<Output = io::Result<Box<dyn File>>> + Send>>;

/// A folder.
pub trait Disk: Send + std::marker::Sync + 'static {
    /// The names of all files, in order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes a file of `len` zero bytes, which are allocated and will not move. Refuses an existing name.
    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>>;

    /// Begins to make such a file, of which there is no hurry, and resolves when its zeros are durable. The
    /// name is taken when this returns. A disk that blocks does the work aside from the caller.
    fn prepare(&self, name: &str, len: u64) -> io::Result<Prepared> {
        Ok(Box::pin(ready(self.create(name, len))))
    }

    /// Opens an existing file.
    fn open(&self, name: &str) -> io::Result<Box<dyn File>>;

    /// Gives a file another name, replacing what had it. Durable after [`Disk::sync`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes creations, renames and removals durable.
    fn sync(&self) -> Sync<'_>;
}

/// A file. Reads see what was written, synced or not.
pub trait File: Send + std::marker::Sync {
    /// How many bytes it holds.
    fn len(&self) -> io::Result<u64>;

    /// Whether it holds none.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `bytes` from a position; an end of file before that is an error.
    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes at a position, growing the file if need be.
    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable (`fdatasync`).
    fn sync(&self) -> Sync<'_>;
}
