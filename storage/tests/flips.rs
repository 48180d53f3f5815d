//! No damage to a journal yields anything but what was acknowledged, or an error that names the file. And a
//! journal that is refused is left as it is.

use crate::common;

use std::sync::Arc;

use common::{Call, Model, Pair, SMALL, live, look, settled};
use quorate_storage::{Disk, MemoryDisk, Snapshots, StorageError};

const FIRST: &str = "journal-0000000000000001.seg";

#[tokio::test]
async fn no_flipped_bit_is_ever_believed() {
    let (disk, model) = journal().await;
    for name in disk.list().unwrap() {
        let contents = disk.contents(&name).unwrap();
        let end = contents.iter().rposition(|&byte| byte != 0).unwrap() + 64;
        let (mut refused, mut held) = (0, 0);
        for at in 0..contents.len() {
            // Every bit where something was written; far behind the end, one bit of a byte does.
            for bit in if at < end { 0..8 } else { at % 8..at % 8 + 1 } {
                let mut flipped = contents.clone();
                flipped[at] ^= 1 << bit;
                match judge(&disk, &name, flipped, &model).await {
                    Ok(()) => held += 1,
                    Err(_) => refused += 1,
                }
            }
        }
        assert!(refused > 8 * 100, "{name}: damage is found: {refused} times");
        assert!(name.contains("0002") == (held > 0), "{name}: {held} flips did no harm");
    }
}

#[tokio::test]
async fn a_shortened_file_is_never_believed() {
    let (disk, _) = journal().await;
    for name in disk.list().unwrap() {
        let contents = disk.contents(&name).unwrap();
        for length in 0..contents.len() {
            let broken = disk.copy();
            broken.place(&name, contents[..length].to_vec());
            let error = open(broken.clone()).await.expect_err("the file is not as it was made");
            assert!(error.to_string().contains(&name), "{length}: {error}");
            assert_eq!(broken.contents(&name).unwrap().len(), length, "nothing is changed");
        }
    }
}

#[tokio::test]
async fn no_missing_or_swapped_sector_of_what_was_synced_is_overlooked() {
    let (disk, model) = journal().await;
    for name in disk.list().unwrap() {
        let contents = disk.contents(&name).unwrap();
        for from in (0..contents.len()).step_by(512) {
            // A lost last sector cannot be told from a write that never happened; all others can.
            let is_last = name.contains("0002") && contents[from + 512..].iter().all(|&b| b == 0);
            for other in (0..contents.len()).step_by(512) {
                let mut broken = contents.clone();
                broken.copy_within(other..other + 512, from);
                if broken == contents || (is_last && broken[from..from + 512] == [0; 512]) {
                    continue;
                }
                let _ = judge(&disk, &name, broken, &model).await;
            }
        }
    }
}

/// Whether a journal with another file in it is refused. It must be whole otherwise.
async fn judge(
    disk: &MemoryDisk,
    name: &str,
    contents: Vec<u8>,
    model: &Model,
) -> Result<(), StorageError> {
    let broken = disk.copy();
    broken.place(name, contents.clone());
    match open(broken.clone()).await {
        Ok(found) => {
            assert_eq!(found, *model, "{name}: something was believed that is not so");
            Ok(())
        }
        Err(error) => {
            assert_eq!(broken.contents(name).unwrap(), contents, "nothing is changed: {error}");
            assert!(error.to_string().contains("journal-"), "the file is named: {error}");
            Err(error)
        }
    }
}

async fn open(disk: MemoryDisk) -> Result<Model, StorageError> {
    look(&(Arc::new(disk) as Arc<dyn Disk>), SMALL).await
}

