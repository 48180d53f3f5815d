//! What can be known of processes from outside.

use quorate_vocab::Pid;

/// What is known of a process without asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brief {
    /// Which process.
    pub pid: Pid,
    /// What it was labelled when it was spawned.
    pub label: Option<&'static str>,
    /// How many messages wait, about.
    pub mailbox: usize,
    /// How often it ran; the count wraps.
    pub runs: u32,
    /// What it does.
    pub state: State,
}

/// What a process does at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for something.
    Waiting,
    /// It runs, or will as soon as a worker is free.
    Runnable,
    /// It runs on this very thread.
    Running,
}

/// What a process says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// What is known of it anyway.
    pub brief: Brief,
    /// Whom it is linked to.
    pub links: Vec<Pid>,
    /// Whom it monitors; once for each monitor.
    pub monitors: Vec<Pid>,
    /// Who monitors it; once for each monitor.
    pub monitored_by: Vec<Pid>,
    /// Whether exit signals go into its mailbox.
    pub traps_exits: bool,
}
