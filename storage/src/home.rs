//! The data directory: whose it is, which life this is, and where the rest lies. Real file system only; a
//! simulated node has no home.
//!
//! ```text
//! DIR/lock         held while an agent lives
//!     format       "quorate 1"; there only once the directory was made to its end
//!     node.id      drawn at random when the directory was made
//!     boot         how many lives the directory has seen
//!     cluster.id   once the node was adopted
//!     raft/        the journal, the snapshots, and state/ with the shelf
//! ```
//!
//! A directory is made under the word `making`, journal included, and named `format` as the last step. So a
//! directory with a format and without a journal has lost it, and is never taken for a fresh node (I9).
//!
//! What else can be made than a fresh node, and how a node gives way to a new one in the same directory, says
//! `nursery`.

mod nursery;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use quorate_vocab::{Boot, ClusterId, NodeId};
use rand::TryRng;

use crate::error::StorageError;
use crate::journal;
use crate::log::LogConfig;
use crate::real_disk::{RealDisk, make_private_dir, sync_dir, write_whole};
use crate::thread::{block_on, take_lock};

pub use nursery::Nursery;

const LOCK: &str = "lock";
const FORMAT: &str = "format";
const MAKING: &str = "making";
const NODE: &str = "node.id";
const BOOT: &str = "boot";
const CLUSTER: &str = "cluster.id";
const RAFT: &str = "raft";
const FORMAT_KNOWN: u32 = 1;
/// No small file is longer; what is longer is not read.
const SMALL_BYTES_MAX: u64 = 4096;

/// A data directory in use. Holds its lock while it lives.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    node: NodeId,
    boot: Boot,
    cluster: Mutex<Option<ClusterId>>,
    #[expect(clippy::disallowed_types, reason = "the lock is a file of the system")]
    _lock: fs::File,
}

impl Home {
    /// Opens a data directory for a new life of its node; makes it, with a new node, where there is
    /// nothing.
    ///
    /// Making it includes the journal, under the node's id: open the log with [`LogConfig::journal`] set
    /// to it.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        make_private_dir(dir).map_err(StorageError::io(format!("making {}", dir.display())))?;
        refuse_foreign(dir)?;
        let lock = take_lock(|| lock(dir))?;
        if !has(dir, FORMAT)? {
            make(dir)?;
        }
        let mut home = Self::enter(dir, lock)?;
        home.boot = next_boot(dir)?;
        Ok(home)
    }

    /// Opens a data directory to look at what is in it: no life of its node is counted, and no directory is
    /// made.
    pub fn visit(dir: &Path) -> Result<Self, StorageError> {
        let is_there = dir.try_exists();
        let is_there =
            is_there.map_err(StorageError::io(format!("looking for {}", dir.display())))?;
        if !is_there || !has(dir, FORMAT)? {
            return Err(StorageError::NoHome { dir: dir.to_owned() });
        }
        let lock = take_lock(|| lock(dir))?;
        Self::enter(dir, lock)
    }

    /// Opens a data directory for the next life of the node that lived there: one is counted, and no
    /// directory is made.
    pub fn succeed(dir: &Path) -> Result<Self, StorageError> {
        let mut home = Self::visit(dir)?;
        home.boot = next_boot(dir)?;
        Ok(home)
    }

    #[expect(clippy::disallowed_types, reason = "the lock is a file of the system")]
    fn enter(dir: &Path, lock: fs::File) -> Result<Self, StorageError> {
        check_format(dir)?;
        nursery::finish(dir)?;
        let node = NodeId(read_hex(dir, NODE)?);
        let disk = RealDisk::open(&dir.join(RAFT)).map_err(StorageError::io("opening raft/"))?;
        if !journal::is_present(&disk).map_err(StorageError::io("listing raft/"))? {
            return Err(StorageError::JournalMissing { dir: dir.to_owned() });
        }
        let cluster = match has(dir, CLUSTER)? {
            true => Some(ClusterId(read_hex(dir, CLUSTER)?)),
            false => None,
        };
        let boot = Boot(lives(dir)?);
        Ok(Self { dir: dir.to_owned(), node, boot, cluster: Mutex::new(cluster), _lock: lock })
    }

    /// The node that lives here.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Which of its lives this is, or was the last.
    pub fn boot(&self) -> Boot {
        self.boot
    }

    /// The cluster that it belongs to.
    pub fn cluster(&self) -> Option<ClusterId> {
        *self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the node belong to a cluster, for life. Durable when this returns.
    pub fn adopt(&self, theirs: ClusterId) -> Result<(), StorageError> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        match *cluster {
            Some(ours) if ours == theirs => Ok(()),
            Some(ours) => Err(StorageError::OtherCluster { ours, theirs }),
            None => {
                write(&self.dir, CLUSTER, &format!("{theirs}\n"))?;
                *cluster = Some(theirs);
                Ok(())
            }
        }
    }

    /// Where the journal and the snapshots are.
    pub fn raft_dir(&self) -> PathBuf {
        self.dir.join(RAFT)
    }

    /// Where the shelf is.
    pub fn state_dir(&self) -> PathBuf {
        self.raft_dir().join("state")
    }
}

