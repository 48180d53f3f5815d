//! No damage to a journal yields anything but what was acknowledged, or an error that names the file. And a
//! journal that is refused is left as it is.

use crate::common;

use std::sync::Arc;

use common::{Call, Model, Pair, SMALL, live, look, settled};
use quorate_storage::{Disk, MemoryDisk, StorageError};

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
