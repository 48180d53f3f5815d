//! The other process: what a program does that was called as a fencer.
//!
//! Nothing here allocates much, starts a thread or asks for a runtime. It has no way to complain but its
//! line.

mod bell;
mod exec;
mod guard;
mod post;
mod ward;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::signal::SigSet;

/// Nothing can be said of a command: the fencer itself failed.
const FAILED: u8 = 125;

/// Is a fencer. `arguments` are those after [`CALL`](crate::CALL).
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments;
    let duty = arguments.next();
    let Some(wish) = Wish::read(arguments) else {
        eprintln!("a fencer was called as none calls it");
        return ExitCode::from(FAILED);
    };
    // Politeness is for commands, which hear all signals again before they begin.
    let deaf = SigSet::all().thread_block();
    // `ps` would show how it was found, which is `exe`.
    let _ = rustix::thread::set_name(c"quorate-fencer");
    let done = match (duty.as_ref().and_then(|duty| duty.to_str()), deaf) {
        (Some("ward"), Ok(())) => ward::run(&wish),
        (Some("guard"), Ok(())) => guard::run(&wish),
        (Some("exec"), Ok(())) => Ok(exec::run(&wish)),
        _ => Ok(FAILED),
    };
    ExitCode::from(done.unwrap_or(FAILED))
}

/// Becomes another program, which hears all signals, as a program expects. Returns only if it could not
/// begin.
fn become_program(command: &mut Command) -> io::Error {
    match SigSet::empty().thread_set_mask() {
        Ok(()) => command.exec(),
        Err(error) => error.into(),
    }
}

/// What a fencer is called with.
#[derive(Debug, Default)]
struct Wish {
    /// Who calls.
    parent: i32,
    /// The file that all wards of a node hold.
    wards: Option<PathBuf>,
    /// How long those may take that are left when their node has died.
    patience: Duration,
    /// Where a command is to go before it begins.
    cgroup: Option<PathBuf>,
    /// Whether a command is to have the terminal.
    foreground: bool,
    /// What is executed when nothing is left of a command whose parent has died.
    last_word: Vec<OsString>,
    command: Vec<OsString>,
}

impl Wish {
    fn read(mut arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut wish = Self::default();
        loop {
            let flag = arguments.next()?;
            if flag == "--" {
                wish.command = arguments.collect();
                return Some(wish);
            }
            if flag == "--foreground" {
                wish.foreground = true;
                continue;
            }
            let value = arguments.next()?;
            match flag.to_str()? {
                "--parent" => wish.parent = value.to_str()?.parse().ok()?,
                "--wards" => wish.wards = Some(value.into()),
                "--patience" => {
                    wish.patience = Duration::from_millis(value.to_str()?.parse().ok()?);
                }
                "--last-word" => wish.last_word.push(value),
                "--cgroup" => wish.cgroup = Some(value.into()),
                _ => return None,
            }
        }
    }
}
