//! A directory that is made for a node which already remembers something: of a cluster that begins anew.
//!
//! It is made in an empty directory, or in one whose node is to give way. The new node is then made to its
//! end in a folder beside the former's files, and a note says that the two are changing over; whoever opens
//! the directory next ends what a crash interrupted. Everything happens within the directory, which may be
//! the root of a volume, and nothing of the former is deleted: it goes to a folder that bears its id.
//!
//! ```text
//! DIR/next/          the new node, while it is made
//!     changing-over  the former's id, from when the new node is whole until it has moved in
//!     former-ID/     node.id, boot, cluster.id and raft/ of the former
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use quorate_vocab::{ClusterId, NodeId};

use super::{
    BOOT, CLUSTER, FORMAT, Home, NODE, RAFT, begin, draw, end, has, lock, read_hex, refuse_foreign,
    remove_all, write,
};
use crate::error::StorageError;
use crate::journal;
use crate::real_disk::{RealDisk, make_private_dir, sync_dir};
use crate::thread::take_lock;

const NEXT: &str = "next";
const CHANGING: &str = "changing-over";
/// What makes a directory one node's rather than another's.
const OWN: [&str; 4] = [NODE, BOOT, CLUSTER, RAFT];

/// A directory in the making. Write the node's journal into [`Nursery::raft_dir`], then end it.
#[derive(Debug)]
pub struct Nursery {
    dir: PathBuf,
    node: NodeId,
    cluster: ClusterId,
    #[expect(clippy::disallowed_types, reason = "the lock is a file of the system")]
    _lock: Option<fs::File>,
}

impl Nursery {
    /// Begins to make a directory where there is nothing, for a new node of a new cluster.
    pub fn open(dir: &Path) -> Result<Self, StorageError> {
        make_private_dir(dir).map_err(StorageError::io(format!("making {}", dir.display())))?;
        refuse_foreign(dir)?;
        if has(dir, FORMAT)? {
            return Err(StorageError::Inhabited { dir: dir.to_owned() });
        }
        let lock = take_lock(|| lock(dir))?;
        Ok(Self { _lock: Some(lock), ..Self::begin(dir.to_owned())? })
    }

    fn begin(dir: PathBuf) -> Result<Self, StorageError> {
        let node = begin(&dir)?;
        let cluster = draw().map_err(StorageError::io("drawing a cluster's id"))?;
        Ok(Self { dir, node, cluster: ClusterId(cluster), _lock: None })
    }

    /// The new node.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The new cluster.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Where its journal and its snapshot belong.
    pub fn raft_dir(&self) -> PathBuf {
        self.dir.join(RAFT)
    }

    /// Ends the making. From here on the directory is the new node's.
    pub fn end(self) -> Result<(), StorageError> {
        let disk = RealDisk::open(&self.raft_dir()).map_err(StorageError::io("opening raft/"))?;
        if !journal::is_present(&disk).map_err(StorageError::io("listing raft/"))? {
            return Err(StorageError::JournalMissing { dir: self.dir });
        }
        write(&self.dir, CLUSTER, &format!("{}\n", self.cluster))?;
        end(&self.dir)
    }
}

impl Home {
    /// Begins to make a new node of a new cluster, to which this one is to give way.
    pub fn conceive(&self) -> Result<Nursery, StorageError> {
        let next = self.dir.join(NEXT);
        let doing = || StorageError::io(format!("making {}", next.display()));
        // Without the note it is what an attempt left that did not come to its end.
        remove_all(&next).map_err(doing())?;
        make_private_dir(&next).map_err(doing())?;
        Nursery::begin(next)
    }

    /// Ends the making of the new node, and gives way to it. Says where what was this node's lies now.
    pub fn give_way(self, nursery: Nursery) -> Result<PathBuf, StorageError> {
        nursery.end()?;
        write(&self.dir, CHANGING, &format!("{}\n", self.node))?;
        finish(&self.dir)?;
        Ok(former(&self.dir, self.node))
    }
}

fn former(dir: &Path, node: NodeId) -> PathBuf {
    dir.join(format!("former-{node}"))
}

/// Ends a change-over, if one is under way. Each file takes two steps; what is still in the folder of the new
/// node has yet to take the second.
pub(super) fn finish(dir: &Path) -> Result<(), StorageError> {
    if !has(dir, CHANGING)? {
        return Ok(());
    }
    let (next, former) = (dir.join(NEXT), former(dir, NodeId(read_hex(dir, CHANGING)?)));
    let doing = || StorageError::io(format!("giving way to the new node in {}", dir.display()));
    make_private_dir(&former).map_err(doing())?;
    for name in OWN {
        if !has(&next, name)? {
            continue;
        }
        if has(dir, name)? && !has(&former, name)? {
            fs::rename(dir.join(name), former.join(name)).map_err(doing())?;
            sync_dir(&former).and_then(|()| sync_dir(dir)).map_err(doing())?;
        }
        fs::rename(next.join(name), dir.join(name)).map_err(doing())?;
        sync_dir(dir).and_then(|()| sync_dir(&next)).map_err(doing())?;
    }
    fs::remove_file(dir.join(CHANGING)).map_err(doing())?;
    sync_dir(dir).and_then(|()| remove_all(&next)).map_err(doing())
}

