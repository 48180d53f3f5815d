//! A disk that stalls, drags or fills up. What it writes is never wrong, only late or refused, so whatever it
//! acknowledges holds.
//!
//! Not here: the time that a write takes, as opposed to a sync. Writes go to the system's memory.

use std::io;
use std::sync::Arc;

use quorate_storage::{Disk, File, Prepared, Sync};

use crate::board::Board;

/// A disk that the faults of a switchboard hold for.
pub(crate) struct AiledDisk {
    inner: Arc<dyn Disk>,
    board: Arc<Board>,
}

struct AiledFile {
    inner: Box<dyn File>,
    board: Arc<Board>,
}

impl AiledDisk {
    pub(crate) fn new(inner: Arc<dyn Disk>, board: Arc<Board>) -> Self {
        Self { inner, board }
    }

    fn ailed(&self, inner: Box<dyn File>) -> Box<dyn File> {
        Box::new(AiledFile { inner, board: self.board.clone() })
    }

    /// How much room a file gives back when it goes. Asked only where room is counted.
    fn frees(&self, name: &str) -> u64 {
        let is_counted = self.board.is_limited();
        let len = is_counted.then(|| self.inner.open(name).and_then(|file| file.len()));
        len.and_then(Result::ok).unwrap_or(0)
    }
}

impl Disk for AiledDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
        self.board.allocate(len)?;
        let created = self.inner.create(name, len).inspect_err(|_| self.board.free(len))?;
        Ok(self.ailed(created))
    }

    fn prepare(&self, name: &str, len: u64) -> io::Result<Prepared> {
        self.board.allocate(len)?;
        let board = self.board.clone();
        let prepared = self.inner.prepare(name, len).inspect_err(|_| board.free(len))?;
        Ok(Box::pin(async move {
            let inner = prepared.await.inspect_err(|_| board.free(len))?;
            // Its zeros are durable by now, which a disk that stalls would not say.
            board.unstalled().await;
            Ok(Box::new(AiledFile { inner, board }) as Box<dyn File>)
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.ailed(self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let freed = if from == to { 0 } else { self.frees(to) };
        self.inner.rename(from, to)?;
        self.board.free(freed);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let freed = self.frees(name);
        self.inner.remove(name)?;
        self.board.free(freed);
        Ok(())
    }

    fn sync(&self) -> Sync<'_> {
        held(&self.board, self.inner.sync())
    }
}

impl File for AiledFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(position, bytes)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.board.is_limited() {
            return self.inner.write_at(position, bytes);
        }
        let end = position.saturating_add(bytes.len() as u64);
        let grows = end.saturating_sub(self.inner.len()?);
        self.board.allocate(grows)?;
        self.inner.write_at(position, bytes).inspect_err(|_| self.board.free(grows))
    }

    fn sync(&self) -> Sync<'_> {
        held(&self.board, self.inner.sync())
    }
}

/// A sync as the faults let it: nothing of it is done before a stall is over, and one that was under way
/// when a stall began does not end in it.
fn held<'a>(board: &'a Board, sync: Sync<'a>) -> Sync<'a> {
    Box::pin(async move {
        board.drag().await;
        board.unstalled().await;
        sync.await?;
        board.unstalled().await;
        Ok(())
    })
}
