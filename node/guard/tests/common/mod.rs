//! Tokens, and sessions of databases that are talked to line by line.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use quorate_guard::{Epoch, Name, Token};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What stands behind each answer of a session.
const END: &str = "--end--";

pub(crate) fn epoch(number: u64) -> Epoch {
    Epoch::from_shown(number).unwrap()
}

pub(crate) fn token(name: &str, number: u64) -> Token {
    Token { name: Name::new(name).unwrap(), epoch: epoch(number) }
}

/// A session of a database in a process of its own, which takes statements and `\echo`.
pub(crate) struct Session {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Session {
    /// Starts one; it has to write its errors to where it writes its rows.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = sync_channel(1000);
        let read = move || {
            for line in stdout.lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        };
        drop(std::thread::Builder::new().spawn(read).unwrap());
        Self { child, stdin, lines }
    }

    /// Sends statements, and does not wait.
    pub(crate) fn send(&mut self, sql: &str) {
        writeln!(self.stdin, "{sql}\n\\echo {END}").unwrap();
        self.stdin.flush().unwrap();
    }

    /// What came of what was sent last.
    pub(crate) fn answer(&mut self) -> String {
        let mut answer = String::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE).expect("a session answers");
            if line == END {
                return answer.trim_end().to_owned();
            }
            answer.push_str(&line);
            answer.push('\n');
        }
    }

    pub(crate) fn ask(&mut self, sql: &str) -> String {
        self.send(sql);
        self.answer()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A statement with values in the places of its parameters.
pub(crate) fn filled(sql: &str, values: &[(&str, &str)]) -> String {
    let fill = |sql: String, (name, value): &(&str, &str)| sql.replace(&format!(":{name}"), value);
    values.iter().fold(sql.to_owned(), fill)
}
