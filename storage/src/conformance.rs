//! What every disk and every shelf must do: one suite for the real ones and for the twins in `tests/sim`.
//!
//! Each suite panics with a sentence at the first thing that is not so. Crashes are not part of them; a
//! twin has tests of its own for those.

use std::io::ErrorKind;
use std::sync::Arc;

use crate::{Disk, Log, LogConfig, Shelf, Snapshots};

/// The promises of [`Disk`]. `open` gives the same folder at each call, and it is empty at the first.
pub async fn disk(open: &mut dyn FnMut() -> Arc<dyn Disk>) {
    files_keep_what_was_written(&*open()).await;
    let disk = open();
    files_outlive_their_disk(&*disk);
    names_are_given_and_taken(&*disk).await;
    assert_eq!(open().list().unwrap(), [""; 0], "a removed file is gone");
    a_log_lives_on_it(open).await;
}

/// The promises of [`Shelf`]. `open` gives the same shelf at each call, and it is empty at the first;
/// what it gave before is dropped by then.
pub fn shelf(open: &mut dyn FnMut() -> Box<dyn Shelf>) {
    let shelf = open();
    assert_eq!(rows(&*shelf), [], "a new shelf is empty");
    let row = |key: &str, value: &str| (key.into(), Some(value.into()));
    shelf.commit(vec![row("b", "2"), row("a", "1"), row("", "empty"), row("c", "3")]).unwrap();
    shelf.commit(vec![("b".into(), None), row("a", "one"), ("none".into(), None)]).unwrap();
    let held = [("", "empty"), ("a", "one"), ("c", "3")];
    let held = held.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
    assert_eq!(rows(&*shelf), held, "rows come in the order of their keys");
    assert_eq!(shelf.get(b"a").unwrap().as_deref(), Some(&b"one"[..]));
    assert_eq!(shelf.get(b"b").unwrap(), None, "a removed row is gone");
    shelf.flush().unwrap();
    drop(shelf);

    let shelf = open();
    assert_eq!(rows(&*shelf), held, "what was flushed is there at the next opening");
    let large = vec![7; 300_000];
    shelf.commit(vec![(b"large".to_vec(), Some(large.clone()))]).unwrap();
    assert_eq!(shelf.get(b"large").unwrap(), Some(large), "a large row is kept whole");
    let many = (0..5000_u32).map(|n| (n.to_be_bytes().to_vec(), Some(vec![0; 16])));
    shelf.commit(many.collect()).unwrap();
    assert_eq!(rows(&*shelf).len(), 5004, "a large batch is kept whole");
    shelf.clear().unwrap();
    assert_eq!(rows(&*shelf), [], "a cleared shelf is empty");
    shelf.flush().unwrap();
    drop(shelf);
    assert_eq!(rows(&*open()), [], "a cleared shelf stays empty");
}

async fn files_keep_what_was_written(disk: &dyn Disk) {
    assert_eq!(disk.list().unwrap(), [""; 0], "a new folder is empty");
    let file = disk.create("one", 1000).unwrap();
    assert_eq!(file.len().unwrap(), 1000, "a file has its length from the start");
    let mut bytes = [1; 1000];
    file.read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 1000], "a new file is zero");
    file.write_at(998, b"end").unwrap();
    assert_eq!(file.len().unwrap(), 1001, "a write beyond the end lengthens the file");
    file.write_at(2000, b"gap").unwrap();
    let mut bytes = [1; 5];
    file.read_at(1998, &mut bytes).unwrap();
    assert_eq!(&bytes, b"\0\0gap", "a gap is zero, and unsynced writes are seen");
    let mut bytes = [1; 4];
    let error = file.read_at(2000, &mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "a read beyond the end is an error");
    file.sync().await.unwrap();
    assert!(disk.create("empty", 0).unwrap().is_empty().unwrap());
    let error = disk.create("one", 5).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "a name is given once");
    let error = disk.open("none").map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let prepared = disk.prepare("ahead", 3000).unwrap();
    let error = disk.create("ahead", 5).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "a name is taken as a file is begun");
    let mut bytes = vec![1; 3000];
    let file = prepared.await.unwrap();
    file.read_at(0, &mut bytes).unwrap();
    assert!(file.len().unwrap() == 3000 && bytes == [0; 3000], "a prepared file is zero");
    disk.remove("ahead").unwrap();
    disk.sync().await.unwrap();
}

fn files_outlive_their_disk(disk: &dyn Disk) {
    assert_eq!(disk.list().unwrap(), ["empty", "one"], "names come in order");
    let file = disk.open("one").unwrap();
    let mut bytes = [0; 3];
    file.read_at(998, &mut bytes).unwrap();
    assert_eq!(&bytes, b"end", "a file is what it was at the next opening");
}

async fn names_are_given_and_taken(disk: &dyn Disk) {
    let moved = disk.open("one").unwrap();
    disk.rename("one", "empty").unwrap();
    assert_eq!(disk.list().unwrap(), ["empty"], "a rename replaces what had the name");
    moved.write_at(0, b"moved").unwrap();
    let mut bytes = [0; 5];
    disk.open("empty").unwrap().read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"moved", "an open file keeps being the file, whatever it is called");
    assert_eq!(disk.rename("none", "x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(disk.remove("none").unwrap_err().kind(), ErrorKind::NotFound);
    disk.remove("empty").unwrap();
    moved.read_at(0, &mut bytes).unwrap();
    assert_eq!(&bytes, b"moved", "a removed file is there for those who have it open");
    disk.sync().await.unwrap();
}

async fn a_log_lives_on_it(open: &mut dyn FnMut() -> Arc<dyn Disk>) {
    let config = LogConfig { segment_bytes: 4096, cache_bytes: 256, ..LogConfig::default() };
    for life in 0..3_u64 {
        let disk = open();
        let (log, scribe) = Log::open(Arc::clone(&disk), config).await.unwrap();
        let from = life * 100 + 1;
        assert_eq!(log.state().last, (life > 0).then(|| from - 1), "all entries are there");
        assert_eq!(log.state().vote.is_some(), life > 0, "the vote is there");
        let writing = async {
            for index in from..from + 100 {
                log.append(vec![(index, vec![index as u8; 100].into())], Box::new(|o| o.unwrap()));
                log.save_vote(index.to_string().into()).await.unwrap();
            }
            let entries = log.read(1, u64::MAX, usize::MAX).unwrap();
            assert_eq!(entries.len() as u64, from + 99, "entries are read from memory and files");
            assert!(entries.iter().all(|(index, data)| *data == vec![*index as u8; 100]));
            drop(log);
        };
        tokio::join!(scribe.run(), writing);
        let snapshots = Snapshots::open(disk).unwrap();
        snapshots.save(life, b"meta", &vec![life as u8; 100_000]).await.unwrap();
        let newest = snapshots.newest().unwrap();
        assert_eq!(newest, Some((life, b"meta".to_vec(), vec![life as u8; 100_000])));
    }
}

fn rows(shelf: &dyn Shelf) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    shelf.scan(&mut |key, value| rows.push((key.to_vec(), value.to_vec()))).unwrap();
    rows
}
