//! What makes a restart short: snapshots, which are safe copies, and the shelf, which is a quick one.
//!
//! The archivist saves snapshots, the shelver (`shelver`) keeps the shelf; each works aside from the workers
//! and from the other, as both wait for disks. Nothing here is on the way of a proposal, and losing all of
//! the shelf loses nothing.
//!
//! A disk that refuses a snapshot, because it is full or takes no writes, does not end the node: the log is
//! not purged meanwhile, the refusal is told ([`Log::standing`]), and the same snapshot is saved later.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use quorate_env::timeout;
use quorate_storage::{Log, Saved, Shelf, Snapshots, Standing, StorageError};
use tokio::sync::{mpsc, oneshot};

use crate::apply::Shared;
use crate::body::{Body, Draft};
use crate::shelver::{Orders, Shelver};
use crate::types::Snapshot;
use crate::wire::{self, PositionBytes};

/// The row that says where in the log the shelf's other rows stand. The registry's keys begin at 0x10.
pub(crate) const POSITION_KEY: &[u8] = &[0x01];

/// The doors to what this group remembers.
#[derive(Clone)]
pub struct Doors {
    /// Entries, vote and committed: all that Raft's safety rests on.
    pub log: Log,
    /// Safe copies of the state, which let the log be purged.
    pub snapshots: Arc<Snapshots>,
    /// Rows of the state, which let a restart be short.
    pub shelf: Arc<dyn Shelf>,
}

/// How long to wait before a snapshot that was refused is saved again.
const REST: Duration = Duration::from_secs(1);

/// The archivist's in-tray, and the shelver's.
#[derive(Clone)]
pub(crate) struct Archive {
    tray: mpsc::Sender<Work>,
    orders: Orders,
    snapshots: Arc<Snapshots>,
}

pub(crate) struct Archivist {
    tray: mpsc::Receiver<Work>,
    doors: Doors,
    state: Shared,
    orders: Orders,
    /// What is still to be saved.
    saves: VecDeque<Save>,
}

enum Work {
    Save(Save),
    Stop { stopped: oneshot::Sender<()> },
}

struct Save {
    position: PositionBytes,
    index: u64,
    body: Draft,
    saved: oneshot::Sender<io::Result<()>>,
}

pub(crate) fn archive(doors: Doors, state: Shared) -> (Archive, Archivist) {
    let (put, tray) = mpsc::channel(16);
    let orders = Orders::default();
    let archive = Archive { tray: put, orders: orders.clone(), snapshots: doors.snapshots.clone() };
    (archive, Archivist { tray, doors, state, orders, saves: VecDeque::new() })
}

impl Archive {
    /// Asks that the newest changes go to the shelf. When the shelver is busy, its next visit covers them.
    pub(crate) fn shelve(&self) {
        self.orders.changes();
    }

    /// Asks that the shelf be cleared and filled anew, as the state was replaced.
    pub(crate) fn restock(&self) {
        self.orders.all();
    }

    /// Returns once a snapshot is on the disk and was read back; as long as the disk refuses, it does not.
    pub(crate) async fn save(
        &self,
        position: PositionBytes,
        index: u64,
        body: Draft,
    ) -> io::Result<()> {
        let (saved, saves) = oneshot::channel();
        let work = Work::Save(Save { position, index, body, saved });
        self.tray.send(work).await.map_err(|_| gone())?;
        saves.await.map_err(|_| gone())?
    }

    /// The newest snapshot, whose file was just read back.
    pub(crate) fn newest(&self) -> io::Result<Option<Snapshot>> {
        let newest = self.snapshots.open_newest().map_err(io::Error::other)?;
        newest.map(into_snapshot).transpose()
    }

    /// The newest snapshot, for a peer: one that is damaged must not go there.
    pub(crate) async fn newest_checked(&self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        let newest = apart("quorate-check", move || check_newest(&snapshots))?;
        let newest = newest.await.map_err(|_| gone())?.map_err(io::Error::other)?;
        newest.map(into_snapshot).transpose()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.tray.is_closed()
    }

    /// Shelves what is left and ends the archivist.
    pub(crate) async fn close(&self) {
        let (stopped, stops) = oneshot::channel();
        if self.tray.send(Work::Stop { stopped }).await.is_ok() {
            // An archivist that is gone already has stopped, too.
            let _ = stops.await;
        }
    }
}

