//! A file that only the newest owner replaces.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_vocab::{Name, Token};

use crate::replace::{beside, replace, settled};
use crate::{BarFile, KeepError, Refusal};

/// A file on a disk of this machine, and beside it (`FILE.quorate-epoch`) who wrote it last.
///
/// The bar is raised durably before the file is replaced: after a crash between the two, the file still holds
/// what the former owner wrote, and the former owner is locked out already. Both happen under one lock that
/// the processes of this machine share, so no check is overtaken by another's write. Whoever writes to the
/// file without this guard is not held back by it.
#[derive(Clone, Debug)]
pub struct FileGuard {
    path: PathBuf,
    patience: Duration,
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A newer owner was here. Nothing was written, and nothing of this epoch ever will be.
    #[error(transparent)]
    Stale(Refusal),
    /// The file belongs to another singleton, whose epochs are no measure for this one's. Nothing was
    /// written. Where the file was given over on purpose, remove its `.quorate-epoch`.
    #[error("{path} belongs to the singleton {owner}")]
    OtherName {
        /// Which file.
        path: PathBuf,
        /// Whose it is.
        owner: Name,
    },
    /// The bar could not be read, or not be raised. The file is as it was.
    #[error(transparent)]
    Keep(#[from] KeepError),
    /// The bar was raised and the system refused the rest. The file holds the old bytes or the new ones,
    /// whole; older epochs are refused either way. It may be tried again.
    #[error("replacing {path}: {why}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
}

impl FileGuard {
    /// How long to wait for another writer, unless told otherwise.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// A guard of a file, which need not be there yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), patience: Self::PATIENCE }
    }

    /// Waits this long for another writer, who may have been stopped in the middle.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Replaces what the file holds, unless a newer epoch has written or was about to. Durable when it
    /// returns; a reader sees the old bytes or the new ones, never a mixture.
    pub fn write(&self, token: &Token, bytes: &[u8]) -> Result<(), FileError> {
        let refused = |why| FileError::Io { path: self.path.clone(), why };
        let path = settled(&self.path).map_err(|why| self.unsettled(why))?;
        let mut kept = self.bar_of(&path)?;
        // A file has one owner, so its bar has room for one name.
        if let Some((owner, _)) = kept.bar().iter().next()
            && *owner != token.name
        {
            return Err(FileError::OtherName { path, owner: owner.clone() });
        }
        kept.admit(token)?.map_err(FileError::Stale)?;
        replace(&path, bytes).map_err(refused)
    }

    /// Who wrote last, or was about to.
    pub fn newest(&self) -> Result<Option<Token>, FileError> {
        let path = settled(&self.path).map_err(|why| self.unsettled(why))?;
        let kept = self.bar_of(&path)?;
        Ok(kept.bar().iter().next().map(|(name, epoch)| Token { name: name.clone(), epoch }))
    }

    fn bar_of(&self, path: &Path) -> Result<BarFile, KeepError> {
        BarFile::open(&beside(path, "", ".quorate-epoch"), 1, self.patience)
    }

    fn unsettled(&self, why: io::Error) -> KeepError {
        KeepError::Io { doing: "looking for", path: self.path.clone(), why }
    }
}