#[cfg(test)]
mod tests {
    use quorate_vocab::Boot;

    use super::*;

    fn fill(nursery: &Nursery) {
        let disk = RealDisk::open(&nursery.raft_dir()).unwrap();
        let config = crate::LogConfig { journal: nursery.node().0, ..crate::LogConfig::default() };
        crate::thread::block_on(journal::open(&disk, &config)).unwrap();
    }

    #[test]
    fn a_new_node_is_made_where_nothing_is_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let nursery = Nursery::open(dir.path()).unwrap();
        let (node, cluster) = (nursery.node(), nursery.cluster());
        assert!(matches!(Nursery::open(dir.path()), Err(StorageError::Locked { .. })));
        fill(&nursery);
        nursery.end().unwrap();
        let refused = Nursery::open(dir.path());
        assert!(matches!(refused, Err(StorageError::Inhabited { .. })));
        let home = Home::open(dir.path()).unwrap();
        assert_eq!((home.node(), home.boot(), home.cluster()), (node, Boot(1), Some(cluster)));

        let foreign = tempfile::tempdir().unwrap();
        fs::write(foreign.path().join("thesis.tex"), "dear").unwrap();
        let refused = Nursery::open(foreign.path());
        assert!(matches!(refused, Err(StorageError::ForeignDirectory { .. })));
    }

    #[test]
    fn a_nursery_that_was_left_is_an_empty_directory() {
        let dir = tempfile::tempdir().unwrap();
        let left = Nursery::open(dir.path()).unwrap();
        let node = left.node();
        fill(&left);
        drop(left);
        assert!(matches!(Home::visit(dir.path()), Err(StorageError::NoHome { .. })));
        let again = Nursery::open(dir.path()).unwrap();
        assert_ne!(again.node(), node);
        assert!(matches!(again.end(), Err(StorageError::JournalMissing { .. })));
    }

    #[test]
    fn a_visit_counts_no_life_and_makes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let nowhere = dir.path().join("nowhere");
        assert!(matches!(Home::visit(&nowhere), Err(StorageError::NoHome { .. })));
        assert!(!nowhere.exists());
        drop(Home::open(dir.path()).unwrap());
        for _ in 0..2 {
            assert_eq!(Home::visit(dir.path()).unwrap().boot(), Boot(1));
        }
    }

    #[test]
    fn a_node_gives_way_and_nothing_of_it_is_lost_wherever_a_crash_comes_between() {
        // How many of the steps were taken before the crash: two for each file of the directory.
        for steps in 0..=8 {
            let dir = tempfile::tempdir().unwrap();
            let home = Home::open(dir.path()).unwrap();
            home.adopt(ClusterId(5)).unwrap();
            let before = home.node();
            let nursery = home.conceive().unwrap();
            let (node, cluster) = (nursery.node(), nursery.cluster());
            fill(&nursery);
            nursery.end().unwrap();
            write(dir.path(), CHANGING, &format!("{before}\n")).unwrap();
            drop(home);
            let (next, old) = (dir.path().join(NEXT), former(dir.path(), before));
            fs::create_dir(&old).unwrap();
            for step in 0..steps {
                let name = OWN[step / 2];
                match step % 2 {
                    0 => fs::rename(dir.path().join(name), old.join(name)).unwrap(),
                    _ => fs::rename(next.join(name), dir.path().join(name)).unwrap(),
                }
            }
            let home = Home::open(dir.path()).unwrap();
            assert_eq!((home.node(), home.boot()), (node, Boot(1)), "after {steps} steps");
            assert_eq!(home.cluster(), Some(cluster));
            assert_eq!(read_hex(&old, NODE).unwrap(), before.0);
            assert_eq!(read_hex(&old, CLUSTER).unwrap(), 5);
            assert!(journal::is_present(&RealDisk::open(&old.join(RAFT)).unwrap()).unwrap());
            assert!(!next.exists() && !dir.path().join(CHANGING).exists());
        }
    }

    #[test]
    fn an_attempt_that_did_not_come_to_its_end_leaves_the_node_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::open(dir.path()).unwrap();
        let before = home.node();
        let left = home.conceive().unwrap();
        fill(&left);
        drop((left, home));
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(home.node(), before);
        let nursery = home.conceive().unwrap();
        fill(&nursery);
        let kept = home.give_way(nursery).unwrap();
        assert_eq!(read_hex(&kept, NODE).unwrap(), before.0);
    }
}