/// A journal of two segments with a bit of everything, all of it acknowledged.
async fn journal() -> (MemoryDisk, Model) {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut pair = Pair::new();
    live(&shared, SMALL, async |log| {
        for (count, call) in [
            Call::Append { sizes: vec![0, 1, 40, 700] },
            Call::Vote(1),
            Call::Truncate { count: 1 },
            Call::Append { sizes: vec![1300, 2, 3] },
            Call::Purge { count: 1 },
            Call::Committed(3),
            Call::Append { sizes: vec![1100] },
            Call::Shelved(2),
            Call::Append { sizes: vec![300, 5, 900] },
            Call::Vote(2),
            Call::Append { sizes: vec![513, 17] },
        ]
        .iter()
        .enumerate()
        {
            pair.call(&log, call).await;
            if count % 2 == 0 {
                settled(&log).await;
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(disk.list().unwrap().len(), 2);
    assert_eq!(look(&shared, SMALL).await.unwrap(), pair.model);
    (disk, pair.model)
}

/// A record of each kind, each in a journal of its own: its name in an error, and the call that makes it.
fn kinds() -> Vec<(&'static str, Vec<Call>)> {
    let first = Call::Append { sizes: vec![40, 50, 60] };
    vec![
        ("entry", vec![first.clone(), Call::Append { sizes: vec![1200] }]),
        ("the vote", vec![first.clone(), Call::Vote(4)]),
        ("the committed mark", vec![first.clone(), Call::Committed(4)]),
        ("a truncation", vec![first.clone(), Call::Truncate { count: 2 }]),
        ("a purge", vec![first.clone(), Call::Purge { count: 2 }]),
        ("the shelf's mark", vec![first, Call::Shelved(2)]),
    ]
}

#[tokio::test]
async fn damage_is_named_by_file_place_kind_and_index_whatever_record_it_is_in() {
    for (name, calls) in kinds() {
        let disk = MemoryDisk::new();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let mut pair = Pair::new();
        let mut ends = Vec::new();
        live(&shared, SMALL, async |log| {
            for call in &calls {
                pair.call(&log, call).await;
                // A vote behind it, so that what only rides along is synced, and was not synced last.
                log.save_vote("v".into()).await.unwrap();
                let contents = disk.contents(FIRST).unwrap();
                ends.push(contents.iter().rposition(|&byte| byte != 0).unwrap() + 1);
            }
        })
        .await
        .unwrap();
        let contents = disk.contents(FIRST).unwrap();
        let mut start = ends[0];
        if name == "the committed mark" {
            // It goes last in its batch.
            start += framed(&contents, start);
        }
        let end = start + framed(&contents, start);
        let (mut named, mut others) = (0, 0);
        for at in start..end {
            let broken = disk.copy();
            let mut flipped = contents.clone();
            flipped[at] ^= 1 << (at % 8);
            broken.place(FIRST, flipped);
            let error = open(broken).await.expect_err("it was synced whole");
            let said = error.to_string();
            let StorageError::Corrupt { file, offset, kind, index, .. } = error else {
                panic!("{name}, byte {at}: {said}");
            };
            assert_eq!((file.as_str(), offset), (FIRST, start as u64), "{name}, byte {at}");
            assert!(said.contains(FIRST) && said.contains("join anew"), "{said}");
            match kind == name {
                true => {
                    assert_eq!(index, (name == "entry").then_some(3), "{name}, byte {at}");
                    named += 1;
                }
                false => others += 1,
            }
        }
        // Only the byte that says the kind can hide it.
        assert!(others <= 1 && named == end - start - others, "{name}: {named} and {others}");
    }
}

/// How many bytes the record at a place takes.
fn framed(contents: &[u8], at: usize) -> usize {
    let len = u32::from_le_bytes(contents[at..at + 4].try_into().unwrap()) as usize;
    (20 + len + 8) & !7
}

#[tokio::test]
async fn no_flipped_bit_of_a_snapshot_is_ever_believed_and_the_error_names_it() {
    let disk = MemoryDisk::new();
    let snapshots = Snapshots::open(Arc::new(disk.clone())).unwrap();
    snapshots.save(9, b"what was noted", &[0; 900]).await.unwrap();
    let name = disk.list().unwrap().remove(0);
    let contents = disk.contents(&name).unwrap();
    for at in 0..contents.len() {
        for bit in 0..8 {
            let mut flipped = contents.clone();
            flipped[at] ^= 1 << bit;
            let broken = disk.copy();
            broken.place(&name, flipped);
            let opened = Snapshots::open(Arc::new(broken)).unwrap();
            match opened.newest().expect_err("it is not what was saved") {
                StorageError::Corrupt { file, kind, index, .. } => {
                    assert_eq!((file, kind, index), (name.clone(), "the snapshot at", Some(9)));
                }
                StorageError::ForeignFile { file } => assert!(file == name && at < 8),
                StorageError::NewerFormat { file, .. } => assert!(file == name && at < 12),
                other => panic!("byte {at}, bit {bit}: {other}"),
            }
        }
    }
}

#[tokio::test]
async fn no_flipped_bit_of_any_piece_of_a_long_snapshot_is_ever_believed() {
    let disk = MemoryDisk::new();
    let snapshots = Snapshots::open(Arc::new(disk.clone())).unwrap();
    let pieces = (0..4_u8).map(|piece| vec![piece; 200_000]);
    snapshots.save_chunks(9, b"what was noted", pieces).await.unwrap();
    let name = disk.list().unwrap().remove(0);
    let contents = disk.contents(&name).unwrap();
    // A prime apart, so that every piece, as written and as read, is hit in many places.
    for at in (0..contents.len()).step_by(9_973) {
        let mut flipped = contents.clone();
        flipped[at] ^= 1 << (at % 8);
        let broken = disk.copy();
        broken.place(&name, flipped);
        let opened = Snapshots::open(Arc::new(broken)).unwrap();
        // A start looks at it like this, and so does who sends it to another node.
        let checked = opened.open_newest().and_then(|saved| saved.expect("it is there").check());
        let error = checked.expect_err("it is not what was saved").to_string();
        assert!(error.contains(&name), "byte {at}: {error}");
    }
    for length in (0..contents.len()).step_by(9_973) {
        let broken = disk.copy();
        broken.place(&name, contents[..length].to_vec());
        let opened = Snapshots::open(Arc::new(broken)).unwrap();
        let error = opened.newest().expect_err("a part is missing").to_string();
        assert!(error.contains(&name), "{length} bytes: {error}");
    }
}

#[tokio::test]
async fn damage_of_a_segment_s_header_names_it_as_such() {
    let (disk, _) = journal().await;
    let contents = disk.contents(FIRST).unwrap();
    let end = framed(&contents, 0);
    let mut named = 0;
    for at in 0..end {
        let broken = disk.copy();
        let mut flipped = contents.clone();
        flipped[at] ^= 1 << (at % 8);
        broken.place(FIRST, flipped);
        match open(broken).await.expect_err("it was synced whole") {
            StorageError::Corrupt { file, kind, offset, .. } => {
                assert_eq!((file.as_str(), kind, offset), (FIRST, "the segment's header", 0));
                named += 1;
            }
            // The magic and the format say what the file is before anything else is believed.
            StorageError::ForeignFile { file } | StorageError::NewerFormat { file, .. } => {
                assert_eq!(file, FIRST);
            }
            other => panic!("byte {at}: {other}"),
        }
    }
    assert!(named > end - 16, "{named} of {end}");
}
