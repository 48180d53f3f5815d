//! The tree of processes below this one: found in `/proc`, ended, and reaped.
//!
//! This process is the reaper of its tree (`PR_SET_CHILD_SUBREAPER`), so whoever loses its parent becomes its
//! child, whatever session or group it moved to. Two things follow. All that lives of the tree is found by
//! going down from here. And when the kernel says that there is no child, then there is no tree: that, and
//! nothing less, is the proof of an end.

use std::collections::BTreeMap;

use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, kill_process_group, pidfd_open,
    pidfd_send_signal, wait, waitpid,
};

/// How often one killing goes down the tree for what was born meanwhile.
const PASSES: usize = 3;

/// A process as `/proc` shows it. Its start tells it from a later one with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Found {
    pid: Pid,
    parent: i32,
    started: u64,
    is_dead: bool,
}

/// Sends a signal to every living process below this one; how many there were.
pub(crate) fn signal_all(signal: Signal) -> usize {
    let below = below(getpid());
    let alive = below.iter().filter(|found| !found.is_dead);
    alive.inspect(|found| send(found, signal)).count()
}

/// Kills every process below this one that can be seen now.
pub(crate) fn kill_all() {
    for _ in 0..PASSES {
        if signal_all(Signal::KILL) == 0 {
            return;
        }
    }
}

/// Kills and reaps those children of this process that are meant, with all below them; whether there was
/// none.
pub(crate) fn end_children(is_meant: impl Fn(i32) -> bool) -> bool {
    let (meant, below) = below_some(getpid(), |found| is_meant(found.pid.as_raw_nonzero().get()));
    below.iter().filter(|found| !found.is_dead).for_each(|found| send(found, Signal::KILL));
    for child in &below[..meant] {
        // Those that are not dead yet are seen the next time.
        let _ = waitpid(Some(child.pid), WaitOptions::NOHANG);
    }
    below.is_empty()
}

/// Signals a group whose leader is a child of this process that was not reaped yet, so that its number is
/// nobody else's.
pub(crate) fn signal_group(leader: Pid, signal: Signal) {
    // It may be a zombie that is alone.
    let _ = kill_process_group(leader, signal);
}

/// Reaps what is dead. Whether there is no child left; `see` is told of each that was reaped.
pub(crate) fn reap(mut see: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => see(pid, status),
            Err(Errno::CHILD) => return true,
            Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return false,
        }
    }
}

/// A number may be another's by the time that it is signalled; a pidfd with the same start is the one found.
fn send(found: &Found, signal: Signal) {
    if let Ok(pidfd) = pidfd_open(found.pid, PidfdFlags::empty())
        && look_up(found.pid).is_some_and(|now| now.started == found.started)
    {
        // It may have ended just now.
        let _ = pidfd_send_signal(pidfd, signal);
    }
}

fn below(root: Pid) -> Vec<Found> {
    below_some(root, |_| true).1
}

/// The processes below one, of those children that are meant: how many of them come first, and then all.
fn below_some(root: Pid, is_meant: impl Fn(&Found) -> bool) -> (usize, Vec<Found>) {
    let mut by_parent: BTreeMap<i32, Vec<Found>> = BTreeMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    for found in numbers.filter_map(Pid::from_raw).filter_map(look_up) {
        by_parent.entry(found.parent).or_default().push(found);
    }
    let mut found = by_parent.remove(&root.as_raw_nonzero().get()).unwrap_or_default();
    found.retain(is_meant);
    let (meant, mut next) = (found.len(), 0);
    while let Some(parent) = found.get(next) {
        let children = by_parent.remove(&parent.pid.as_raw_nonzero().get());
        found.extend(children.unwrap_or_default());
        next += 1;
    }
    (meant, found)
}

fn look_up(pid: Pid) -> Option<Found> {
    parse(pid, &std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

/// `pid (name) state parent … started …`, where the name may contain anything, a parenthesis too.
fn parse(pid: Pid, stat: &str) -> Option<Found> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let started = fields.nth(17)?.parse().ok()?;
    Some(Found { pid, parent, started, is_dead: matches!(state, "Z" | "X") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_calls_itself() {
        let pid = Pid::from_raw(7).unwrap();
        let rest = "3 7 7 0 -1 4194304 100 0 0 0 0 0 0 0 20 0 1 0 6423131 3133440 388";
        for (name, state, is_dead) in [("sh", "S", false), (") Z 1 (", "R", false), ("", "Z", true)]
        {
            let found = parse(pid, &format!("7 ({name}) {state} {rest}"));
            assert_eq!(found, Some(Found { pid, parent: 3, started: 6_423_131, is_dead }));
        }
        assert_eq!(parse(pid, "7 (sh) S 3"), None);
    }
}
