//! What the stories of `quorate singleton run` play on: runners, and witnesses that write down their lives.
//!
//! A witness is this very program in another role. It writes a line every few milliseconds, by the one clock
//! of the machine that all share, so that its life is known to the last beat however it is ended.

use std::collections::BTreeMap;
use std::fs::{OpenOptions, read_to_string};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate_env::now;
use serde_json::Value;

use crate::host::{Agent, PATIENCE, eventually, get};

/// Says to this program that it is a witness, and where it writes.
const LOG: &str = "QUORATE_TEST_WITNESS";
/// How often a witness says that it lives.
const BEAT: Duration = Duration::from_millis(2);

/// A role: whoever has none passes by.
#[test]
#[expect(clippy::disallowed_methods, reason = "a role is played in a process of its own")]
fn a_witness() {
    let (Ok(log), Ok(epoch)) = (std::env::var(LOG), std::env::var("QUORATE_EPOCH")) else { return };
    let mut log = OpenOptions::new().append(true).create(true).open(log).unwrap();
    let (pid, until) = (std::process::id(), now() + PATIENCE * 4);
    while now() < until {
        log.write_all(format!("{epoch} {pid} {}\n", now().0).as_bytes()).unwrap();
        std::thread::sleep(BEAT);
    }
}

/// A life that a witness wrote down.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) epoch: u64,
    pub(crate) pid: u32,
    begin: u64,
    end: u64,
}

/// A singleton of a test: its name, and what its witnesses write.
pub(crate) struct Stage<'a> {
    agents: &'a [Agent],
    pub(crate) name: String,
    dir: PathBuf,
}

/// A `quorate singleton run`. Dropped, it is killed, and its command with it.
pub(crate) struct Runner {
    pub(crate) child: Child,
    talk: PathBuf,
}

