//! A fencer that guards a node: kills it at its deadline, and speaks its last word when it has died.
//!
//! It lives in a session of its own and holds nothing of the node's, so that it is hit by no key of the
//! node's terminal and keeps nobody waiting for the end of the node's output.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use quorate_vocab::Time;
use rustix::process::{Signal, pidfd_send_signal, setsid};
use rustix::thread::{NanosleepRelativeResult, nanosleep};
use rustix::time::Timespec;

use super::bell::Bell;
use super::post::{self, Post};
use super::{FAILED, Wish, become_program};
use crate::guard::none_is_left;
use crate::words::{NEVER, Order, Report};

/// Descriptors above the standard ones are not the guard's.
const LAST_STANDARD: i32 = 2;
/// How often it is looked whether a ward is left.
const LOOK_AGAIN: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };

pub(super) fn run(wish: &Wish) -> io::Result<u8> {
    leave_everything()?;
    let mut post = Post::open()?;
    if let Some(node) = post::parent(wish.parent) {
        let bell = Bell::new()?;
        post.tell(&Report::Started { pid: wish.parent, cgroup: String::new() });
        if keep(&bell, &mut post, &node)? == Outcome::Released {
            return Ok(0);
        }
    }
    drop(post);
    if let Some(wards) = &wish.wards {
        let until = quorate_env::now() + wish.patience;
        if !none_is_left_by(wards, until)? {
            return Ok(FAILED);
        }
    }
    let Some((program, arguments)) = wish.command.split_first() else { return Ok(0) };
    let mut word = Command::new(program);
    Err(become_program(word.arg0("quorate").args(arguments).stdin(Stdio::null())))
}

#[derive(PartialEq, Eq)]
enum Outcome {
    Released,
    Died,
}

/// Guards the node to its end.
fn keep(bell: &Bell, post: &mut Post, node: &OwnedFd) -> io::Result<Outcome> {
    let mut until: Option<Time> = None;
    loop {
        let rung = bell.wait(until, post.fd(), Some(node.as_fd()))?;
        if rung.process {
            return Ok(Outcome::Died);
        }
        // First what was due before: an order that was read late does not undo a deadline.
        if until.is_some_and(|until| until <= quorate_env::now()) {
            until = None;
            // It may have died just now.
            let _ = pidfd_send_signal(node, Signal::KILL);
            continue;
        }
        if !rung.line {
            continue;
        }
        // A line that ends without a release leaves the deadline where it is: nobody will move it.
        for (seq, order) in post.take_in().orders {
            match order {
                Order::Until(next) => until = (next.kill_at != NEVER).then_some(next.kill_at),
                Order::Release => {
                    post.tell(&Report::Answer { seq, taken: true });
                    return Ok(Outcome::Released);
                }
                Order::Signal(_) | Order::Stop { .. } => {}
            }
            post.tell(&Report::Answer { seq, taken: true });
        }
    }
}

fn leave_everything() -> io::Result<()> {
    setsid()?;
    let mut inherited = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        inherited.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    for fd in inherited.into_iter().filter(|fd| *fd > LAST_STANDARD) {
        // One of them was the listing itself, and is closed.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Whether every ward has ended, each with all of its tree, before a time.
fn none_is_left_by(wards: &Path, until: Time) -> io::Result<bool> {
    while !none_is_left(wards)? {
        if until <= quorate_env::now() {
            return Ok(false);
        }
        let NanosleepRelativeResult::Ok = nanosleep(&LOOK_AGAIN) else { continue };
    }
    Ok(true)
}
