//! A node's guard, as the node sees it.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_vocab::Time;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

use crate::charge::Until;
use crate::error::{Gone, SpawnError};
use crate::line::{self, Carrier, Line};
use crate::words::{NEVER, Order};

/// Whether every ward of a node has ended, each with all of its tree: until then it holds this file.
pub fn none_is_left(wards: &Path) -> io::Result<bool> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match open(wards, flags, Mode::empty()) {
        Ok(file) => file,
        // Nobody ever held it.
        Err(Errno::NOENT) => return Ok(true),
        Err(error) => return Err(error.into()),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What a guard is to know.
#[derive(Clone, Debug)]
pub struct GuardOrders {
    /// A program that hands over to [`main`](crate::main); [`MYSELF`](crate::MYSELF), if this one does.
    pub fencer: PathBuf,
    /// The file that all wards of this node hold while anything of theirs lives; by its whole path.
    pub wards: Option<PathBuf>,
    /// How long the guard waits for them when the node has died.
    pub patience: Duration,
    /// What is executed then, where this process ran: the last word. Nothing, if it is empty. Its secrets are
    /// in files, for anybody can read these words.
    pub last_word: Vec<OsString>,
}

/// Another process that kills this one at a time which it was told, even if this one is stopped then.
///
/// Dropped, it is not released: the deadline that it took last stands.
#[derive(Debug)]
pub struct Guard(Line);

impl Guard {
    /// Starts one for this process. It has no deadline yet.
    pub async fn spawn(orders: GuardOrders) -> Result<Self, SpawnError> {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = line::fencer(&orders.fencer, "guard", theirs);
        if let Some(wards) = &orders.wards {
            command.arg("--wards").arg(wards);
        }
        command.arg("--patience").arg(orders.patience.as_millis().to_string());
        command.arg("--").args(&orders.last_word);
        let mut child = line::start(&mut command, &orders.fencer)?;
        // Its copy of the guard's end goes with it.
        drop(command);
        let (line, mut carrier) = Carrier::new(ours)?;
        carrier.started().await?;
        quorate_env::spawn(async move {
            while carrier.carry().await.is_some() {}
            drop(carrier);
            // Reaped, if it ends while this process lives.
            child.wait().await;
        });
        Ok(Self(line))
    }

    /// Has this process killed at a time, or at none. Counts once this has returned well.
    pub async fn until(&self, at: Option<Time>) -> Result<(), Gone> {
        let at = at.unwrap_or(NEVER);
        self.0.tell(Order::Until(Until { term_at: at, kill_at: at })).await
    }

    /// Lets it end: this process is about to end in order.
    pub async fn release(&self) -> Result<(), Gone> {
        self.0.tell(Order::Release).await
    }
}