impl Archivist {
    /// Saves what it is asked to, until it is stopped or nobody is left to ask.
    pub(crate) async fn run(mut self) {
        let shelver = Shelver::new(self.orders.clone(), self.doors.clone(), self.state.clone());
        let shelver = quorate_env::aside("quorate-shelver", shelver.run());
        if let Err(error) = &shelver {
            tracing::warn!(%error, "nobody keeps the shelf; the next start is longer");
        }
        // Not the shelver, which looks at the state while whoever applies waits.
        quorate_env::yield_to_others();
        let stopped = loop {
            match self.next().await {
                Some(Work::Save(save)) => self.saves.push_back(save),
                Some(Work::Stop { stopped }) => break Some(stopped),
                None => break None,
            }
            self.save_one().await;
        };
        // Whoever waits for a snapshot that was refused hears that it is not to be.
        self.saves.clear();
        self.orders.stop();
        if let (Ok(ends), Some(stopped)) = (shelver, stopped) {
            // A shelver that is gone already has stopped, too.
            let _ = ends.await;
            let _ = stopped.send(());
        }
    }

    /// The next piece of work; when a refused one waits, for so long as it is to wait.
    async fn next(&mut self) -> Option<Work> {
        loop {
            if self.saves.is_empty() {
                return self.tray.recv().await;
            }
            match timeout(REST, self.tray.recv()).await {
                Ok(work) => return work,
                Err(_) => self.save_one().await,
            }
        }
    }

    /// Saves the oldest snapshot that is to be saved, and keeps it if the disk refuses.
    async fn save_one(&mut self) {
        let Some(save) = self.saves.pop_front() else {
            return;
        };
        let position = wire::encode(&save.position);
        let pieces = save.body.pieces();
        let saved = self.doors.snapshots.save_chunks(save.index, &position, pieces).await;
        let standing = self.doors.log.standing();
        standing.saved(&saved);
        match saved {
            Err(error) if Standing::of_refusal(&error).is_some() => {
                tracing::error!(%error, index = save.index, "a snapshot waits for the disk");
                self.saves.push_front(save);
            }
            // Nobody has to wait for it.
            outcome => drop(save.saved.send(outcome)),
        }
    }
}

/// The newest snapshot, read to its end.
pub(crate) fn check_newest(snapshots: &Snapshots) -> Result<Option<Saved>, StorageError> {
    let newest = snapshots.open_newest()?;
    newest.as_ref().map_or(Ok(()), Saved::check)?;
    Ok(newest)
}

fn into_snapshot(saved: Saved) -> io::Result<Snapshot> {
    let meta = wire::decode::<PositionBytes>(saved.meta())?.into_meta()?;
    Ok(Snapshot { meta, snapshot: Body::Saved(Arc::new(saved)) })
}

/// Begins what takes long aside from the workers, and gives it when it is done.
pub(crate) fn apart<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<T>> {
    let (give, given) = oneshot::channel();
    // Nobody has to wait for it.
    let work = async move { drop(give.send(work())) };
    quorate_env::aside(name, work).map(|_ended| given)
}

pub(crate) fn gone() -> io::Error {
    io::Error::other("the archivist has stopped")
}

#[cfg(test)]
impl Doors {
    /// Over what a test has; the log is kept for as long as somebody holds it.
    pub(crate) async fn over(
        journal: u64,
        disk: Arc<dyn quorate_storage::Disk>,
        shelf: Arc<dyn Shelf>,
    ) -> Self {
        let config = quorate_storage::LogConfig { journal, ..Default::default() };
        let (log, scribe) = Log::open(disk.clone(), config).await.expect("a test's disk opens");
        quorate_env::spawn(scribe.run());
        let snapshots = Snapshots::open(disk).expect("a test's disk opens");
        Self { log, snapshots: Arc::new(snapshots), shelf }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};

    use bytes::Bytes;
    use openraft::storage::RaftSnapshotBuilder;
    use quorate_storage::{Disk, File, MemoryDisk, MemoryShelf, Row, Sync};

    use quorate_registry::Machine;

    use super::*;
    use crate::apply::{SnapshotBuilder, State};
    use crate::types::{StoredMembership, log_id};

    /// Long enough for any machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// A disk that has no room for a snapshot while it is full.
    #[derive(Clone, Default)]
    struct Full(MemoryDisk, Arc<AtomicBool>);