impl<'a> Stage<'a> {
    pub(crate) fn new(agents: &'a [Agent], dir: &Path, name: &str) -> Self {
        let dir = dir.join(name.replace('/', "-"));
        std::fs::create_dir(&dir).unwrap();
        Self { agents, name: name.to_owned(), dir }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A command line of `quorate` that speaks to one agent, and leads nobody to another.
    pub(crate) fn quorate(&self, nth: usize, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.env("QUORATE_AGENT", self.agents[nth].http()).env_remove("QUORATE_API_TOKEN_FILE");
        command.args(args).current_dir(&self.dir).stdin(Stdio::null());
        command
    }

    /// The command line that runs a script, which begins a witness by `$WITNESS`.
    pub(crate) fn run(&self, nth: usize, flags: &[&str], script: &str) -> Command {
        let mut command = self.quorate(nth, &["singleton", "run", &self.name]);
        let this = std::env::current_exe().unwrap();
        let role = format!("{} --exact stage::a_witness --nocapture --quiet", this.display());
        // However busy the machine is, the first answer is waited for.
        command.args(["--timeout", "60s"]).args(flags).args(["--", "sh", "-c", script]);
        command.env("WITNESS", role).env(LOG, self.file("lives"));
        command
    }

    pub(crate) fn start(&self, nth: usize, flags: &[&str], script: &str) -> Runner {
        let mut command = self.run(nth, flags, script);
        let talk = self.file(&format!("talk-{}", now().0));
        let said = OpenOptions::new().append(true).create(true).open(&talk).unwrap();
        let child = command.stdout(Stdio::null()).stderr(said);
        Runner { child: child.spawn().unwrap(), talk }
    }

    /// Begins a runner that waits while another is the one.
    pub(crate) fn stand_by(&self, nth: usize, flags: &[&str], script: &str) -> Runner {
        let runner = self.start(nth, flags, script);
        eventually("it waits", || runner.said().contains("has it under epoch"));
        runner
    }

    /// What an agent says of the singleton.
    pub(crate) fn seen(&self, what: &str) -> Option<Value> {
        let path = self.name.replace('/', "%2F");
        get(&format!("{}/v1/singletons/{path}{what}", self.agents[0].http()))
    }

    /// Has an agent delete something.
    pub(crate) fn delete(&self, path: &str) {
        let deleted = ureq::delete(format!("{}{path}", self.agents[0].http())).call();
        assert!(deleted.is_ok(), "{path}: {deleted:?}");
    }

    /// How it is known that the holder before the present one has ended, and why it did.
    pub(crate) fn last(&self) -> (String, String) {
        let mut last = Value::Null;
        eventually("the end is in the history", || {
            last = self.seen("/history").map_or(Value::Null, |seen| seen["past"].clone());
            last = last.as_array().and_then(|past| past.last().cloned()).unwrap_or_default();
            last.is_object()
        });
        let text = |key: &str| last[key].as_str().unwrap_or_default().to_owned();
        (text("evidence"), text("why"))
    }

    /// All lives so far.
    pub(crate) fn lives(&self) -> Vec<Life> {
        let text = read_to_string(self.file("lives")).unwrap_or_default();
        let mut lives = BTreeMap::new();
        // A line that has no end yet counts when it has.
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        for line in whole.lines() {
            let words: Vec<u64> =
                line.split_whitespace().map(|word| word.parse().unwrap()).collect();
            let [epoch, pid, at] = words[..] else { panic!("{line}") };
            let pid = u32::try_from(pid).unwrap();
            lives.entry((epoch, pid)).or_insert(Life { epoch, pid, begin: at, end: at }).end = at;
        }
        lives.into_values().collect()
    }

    /// Waits until so many witnesses live under an epoch after this one, which they tell.
    pub(crate) fn begins(&self, witnesses: usize, after: u64) -> u64 {
        let mut epoch = 0;
        eventually("witnesses live", || {
            let lives = self.lives();
            let new: Vec<&Life> = lives.iter().filter(|life| life.epoch > after).collect();
            epoch = new.first().map_or(0, |life| life.epoch);
            new.len() >= witnesses
        });
        epoch
    }

    /// No life of one epoch reached into that of another, the epochs rose, and of those before the last
    /// nothing is left.
    pub(crate) fn never_two(&self) {
        let mut turns: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let lives = self.lives();
        for Life { epoch, begin, end, .. } in &lives {
            let turn = turns.entry(*epoch).or_insert((*begin, *end));
            *turn = (turn.0.min(*begin), turn.1.max(*end));
        }
        let turns: Vec<_> = turns.into_iter().collect();
        for pair in turns.windows(2) {
            let [(_, (_, end)), (_, (begin, _))] = pair else { continue };
            assert!(end < begin, "{}: two lived at once: {turns:?}", self.name);
        }
        let last = turns.last().map_or(0, |(epoch, _)| *epoch);
        for life in lives.iter().filter(|life| life.epoch < last) {
            assert!(!is_alive(life.pid), "{}: left over: {life:?}", self.name);
        }
    }

    /// Of an epoch that is over nothing is left.
    pub(crate) fn nothing_is_left(&self) {
        for life in self.lives() {
            assert!(!is_alive(life.pid), "{}: left over: {life:?}", self.name);
        }
    }
}

impl Runner {
    /// What it said to whoever started it.
    pub(crate) fn said(&self) -> String {
        read_to_string(&self.talk).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: &str) {
        send(self.child.id(), signal);
    }

    /// Waits for its end, and gives its code.
    pub(crate) fn code(&mut self) -> i32 {
        let mut code = None;
        eventually("a runner ends", || {
            code = self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1));
            code.is_some()
        });
        code.unwrap()
    }

    /// Its fencer, which is its only child.
    pub(crate) fn fencer(&self) -> u32 {
        let runner = self.child.id();
        let children = read_to_string(format!("/proc/{runner}/task/{runner}/children"));
        children.unwrap().trim().parse().expect("a runner has one child")
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn send(pid: u32, signal: &str) {
    let sent = Command::new("kill").args([signal, &pid.to_string()]).status();
    assert!(sent.expect("kill runs").success(), "{signal} to {pid}");
}

/// A process that nobody has waited for yet runs no more.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

/// A child that has said its first line, and the reader of the rest.
pub(crate) fn heard(
    mut command: Command,
) -> (Runner, String, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut rest = BufReader::new(child.stdout.take().unwrap());
    let runner = Runner { child, talk: PathBuf::new() };
    let mut line = String::new();
    rest.read_line(&mut line).unwrap();
    (runner, line.trim().to_owned(), rest)
}
