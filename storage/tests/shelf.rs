//! A shelf that is damaged is an error or is set aside; it never takes the node down with it, and never
//! shows what was not put on it.

use std::fs;
use std::path::{Path, PathBuf};

use quorate_storage::{Shelf, SledShelf, StorageError, open_or_replace_shelf};

fn rows(shelf: &dyn Shelf) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    shelf.scan(&mut |key, value| rows.push((key.to_vec(), value.to_vec()))).unwrap();
    rows
}

fn fill(dir: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let shelf = SledShelf::open(dir).unwrap();
    for round in 0..4_u8 {
        let row = |n: u16| (n.to_be_bytes().to_vec(), Some(vec![round; 100]));
        shelf.commit((0..1000).map(row).collect()).unwrap();
        shelf.flush().unwrap();
    }
    rows(&shelf)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn a_damaged_shelf_is_set_aside_and_an_empty_one_takes_its_place() {
    let model = tempfile::tempdir().unwrap();
    let expected = fill(&model.path().join("state"));
    let (mut replaced, mut opened) = (0, 0);
    for file in files(&model.path().join("state")) {
        let name = file.strip_prefix(model.path()).unwrap();
        let contents = fs::read(&file).unwrap();
        if contents.is_empty() {
            continue;
        }
        // Of the small slab, sled waits for itself for ever as it opens.
        let half = contents[..contents.len() / 2].to_vec();
        let dir = tempfile::tempdir().unwrap();
        copy(model.path(), dir.path());
        fs::write(dir.path().join(name), half).unwrap();
        let (shelf, wrong) = open_or_replace_shelf(&dir.path().join("state")).unwrap();
        let found = rows(&shelf);
        match wrong {
            Some(wrong) => {
                replaced += 1;
                assert!(!wrong.is_empty());
                assert_eq!(found, [], "{}: a new shelf is empty", name.display());
                assert!(dir.path().join("state.aside").exists());
            }
            // sled may forget, which the journal's watermark tells; it must not invent.
            None => {
                opened += 1;
                let is_known = |(key, value): &(Vec<u8>, Vec<u8>)| {
                    let was_put = |held: &(Vec<u8>, Vec<u8>)| held.0 == *key;
                    expected.iter().any(was_put) && (0..4).any(|n| *value == [n; 100])
                };
                assert!(found.iter().all(is_known), "{}", name.display());
            }
        }
        shelf.commit(vec![(b"k".to_vec(), Some(b"v".to_vec()))]).unwrap();
        shelf.flush().unwrap();
        assert_eq!(shelf.get(b"k").unwrap().as_deref(), Some(&b"v"[..]), "it is of use");
    }
    assert!(replaced >= 3 && opened >= 1, "{replaced} replaced, {opened} opened");
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let to = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&file, to).unwrap();
    }
}

#[test]
fn one_generation_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    for _ in 0..3 {
        fill(&state);
        fs::write(state.join("durability_cookie"), "x").unwrap();
        let (shelf, wrong) = open_or_replace_shelf(&state).unwrap();
        assert!(wrong.is_some());
        drop(shelf);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn a_shelf_in_use_is_not_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let shelf = SledShelf::open(&state).unwrap();
    let refused = open_or_replace_shelf(&state).map(|(_, wrong)| wrong);
    assert!(matches!(refused, Err(StorageError::Locked { .. })), "{refused:?}");
    drop(shelf);
    assert!(open_or_replace_shelf(&state).unwrap().1.is_none());
}