/// A directory with something in it is ours if it says so. Looks before anything is written.
fn refuse_foreign(dir: &Path) -> Result<(), StorageError> {
    let doing = || StorageError::io(format!("listing {}", dir.display()));
    let mut is_empty = true;
    for found in fs::read_dir(dir).map_err(doing())? {
        // A file system's own folder lies at the root of a fresh volume.
        let name = found.map_err(doing())?.file_name();
        is_empty &= name == LOCK || name == "lost+found" || name == "making.tmp";
    }
    if is_empty || has(dir, FORMAT)? || has(dir, MAKING)? {
        return Ok(());
    }
    Err(StorageError::ForeignDirectory { dir: dir.to_owned() })
}

#[expect(clippy::disallowed_types, reason = "the lock is a file of the system")]
fn lock(dir: &Path) -> Result<fs::File, StorageError> {
    let path = dir.join(LOCK);
    let doing = || StorageError::io(format!("locking {}", path.display()));
    let mut options = fs::OpenOptions::new();
    let lock = options.read(true).write(true).create(true).truncate(false).open(&path);
    let lock = lock.map_err(doing())?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(StorageError::Locked { dir: dir.to_owned() }),
        Err(fs::TryLockError::Error(error)) => Err(doing()(error)),
    }
}

/// Makes a directory for a fresh node, to its end.
fn make(dir: &Path) -> Result<(), StorageError> {
    let io = |doing: &str| StorageError::io(format!("{doing} in {}", dir.display()));
    let node = begin(dir)?;
    let disk = RealDisk::open(&dir.join(RAFT)).map_err(io("making the journal"))?;
    let config = LogConfig { journal: node.0, ..LogConfig::default() };
    block_on(journal::open(&disk, &config))?;
    end(dir)?;
    tracing::info!(%node, dir = %dir.display(), "made a data directory for a new node");
    Ok(())
}

/// Begins to make a directory, for a node that is drawn. What an earlier attempt left is thrown away: it had
/// no format yet, so nobody ever lived in it.
fn begin(dir: &Path) -> Result<NodeId, StorageError> {
    let io = |doing: &str| StorageError::io(format!("{doing} in {}", dir.display()));
    write(dir, MAKING, &format!("quorate {FORMAT_KNOWN}\n"))?;
    remove_all(&dir.join(RAFT)).map_err(io("removing an unfinished journal"))?;
    let node = NodeId(draw().map_err(io("drawing a node's id"))?);
    write(dir, NODE, &format!("{node}\n"))?;
    write(dir, BOOT, "0\n")?;
    Ok(node)
}

/// Ends the making of a directory: from here on it is somebody's.
fn end(dir: &Path) -> Result<(), StorageError> {
    let io = |doing: &str| StorageError::io(format!("{doing} in {}", dir.display()));
    sync_dir(dir).map_err(io("making the journal"))?;
    fs::rename(dir.join(MAKING), dir.join(FORMAT)).map_err(io("naming the format"))?;
    sync_dir(dir).map_err(io("naming the format"))
}

fn remove_all(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A number that no other node, and no other cluster, has.
fn draw() -> io::Result<u64> {
    loop {
        let number = rand::rngs::SysRng.try_next_u64().map_err(io::Error::other)?;
        if number != 0 {
            return Ok(number);
        }
    }
}

fn check_format(dir: &Path) -> Result<(), StorageError> {
    let text = read(dir, FORMAT)?;
    let found = text.strip_prefix("quorate ").and_then(|number| number.trim_end().parse().ok());
    match found {
        Some(FORMAT_KNOWN) => Ok(()),
        Some(found) if found > FORMAT_KNOWN => Err(StorageError::NewerFormat {
            file: dir.display().to_string(),
            found,
            known: FORMAT_KNOWN,
        }),
        _ => Err(StorageError::ForeignDirectory { dir: dir.to_owned() }),
    }
}

/// How many lives the directory has seen.
fn lives(dir: &Path) -> Result<u64, StorageError> {
    let missing = |_| StorageError::Identity { file: dir.join(BOOT) };
    read(dir, BOOT)?.trim_end().parse().map_err(missing)
}

/// Counts this life, durably: two lives never share a number.
fn next_boot(dir: &Path) -> Result<Boot, StorageError> {
    let missing = || StorageError::Identity { file: dir.join(BOOT) };
    let boot = lives(dir)?.checked_add(1).ok_or_else(missing)?;
    write(dir, BOOT, &format!("{boot}\n"))?;
    Ok(Boot(boot))
}

fn has(dir: &Path, name: &str) -> Result<bool, StorageError> {
    let path = dir.join(name);
    path.try_exists().map_err(StorageError::io(format!("looking for {}", path.display())))
}

fn read(dir: &Path, name: &str) -> Result<String, StorageError> {
    let path = dir.join(name);
    let missing = || StorageError::Identity { file: path.clone() };
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(missing()),
        Ok(found) if found.len() > SMALL_BYTES_MAX => return Err(missing()),
        _ => {}
    }
    let bytes = fs::read(&path).map_err(StorageError::io(format!("reading {}", path.display())))?;
    String::from_utf8(bytes).map_err(|_| missing())
}

fn read_hex(dir: &Path, name: &str) -> Result<u64, StorageError> {
    let text = read(dir, name)?;
    let digits = text.trim_end();
    let number = (digits.len() == 16).then(|| u64::from_str_radix(digits, 16).ok()).flatten();
    number.ok_or_else(|| StorageError::Identity { file: dir.join(name) })
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), StorageError> {
    let doing = StorageError::io(format!("writing {}", dir.join(name).display()));
    write_whole(dir, name, text).map_err(doing)
}
