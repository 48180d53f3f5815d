//! The system's disk behind the [`Disk`] door. Syncs block; see `thread`.

use std::fs;
use std::future::Future;
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::pin::Pin;

use quorate_env::blocking;

use crate::disk::{Disk, File, Prepared, Sync};

/// How many bytes of a file are filled between two syncs.
const FILL_BYTES: usize = 1 << 20;

/// A folder of the file system. Folders within it are not seen.
#[derive(Clone, Debug)]
pub struct RealDisk {
    dir: PathBuf,
}

#[expect(clippy::disallowed_types, reason = "this is the door")]
struct RealFile(fs::File);

impl RealDisk {
    /// Opens a folder, which is made (for the owner alone) if need be.
    pub fn open(dir: &Path) -> io::Result<Self> {
        make_private_dir(dir)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Makes an empty file.
    #[expect(clippy::disallowed_types, reason = "this is the door")]
    fn make(&self, name: &str) -> io::Result<fs::File> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).open(self.path(name)?)
    }

    /// The folder is flat: a name that would lead out of it is no name.
    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0']) {
            let why = format!("{name:?} is not the name of a file here");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(self.dir.join(name))
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for found in fs::read_dir(&self.dir)? {
            let found = found?;
            // A name that is not UTF-8 is none of ours.
            if found.file_type()?.is_file()
                && let Ok(name) = found.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
        let file = self.make(name)?;
        fill(&file, len)?;
        Ok(Box::new(RealFile(file)))
    }

    fn prepare(&self, name: &str, len: u64) -> io::Result<Prepared> {
        let file = self.make(name)?;
        let prepare = move || {
            fill(&file, len)?;
            Ok(Box::new(RealFile(file)) as Box<dyn File>)
        };
        let prepared = blocking("quorate-segment", prepare)?;
        Ok(Box::pin(async {
            match prepared.await {
                Ok(Ok(outcome)) => outcome,
                _ => Err(io::Error::other("the thread that prepared a segment ended early")),
            }
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).open(self.path(name)?)?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path(name)?)
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(async { sync_dir(&self.dir) })
    }
}

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(bytes, position)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, position)
    }

    fn sync(&self) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + '_>> {
        Box::pin(async { self.0.sync_data() })
    }
}

/// Fills a new file with zeros. They are written, not just promised: a later sync then has no metadata to
/// write. And they are synced bit by bit, so that the syncs of other files never wait long behind them. A
/// file that cannot be filled gives back what room it took: on a full disk others need it.
#[expect(clippy::disallowed_types, reason = "this is the door")]
fn fill(file: &fs::File, len: u64) -> io::Result<()> {
    write_zeros(file, len).inspect_err(|_| {
        // If that fails too, whoever removes the file does it.
        let _ = file.set_len(0);
    })
}

#[expect(clippy::disallowed_types, reason = "this is the door")]
fn write_zeros(mut file: &fs::File, len: u64) -> io::Result<()> {
    let zeros = vec![0; FILL_BYTES.min(usize::try_from(len).unwrap_or(FILL_BYTES))];
    let mut left = len;
    while left > 0 {
        let count = zeros.len().min(usize::try_from(left).unwrap_or(zeros.len()));
        file.write_all(&zeros[..count])?;
        left -= count as u64;
        file.sync_data()?;
    }
    Ok(())
}

/// Makes a folder, and what is above it, for the owner alone.
pub(crate) fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes creations, renames and removals in a folder durable.
#[expect(clippy::disallowed_types, reason = "this is the door")]
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Writes a small file so that, after a crash, it is the old one or the new one.
#[expect(clippy::disallowed_types, reason = "this is the door")]
pub(crate) fn write_whole(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let unnamed = dir.join(format!("{name}.tmp"));
    let mut file = fs::File::create(&unnamed)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unnamed, dir.join(name))?;
    sync_dir(dir)
}
