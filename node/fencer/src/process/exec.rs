//! The last step before a command: what a process has to do to itself, and then it is the command.
//!
//! It is a step of its own because the standard library runs nothing between `fork` and `exec` without
//! `unsafe`.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Signal, getpgrp, getppid, set_parent_process_death_signal};
use rustix::termios::tcsetpgrp;

use super::{FAILED, Wish, become_program};
use crate::cgroup;

const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Returns only if the command could not begin.
pub(super) fn run(wish: &Wish) -> u8 {
    let Some((program, arguments)) = wish.command.split_first() else { return FAILED };
    if let Err(error) = prepare(wish) {
        complain(program, &error);
        return FAILED;
    }
    let error = become_program(Command::new(program).args(arguments));
    complain(program, &error);
    if error.kind() == io::ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

fn prepare(wish: &Wish) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The fencer may have died before it was tied to.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(wish.parent) {
        return Err(io::Error::other("its fencer is gone"));
    }
    if let Some(dir) = &wish.cgroup {
        // Where that fails, the tree is found by its parents as everywhere else.
        let _ = cgroup::enter(dir);
    }
    if let Some(wards) = &wish.wards {
        hold_for_life(wards)?;
    }
    if wish.foreground {
        // Signals are blocked here, so that asking from the background is not answered by a stop.
        tcsetpgrp(rustix::stdio::stdin(), getpgrp())?;
    }
    Ok(())
}

/// A hold that the command and all that comes of it inherit: it lasts until the last of them has ended, or
/// has closed what it does not know, even when their fencer is gone.
fn hold_for_life(wards: &Path) -> io::Result<()> {
    let held =
        open(wards, OFlags::RDONLY | OFlags::CREATE | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR)?;
    flock(&held, FlockOperation::LockShared)?;
    fcntl_setfd(&held, FdFlags::empty())?;
    // Closed by the end of the process, and not before.
    std::mem::forget(held);
    Ok(())
}

fn complain(program: &OsStr, error: &io::Error) {
    eprintln!("{}: {error}", program.to_string_lossy());
}
