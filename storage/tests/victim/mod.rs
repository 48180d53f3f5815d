//! A process that writes to a data directory, and says what was acknowledged, until it is killed. It is
//! this test's own binary, started anew with the directory in the environment.
//!
//! Its lines: `entry <index>`, `vote <n>`, `snapshot <index>`, `shelved <index>`; each is written to the
//! pipe once the thing is durable, and not before.

#![allow(dead_code, reason = "every test file takes what it needs of this")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use quorate_storage::{
    Home, Log, LogConfig, LogState, RealDisk, Shelf, Snapshots, StorageError, open_or_replace_shelf,
};

const DIRECTORY: &str = "QUORATE_TEST_VICTIM";
/// How many entries lie between two snapshots.
const BETWEEN_SNAPSHOTS: u64 = 200;

/// What a victim said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Said {
    pub(crate) entry: u64,
    pub(crate) vote: u64,
    pub(crate) snapshot: u64,
    pub(crate) shelved: u64,
    pub(crate) lines: u64,
}

/// The directory that this process is to write to, if it was started as a victim.
pub(crate) fn assigned() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Starts a victim; `test` is the name of the test that calls [`write_until_killed`].
pub(crate) fn start(test: &str, dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets a victim write for a while after it is ready.
pub(crate) fn let_write(child: &mut Child, span: Duration) -> BufReader<ChildStdout> {
    let pipe = ready(child);
    std::thread::sleep(span);
    pipe
}

/// Lets a new victim write for a while after its first vote, and gives what it had said by then: on a disk
/// that stalls, no while is long enough by itself.
pub(crate) fn let_write_on(child: &mut Child, span: Duration) -> (BufReader<ChildStdout>, Said) {
    let mut pipe = ready(child);
    let mut said = Said::default();
    let mut line = String::new();
    while said.vote == 0 {
        line.clear();
        assert_ne!(pipe.read_line(&mut line).unwrap(), 0, "the victim did not write");
        said.hear(&line);
    }
    std::thread::sleep(span);
    (pipe, said)
}

fn ready(child: &mut Child) -> BufReader<ChildStdout> {
    let mut pipe = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    // The test harness talks first, and on the same line.
    while !line.ends_with("ready 0\n") {
        line.clear();
        assert_ne!(pipe.read_line(&mut line).unwrap(), 0, "the victim did not start");
    }
    pipe
}

/// What a victim said before it was killed. A line that was cut does not count.
pub(crate) fn said(mut pipe: BufReader<ChildStdout>, before: Said) -> Said {
    let mut text = String::new();
    pipe.read_to_string(&mut text).unwrap();
    let mut said = before;
    for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        said.hear(line);
    }
    said
}

impl Said {
    /// Notes a line.
    fn hear(&mut self, line: &str) {
        let (word, number) = line.trim_end().split_once(' ').expect("a word and a number");
        let number = number.parse().expect("a number");
        match word {
            "entry" => self.entry = number,
            "vote" => self.vote = number,
            "snapshot" => self.snapshot = number,
            "shelved" => self.shelved = number,
            _ => panic!("the victim failed: {line}"),
        }
        self.lines += 1;
    }
}

/// What every entry says: its index tells.
pub(crate) fn data(index: u64) -> Vec<u8> {
    let length = index.wrapping_mul(2_654_435_761) % 700;
    (0..length).map(|at| (index + at) as u8).collect()
}

fn open(dir: &Path) -> Result<(Home, Log, Snapshots), StorageError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let home = Home::open(dir)?;
    let disk = Arc::new(RealDisk::open(&home.raft_dir()).unwrap());
    let config =
        LogConfig { journal: home.node().0, segment_bytes: 64 << 10, ..LogConfig::default() };
    let (log, scribe) = runtime.block_on(Log::open(Arc::clone(&disk) as Arc<_>, config))?;
    quorate_env::aside("scribe", scribe.run()).unwrap();
    let snapshots = Snapshots::open(disk)?;
    Ok((home, log, snapshots))
}

