//! Recovery's rules one by one: what is cut, what is refused and by which name, and what does no harm.

use crate::common;

use std::sync::Arc;

use common::{Call, Model, Pair, SMALL, live, look, settled};
use quorate_storage::{Disk, LogConfig, MemoryDisk, StorageError};

/// Where the records of the first segment begin.
fn first_record(contents: &[u8]) -> usize {
    let len = u32::from_le_bytes(contents[..4].try_into().unwrap()) as usize;
    (20 + len + 8) & !7
}

/// A journal with synced entries of such sizes, one batch each, and the images before and after the last.
async fn journal(sizes: &[&[u16]]) -> (MemoryDisk, MemoryDisk, Model) {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut pair = Pair::new();
    let mut before = (disk.copy(), Model::default());
    for sizes in sizes {
        before = (disk.copy(), pair.model.clone());
        live(&shared, SMALL, async |log| {
            pair.call(&log, &Call::Append { sizes: sizes.to_vec() }).await;
            settled(&log).await;
        })
        .await
        .unwrap();
    }
    (before.0, disk, before.1)
}

async fn open(disk: &MemoryDisk) -> Result<Model, StorageError> {
    look(&(Arc::new(disk.clone()) as Arc<dyn Disk>), SMALL).await
}

const FIRST: &str = "journal-0000000000000001.seg";
const SECOND: &str = "journal-0000000000000002.seg";
const UNNAMED: &str = "journal-next.tmp";

#[tokio::test]
async fn a_torn_batch_is_cut_whichever_of_its_sectors_were_written() {
    let (before, after, model) = journal(&[&[30], &[10], &[1500, 40, 700]]).await;
    let (old, new) = (before.contents(FIRST).unwrap(), after.contents(FIRST).unwrap());
    let differing: Vec<usize> =
        (0..8).filter(|n| old[n * 512..][..512] != new[n * 512..][..512]).collect();
    assert!(differing.len() >= 5);
    for written in 0..(1_u32 << differing.len()) - 1 {
        let mut torn = old.clone();
        for (bit, sector) in differing.iter().enumerate() {
            if written & 1 << bit != 0 {
                let range = sector * 512..(sector + 1) * 512;
                torn[range.clone()].copy_from_slice(&new[range]);
            }
        }
        let disk: Arc<dyn Disk> = Arc::new({
            let disk = MemoryDisk::new();
            disk.place(FIRST, torn.clone());
            disk
        });
        let (found, cut) =
            live(&disk, SMALL, async |log| (common::seen(&log), log.state().report.bytes_cut))
                .await
                .unwrap();
        let kept = found.entries.len() - model.entries.len();
        assert!(kept < 3, "a batch that lacks a sector is not whole");
        assert!(model.entries.iter().all(|(index, data)| found.entries.get(index) == Some(data)));
        // What was cut is gone for good, and the report says how much that was.
        let wiped = live(&disk, SMALL, async |log| log.state().report.bytes_cut).await.unwrap();
        assert_eq!(wiped, 0);
        assert_eq!(cut > 0, written != 0 && torn != reopened(&disk), "sectors {written:b}");
    }
}

