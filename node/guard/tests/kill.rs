//! A writer that is killed at a random moment, again and again, on the same file.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use quorate_guard::{FileError, FileGuard};

use crate::common::token;

const FILE: &str = "QUORATE_TEST_VICTIM";
const ROUNDS: u64 = 30;

fn assigned() -> Option<PathBuf> {
    std::env::var_os(FILE).map(PathBuf::from)
}

/// What is written under an epoch: long enough to be torn, and it shows whether it was.
fn content(epoch: u64) -> Vec<u8> {
    format!("{epoch}\n").repeat(2000).into_bytes()
}

/// Not a test by itself: what the victim runs. Each write is of an epoch of its own, so that each raises
/// the bar.
#[test]
fn victim() {
    let Some(path) = assigned() else { return };
    let guard = FileGuard::new(path);
    let last = guard.newest().unwrap().map_or(0, |token| token.epoch.get());
    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready 0").unwrap();
    for epoch in last + 1.. {
        guard.write(&token("billing", epoch), &content(epoch)).unwrap();
        writeln!(stdout, "wrote {epoch}").unwrap();
        stdout.flush().unwrap();
    }
}

fn start(path: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::victim", "--nocapture", "--test-threads=1"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = BufReader::new(child.stdout.take().unwrap());
    // The test harness talks first. With the first write something is at stake.
    let mut line = String::new();
    while !line.starts_with("wrote ") {
        line.clear();
        assert_ne!(pipe.read_line(&mut line).unwrap(), 0, "the victim did not write");
    }
    (child, pipe)
}

#[test]
fn a_kill_leaves_a_whole_file_and_lets_no_old_epoch_in() {
    if assigned().is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let mut between = 0;
    for round in 0..ROUNDS {
        let (mut child, mut pipe) = start(&path);
        // Where in a write that is, chance says.
        std::thread::sleep(Duration::from_micros(round * 7919 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut text = String::new();
        pipe.read_to_string(&mut text).unwrap();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let said = whole.filter_map(|line| line.trim_end().strip_prefix("wrote ")).next_back();
        let acknowledged = said.map_or(0, |number| number.parse().unwrap());
        let found = fs::read_to_string(&path).unwrap();
        let written: u64 = found.lines().next().unwrap().parse().unwrap();
        assert_eq!(found.as_bytes(), content(written), "round {round}: the file is torn");
        let guard = FileGuard::new(&path);
        let bar = guard.newest().unwrap().unwrap().epoch.get();
        assert!(written >= acknowledged, "round {round}: {acknowledged} is lost, {written} there");
        assert!(bar >= written, "round {round}: {written} was written, and the bar is {bar}");
        between += u64::from(bar > written);
        let late = guard.write(&token("billing", bar - 1), b"stale").unwrap_err();
        assert!(matches!(late, FileError::Stale(_)), "round {round}: {late:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), found);
    }
    eprintln!("{ROUNDS} kills, {between} between the bar and the file");
}
