//! A real disk that is full: a small file system in memory, filled to its end while a node writes.
//!
//! Needs the right to mount. Where there is none, it says so and passes; `trouble` then has to do, where
//! every step of a life is refused in turn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{SMALL, done, seen};

use quorate_env::{aside, timeout};
use quorate_storage::{Disk, Log, LogConfig, RealDisk, Snapshots, Standing};

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG: LogConfig = LogConfig { segment_bytes: 64 << 10, ..SMALL };

/// A file system of a megabyte, gone when this is dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf) -> Result<Self, String> {
        fs::create_dir_all(&at).map_err(|error| error.to_string())?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&at))?;
        Ok(Self(at))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        if let Err(why) = run(Command::new("umount").arg("-l").arg(&self.0)) {
            eprintln!("{} stays mounted: {why}", self.0.display());
        }
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Takes all the room there is, and gives the file that has it.
fn fill(dir: &Path) -> PathBuf {
    let file = dir.join("filler");
    // As much as fits is written before the error.
    fs::write(&file, vec![1; 2 << 20]).expect_err("a megabyte has no room for two");
    file
}

#[test]
fn a_file_that_finds_no_room_takes_none() {
    let dir = tempfile::tempdir().unwrap();
    let small = match Small::mount(dir.path().join("small")) {
        Ok(small) => small,
        Err(why) => return eprintln!("no mounts here ({why}): this test says nothing"),
    };
    let disk = RealDisk::open(&small.0.join("raft")).unwrap();
    let refused = disk.create("large", 2 << 20).map(drop).expect_err("there is a megabyte");
    assert_eq!(Standing::of_refusal(&refused), Some(Standing::Full));
    fs::write(small.0.join("other"), vec![1; 800 << 10]).expect("others find the room as it was");
}

#[tokio::test]
async fn a_journal_on_a_full_disk_waits_and_goes_on_by_itself_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let small = match Small::mount(dir.path().join("small")) {
        Ok(small) => small,
        Err(why) => return eprintln!("no mounts here ({why}): this test says nothing"),
    };
    let disk = Arc::new(RealDisk::open(&small.0.join("raft")).unwrap());
    let (log, scribe) = Log::open(disk.clone(), CONFIG).await.unwrap();
    let ended = aside("scribe", scribe.run()).unwrap();
    let watch = log.standing();
    let snapshots = Snapshots::open(disk.clone()).unwrap();
    snapshots.save(1, b"one", &[1; 1000]).await.unwrap();
    let filler = fill(&small.0);
    // More than the present segment has room for.
    let outcomes: Vec<_> = (1..=100_u64)
        .map(|index| {
            let (done, outcome) = done();
            log.append(vec![(index, vec![index as u8; 1000].into())], done);
            outcome
        })
        .collect();
    let standing = timeout(PATIENCE, watch.changed(Standing::Healthy)).await.unwrap();
    assert_eq!(standing, Standing::Full, "{:?}", watch.why());
    let refused = snapshots.save(2, b"two", &[2; 100_000]).await.expect_err("there is no room");
    assert_eq!(Standing::of_refusal(&refused), Some(Standing::Full));
    assert_eq!(snapshots.newest().unwrap().unwrap().1, b"one", "the one before it stays");

    fs::remove_file(filler).unwrap();
    for outcome in outcomes {
        timeout(PATIENCE, outcome).await.unwrap().unwrap().unwrap();
    }
    // The last answer comes before the standing, by so little that it may be seen.
    if watch.current() != Standing::Healthy {
        let standing = timeout(PATIENCE, watch.changed(Standing::Full)).await.unwrap();
        assert_eq!(standing, Standing::Healthy);
    }
    snapshots.save(2, b"two", &[2; 100_000]).await.unwrap();
    let before = seen(&log);
    drop(log);
    ended.await.unwrap();
    let (log, _scribe) = Log::open(disk, CONFIG).await.unwrap();
    assert_eq!(seen(&log), before, "all of it is there");
    assert_eq!(before.entries.len(), 100);
}
