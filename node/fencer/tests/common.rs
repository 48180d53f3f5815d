//! What the stories share: this program in another role, and what can be seen of processes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use quorate_env::now;
use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Says to this program that it is to be somebody else, and what that one runs.
const ROLE: &str = "FENCER_TEST_ROLE";

/// Where the fencer is.
pub(crate) const FENCER: &str = env!("CARGO_BIN_EXE_quorate-fencer");

/// This program as a runner or a node. Dropped, it is killed.
pub(crate) struct Actor {
    pub(crate) child: Child,
    pub(crate) lines: BufReader<ChildStdout>,
}

impl Actor {
    /// Plays a role, which is a test of this program that does nothing when nobody plays it.
    pub(crate) fn play(role: &str, text: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", role, "--nocapture", "--quiet"]).env(ROLE, text);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The rest of the next line that begins so.
    pub(crate) fn says(&mut self, begin: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended without {begin}");
            if let Some((_, rest)) = line.split_once(begin) {
                return rest.trim().to_owned();
            }
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        std::io::Write::write_all(stdin, format!("{line}\n").as_bytes()).unwrap();
    }

    /// Nothing more will be told.
    pub(crate) fn hush(&mut self) {
        self.child.stdin = None;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id().cast_signed(), signal);
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What this program is to run in its role, if it has one.
pub(crate) fn role() -> Option<String> {
    std::env::var_os(ROLE).map(|text| text.into_string().unwrap())
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

pub(crate) fn send(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Waits until something is so, and fails when it never is.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = now() + PATIENCE;
    while !is_so() {
        assert!(now() < until, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How many processes live that were called with this word.
pub(crate) fn living(word: &str) -> usize {
    all()
        .filter(|pid| state(*pid).is_some_and(|(state, _)| state != 'Z' && state != 'X'))
        .filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok())
        .filter(|words| words.split(|byte| *byte == 0).any(|found| found == word.as_bytes()))
        .count()
}

/// The children of a process.
pub(crate) fn children(parent: u32) -> Vec<i32> {
    all()
        .filter(|pid| state(*pid).is_some_and(|(_, found)| found == parent.cast_signed()))
        .collect()
}

pub(crate) fn is_alive(pid: i32) -> bool {
    state(pid).is_some_and(|(state, _)| state != 'Z' && state != 'X')
}

/// A word that only this test's processes are called with: how long to sleep, which nobody lives to see.
pub(crate) fn mark(number: u32) -> String {
    format!("{}.{number}", 100_000 + std::process::id())
}

pub(crate) fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap()
}

fn all() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// The state and the parent of a process.
fn state(pid: i32) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
