//! The log in use: order, when things are durable, what happens when the disk refuses or nobody writes.

use crate::common;

use std::future::ready;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{SMALL, done, live, seen, settled};
use quorate_storage::{
    Disk, Done, File, Log, LogConfig, MemoryDisk, RealDisk, Snapshots, StorageError, Sync,
};

/// A disk that counts its syncs, and refuses them on request.
#[derive(Clone, Default)]
struct Fussy {
    disk: MemoryDisk,
    syncs: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
}

struct FussyFile {
    file: Box<dyn File>,
    disk: Fussy,
}

impl Fussy {
    fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn outcome(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        match self.refuses.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the disk is on fire")),
            false => Ok(()),
        }
    }

    fn wrap(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(FussyFile { file, disk: self.clone() })
    }
}

impl Disk for Fussy {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str, len: u64) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(self.disk.create(name, len)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.wrap(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(ready(self.outcome()))
    }
}

impl File for FussyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, position: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.file.read_at(position, bytes)
    }

    fn write_at(&self, position: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(position, bytes)
    }

    fn sync(&self) -> Sync<'_> {
        Box::pin(ready(self.disk.outcome()))
    }
}

fn entry(index: u64, bytes: usize) -> (u64, Bytes) {
    (index, vec![index as u8; bytes].into())
}

fn fine() -> Done {
    Box::new(|outcome| outcome.unwrap())
}

