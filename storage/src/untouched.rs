//! A disk that is looked at and stays as it is, whatever whoever looks believes to write.
//!
//! Opening a journal puts right what a crash left, which is well for a node that is to live on, and not for
//! one whose remains are looked at. Here such a step says that it was done, and does nothing.
//!
//! Not here: what would have to be read again after it was written. Nothing that is only looked at asks for
//! that, and making a file is refused.

use std::future::ready;
use std::io;

use crate::disk::{Disk, File, Sync};

/// A folder that is only looked at.
#[derive(Clone, Debug)]
pub struct Untouched<D>(pub D);

struct UntouchedFile(Box<dyn File>);

impl<D: Disk> Disk for Untouched<D> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, _: &str, _: u64) -> io::Result<Box<dyn File>> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(UntouchedFile(self.0.open(name)?)))
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(ready(Ok(())))
    }
}

impl File for UntouchedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_at(position, bytes)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(ready(Ok(())))
    }
}
