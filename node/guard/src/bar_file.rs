//! A bar that outlives its process: a small file of text, replaced whole each time the bar is raised.
//!
//! ```text
//! quorate-bar 1
//! * 4000            the floor of all names, if there is one
//! billing 4712
//! sum 5d0a26f3      crc32 of all lines above
//! ```

use std::fmt::Write as _;
use std::fs::{OpenOptions, TryLockError};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_vocab::{Epoch, Name, Token};

use crate::replace::{beside, replace, settled};
use crate::{Bar, Refusal, Standing};

const HEAD: &str = "quorate-bar 1";
/// The longest line: a name, a blank, the digits of an epoch, the end of the line.
const LINE_BYTES: usize = Name::BYTES_MAX + 18;
/// How long to wait between two looks at a lock that somebody has.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A bar and its file. While it is open, no other process has it.
#[derive(Debug)]
pub struct BarFile {
    path: PathBuf,
    bar: Bar,
    /// Held, not used.
    _lock: Lock,
}

/// A lock that is let go when this is dropped. To close the file alone would not do: where this process
/// starts another one at that moment, that one has it open, too, until it runs its program.
#[expect(clippy::disallowed_types, reason = "the lock of a file outside of every node")]
#[derive(Debug)]
struct Lock(std::fs::File);

impl Drop for Lock {
    fn drop(&mut self) {
        // If it cannot be let go, the end of all who have it open lets it go.
        let _ = self.0.unlock();
    }
}

/// Why a bar was not kept. What was to pass must not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeepError {
    /// The system refused. The bar is as it was or as it should be; it may be tried again.
    #[error("{doing} {path}: {why}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// The file is not whole, so the newest epochs are not known. Nothing was written. Put the right file
    /// there, or remove it and set a floor that no old owner reaches.
    #[error("{path} is damaged: {what}")]
    Torn {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Another process has it and did not let go in time. Nothing was written; it may be tried again.
    #[error("{path} is in use by another process")]
    Busy {
        /// The file that is locked.
        path: PathBuf,
    },
}

impl BarFile {
    /// Opens the file, or begins with nothing where there is none. Waits for whoever has it, not for longer
    /// than `patience`: they may have been stopped in the middle.
    pub fn open(path: &Path, names_max: usize, patience: Duration) -> Result<Self, KeepError> {
        let path = settled(path).map_err(refused("looking for", path))?;
        let lock = lock(&beside(&path, ".", ".quorate-lock"), patience)?;
        let bar = read(&path, names_max)?;
        Ok(Self { path, bar, _lock: lock })
    }

    /// The bar as it is kept.
    pub fn bar(&self) -> &Bar {
        &self.bar
    }

    /// Lets a token pass if no newer epoch was seen; a newer one is durable when this returns.
    pub fn admit(&mut self, token: &Token) -> Result<Result<Standing, Refusal>, KeepError> {
        let mut raised = self.bar.clone();
        let admitted = raised.admit(&token.name, token.epoch);
        if admitted == Ok(Standing::Raises) {
            self.keep(raised)?;
        }
        Ok(admitted)
    }

    /// Raises the floor of all names, durably.
    pub fn lift(&mut self, floor: Epoch) -> Result<(), KeepError> {
        let mut lifted = self.bar.clone();
        lifted.lift(floor);
        if lifted == self.bar { Ok(()) } else { self.keep(lifted) }
    }

    fn keep(&mut self, bar: Bar) -> Result<(), KeepError> {
        replace(&self.path, written(&bar).as_bytes()).map_err(refused("writing", &self.path))?;
        self.bar = bar;
        Ok(())
    }
}

fn lock(path: &Path, patience: Duration) -> Result<Lock, KeepError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let file = opened.map_err(refused("opening", path))?;
    let mut waited = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Lock(file)),
            Err(TryLockError::Error(why)) => return Err(refused("locking", path)(why)),
            Err(TryLockError::WouldBlock) if waited >= patience => {
                return Err(KeepError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => {
                std::thread::sleep(LOOK_AGAIN);
                waited += LOOK_AGAIN;
            }
        }
    }
}

fn refused(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeepError {
    let path = path.to_owned();
    move |why| KeepError::Io { doing, path, why }
}

fn read(path: &Path, names_max: usize) -> Result<Bar, KeepError> {
    let file = match OpenOptions::new().read(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Bar::new(names_max)),
        opened => opened.map_err(refused("opening", path))?,
    };
    // One byte more than it may have, so that a longer one is seen to be longer.
    let bytes_max = names_max.saturating_add(3).saturating_mul(LINE_BYTES);
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(refused("reading", path))?;
    if bytes.len() > bytes_max {
        return Err(KeepError::Torn { path: path.to_owned(), what: "it is too long" });
    }
    understood(&bytes, names_max).map_err(|what| KeepError::Torn { path: path.to_owned(), what })
}

fn written(bar: &Bar) -> String {
    let mut text = format!("{HEAD}\n");
    if let Some(floor) = bar.floor() {
        // Writing to a string does not fail.
        let _ = writeln!(text, "* {floor}");
    }
    for (name, epoch) in bar.iter() {
        let _ = writeln!(text, "{name} {epoch}");
    }
    let _ = writeln!(text, "sum {:08x}", crc32fast::hash(text.as_bytes()));
    text
}

fn understood(bytes: &[u8], names_max: usize) -> Result<Bar, &'static str> {
    let text = str::from_utf8(bytes).map_err(|_| "it is no text")?;
    let (body, sum) = text
        .strip_suffix('\n')
        .and_then(|text| text.rsplit_once("\nsum "))
        .ok_or("its end is missing")?;
    let body = format!("{body}\n");
    if sum != format!("{:08x}", crc32fast::hash(body.as_bytes())) {
        return Err("its sum does not fit");
    }
    let mut lines = body.lines();
    if lines.next() != Some(HEAD) {
        return Err("it is of another kind, or of a later release");
    }
    let mut bar = Bar::new(names_max);
    for line in lines {
        let (name, epoch) = line.split_once(' ').ok_or("a line is not a name and an epoch")?;
        let epoch = epoch.parse().ok().and_then(Epoch::from_shown).ok_or("an epoch is none")?;
        if name == "*" {
            bar.lift(epoch);
            continue;
        }
        let name = Name::new(name).map_err(|_| "a name is none")?;
        // What the floor has overtaken since is not worth keeping, and not wrong either.
        match bar.admit(&name, epoch) {
            Ok(_) | Err(Refusal::Stale { .. }) => {}
            Err(Refusal::Full { .. }) => return Err("it has more names than are allowed here"),
        }
    }
    Ok(bar)
}