fn reopened(disk: &Arc<dyn Disk>) -> Vec<u8> {
    let file = disk.open(FIRST).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn leftovers_of_a_torn_batch_are_never_read_later() {
    let (_, after, _) = journal(&[&[30], &[600, 40, 50, 60]]).await;
    let mut torn = after.contents(FIRST).unwrap();
    // The first record of the batch lacks a sector; the ones behind it are sound.
    torn[512..1024].fill(0);
    after.place(FIRST, torn);
    let disk: Arc<dyn Disk> = Arc::new(after);
    for index in 1..5 {
        live(&disk, SMALL, async |log| {
            assert_eq!(log.state().last, Some(index - 1));
            // As long as the torn record was, so that the next one would begin at a sound leftover.
            let data = vec![1; if index == 1 { 600 } else { 5 }];
            log.append(vec![(index, data.into())], Box::new(|outcome| outcome.unwrap()));
            settled(&log).await;
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn damage_before_a_later_sync_is_refused_and_nothing_is_changed() {
    let (_, whole, _) = journal(&[&[30], &[1500], &[20], &[10]]).await;
    let contents = whole.contents(FIRST).unwrap();
    let second_batch = first_record(&contents) + 64;
    // A sector of the second batch is gone, as if it had never been written; but two syncs came after it.
    let mut broken = contents.clone();
    broken[1024..1536].fill(0);
    whole.place(FIRST, broken.clone());
    match open(&whole).await {
        Err(StorageError::Corrupt { file, offset, .. }) => {
            assert_eq!((file.as_str(), offset), (FIRST, second_batch as u64));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(whole.contents(FIRST).unwrap(), broken);
}

#[tokio::test]
async fn damage_in_the_last_batch_that_is_not_a_missing_sector_is_refused() {
    let (_, whole, _) = journal(&[&[30], &[1500]]).await;
    let mut contents = whole.contents(FIRST).unwrap();
    contents[1300] ^= 0x10;
    whole.place(FIRST, contents);
    assert!(matches!(open(&whole).await, Err(StorageError::Corrupt { .. })));
}

#[tokio::test]
async fn a_length_of_nothing_with_a_check_is_refused() {
    let (_, whole, _) = journal(&[&[30]]).await;
    let mut contents = whole.contents(FIRST).unwrap();
    let at = first_record(&contents);
    contents[at..at + 4].fill(0);
    whole.place(FIRST, contents);
    match open(&whole).await {
        Err(StorageError::Corrupt { offset, .. }) => assert_eq!(offset, at as u64),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_missing_segment_is_named() {
    let (_, whole, _) = journal(&[&[2000], &[2000], &[2000], &[2000], &[2000]]).await;
    assert!(whole.list().unwrap().len() >= 4);
    for missing in [FIRST, SECOND] {
        let broken = whole.copy();
        broken.remove(missing).unwrap();
        match open(&broken).await {
            Err(StorageError::MissingSegment { file }) => assert_eq!(file, missing),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn lost_records_at_the_end_of_an_older_segment_are_noticed() {
    let (_, whole, _) = journal(&[&[2000], &[100], &[2000], &[2000]]).await;
    let mut contents = whole.contents(FIRST).unwrap();
    let end = contents.iter().rposition(|&byte| byte != 0).unwrap();
    contents[end - 100..=end].fill(0);
    whole.place(FIRST, contents);
    assert!(matches!(open(&whole).await, Err(StorageError::Corrupt { file, .. }) if file == FIRST));
}

#[tokio::test]
async fn a_lost_vote_at_the_end_of_an_older_segment_is_noticed() {
    let disk = MemoryDisk::new();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut pair = Pair::new();
    live(&shared, SMALL, async |log| {
        pair.call(&log, &Call::Append { sizes: vec![2000] }).await;
        pair.call(&log, &Call::Vote(1)).await;
        pair.call(&log, &Call::Append { sizes: vec![3000] }).await;
        settled(&log).await;
    })
    .await
    .unwrap();
    let mut contents = disk.contents(FIRST).unwrap();
    let end = contents.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    // A vote of nine bytes takes 32.
    contents[end - 32..end].fill(0);
    disk.place(FIRST, contents);
    match open(&disk).await {
        Err(StorageError::Corrupt { file, offset, .. }) => {
            assert_eq!((file.as_str(), offset), (FIRST, end as u64 - 32));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_record_of_a_sync_that_cannot_be_next_is_refused() {
    let (_, short, _) = journal(&[&[30]]).await;
    let mut contents = short.contents(FIRST).unwrap();
    let at = contents.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    // The same journal went on elsewhere for some syncs, and a vote of then (of 32 bytes) came here.
    let (_, long, _) = journal(&[&[30], &[50]]).await;
    let shared: Arc<dyn Disk> = Arc::new(long.clone());
    live(&shared, SMALL, async |log| log.save_vote(vec![1; 9].into()).await)
        .await
        .unwrap()
        .unwrap();
    let longer = long.contents(FIRST).unwrap();
    let end = longer.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    contents[at..at + 32].copy_from_slice(&longer[end - 32..end]);
    short.place(FIRST, contents);
    match open(&short).await {
        Err(StorageError::Corrupt { offset, .. }) => assert_eq!(offset, at as u64),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_others_wrote_is_refused_by_name() {
    let (_, whole, _) = journal(&[&[30]]).await;
    let other = LogConfig { journal: 8, ..SMALL };
    let shared: Arc<dyn Disk> = Arc::new(whole.copy());
    match look(&shared, other).await {
        Err(StorageError::ForeignJournal { expected: 8, found: 7, .. }) => {}
        other => panic!("{other:?}"),
    }

    let contents = whole.contents(FIRST).unwrap();
    let magic = contents.windows(8).position(|bytes| bytes == b"quorateJ").unwrap();
    let mut newer = contents.clone();
    newer[magic + 8] = 2;
    whole.place(FIRST, newer);
    match open(&whole).await {
        Err(StorageError::NewerFormat { found: 2, known: 1, .. }) => {}
        other => panic!("{other:?}"),
    }

    for foreign in [b"#!/bin/sh\n".to_vec(), Vec::new(), vec![0; 4096], vec![0xFF; 4096]] {
        whole.place(FIRST, foreign);
        assert!(
            matches!(open(&whole).await, Err(StorageError::ForeignFile { file }) if file == FIRST)
        );
    }

    whole.place(SECOND, contents);
    whole.remove(FIRST).unwrap();
    assert!(matches!(open(&whole).await, Err(StorageError::Corrupt { .. })), "a file was renamed");
}

#[tokio::test]
async fn a_segment_that_was_being_made_does_no_harm() {
    let (_, whole, _) = journal(&[&[30], &[20]]).await;
    let model = open(&whole).await.unwrap();
    let contents = whole.contents(FIRST).unwrap();
    for unfinished in [Vec::new(), vec![0; 100], vec![0; 4096], contents[..700].to_vec(), contents]
    {
        whole.place(UNNAMED, unfinished);
        assert_eq!(open(&whole).await.unwrap(), model);
        assert_eq!(whole.list().unwrap(), [FIRST]);
    }
    let fresh = MemoryDisk::new();
    fresh.place(UNNAMED, vec![0; 5000]);
    assert_eq!(open(&fresh).await.unwrap(), Model::default());
}

#[tokio::test]
async fn files_of_others_in_the_folder_are_left_alone() {
    let disk = MemoryDisk::new();
    for name in ["snapshot-0000000000000001.snap", "journal-1.seg", "notes.txt"] {
        disk.place(name, vec![1, 2, 3]);
    }
    open(&disk).await.unwrap();
    assert_eq!(disk.list().unwrap().len(), 4);
    assert_eq!(disk.contents("notes.txt"), Some(vec![1, 2, 3]));
}
