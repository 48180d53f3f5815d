//! The disk that forgets. What a killed process would leave is what the disk below has.

use std::sync::Arc;

use quorate_faults::Faults;
use quorate_storage::{Disk, Log, LogConfig, MemoryDisk, RealDisk, conformance};

#[tokio::test]
async fn a_disk_that_forgets_is_a_disk_for_who_lives() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Faults::forgetful(Arc::new(RealDisk::open(dir.path()).unwrap()));
    conformance::disk(&mut { open }).await;
}

#[tokio::test]
async fn what_is_written_is_below_after_its_sync_and_not_before() {
    let below = MemoryDisk::new();
    let disk = Faults::forgetful(Arc::new(below.clone()));
    let file = disk.create("one", 4).unwrap();
    file.write_at(2, b"written").unwrap();
    file.write_at(0, b"re").unwrap();
    let mut read = [0; 9];
    disk.open("one").unwrap().read_at(0, &mut read).unwrap();
    assert_eq!(&read, b"rewritten", "whoever asks sees it");
    assert_eq!(file.len().unwrap(), 9);
    assert_eq!(below.contents("one").unwrap(), [0; 4]);
    disk.sync().await.unwrap();
    assert_eq!(below.contents("one").unwrap(), [0; 4], "that is the folder's sync");
    file.sync().await.unwrap();
    assert_eq!(below.contents("one").unwrap(), b"rewritten");
}

#[tokio::test]
async fn names_are_changed_below_by_the_folder_s_sync_and_not_before() {
    let below = MemoryDisk::new();
    for name in ["a", "b", "c"] {
        below.place(name, name.into());
    }
    let disk = Faults::forgetful(Arc::new(below.clone()));
    let file = disk.open("a").unwrap();
    disk.rename("a", "b").unwrap();
    disk.remove("c").unwrap();
    assert_eq!(disk.list().unwrap(), ["b"]);
    assert!(disk.rename("a", "x").is_err() && disk.remove("c").is_err());
    assert_eq!(below.list().unwrap(), ["a", "b", "c"]);
    file.sync().await.unwrap();
    assert_eq!(below.list().unwrap(), ["a", "b", "c"], "that is the file's sync");
    disk.sync().await.unwrap();
    assert_eq!(below.list().unwrap(), ["b"]);
    assert_eq!(below.contents("b").unwrap(), b"a");
    // A name that is still taken below is free for who sees that it is.
    disk.remove("b").unwrap();
    disk.create("b", 1).unwrap();
    assert_eq!(below.contents("b").unwrap(), [0]);
}

#[test]
fn so_much_is_kept_back_and_no_more() {
    const MIB: usize = 1 << 20;
    let below = MemoryDisk::new();
    let disk = Faults::forgetful(Arc::new(below.clone()));
    let files = [disk.create("one", 0).unwrap(), disk.create("two", 0).unwrap()];
    let held = |name| below.contents(name).unwrap().len();
    for at in 0..64 {
        files[at % 2].write_at((at / 2 * MIB) as u64, &vec![1; MIB]).unwrap();
        assert_eq!((held("one"), held("two")), (0, 0));
    }
    files[0].write_at(32 * MIB as u64, &[2]).unwrap();
    assert_eq!((held("one"), held("two")), (32 * MIB + 1, 0));
    // What was lost for good is no longer kept back.
    disk.remove("two").unwrap();
    let [one, two] = files;
    drop(two);
    one.write_at(0, &vec![3; 64 * MIB]).unwrap();
    assert_eq!(held("one"), 32 * MIB + 1);
}

#[tokio::test]
async fn what_a_journal_acknowledged_is_there_after_the_memory_is_lost() {
    let below = MemoryDisk::new();
    let disk = Faults::forgetful(Arc::new(below.clone()));
    let config = LogConfig { segment_bytes: 4096, ..LogConfig::default() };
    let (log, scribe) = Log::open(disk, config).await.unwrap();
    let writing = async {
        for index in 1..=100_u64 {
            log.append(vec![(index, vec![7; 100].into())], Box::new(|outcome| outcome.unwrap()));
            log.save_vote(index.to_string().into()).await.unwrap();
            if index % 10 == 0 {
                let (left, _scribe) = Log::open(Arc::new(below.copy()), config).await.unwrap();
                assert_eq!(left.state().last, Some(index));
            }
        }
        drop(log);
    };
    tokio::join!(scribe.run(), writing);
}
