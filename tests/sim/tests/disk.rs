//! What the twin of the disk promises, and what it must not.

use std::sync::Arc;
use std::time::Duration;

use quorate_drill::nemesis::{DiskCall, Loss};
use quorate_sim::clock;
use quorate_sim::disk::{DiskFaults, Honesty, SimDisk};
use quorate_sim::shelf::SimShelf;
use quorate_sim::trace::{Keep, Trace};
use quorate_storage::{Disk, File, Log, LogConfig, Shelf};
use tokio::sync::oneshot;

fn disk(seed: u64) -> SimDisk {
    SimDisk::new("n1", seed, Trace::new(Keep::Nothing))
}

fn read(file: &dyn File, position: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xee; len];
    file.read_at(position, &mut bytes).unwrap();
    bytes
}

/// A disk with one durable file `log` of 4096 bytes, each `old`.
async fn with_log(seed: u64, old: u8) -> SimDisk {
    let disk = disk(seed);
    let door = disk.mount();
    let file = door.create("log", 4096).unwrap();
    file.write_at(0, &[old; 4096]).unwrap();
    file.sync().await.unwrap();
    door.sync().await.unwrap();
    disk
}

#[tokio::test(start_paused = true)]
async fn what_was_synced_survives_and_what_was_not_is_gone() {
    let disk = with_log(1, b'a').await;
    let door = disk.mount();
    let file = door.open("log").unwrap();
    file.write_at(100, b"synced").unwrap();
    file.sync().await.unwrap();
    file.write_at(1000, b"written").unwrap();
    assert_eq!(read(&*file, 1000, 7), b"written", "reads see what was written");

    let lost = disk.crash(Loss::Unsynced);
    assert_eq!((lost.sectors, lost.sectors_kept), (1, 0));
    let file = disk.mount().open("log").unwrap();
    assert_eq!(read(&*file, 100, 6), b"synced");
    assert_eq!(read(&*file, 1000, 7), [b'a'; 7]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_process_leaves_its_writes_to_the_kernel() {
    let disk = with_log(1, b'a').await;
    disk.mount().open("log").unwrap().write_at(0, b"written").unwrap();
    disk.mount().create("new", 10).unwrap();
    disk.crash(Loss::Process);
    assert_eq!(read(&*disk.mount().open("log").unwrap(), 0, 7), b"written");
    assert_eq!(disk.mount().list().unwrap(), ["log", "new"]);
    disk.crash(Loss::Unsynced);
    assert_eq!(disk.mount().list().unwrap(), ["log"]);
}

#[tokio::test(start_paused = true)]
async fn a_door_from_before_the_crash_refuses_everything() {
    let disk = with_log(1, b'a').await;
    let door = disk.mount();
    let file = door.open("log").unwrap();
    let syncing = file.sync();
    disk.crash(Loss::Process);
    assert!(syncing.await.is_err());
    assert!(file.sync().await.is_err());
    assert!(file.len().is_err() && file.write_at(0, b"x").is_err());
    assert!(file.read_at(0, &mut [0]).is_err());
    assert!(door.list().is_err() && door.open("log").is_err() && door.create("x", 1).is_err());
    assert!(door.rename("log", "x").is_err() && door.remove("log").is_err());
    assert!(door.sync().await.is_err());
    assert_eq!(disk.mount().list().unwrap(), ["log"]);
}

#[tokio::test(start_paused = true)]
async fn a_torn_write_survives_in_any_part_and_never_splits_a_sector() {
    let (mut torn, mut out_of_order) = (0, 0);
    for seed in 0..200 {
        let disk = with_log(seed, b'a').await;
        disk.mount().open("log").unwrap().write_at(0, &[b'b'; 4096]).unwrap();
        disk.crash(Loss::Torn);
        let file = disk.mount().open("log").unwrap();
        let sectors: Vec<u8> = read(&*file, 0, 4096)
            .chunks(512)
            .map(|sector| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector was split");
                sector[0]
            })
            .collect();
        let news = sectors.iter().filter(|byte| **byte == b'b').count();
        torn += usize::from((1..8).contains(&news));
        out_of_order += usize::from(sectors.windows(2).any(|two| two == *b"ab"));
    }
    assert!(torn > 50 && out_of_order > 50, "torn {torn}, out of order {out_of_order}");
}

#[tokio::test(start_paused = true)]
async fn names_that_were_not_synced_are_undone_or_kept_one_by_one() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let disk = with_log(seed, b'a').await;
        let door = disk.mount();
        door.rename("log", "log.old").unwrap();
        for name in ["x", "y"] {
            door.create(name, 1).unwrap();
        }
        door.remove("x").unwrap();
        door.create("x", 2).unwrap();
        disk.crash(Loss::Torn);
        seen.insert(disk.mount().list().unwrap().join(" "));
    }
    for possible in ["log", "log.old x y", "log y", "log x", "log.old", "log.old y"] {
        assert!(seen.contains(possible), "{possible:?} never happened: {seen:?}");
    }
    assert!(seen.iter().all(|names| names.starts_with("log")), "a synced name was lost: {seen:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rename_replaces_and_is_durable_after_the_folders_sync() {
    let disk = with_log(1, b'a').await;
    let door = disk.mount();
    let file = door.create("new", 1).unwrap();
    file.write_at(0, b"n").unwrap();
    file.sync().await.unwrap();
    door.rename("new", "log").unwrap();
    disk.crash(Loss::Unsynced);
    assert_eq!(read(&*disk.mount().open("log").unwrap(), 0, 1), b"a");

    let door = disk.mount();
    let file = door.create("new", 1).unwrap();
    file.write_at(0, b"n").unwrap();
    file.sync().await.unwrap();
    door.rename("new", "log").unwrap();
    door.sync().await.unwrap();
    disk.crash(Loss::Unsynced);
    assert_eq!(disk.mount().list().unwrap(), ["log"]);
    assert_eq!(read(&*disk.mount().open("log").unwrap(), 0, 1), b"n");
}

