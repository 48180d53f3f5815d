//! The real doors and the ones in memory pass the same suites, which the twins in `tests/sim` pass, too.

use std::sync::Arc;

use quorate_storage::{Disk, MemoryDisk, MemoryShelf, RealDisk, SledShelf, conformance};

#[tokio::test]
async fn a_folder_in_memory_is_a_disk() {
    let disk = MemoryDisk::new();
    conformance::disk(&mut || Arc::new(disk.clone()) as Arc<dyn Disk>).await;
}

#[tokio::test]
async fn a_folder_of_the_file_system_is_a_disk() {
    let dir = tempfile::tempdir().unwrap();
    conformance::disk(&mut || Arc::new(RealDisk::open(dir.path()).unwrap()) as Arc<dyn Disk>).await;
}

#[test]
fn rows_in_memory_are_a_shelf() {
    let shelf = MemoryShelf::default();
    conformance::shelf(&mut || Box::new(shelf.clone()));
}

#[test]
fn sled_is_a_shelf() {
    let dir = tempfile::tempdir().unwrap();
    conformance::shelf(&mut || Box::new(SledShelf::open(dir.path()).unwrap()));
}

#[test]
fn a_name_never_leads_out_of_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RealDisk::open(&dir.path().join("folder")).unwrap();
    for name in ["", ".", "..", "../x", "/x", "a/b", ".hidden", "a\0b"] {
        let error = disk.create(name, 0).map(drop).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{name:?}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}
