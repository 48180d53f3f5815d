//! A node that is left of a cluster whose majority is lost for good, and the new cluster that begins with
//! what it has.
//!
//! It works on a data directory alone, without a quorum and without a running node. The former cluster does
//! not live on: the new one has another identity, so that whoever of the former comes back meets nobody who
//! would speak with it, and higher epochs, so that nothing that was given out there is worth anything here.
//!
//! Not here: the judgement that the others will not come back. Nothing on one machine can know that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_consensus::salvage::{Remains, remains};
use quorate_registry::Machine;
use quorate_storage::{Home, RealDisk, StorageError, Untouched, open_or_replace_shelf};
use quorate_vocab::{ClusterId, Epoch, Index, NodeId, NodeName};

use crate::backup::{Anew, AnewError, begin_anew};

/// Where the shelf is copied to while it is looked at.
const COPY: &str = "looked-at";

/// What one node still has. Its directory stays locked and as it is, until it is begun anew from.
#[derive(Debug)]
pub struct Survivor {
    home: Home,
    cluster: ClusterId,
    remains: Remains,
}

/// A voter of the former cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerVoter {
    /// Which node.
    pub id: NodeId,
    /// What people called it, if the registry knows.
    pub name: Option<NodeName>,
    /// Where it could be dialled.
    pub address: Option<String>,
}

impl Survivor {
    /// Looks at what a data directory holds. Nothing in it is changed.
    pub async fn find(dir: &Path) -> Result<Self, AnewError> {
        let home = Home::visit(dir)?;
        let Some(cluster) = home.cluster() else {
            return Err(StorageError::NoHome { dir: dir.to_owned() }.into());
        };
        let doing = |doing: &str| {
            let doing = format!("{doing} {}", home.raft_dir().display());
            move |source| StorageError::Io { doing, source }
        };
        let disk = RealDisk::open(&home.raft_dir()).map_err(doing("opening"))?;
        // To open a shelf is to change it.
        let copy = dir.join(COPY);
        remove_all(&copy).map_err(doing("looking at"))?;
        let rows = copy.join("state");
        copy_all(&home.state_dir(), &rows).map_err(doing("looking at"))?;
        let (shelf, _) = open_or_replace_shelf(&rows)?;
        let found = remains(home.node(), Arc::new(Untouched(disk)), Arc::new(shelf)).await;
        remove_all(&copy).map_err(doing("looking at"))?;
        Ok(Self { home, cluster, remains: found? })
    }

    /// Which node it was.
    pub fn node(&self) -> NodeId {
        self.home.node()
    }

    /// Which cluster it belonged to.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The last entry that it has. What was acknowledged after it is lost.
    pub fn last(&self) -> Index {
        self.remains.last
    }

    /// Up to where it knows that a majority had agreed. What it has beyond that counts as agreed from now on.
    pub fn committed(&self) -> Index {
        self.remains.committed
    }

    /// The newest term that it knew of.
    pub fn term(&self) -> u64 {
        self.remains.term
    }

    /// The state with all that it has, for tools and tests that know the registry.
    pub fn state(&self) -> &Machine {
        &self.remains.state
    }

    /// Who else voted, as far as it knows. What only they have is lost.
    pub fn other_voters(&self) -> Vec<FormerVoter> {
        let others = self.remains.voters.iter().filter(|voter| **voter != self.node());
        let former = |voter: &NodeId| {
            let known = self.remains.state.node(*voter);
            FormerVoter {
                id: *voter,
                name: known.map(|node| node.name.clone()),
                address: known.map(|node| node.address.clone()),
            }
        };
        others.map(former).collect()
    }

    /// Begins a new cluster, of one node, with all that this one has, in the same directory. Gives the folder
    /// to which what was there before was moved.
    pub async fn begin_anew(self, above: Option<Epoch>) -> Result<(Anew, PathBuf), AnewError> {
        let nursery = self.home.conceive()?;
        let anew = begin_anew(&nursery, self.remains.state, above).await?;
        let former = self.home.give_way(nursery)?;
        Ok((anew, former))
    }
}

/// Copies a folder with all that is in it; nothing, if there is none.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    let mut folders = match from.try_exists()? {
        true => vec![(from.to_owned(), to.to_owned())],
        false => Vec::new(),
    };
    while let Some((from, to)) = folders.pop() {
        fs::create_dir_all(&to)?;
        for found in fs::read_dir(from)? {
            let found = found?;
            let to = to.join(found.file_name());
            match found.file_type()?.is_dir() {
                true => folders.push((found.path(), to)),
                false => drop(fs::copy(found.path(), to)?),
            }
        }
    }
    Ok(())
}

fn remove_all(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