#[tokio::test(start_paused = true)]
async fn a_sync_carries_over_what_was_written_before_it_was_asked_for() {
    let disk = with_log(1, b'a').await;
    let door = disk.mount();
    let file = door.open("log").unwrap();
    file.write_at(0, b"before").unwrap();
    let syncing = file.sync();
    file.write_at(0, b"during").unwrap();
    syncing.await.unwrap();
    disk.crash(Loss::Unsynced);
    assert_eq!(read(&*disk.mount().open("log").unwrap(), 0, 6), b"before");
}

#[tokio::test(start_paused = true)]
async fn an_older_sync_that_ends_later_does_not_take_back_a_newer_one() {
    let disk = with_log(1, b'a').await;
    let door = disk.mount();
    let file = door.open("log").unwrap();
    file.write_at(0, b"older").unwrap();
    let older = file.sync();
    file.write_at(0, b"newer").unwrap();
    file.sync().await.unwrap();
    file.write_at(0, b"never").unwrap();
    older.await.unwrap();
    disk.crash(Loss::Unsynced);
    assert_eq!(read(&*disk.mount().open("log").unwrap(), 0, 5), b"newer");
}

#[tokio::test(start_paused = true)]
async fn a_sync_takes_its_time_and_a_stall_holds_it() {
    let disk = with_log(1, b'a').await;
    let span = Duration::from_millis(7);
    disk.set_faults(DiskFaults { sync_takes: span..=span, ..DiskFaults::default() });
    let door = disk.mount();
    let file = door.open("log").unwrap();
    let begun = clock::now();
    file.sync().await.unwrap();
    assert_eq!(clock::now() - begun, span);

    let begun = clock::now();
    let stall = async {
        clock::pause(Duration::from_millis(3)).await;
        disk.stall(Duration::from_secs(2));
    };
    let (synced, ()) = tokio::join!(file.sync(), stall);
    synced.unwrap();
    assert_eq!(clock::now() - begun, Duration::from_millis(2003));
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_sync_the_next_one_succeeds_and_saves_nothing_of_it() {
    let disk = with_log(1, b'a').await;
    let door = disk.mount();
    let file = door.open("log").unwrap();
    disk.set_faults(DiskFaults { fail_syncs: true, ..DiskFaults::default() });
    file.write_at(0, b"b").unwrap();
    assert!(file.sync().await.is_err() && door.sync().await.is_err());
    disk.set_faults(DiskFaults::default());
    file.sync().await.unwrap();
    assert_eq!(read(&*file, 0, 1), b"b");
    disk.crash(Loss::Unsynced);
    assert_eq!(read(&*disk.mount().open("log").unwrap(), 0, 1), b"a");
}

/// A process that opens the journal and appends an entry, on a disk that may fail from then on: how many
/// entries it found, and whether its own was saved.
async fn appends(disk: &SimDisk, index: u64, fail_syncs: bool) -> (usize, bool) {
    let (log, scribe) = Log::open(Arc::new(disk.mount()), LogConfig::default()).await.unwrap();
    disk.set_faults(DiskFaults { fail_syncs, ..DiskFaults::default() });
    let act = async move {
        let found = log.read(1, u64::MAX, usize::MAX).unwrap().len();
        let (tell, told) = oneshot::channel();
        let done = Box::new(|outcome| drop(tell.send(outcome)));
        log.append(vec![(index, vec![7; 600].into())], done);
        (found, told.await.unwrap().is_ok())
    };
    let (seen, ()) = tokio::join!(act, scribe.run());
    disk.set_faults(DiskFaults::default());
    seen
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_sync_left_in_the_cache_is_saved_by_who_opens_the_journal_and_counts_on_it() {
    let disk = disk(1);
    assert_eq!(appends(&disk, 1, false).await, (0, true));
    assert_eq!(appends(&disk, 2, true).await, (1, false));
    // The next process reads it, and acknowledges what follows it without writing it itself.
    disk.crash(Loss::Process);
    let (log, _scribe) =
        Log::open(Arc::new(disk.mount()), LogConfig::default()).await.expect("it opens");
    assert_eq!(log.state().last, Some(2));
    disk.crash(Loss::Unsynced);
    let (log, _scribe) =
        Log::open(Arc::new(disk.mount()), LogConfig::default()).await.expect("it opens");
    assert_eq!(log.state().last, Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_lying_sync_is_found_out_by_a_power_cut() {
    let never = DiskFaults { honesty: Honesty::Never, ..DiskFaults::default() };
    let late =
        DiskFaults { honesty: Honesty::Late(Duration::from_secs(1)), ..DiskFaults::default() };
    for (faults, pause, found) in
        [(never, 5000, b"a"), (late.clone(), 900, b"a"), (late, 1100, b"b")]
    {
        let disk = with_log(1, b'a').await;
        disk.set_faults(faults);
        let door = disk.mount();
        let file = door.open("log").unwrap();
        file.write_at(0, b"b").unwrap();
        file.sync().await.unwrap();
        door.create("new", 1).unwrap();
        door.sync().await.unwrap();
        clock::pause(Duration::from_millis(pause)).await;
        disk.crash(Loss::Unsynced);
        assert_eq!(read(&*disk.mount().open("log").unwrap(), 0, 1), found);
        assert_eq!(disk.mount().open("new").is_ok(), found == b"b");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_to_grow_and_still_overwrites() {
    let disk = with_log(1, b'a').await;
    disk.set_room(Some(600));
    let door = disk.mount();
    let full = |error: std::io::Error| error.kind() == std::io::ErrorKind::StorageFull;
    assert!(door.create("big", 601).is_err_and(full));
    let file = door.create("fits", 500).unwrap();
    file.write_at(0, &[1; 600]).unwrap();
    assert!(file.write_at(600, &[1]).is_err_and(full));
    door.open("log").unwrap().write_at(0, &[2; 4096]).unwrap();
    door.remove("fits").unwrap();
    door.create("again", 600).unwrap();
    disk.set_room(None);
    door.create("big", 1 << 40).unwrap();
}

#[tokio::test(start_paused = true)]
async fn failing_writes_change_nothing() {
    let disk = with_log(1, b'a').await;
    disk.set_faults(DiskFaults { fail_writes: true, ..DiskFaults::default() });
    let door = disk.mount();
    let file = door.open("log").unwrap();
    assert!(file.write_at(0, b"b").is_err() && door.create("new", 1).is_err());
    assert!(door.rename("log", "x").is_err() && door.remove("log").is_err());
    assert_eq!(read(&*file, 0, 1), b"a");
    assert_eq!(door.list().unwrap(), ["log"]);
    disk.set_faults(DiskFaults { read_only: true, ..DiskFaults::default() });
    let refused = file.write_at(0, b"b").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    disk.set_faults(DiskFaults::default());
    file.write_at(0, b"b").unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flipped_bit_shows_before_and_after_a_crash() {
    let disk = with_log(9, b'a').await;
    assert_eq!(disk.flip_bit("vote"), None);
    let (name, position) = disk.flip_bit("lo").unwrap();
    assert_eq!(name, "log");
    for _ in 0..2 {
        let bytes = read(&*disk.mount().open("log").unwrap(), 0, 4096);
        let changed: Vec<usize> = (0..4096).filter(|at| bytes[*at] != b'a').collect();
        assert_eq!(changed, [position as usize]);
        assert_eq!((bytes[changed[0]] ^ b'a').count_ones(), 1);
        disk.crash(Loss::Unsynced);
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_of_file_and_a_missing_file_are_errors() {
    let disk = with_log(1, b'a').await;
    let door = disk.mount();
    let file = door.open("log").unwrap();
    assert!(file.read_at(4090, &mut [0; 7]).is_err());
    assert!(file.read_at(u64::MAX, &mut [0; 7]).is_err());
    assert!(file.write_at(u64::MAX, &[0; 7]).is_err());
    assert!(door.open("none").is_err() && door.rename("none", "x").is_err());
    assert!(door.remove("none").is_err() && door.create("log", 1).is_err());
    file.write_at(5000, b"far").unwrap();
    assert_eq!(file.len().unwrap(), 5003);
    assert_eq!(read(&*file, 4096, 10), [0; 10]);
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_a_crash_to_the_byte() {
    let run = |seed| async move {
        let disk = with_log(seed, b'a').await;
        let door = disk.mount();
        for nth in 0..20u8 {
            let file = door.create(&format!("f{nth:02}"), 2048).unwrap();
            file.write_at(0, &[nth; 3000]).unwrap();
            if nth % 3 == 0 {
                file.sync().await.unwrap();
            }
        }
        disk.crash(Loss::Torn);
        let door = disk.mount();
        let contents = |name: &String| {
            let file = door.open(name).unwrap();
            read(&*file, 0, file.len().unwrap() as usize)
        };
        let names = door.list().unwrap();
        names.iter().map(|name| (name.clone(), contents(name))).collect::<Vec<_>>()
    };
    let mut differing = 0;
    for seed in 0..20 {
        let one = run(seed).await;
        assert_eq!(one, run(seed).await);
        differing += usize::from(one != run(seed + 1).await);
    }
    assert!(differing > 10);
}

fn rows(shelf: &SimShelf) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    let mounted = shelf.mount().unwrap();
    mounted.scan(&mut |key, value| rows.push((key.to_vec(), value.to_vec()))).unwrap();
    rows
}

#[tokio::test(start_paused = true)]
async fn a_shelf_loses_whole_commits_from_the_newest_back() {
    let mut kept = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let shelf = SimShelf::new("n1", seed, Trace::new(Keep::Nothing));
        let door = shelf.mount().unwrap();
        door.commit(vec![(vec![0], Some(vec![0]))]).unwrap();
        door.flush().unwrap();
        for nth in 1..4u8 {
            door.commit(vec![(vec![nth], Some(vec![nth])), (vec![nth, 0], Some(vec![]))]).unwrap();
        }
        assert_eq!(door.get(&[3]).unwrap(), Some(vec![3]));
        let lost = shelf.crash(Loss::Torn);
        assert!(door.get(&[0]).is_err() && door.commit(vec![]).is_err());
        let left = rows(&shelf).len();
        assert_eq!(left, 1 + 2 * (3 - lost), "a commit was split");
        kept.insert(left);
    }
    assert_eq!(kept.into_iter().collect::<Vec<_>>(), [1, 3, 5, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_shelf_may_forget_everything_or_not_open() {
    let shelf = SimShelf::new("n1", 1, Trace::new(Keep::Nothing));
    let door = shelf.mount().unwrap();
    door.commit(vec![(vec![1], Some(vec![1])), (vec![2], Some(vec![2]))]).unwrap();
    door.commit(vec![(vec![1], None)]).unwrap();
    door.flush().unwrap();
    assert_eq!(shelf.crash(Loss::Unsynced), 0);
    assert_eq!(rows(&shelf), [(vec![2], vec![2])]);
    shelf.mount().unwrap().clear().unwrap();
    assert!(rows(&shelf).is_empty());
    assert_eq!(shelf.crash(Loss::Unsynced), 1, "clearing is a commit as well");
    assert_eq!(rows(&shelf).len(), 1);
    shelf.set_opens(false);
    assert!(shelf.mount().is_err());
    shelf.set_opens(true);
    shelf.forget_all();
    assert!(rows(&shelf).is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_dies_at_the_beginning_of_a_call_has_not_done_it_and_at_its_end_has() {
    for (after, done) in [(0, b'a'), (1, b'b')] {
        let disk = with_log(1, b'a').await;
        let door = disk.mount();
        let mut sprung = disk.trap(DiskCall::Write, after);
        let file = door.open("log").unwrap();
        file.sync().await.unwrap();
        assert!(sprung.try_recv().is_err(), "this was another call");
        assert!(file.write_at(0, b"b").is_err());
        sprung.try_recv().expect("it was told");
        assert!(
            file.sync().await.is_err(),
            "nothing comes through a door behind which nobody lives"
        );
        disk.crash(Loss::Process);
        assert_eq!(read(&*disk.mount().open("log").unwrap(), 0, 1), [done]);
    }
}

#[tokio::test(start_paused = true)]
async fn who_dies_in_a_sync_leaves_it_undone_or_untold() {
    for (after, kept) in [(0, b'a'), (1, b'b')] {
        let disk = with_log(1, b'a').await;
        let file = disk.mount().open("log").unwrap();
        file.write_at(0, b"b").unwrap();
        let _sprung = disk.trap(DiskCall::Sync, after);
        assert!(file.sync().await.is_err());
        disk.crash(Loss::Unsynced);
        assert_eq!(read(&*disk.mount().open("log").unwrap(), 0, 1), [kept]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trap_that_was_taken_away_springs_no_more() {
    let disk = with_log(1, b'a').await;
    let sprung = disk.trap(DiskCall::Write, 0);
    disk.untrap();
    disk.mount().open("log").unwrap().write_at(0, b"b").unwrap();
    assert!(sprung.await.is_err());
}