#[tokio::test]
async fn one_sync_serves_all_that_waits_and_answers_come_in_order() {
    let fussy = Fussy::default();
    let (log, scribe) = Log::open(fussy.shared(), LogConfig::default()).await.unwrap();
    let order: Arc<Mutex<Vec<u64>>> = Arc::default();
    for index in 1..=50 {
        let order = Arc::clone(&order);
        let note = move |outcome: io::Result<()>| {
            outcome.unwrap();
            order.lock().unwrap().push(index);
        };
        log.append(vec![entry(index, 100)], Box::new(note));
    }
    assert_eq!(log.read(1, 51, usize::MAX).unwrap().len(), 50, "readable at once");
    assert!(order.lock().unwrap().is_empty(), "and not durable yet");
    let before = fussy.syncs.load(Ordering::Relaxed);
    drop(log);
    scribe.run().await;
    assert_eq!(fussy.syncs.load(Ordering::Relaxed) - before, 1);
    assert_eq!(*order.lock().unwrap(), (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_rides_along_forces_no_sync_and_is_there_at_an_orderly_end() {
    let fussy = Fussy::default();
    let disk = fussy.shared();
    live(&disk, SMALL, async |log| {
        log.append((1..=9).map(|index| entry(index, 10)).collect(), fine());
        settled(&log).await;
        let before = fussy.syncs.load(Ordering::Relaxed);
        log.save_committed(Bytes::from_static(b"5"));
        log.truncate_from(8).await.unwrap();
        log.save_committed(Bytes::from_static(b"6"));
        tokio::task::yield_now().await;
        assert_eq!(fussy.syncs.load(Ordering::Relaxed), before);
    })
    .await
    .unwrap();
    let model = common::look(&disk, SMALL).await.unwrap();
    assert_eq!(model.committed.as_deref(), Some(&b"6"[..]));
    assert_eq!(model.entries.keys().next_back(), Some(&7));
}

#[tokio::test]
async fn after_a_refused_sync_nothing_is_acknowledged_any_more() {
    let fussy = Fussy::default();
    let (log, scribe) = Log::open(fussy.shared(), SMALL).await.unwrap();
    let writing = async {
        log.append(vec![entry(1, 10)], fine());
        settled(&log).await;
        fussy.refuses.store(true, Ordering::Relaxed);
        let mut outcomes = Vec::new();
        for index in 2..5 {
            let (done, outcome) = done();
            log.append(vec![entry(index, 3000)], done);
            outcomes.push(outcome);
        }
        let vote = log.save_vote(Bytes::from_static(b"mine")).await;
        assert!(vote.unwrap_err().to_string().contains("on fire"), "the reason is named");
        for outcome in outcomes {
            outcome.await.unwrap().unwrap_err();
        }
        // A disk that recovers is not believed.
        fussy.refuses.store(false, Ordering::Relaxed);
        let (done, outcome) = done();
        log.append(vec![entry(5, 1)], done);
        outcome.await.unwrap().unwrap_err();
        let (done, outcome) = common::done();
        log.mark_shelved(1, done);
        outcome.await.unwrap().unwrap_err();
        log.save_vote(Bytes::new()).await.unwrap_err();
        log.truncate_from(0).await.unwrap_err();
        log.purge(1, Bytes::new());
        log.room().await;
        assert_eq!(log.read(1, 2, 99).unwrap(), [entry(1, 10)], "reading goes on");
    };
    tokio::join!(scribe.run(), writing);
}

#[tokio::test]
async fn a_scribe_that_is_dropped_leaves_nobody_waiting() {
    let (log, scribe) = Log::open(Arc::new(MemoryDisk::new()), SMALL).await.unwrap();
    let (done, outcome) = done();
    log.append(vec![entry(1, 1)], done);
    drop(scribe);
    outcome.await.unwrap().unwrap_err();
    log.save_vote(Bytes::new()).await.unwrap_err();
}

#[tokio::test]
async fn entries_that_do_not_follow_are_refused_as_a_whole() {
    live(&(Arc::new(MemoryDisk::new()) as Arc<dyn Disk>), SMALL, async |log| {
        log.append(vec![entry(1, 1), entry(2, 1)], fine());
        for wrong in [vec![entry(2, 1)], vec![entry(4, 1)], vec![entry(3, 1), entry(5, 1)]] {
            let (done, mut outcome) = done();
            log.append(wrong, done);
            let error = outcome.try_recv().expect("it is answered at once").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let (done, mut outcome) = done();
        log.append(vec![(3, vec![0; (64 << 20) + 1].into())], done);
        outcome.try_recv().unwrap().unwrap_err();
        log.save_vote(vec![0; 70_000].into()).await.unwrap_err();
        assert_eq!(log.state().last, Some(2));
        log.append(vec![entry(3, 1)], fine());
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn memory_is_bounded_when_the_disk_does_not_follow() {
    let config = LogConfig { segment_bytes: 64 << 20, cache_bytes: 0, ..SMALL };
    let (log, scribe) = Log::open(Arc::new(MemoryDisk::new()), config).await.unwrap();
    let large = Bytes::from(vec![1; 15 << 20]);
    let mut refused = None;
    for index in 1..100 {
        let (done, mut outcome) = done();
        log.append(vec![(index, large.clone())], done);
        if let Ok(outcome) = outcome.try_recv() {
            assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::StorageFull);
            refused = Some(index);
            break;
        }
    }
    let refused = refused.expect("there is a bound");
    assert_eq!(refused as usize, Log::WAITING_BYTES_MAX / (15 << 20) + 1);
    let waiting = async {
        // There is room once the scribe has written.
        log.room().await;
        log.append(vec![(refused, large.clone())], fine());
        drop(log);
    };
    tokio::join!(waiting, scribe.run());
}

#[tokio::test]
async fn purged_segments_are_deleted_and_needed_ones_are_not() {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    live(&shared, SMALL, async |log| {
        for index in 1..=40 {
            log.append(vec![entry(index, 1000)], fine());
        }
        log.save_vote(Bytes::from_static(b"kept")).await.unwrap();
        let segments = disk.list().unwrap().len();
        assert!(segments > 10);
        log.purge(30, Bytes::from_static(b"thirty"));
        settled(&log).await;
        assert!(log.read(1, 31, 99).unwrap().is_empty(), "what is purged is not held");
        log.purge(20, Bytes::from_static(b"back"));
        log.purge(35, Bytes::from_static(b"thirty-five"));
    })
    .await
    .unwrap();
    assert!(disk.list().unwrap().len() <= 4, "{:?}", disk.list());
    live(&shared, SMALL, async |log| {
        let state = log.state();
        assert_eq!((state.first, state.last), (36, Some(40)));
        assert_eq!(state.purged, Some((35, Bytes::from_static(b"thirty-five"))));
        assert_eq!(state.vote, Some(Bytes::from_static(b"kept")));
        // A snapshot from elsewhere may be far ahead.
        log.purge(1000, Bytes::from_static(b"thousand"));
        assert_eq!((log.state().first, log.state().last), (1001, None));
        log.append(vec![entry(1001, 5)], fine());
    })
    .await
    .unwrap();
    let model = common::look(&shared, SMALL).await.unwrap();
    assert_eq!(model.entries.keys().collect::<Vec<_>>(), [&1001]);
}

#[tokio::test]
async fn other_entries_after_a_truncation_are_the_ones_that_stay() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    live(&disk, SMALL, async |log| {
        log.append((1..=5).map(|index| entry(index, 10)).collect(), fine());
        log.truncate_from(3).await.unwrap();
        log.append(vec![(3, Bytes::from_static(b"other"))], fine());
        settled(&log).await;
    })
    .await
    .unwrap();
    live(&disk, SMALL, async |log| {
        let found = log.read(1, 99, usize::MAX).unwrap();
        assert_eq!(found, [entry(1, 10), entry(2, 10), (3, Bytes::from_static(b"other"))]);
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn an_entry_longer_than_a_segment_gets_one_of_its_own() {
    let disk: Arc<dyn Disk> = Arc::new(MemoryDisk::new());
    live(&disk, SMALL, async |log| {
        log.append(vec![entry(1, 10), entry(2, 100_000), entry(3, 10)], fine());
        settled(&log).await;
    })
    .await
    .unwrap();
    let model = common::look(&disk, SMALL).await.unwrap();
    assert_eq!(model.entries[&2].len(), 100_000);
    assert_eq!(model.entries.len(), 3);
}

#[test]
fn a_scribe_on_its_own_thread_serves_tasks_and_ends_with_the_last_log() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let (log, scribe) = runtime.block_on(Log::open(disk, SMALL)).unwrap();
    let ended = quorate_env::aside("scribe", scribe.run()).unwrap();
    runtime.block_on(async {
        for index in 1..=100 {
            log.append(vec![entry(index, 200)], fine());
            if index % 10 == 0 {
                log.save_vote(index.to_string().into()).await.unwrap();
            }
        }
        assert_eq!(seen(&log).entries.len(), 100);
    });
    drop(log);
    ended.blocking_recv().unwrap();
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_is_refused_and_the_one_before_a_failed_save_stays() {
    let fussy = Fussy::default();
    let snapshots = Snapshots::open(fussy.shared()).unwrap();
    assert_eq!(snapshots.newest().unwrap(), None);
    snapshots.save(5, b"five", &[5; 3000]).await.unwrap();
    fussy.refuses.store(true, Ordering::Relaxed);
    snapshots.save(6, b"six", &[6; 3000]).await.unwrap_err();
    fussy.refuses.store(false, Ordering::Relaxed);
    let again = Snapshots::open(fussy.shared()).unwrap();
    assert_eq!(again.newest().unwrap().unwrap().0, 5);
    again.save(6, b"six", &[6; 3000]).await.unwrap();
    assert_eq!(again.newest().unwrap(), Some((6, b"six".to_vec(), vec![6; 3000])));
    let names = fussy.disk.list().unwrap();
    let [name] = &names[..] else { panic!("only the newest is kept: {names:?}") };
    let contents = fussy.disk.contents(name).unwrap();
    for at in 0..contents.len() {
        let mut broken = contents.clone();
        broken[at] ^= 1 << (at % 8);
        fussy.disk.place(name, broken);
        again.newest().expect_err("a flipped bit is noticed");
        fussy.disk.place(name, contents[..at].to_vec());
        again.newest().expect_err("a missing end is noticed");
    }
    fussy.disk.place(name, contents);
    let other = name.replace('6', "7");
    fussy.disk.rename(name, &other).unwrap();
    assert!(matches!(again.newest(), Err(StorageError::Corrupt { file, .. }) if file == other));
}
