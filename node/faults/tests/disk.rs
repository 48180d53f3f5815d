//! A disk that stalls, drags and fills up, and is a disk like others while it does not.

use std::io::ErrorKind;
use std::sync::Arc;

use quorate_faults::{Fault, Faults};
use quorate_storage::{MemoryDisk, RealDisk, conformance};

use crate::{LONG, in_time, waits};

#[tokio::test]
async fn a_disk_that_nothing_ails_is_a_disk() {
    let dir = tempfile::tempdir().unwrap();
    let faults = Faults::new();
    let open = || faults.disk(Arc::new(RealDisk::open(dir.path()).unwrap()));
    conformance::disk(&mut { open }).await;
}

#[tokio::test]
async fn a_disk_that_is_full_is_a_disk_as_long_as_there_is_room() {
    let (disk, faults) = (MemoryDisk::new(), Faults::new());
    faults.inject(Fault::DiskFull { room: 1 << 30 }, LONG).unwrap();
    conformance::disk(&mut || faults.disk(Arc::new(disk.clone()))).await;
}

#[tokio::test]
async fn no_sync_ends_while_the_disk_stalls_though_all_else_goes_on() {
    let (inner, faults) = (MemoryDisk::new(), Faults::new());
    let disk = faults.disk(Arc::new(inner.clone()));
    let file = disk.create("one", 8).unwrap();
    faults.inject(Fault::DiskStall {}, LONG).unwrap();
    let (mut synced, mut settled) = (file.sync(), disk.sync());
    let mut prepared = disk.prepare("two", 8).unwrap();
    file.write_at(0, b"written").unwrap();
    let mut read = [0; 7];
    file.read_at(0, &mut read).unwrap();
    assert_eq!(&read, b"written");
    assert!(waits(&mut synced) && waits(&mut settled) && waits(&mut prepared));
    faults.heal_all();
    in_time(synced).await.unwrap();
    in_time(settled).await.unwrap();
    in_time(prepared).await.unwrap();
}

#[tokio::test]
async fn a_sync_on_a_slow_disk_takes_as_long_as_was_said_or_until_the_heal() {
    let (inner, faults) = (MemoryDisk::new(), Faults::new());
    let file = faults.disk(Arc::new(inner)).create("one", 8).unwrap();
    faults.inject(Fault::DiskSlow { takes_ms: 60_000 }, LONG).unwrap();
    let mut synced = file.sync();
    assert!(waits(&mut synced));
    faults.heal_all();
    in_time(synced).await.unwrap();
    faults.inject(Fault::DiskSlow { takes_ms: 5 }, LONG).unwrap();
    let mut synced = file.sync();
    assert!(waits(&mut synced));
    in_time(synced).await.unwrap();
}

#[test]
fn on_a_full_disk_files_cannot_grow_and_what_is_removed_gives_room() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _inside = runtime.enter();
    let (inner, faults) = (MemoryDisk::new(), Faults::new());
    let disk = faults.disk(Arc::new(inner.clone()));
    let old = disk.create("old", 100).unwrap();
    faults.inject(Fault::DiskFull { room: 10 }, LONG).unwrap();
    let is_full = |refused: std::io::Result<()>| {
        refused.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
    };
    old.write_at(0, &[1; 100]).unwrap();
    old.write_at(95, &[1; 15]).unwrap();
    assert!(is_full(old.write_at(109, &[1; 2])), "it has grown by ten");
    assert_eq!(inner.contents("old").map(|held| held.len()), Some(110));
    assert!(is_full(disk.create("new", 1).map(drop)) && is_full(disk.prepare("new", 1).map(drop)));
    assert_eq!(disk.list().unwrap(), ["old"]);
    disk.remove("old").unwrap();
    disk.create("new", 110).unwrap();
    assert!(is_full(disk.create("more", 1).map(drop)));
    assert!(disk.create("new", 0).is_err_and(|error| error.kind() == ErrorKind::AlreadyExists));
    faults.heal_all();
    disk.create("more", 1000).unwrap();
}