/// The victim's work.
pub(crate) fn write_until_killed(dir: &Path) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (home, log, snapshots) = open(dir).unwrap();
    let (shelf, _) = open_or_replace_shelf(&home.state_dir()).unwrap();
    let state = log.state();
    let mut next = state.last.map_or(state.first.max(1), |last| last + 1);
    let mut vote = state.vote.map_or(0, |vote| number(&vote));
    say("ready", 0);
    runtime.block_on(async {
        loop {
            for _ in 0..1 + next % 7 {
                let index = next;
                let acknowledge = move |outcome: std::io::Result<()>| {
                    outcome.unwrap();
                    say("entry", index);
                };
                log.append(vec![(index, data(index).into())], Box::new(acknowledge));
                next += 1;
            }
            log.room().await;
            vote += 1;
            log.save_vote(vote.to_le_bytes().to_vec().into()).await.unwrap();
            say("vote", vote);
            let snapshot = snapshots.newest().unwrap().map_or(0, |(index, ..)| index);
            if next - snapshot > BETWEEN_SNAPSHOTS {
                let index = next - 1;
                let body = index.to_le_bytes().repeat(5000);
                snapshots.save(index, b"meta", &body).await.unwrap();
                say("snapshot", index);
                log.purge(index - 50, index.to_le_bytes().to_vec().into());
                shelf.commit(rows(index)).unwrap();
                shelf.flush().unwrap();
                let shelved = move |outcome: std::io::Result<()>| {
                    outcome.unwrap();
                    say("shelved", index);
                };
                log.mark_shelved(index, Box::new(shelved));
            }
        }
    })
}

/// One row that changes each time, and many others.
fn rows(index: u64) -> Vec<quorate_storage::Row> {
    let row = |n: u64| (n.to_be_bytes().to_vec(), Some(index.to_le_bytes().to_vec()));
    (0..1).chain(index..index + 100).map(row).collect()
}

fn say(word: &str, number: u64) {
    // One write, so that lines are whole; past the harness, which would hold them back.
    let line = format!("{word} {number}\n");
    std::io::stdout().write_all(line.as_bytes()).and_then(|()| std::io::stdout().flush()).unwrap();
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Everything that was said is there.
pub(crate) fn check(dir: &Path, said: Said) -> LogState {
    let (home, log, snapshots) = open(dir).expect("the directory opens after a crash");
    let state = log.state();
    let last = state.last.or(state.purged.as_ref().map(|(upto, _)| *upto)).unwrap_or(0);
    assert!(last >= said.entry, "entry {} was acknowledged; the last is {last}", said.entry);
    let entries = log.read(state.first, u64::MAX, usize::MAX).unwrap();
    assert_eq!(entries.last().map(|(index, _)| *index), state.last);
    for (index, found) in entries {
        assert!(found == data(index), "entry {index} is not what was written");
    }
    let vote = state.vote.as_deref().map_or(0, number);
    assert!(vote >= said.vote, "vote {} was acknowledged; {vote} was found", said.vote);
    let purged = state.purged.as_ref().map_or(0, |(upto, _)| *upto);
    match snapshots.newest().unwrap() {
        Some((index, meta, body)) => {
            assert!(index >= said.snapshot && index >= purged, "snapshot {index}, {purged} purged");
            assert!(meta == b"meta" && body == index.to_le_bytes().repeat(5000));
        }
        None => assert_eq!((said.snapshot, purged), (0, 0)),
    }
    assert!(state.shelved >= said.shelved);
    drop(home);
    state
}

/// What the shelf says about itself, and whether it had to be replaced. It is of use in any case.
pub(crate) fn check_shelf(dir: &Path) -> (u64, Option<String>) {
    let (shelf, wrong) = open_or_replace_shelf(&dir.join("raft/state")).unwrap();
    let held = shelf.get(&0_u64.to_be_bytes()).unwrap().map_or(0, |index| number(&index));
    assert!(wrong.is_none() || held == 0, "a new shelf is empty");
    shelf.commit(vec![(b"of use".to_vec(), Some(vec![1]))]).unwrap();
    shelf.flush().unwrap();
    (held, wrong)
}
