//! Backups: taken of a node that runs, read and restored where none does.
//!
//! A backup is the state of one index, and knows nothing of votes and voters: what is restored from it is
//! another cluster, of one node, which others join. No token of the former one is worth anything there, as
//! every epoch is higher.
//!
//! Not here: the bytes of a backup (`quorate_consensus::backup`), what becomes of a state that is begun from
//! anew (the registry), and files, which belong to the faces.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use quorate_consensus::backup::{self, BackupError, Head, Reader};
use quorate_consensus::{GroupError, salvage};
use quorate_registry::{Frozen, Machine, Outgrown};
use quorate_storage::{Nursery, RealDisk, StorageError};
use quorate_vocab::{ClusterId, Epoch, Index, NodeId};

use crate::error::{Error, NotDone};
use crate::hall::Hall;

/// A backup that was taken: the state as it was, however long it takes to be carried away.
#[derive(Clone, Debug)]
pub struct Backup {
    head: Head,
    state: Frozen,
}

/// A backup that was read, whole and undamaged.
#[derive(Clone, Debug)]
pub struct Contents {
    head: Head,
    state: Machine,
}

/// The cluster that was begun anew in a data directory. Its one node lives there from its next start on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anew {
    /// Its identity.
    pub cluster: ClusterId,
    /// Its one node.
    pub node: NodeId,
    /// How often it has begun anew, the former ones included; part of every epoch.
    pub generation: u16,
    /// The index that its log begins behind.
    pub index: Index,
}

/// Why a cluster was not begun anew. What was there is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnewError {
    /// The data directory cannot be used, or the disk refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What the directory holds cannot be read.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The state has used up its epochs.
    #[error(transparent)]
    Outgrown(#[from] Outgrown),
}

impl Backup {
    /// Takes the state as it is here and now.
    pub(crate) fn take(hall: &Hall) -> Result<Self, Error> {
        let cluster = hall.identity().cluster().ok_or(Error::NotDone(NotDone::NoLeader))?;
        let (state, index) = hall.group().read(|machine, index| (machine.freeze(), index));
        let head = Head {
            cluster,
            index,
            generation: state.generation(),
            taken_ms: quorate_env::wall().0 / 1_000_000,
            by: hall.config().name.clone(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Ok(Self { head, state })
    }

    /// Whose state it is.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Its bytes, in pieces.
    pub fn pieces(&self) -> impl Iterator<Item = Vec<u8>> + Send + use<'_> {
        backup::pieces(&self.head, &self.state)
    }
}

impl Contents {
    /// Reads a backup. Its head is shown as soon as it is known, since all else may be damaged.
    pub fn read(from: impl Read, show: impl FnOnce(&Head)) -> Result<Self, BackupError> {
        let reader = Reader::open(from)?;
        let head = reader.head().clone();
        show(&head);
        Ok(Self { head, state: reader.state()? })
    }

    /// Whose state it is.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The state, for tools and tests that know the registry.
    pub fn state(&self) -> &Machine {
        &self.state
    }

    /// Begins a new cluster with this state in a directory where there is nothing. Its epochs are above all
    /// of this state, and above the one that is named; see [`Machine::begin_anew`].
    pub async fn restore(self, dir: &Path, above: Option<Epoch>) -> Result<Anew, AnewError> {
        let nursery = Nursery::open(dir)?;
        let anew = begin_anew(&nursery, self.state, above).await?;
        nursery.end()?;
        Ok(anew)
    }
}

/// Fills a directory that is being made with the memory of a cluster's only node.
pub(crate) async fn begin_anew(
    nursery: &Nursery,
    state: Machine,
    above: Option<Epoch>,
) -> Result<Anew, AnewError> {
    let state = state.begin_anew(above.map_or(0, Epoch::generation))?;
    let (node, cluster) = (nursery.node(), nursery.cluster());
    let disk = RealDisk::open(&nursery.raft_dir());
    let disk = disk.map_err(|source| {
        let doing = format!("making {}", nursery.raft_dir().display());
        StorageError::Io { doing, source }
    })?;
    salvage::plant(node, &state, Arc::new(disk)).await?;
    Ok(Anew { cluster, node, generation: state.generation(), index: state.applied() })
}
