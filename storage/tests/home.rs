//! The data directory: who may live in it, and what it refuses to be taken for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use quorate_storage::{Home, Log, LogConfig, RealDisk, StorageError};
use quorate_vocab::{Boot, ClusterId};

#[test]
fn a_node_keeps_its_name_and_counts_its_lives() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("deep/data");
    let home = Home::open(&dir).unwrap();
    assert_eq!(home.boot(), Boot(1));
    assert_eq!(home.cluster(), None);
    let node = home.node();
    drop(home);
    let home = Home::open(&dir).unwrap();
    assert_eq!((home.node(), home.boot()), (node, Boot(2)));
    let mode = fs::metadata(&dir).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "it is the owner's alone");
    let other = tempfile::tempdir().unwrap();
    assert_ne!(Home::open(other.path()).unwrap().node(), node);
}

#[tokio::test]
async fn its_journal_is_there_from_the_start_and_belongs_to_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let open = async |journal| {
        let disk = Arc::new(RealDisk::open(&home.raft_dir()).unwrap());
        Log::open(disk, LogConfig { journal, ..LogConfig::default() }).await.map(drop)
    };
    open(home.node().0).await.unwrap();
    assert!(matches!(open(1).await, Err(StorageError::ForeignJournal { expected: 1, .. })));
}

#[test]
fn a_second_agent_is_refused_while_the_first_lives() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    assert!(matches!(Home::open(dir.path()), Err(StorageError::Locked { .. })));
    drop(home);
    assert_eq!(Home::open(dir.path()).unwrap().boot(), Boot(2), "the refusal counted no life");
}

#[test]
fn a_node_is_adopted_once_and_for_life() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    home.adopt(ClusterId(5)).unwrap();
    home.adopt(ClusterId(5)).unwrap();
    let refused = home.adopt(ClusterId(6));
    assert!(matches!(refused, Err(StorageError::OtherCluster { ours: ClusterId(5), .. })));
    drop(home);
    assert_eq!(Home::open(dir.path()).unwrap().cluster(), Some(ClusterId(5)));
}

#[test]
fn a_node_without_its_journal_is_never_taken_for_a_fresh_one() {
    let dir = tempfile::tempdir().unwrap();
    drop(Home::open(dir.path()).unwrap());
    fs::remove_dir_all(dir.path().join("raft")).unwrap();
    for _ in 0..2 {
        assert!(matches!(Home::open(dir.path()), Err(StorageError::JournalMissing { .. })));
    }
}

#[test]
fn a_directory_without_its_identity_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(Home::open(dir.path()).unwrap());
    for name in ["node.id", "boot"] {
        let path = dir.path().join(name);
        let text = fs::read(&path).unwrap();
        for broken in [None, Some(""), Some("?"), Some("12"), Some("\u{7f}\u{0}"), Some("-1\n")] {
            match broken {
                None => fs::remove_file(&path).unwrap(),
                Some(text) => fs::write(&path, text).unwrap(),
            }
            match Home::open(dir.path()) {
                Err(StorageError::Identity { file }) => assert_eq!(file, path),
                // A count of lives may be any number.
                Ok(home) => assert_eq!((name, broken, home.boot()), ("boot", Some("12"), Boot(13))),
                Err(error) => panic!("{name} {broken:?}: {error}"),
            }
        }
        fs::write(&path, text).unwrap();
    }
    Home::open(dir.path()).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_a_node_s_id_makes_it_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::open(dir.path()).unwrap();
    let (node, path) = (home.node(), dir.path().join("node.id"));
    drop(home);
    let text = fs::read(&path).unwrap();
    let (mut unreadable, mut foreign) = (0, 0);
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut flipped = text.clone();
            flipped[at] ^= 1 << bit;
            fs::write(&path, flipped).unwrap();
            let home = match Home::open(dir.path()) {
                Ok(home) => home,
                Err(StorageError::Identity { file }) => {
                    assert_eq!(file, path);
                    unreadable += 1;
                    continue;
                }
                Err(error) => panic!("byte {at}, bit {bit}: {error}"),
            };
            // Another number, or the same one in other letters. The journal knows whose it is.
            let disk = Arc::new(RealDisk::open(&home.raft_dir()).unwrap());
            let config = LogConfig { journal: home.node().0, ..LogConfig::default() };
            match Log::open(disk, config).await {
                Ok(_) => assert_eq!(home.node(), node, "byte {at}, bit {bit}"),
                Err(StorageError::ForeignJournal { expected, found, .. }) => {
                    assert_eq!((expected, found), (home.node().0, node.0));
                    foreign += 1;
                }
                Err(error) => panic!("byte {at}, bit {bit}: {error}"),
            }
        }
    }
    assert!(unreadable > 16 && foreign > 16, "{unreadable} unreadable, {foreign} foreign");
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.tex"), "dear").unwrap();
    assert!(matches!(Home::open(dir.path()), Err(StorageError::ForeignDirectory { .. })));
    assert_eq!(names(dir.path()), ["thesis.tex"], "not even a lock is left there");

    let dir = tempfile::tempdir().unwrap();
    drop(Home::open(dir.path()).unwrap());
    fs::write(dir.path().join("format"), "quorate 2\n").unwrap();
    let refused = Home::open(dir.path());
    assert!(matches!(refused, Err(StorageError::NewerFormat { found: 2, known: 1, .. })));
    fs::write(dir.path().join("format"), "sqlite 1\n").unwrap();
    assert!(matches!(Home::open(dir.path()), Err(StorageError::ForeignDirectory { .. })));
}

#[test]
fn a_directory_that_was_being_made_is_made_anew() {
    let whole = tempfile::tempdir().unwrap();
    drop(Home::open(whole.path()).unwrap());
    // What a crash can leave: any first part of the files, under the word for a directory in the making.
    let files = ["node.id", "boot", "raft"];
    for kept in 0..=files.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("making"), "quorate 1\n").unwrap();
        fs::write(dir.path().join("lock"), "").unwrap();
        for name in &files[..kept] {
            match *name {
                "raft" => fs::create_dir(dir.path().join(name)).unwrap(),
                _ => drop(fs::copy(whole.path().join(name), dir.path().join(name)).unwrap()),
            }
        }
        let home = Home::open(dir.path()).unwrap();
        assert_eq!(home.boot(), Boot(1));
        assert_ne!(home.node(), Home::open(whole.path()).unwrap().node());
        assert!(!names(dir.path()).contains(&"making".to_owned()));
    }
    // And the very first step: a word that was not even written.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("making.tmp"), "quo").unwrap();
    Home::open(dir.path()).unwrap();
}

fn names(dir: &Path) -> Vec<String> {
    let found = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        found.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
