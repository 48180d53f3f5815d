//! The built command, run as a user runs it, in an environment of its own.

#![allow(dead_code, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_env::now;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What an agent says while a leader is looked for, and of what may have been done meanwhile.
const PASSING: [&str; 5] = ["Q0101", "Q0102", "Q0106", "Q0107", "Q0108"];

/// A place where nothing of the real user is read or written.
pub(crate) struct Place(TempDir);

/// A cluster of `quorate dev` under test. Dropped, it is killed.
pub(crate) struct Dev {
    pub(crate) child: Child,
    pub(crate) banner: Vec<String>,
    /// Name, address and process of each node.
    pub(crate) nodes: Vec<(String, String, i32)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("QUORATE_") {
                command.env_remove(variable);
            }
        }
        command
            .args(args)
            .current_dir(self.path())
            .env("HOME", self.path())
            .env("TMPDIR", self.path())
            .env("XDG_RUNTIME_DIR", self.path())
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs what must succeed, and gives what it printed.
    pub(crate) fn good(&self, args: &[&str]) -> String {
        passed(args, &self.run(args))
    }

    /// Runs what must fail: exit code, nothing on stdout, and the code of the error.
    pub(crate) fn bad(&self, args: &[&str], exit: i32, code: &str) -> String {
        failed(args, &self.run(args), exit, code)
    }

    /// Like `good`, on a cluster whose leader may change meanwhile, as one on a busy machine's does.
    pub(crate) fn sure(&self, args: &[&str]) -> String {
        passed(args, &self.settled(args))
    }

    /// Like `bad`, on a cluster whose leader may change meanwhile.
    pub(crate) fn surely_bad(&self, args: &[&str], exit: i32, code: &str) -> String {
        failed(args, &self.settled(args), exit, code)
    }

    /// Runs a command again, as its user would, until what it says is no passing trouble. A write bears a
    /// key, so that it is done once however often it is run.
    pub(crate) fn settled(&self, args: &[&str]) -> Output {
        static KEYS: AtomicU64 = AtomicU64::new(0);
        let key = format!("settled-{}", KEYS.fetch_add(1, Ordering::Relaxed));
        let mut args = args.to_vec();
        let is_write = args.starts_with(&["name", "register"]) || args.contains(&"release");
        if is_write && !args.contains(&"--idempotency-key") {
            args.extend(["--idempotency-key", &key]);
        }
        let until = now() + PATIENCE;
        loop {
            let output = self.run(&args);
            let err = texts(&output).1;
            let passes = PASSING.iter().any(|code| err.contains(&format!("error[{code}]: ")));
            if !passes || now() >= until {
                return output;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub(crate) fn dev(&self, args: &[&str]) -> Dev {
        let mut all = vec!["dev"];
        all.extend(args);
        let mut child =
            self.command(&all).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut banner = Vec::new();
        while !banner.last().is_some_and(|line: &String| line.starts_with("keys")) {
            match lines.next() {
                Some(line) => banner.push(line.unwrap()),
                None => {
                    let mut err = String::new();
                    child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
                    panic!("dev ended: {}{err}", banner.join("\n"));
                }
            }
        }
        // Whatever it says later must not stop it.
        let pipe = lines;
        drop(std::thread::Builder::new().spawn(move || pipe.for_each(drop)).unwrap());
        let nodes = banner
            .iter()
            .filter(|line| line.contains("http://127.0.0.1:") && line.starts_with('n'))
            .map(|line| {
                let cells: Vec<&str> = line.split_whitespace().collect();
                (cells[0].to_owned(), cells[1].to_owned(), cells[2].parse().unwrap())
            })
            .collect();
        Dev { child, banner, nodes }
    }
}

impl Dev {
    pub(crate) fn http(&self, node: &str) -> &str {
        &self.nodes.iter().find(|(name, ..)| name == node).unwrap().1
    }

    pub(crate) fn pid(&self, node: &str) -> i32 {
        self.nodes.iter().find(|(name, ..)| name == node).unwrap().2
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send(self.child.id() as i32, signal);
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command printed that must have succeeded.
pub(crate) fn passed(args: &[&str], output: &Output) -> String {
    let (out, err) = texts(output);
    assert!(output.status.success(), "{args:?}: {out}{err}");
    out
}

/// What a command complained of that must have failed like this.
pub(crate) fn failed(args: &[&str], output: &Output, exit: i32, code: &str) -> String {
    let (out, err) = texts(output);
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {out}{err}");
    assert_eq!(out, "", "{args:?} fails, so there is no data");
    assert!(err.contains(&format!("error[{code}]: ")), "{args:?}: {err}");
    assert!(err.contains("\n  state: ") && err.contains("\n  next:  "), "{args:?}: {err}");
    err
}

pub(crate) fn send(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

pub(crate) fn lives(pid: i32) -> bool {
    // A child that nobody has waited for yet is still there, as a zombie; it runs no more.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !stat.contains(") Z ")
}

pub(crate) fn texts(output: &Output) -> (String, String) {
    (
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr.clone()).unwrap(),
    )
}

pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Waits until something is so, and fails when it never is.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = now() + PATIENCE;
    while !is_so() {
        assert!(now() < until, "not in {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