    impl Disk for Full {
        fn list(&self) -> io::Result<Vec<String>> {
            self.0.list()
        }
        fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
            match self.1.load(Ordering::Relaxed) && name.starts_with("snapshot") {
                true => Err(io::ErrorKind::StorageFull.into()),
                false => self.0.create(name, len),
            }
        }
        fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
            self.0.open(name)
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.0.rename(from, to)
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.0.remove(name)
        }
        fn sync(&self) -> Sync<'_> {
            self.0.sync()
        }
    }

    /// A shelf that does not answer until somebody lets it.
    struct Stuck(MemoryShelf, Mutex<Receiver<()>>);

    impl Shelf for Stuck {
        fn scan(&self, take: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()> {
            self.0.scan(take)
        }
        fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>> {
            self.0.get(key)
        }
        fn commit(&self, rows: Vec<Row>) -> io::Result<()> {
            // Whoever lets it go for good hangs up.
            let _ = self.1.lock().expect("nobody panics with it").recv();
            self.0.commit(rows)
        }
        fn clear(&self) -> io::Result<()> {
            self.0.clear()
        }
        fn flush(&self) -> io::Result<()> {
            self.0.flush()
        }
    }

    fn stuck() -> (Arc<Stuck>, Sender<()>) {
        let (let_go, wait) = channel();
        (Arc::new(Stuck(MemoryShelf::default(), Mutex::new(wait))), let_go)
    }

    #[tokio::test]
    async fn a_snapshot_that_finds_no_room_is_told_and_saved_when_there_is_some() {
        let disk = Full::default();
        let doors = Doors::over(0, Arc::new(disk.clone()), Arc::new(MemoryShelf::default())).await;
        let watch = doors.log.standing();
        let state = Shared::new(State::empty());
        let position = state.read().position();
        let (archive, archivist) = archive(doors.clone(), state);
        quorate_env::spawn(archivist.run());
        disk.1.store(true, Ordering::Relaxed);
        let body = vec![7; 700_000];
        let pieces = body.chunks(256 << 10).map(Bytes::copy_from_slice).collect();
        let saving = {
            let (archive, draft) = (archive.clone(), Draft::Pieces(Arc::new(pieces)));
            quorate_env::spawn(async move { archive.save(position, 5, draft).await })
        };
        let told = timeout(PATIENCE, watch.changed(Standing::Healthy)).await.unwrap();
        assert_eq!(told, Standing::Full);
        disk.1.store(false, Ordering::Relaxed);
        timeout(PATIENCE, saving).await.unwrap().unwrap().unwrap();
        assert_eq!(watch.current(), Standing::Healthy);
        let (index, _, found) = doors.snapshots.newest().unwrap().expect("it is saved");
        assert!(index == 5 && found == body);
        archive.close().await;
    }

    #[tokio::test]
    async fn a_shelf_that_does_not_answer_keeps_no_snapshot_and_no_entry_waiting() {
        let (shelf, let_go) = stuck();
        let doors = Doors::over(0, Arc::new(Full::default()), shelf.clone()).await;
        let state = Shared::new(State::empty());
        let position = state.read().position();
        let (archive, archivist) = archive(doors.clone(), state);
        quorate_env::spawn(archivist.run());
        for _ in 0..100 {
            // However often it is asked for meanwhile, little waits.
            archive.shelve();
        }
        let saved = archive.save(position, 5, Draft::State(Machine::new(0).freeze()));
        timeout(PATIENCE, saved).await.unwrap().unwrap();
        timeout(PATIENCE, doors.log.save_vote(Bytes::from_static(b"v"))).await.unwrap().unwrap();
        assert_eq!(shelf.get(POSITION_KEY).unwrap(), None);
        drop(let_go);
        timeout(PATIENCE, archive.close()).await.unwrap();
        assert!(shelf.get(POSITION_KEY).unwrap().is_some(), "its turn came in the end");
    }

    #[tokio::test]
    async fn who_waits_for_raft_to_catch_up_with_a_feed_waits_no_longer_than_there_is_an_archive() {
        let (disk, shelf) = (Full::default(), Arc::new(MemoryShelf::default()));
        let doors = Doors::over(0, Arc::new(disk), shelf).await;
        let fed = Some(log_id(1, 1, 1));
        let state = Shared::new(State::new(Machine::new(0), fed, StoredMembership::default()));
        state.write().by_raft = None;
        let (archive, archivist) = archive(doors, state.clone());
        quorate_env::spawn(archivist.run());
        let mut builder = SnapshotBuilder::new(&state, &archive);
        let builds = quorate_env::spawn(async move { builder.build_snapshot().await });
        archive.close().await;
        let built = timeout(PATIENCE, builds).await.expect("it ends").unwrap();
        assert!(built.is_err());
    }

    #[tokio::test]
    async fn changes_of_a_state_that_was_replaced_never_reach_the_old_one_s_shelf() {
        let shelf = Arc::new(MemoryShelf::default());
        shelf.commit(vec![(vec![0x10, 1], Some(b"of the old state".to_vec()))]).unwrap();
        let doors = Doors::over(0, Arc::new(Full::default()), shelf.clone()).await;
        let (archive, archivist) = archive(doors, Shared::new(State::empty()));
        archive.shelve();
        archive.restock();
        quorate_env::spawn(archivist.run());
        timeout(PATIENCE, archive.close()).await.unwrap();
        assert_eq!(shelf.get(&[0x10, 1]).unwrap(), None);
        assert!(shelf.get(POSITION_KEY).unwrap().is_some());
    }
}
