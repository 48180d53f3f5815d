//! What can go wrong with what is remembered. Each variant says what happened to the state, and whether it
//! helps to try again.

use std::io;
use std::path::PathBuf;

use quorate_vocab::ClusterId;

/// Why the storage will not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The disk refused. What was acknowledged before is untouched; whether the step itself took effect is
    /// not known. Opening again is safe, and is the way to find out.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that had been synced are not what was written. Nothing was changed. Trying again does not
    /// help: this node must not take part with what is left (I9).
    #[error(
        "{file} is damaged at byte {offset}, in {kind}{}: {why}. Nothing was changed. Do not delete the \
         file: a node that forgets its promises must not vote. Keep a copy, give the node an empty data \
         directory, and let it join anew",
        .index.map(|index| format!(" {index}")).unwrap_or_default()
    )]
    Corrupt {
        /// Which file.
        file: String,
        /// Where in it.
        offset: u64,
        /// What stands there, as far as the bytes still tell.
        kind: &'static str,
        /// Which entry stands there, or which one the snapshot reaches up to, where it is one or the other.
        index: Option<u64>,
        /// What does not fit.
        why: &'static str,
    },
    /// A segment of the journal that must be there is not. Nothing was changed. Bring the file back from
    /// where it went, or give the node an empty data directory and let it join anew.
    #[error(
        "the segment {file} of the journal is missing. Nothing was changed. Bring it back, or give the node \
         an empty data directory and let it join anew"
    )]
    MissingSegment {
        /// Which file.
        file: String,
    },
    /// A file that bears one of our names and was written by something else. Nothing was changed.
    #[error(
        "{file} was not written by quorate. Nothing was changed. Move it away if it does not belong here"
    )]
    ForeignFile {
        /// Which file.
        file: String,
    },
    /// A journal file of another node. Nothing was changed. Data directories are never mixed.
    #[error(
        "{file} belongs to the journal of node {found:016x}, not of {expected:016x}. Nothing was changed"
    )]
    ForeignJournal {
        /// Which file.
        file: String,
        /// Whose it should be.
        expected: u64,
        /// Whose it is.
        found: u64,
    },
    /// Written by a newer release. Nothing was changed. Run that release.
    #[error(
        "{file} has format {found}, and this release knows formats up to {known}. Nothing was changed. Run \
         the release that wrote it"
    )]
    NewerFormat {
        /// Which file.
        file: String,
        /// Its format.
        found: u32,
        /// The newest that is known here.
        known: u32,
    },
    /// The directory holds something that is not ours. Nothing was changed. Name an empty one.
    #[error(
        "{dir} is not empty and is not a data directory of quorate. Nothing was changed. Name an empty \
         directory"
    )]
    ForeignDirectory {
        /// Which directory.
        dir: PathBuf,
    },
    /// The directory is a node's already. Nothing was changed. Name an empty one.
    #[error(
        "{dir} is the data directory of a node. Nothing was changed. Name an empty directory, or move this \
         one away"
    )]
    Inhabited {
        /// Which directory.
        dir: PathBuf,
    },
    /// There is no node's data directory. Nothing was changed. Name one.
    #[error("{dir} is not the data directory of a node. Nothing was changed. Name one")]
    NoHome {
        /// Which directory.
        dir: PathBuf,
    },
    /// Another agent has the directory. Nothing was changed. Try again when it has ended.
    #[error(
        "another agent is using {dir}. Nothing was changed. Stop it, or name another directory"
    )]
    Locked {
        /// Which directory.
        dir: PathBuf,
    },
    /// The node has an identity, and its memory is gone. Nothing was changed. It must not vote under that
    /// identity again (I9).
    #[error(
        "{dir} names a node, but its journal is missing. Nothing was changed. A node that forgot its \
         promises must not vote: bring the journal back, or give the node an empty data directory \
         and let it join anew"
    )]
    JournalMissing {
        /// Which directory.
        dir: PathBuf,
    },
    /// A small file without which the directory means nothing. Nothing was changed. Bring it back.
    #[error(
        "{file} is missing or cannot be understood. Nothing was changed. Bring it back from a copy"
    )]
    Identity {
        /// Which file.
        file: PathBuf,
    },
    /// The directory belongs to another cluster. Nothing was changed.
    #[error(
        "this node belongs to cluster {ours}, and was asked to belong to {theirs}. Nothing was changed"
    )]
    OtherCluster {
        /// Where it belongs.
        ours: ClusterId,
        /// Where it was asked to belong.
        theirs: ClusterId,
    },
    /// The shelf will not open. Nothing was changed, and nothing is lost: it is never the only copy. Set it
    /// aside with [`crate::open_or_replace_shelf`] and rebuild it.
    #[error("the shelf in {dir} will not open: {why}")]
    Shelf {
        /// Which directory.
        dir: PathBuf,
        /// What it said.
        why: String,
    },
}

impl StorageError {
    /// Says what was being done when the disk refused.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }

    /// Names the place where bytes are not what was written.
    pub(crate) fn corrupt(file: &str, offset: u64, kind: &'static str, why: &'static str) -> Self {
        Self::Corrupt { file: file.to_owned(), offset, kind, index: None, why }
    }

    /// Says which entry the place is of, or which one a snapshot reaches up to.
    pub(crate) fn of(self, index: impl Into<Option<u64>>) -> Self {
        match self {
            Self::Corrupt { file, offset, kind, why, .. } => {
                Self::Corrupt { file, offset, kind, index: index.into(), why }
            }
            other => other,
        }
    }
}
