//! A list of addresses in a file, watched.
//!
//! Watching is asking once a second for the file's length, time of change and identity, and reading it when
//! one of them differs. That works on every file system, mounted config maps among them, where notices of the
//! kernel do not come; and each tenth time the file is read in any case, since two changes within one tick of
//! the file's clock may look like one.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use quorate_env::BoxFuture;

use crate::aside::aside;
use crate::locator::Locator;
use crate::{Candidates, Pace, Sighting, Source, SpecError, list};

/// No list is longer, and no secret, token or certificate either.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// So many looks go by before a file is read that seems to be the same.
const LOOKS_UNREAD: u32 = 10;

/// Which file.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    path: PathBuf,
    port: Option<u16>,
    every: Duration,
    understand: fn(&str, Option<u16>) -> Result<Candidates, String>,
}

/// A file under watch.
pub(crate) struct Watched {
    settings: Settings,
    looks: u32,
    /// What it was like when it was last read, and what stood in it.
    last: Option<(Mark, Candidates)>,
}

/// What differs when a file was changed or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    bytes: u64,
    changed: Option<SystemTime>,
    identity: u64,
}

impl Settings {
    pub(crate) fn read(locator: &Locator) -> Result<Self, SpecError> {
        Self::of(locator, list::json_or_lines)
    }

    /// The settings of a file in a format of its own.
    pub(crate) fn of(
        locator: &Locator,
        understand: fn(&str, Option<u16>) -> Result<Candidates, String>,
    ) -> Result<Self, SpecError> {
        let every = locator.span("every", Duration::from_secs(1))?;
        Ok(Self { path: locator.path()?, port: locator.port("port")?, every, understand })
    }
}

impl Watched {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, looks: 0, last: None }
    }

    async fn candidates(&mut self) -> Result<Candidates, String> {
        let Settings { path, port, understand, .. } = self.settings.clone();
        self.looks = (self.looks + 1) % LOOKS_UNREAD;
        let last = self.last.as_ref().filter(|_| self.looks != 0).map(|(mark, _)| *mark);
        let read = aside(move || match Mark::of(&path)? {
            mark if Some(mark) == last => Ok(None),
            mark => Ok(Some((mark, read(&path)?))),
        });
        match (read.await?, &self.last) {
            (None, Some((_, found))) => Ok(found.clone()),
            (None, None) => Err("it was not read".to_owned()),
            (Some((mark, text)), _) => {
                let found = understand(&text, port)?;
                self.last = Some((mark, found.clone()));
                Ok(found)
            }
        }
    }
}

impl Source for Watched {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(async { self.candidates().await.into() })
    }

    fn pace(&self) -> Pace {
        Pace::poll(self.settings.every)
    }
}

impl Mark {
    fn of(path: &Path) -> Result<Self, String> {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(path).map_err(|e| trouble(path, &e))?;
        // A pipe would keep its reader for ever.
        if !meta.is_file() {
            return Err(format!("{} is no file", path.display()));
        }
        if meta.len() > FILE_BYTES_MAX {
            return Err(format!("{} is longer than {FILE_BYTES_MAX} bytes", path.display()));
        }
        Ok(Self { bytes: meta.len(), changed: meta.modified().ok(), identity: meta.ino() })
    }
}

/// The text of a file of bounded length, read where it may block.
pub(crate) async fn text(path: &Path) -> Result<String, String> {
    let path = path.to_owned();
    aside(move || Mark::of(&path).and_then(|_| read(&path))).await
}

/// The text of a secret, which nobody else may be able to read. Blanks around it do not belong to it.
pub(crate) async fn secret(path: &Path) -> Result<String, String> {
    let file = path.to_owned();
    let mode = move || {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(&file).map(|meta| meta.mode() & 0o777).map_err(|e| trouble(&file, &e))
    };
    let mode = aside(mode).await?;
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(format!("{path} has mode {mode:04o} and holds a secret: chmod 600 {path}"));
    }
    match text(path).await?.trim() {
        "" => Err(format!("{} is empty", path.display())),
        secret => Ok(secret.to_owned()),
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| trouble(path, &e))
}

fn trouble(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
