//! A file that only the newest owner replaces: what is refused, and what a crash in between leaves.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate_guard::{BarFile, FileError, FileGuard, KeepError};

use crate::common::{epoch, token};

fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    path.with_file_name(format!("{before}{name}{after}"))
}

fn bar(path: &Path) -> PathBuf {
    beside(path, "", ".quorate-epoch")
}

/// The old owner writes, the new one writes, and the old one, awake again, writes once more.
fn woken_too_late(path: &Path, write: impl Fn(u64, &str)) -> String {
    write(17, "old");
    write(18, "new");
    write(17, "stale");
    fs::read_to_string(path).unwrap()
}

#[test]
fn an_owner_that_wakes_up_too_late_overwrites_where_nothing_compares() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let without = woken_too_late(&path, |_, text| fs::write(&path, text).unwrap());
    assert_eq!(without, "stale", "this is what the guard is for");
    fs::remove_file(&path).unwrap();
    let guard = FileGuard::new(&path);
    let with = woken_too_late(&path, |epoch, text| {
        let written = guard.write(&token("billing", epoch), text.as_bytes());
        assert_eq!(written.is_err(), text == "stale", "{written:?}");
    });
    assert_eq!(with, "new");
    assert_eq!(guard.newest().unwrap(), Some(token("billing", 18)));
}

#[test]
fn a_file_under_two_names_has_one_bar() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("state"), dir.path().join("link"));
    FileGuard::new(&path).write(&token("billing", 18), b"new").unwrap();
    symlink("state", &link).unwrap();
    let late = FileGuard::new(&link).write(&token("billing", 17), b"stale");
    assert!(matches!(late, Err(FileError::Stale(_))), "{late:?}");
    FileGuard::new(&link).write(&token("billing", 19), b"newer").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"newer");
    assert!(link.is_symlink(), "the file is replaced, not the link to it");
    symlink("nowhere", dir.path().join("loose")).unwrap();
    let loose = FileGuard::new(dir.path().join("loose")).write(&token("billing", 20), b"x");
    assert!(matches!(loose, Err(FileError::Keep(KeepError::Io { .. }))), "{loose:?}");
}

#[test]
fn a_file_belongs_to_one_singleton_and_keeps_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    fs::write(&path, "before").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let guard = FileGuard::new(&path);
    guard.write(&token("billing", 1), b"ours").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let other = guard.write(&token("reports", 99), b"theirs").unwrap_err();
    assert!(matches!(&other, FileError::OtherName { owner, .. } if owner.as_str() == "billing"));
    assert_eq!(fs::read(&path).unwrap(), b"ours");
}

#[test]
fn a_damaged_bar_is_named_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let guard = FileGuard::new(&path);
    guard.write(&token("billing", 17), b"good").unwrap();
    let whole = fs::read(bar(&path)).unwrap();
    let check = |bytes: &[u8]| {
        fs::write(bar(&path), bytes).unwrap();
        let torn = guard.write(&token("billing", 18), b"new").unwrap_err();
        assert!(matches!(torn, FileError::Keep(KeepError::Torn { .. })), "{torn:?}: {bytes:?}");
        assert_eq!(fs::read(&path).unwrap(), b"good");
        assert_eq!(fs::read(bar(&path)).unwrap(), bytes, "it is left for whoever mends it");
    };
    for end in 0..whole.len() {
        check(&whole[..end]);
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        check(&flipped);
    }
    check(&[b"quorate-bar 1\n".as_slice(), &vec![b'x'; 1 << 20]].concat());
    fs::write(bar(&path), whole).unwrap();
    guard.write(&token("billing", 18), b"new").unwrap();
}

#[test]
fn the_bar_is_raised_before_the_file_is_replaced_and_not_the_other_way_round() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let guard = FileGuard::new(&path);
    guard.write(&token("billing", 17), b"old").unwrap();
    // The bar cannot be raised: a folder that is not empty lies where its draft would.
    let in_the_way = beside(&bar(&path), ".", ".quorate-tmp");
    fs::create_dir_all(in_the_way.join("x")).unwrap();
    let stopped = guard.write(&token("billing", 18), b"new").unwrap_err();
    assert!(matches!(stopped, FileError::Keep(KeepError::Io { .. })), "{stopped:?}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    fs::remove_dir_all(&in_the_way).unwrap();
    // The bar can be raised, and the file not be replaced.
    let in_the_way = beside(&path, ".", ".quorate-tmp");
    fs::create_dir_all(in_the_way.join("x")).unwrap();
    let stopped = guard.write(&token("billing", 18), b"new").unwrap_err();
    assert!(matches!(stopped, FileError::Io { .. }), "{stopped:?}");
    fs::remove_dir_all(&in_the_way).unwrap();
    let late = guard.write(&token("billing", 17), b"stale").unwrap_err();
    assert!(matches!(late, FileError::Stale(_)), "{late:?}");
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_writer_that_was_stopped_in_the_middle_is_not_waited_for_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let holder = BarFile::open(&bar(&path), 1, Duration::ZERO).unwrap();
    let guard = FileGuard::new(&path).patience(Duration::from_millis(20));
    let busy = guard.write(&token("billing", 1), b"x").unwrap_err();
    assert!(matches!(busy, FileError::Keep(KeepError::Busy { .. })), "{busy:?}");
    drop(holder);
    guard.write(&token("billing", 1), b"x").unwrap();
}

#[test]
fn what_a_bar_file_held_it_holds_after_a_restart_floor_and_all() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("epochs");
    let open = |names_max| BarFile::open(&path, names_max, Duration::ZERO);
    let mut file = open(3).unwrap();
    file.lift(epoch(10)).unwrap();
    for (name, number) in [("a", 11), ("b/c", 12), ("a", 13)] {
        file.admit(&token(name, number)).unwrap().unwrap();
    }
    let held = file.bar().clone();
    drop(file);
    let mut file = open(3).unwrap();
    assert_eq!(*file.bar(), held);
    assert!(file.admit(&token("a", 12)).unwrap().is_err());
    assert!(file.admit(&token("new", 9)).unwrap().is_err());
    drop(file);
    assert!(matches!(open(1), Err(KeepError::Torn { .. })), "names that have no room are not lost");
}

#[test]
fn a_lock_is_let_go_at_once_even_while_other_processes_are_started() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("epochs");
    std::thread::scope(|scope| {
        let starting = scope.spawn(|| {
            for _ in 0..200 {
                assert!(std::process::Command::new("true").status().unwrap().success());
            }
        });
        while !starting.is_finished() {
            drop(BarFile::open(&path, 1, Duration::ZERO).unwrap());
        }
    });
}
