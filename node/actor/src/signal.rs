//! What comes through a process's gate: mail, and the signals of other processes.
//!
//! Signals travel the same way as mail, so that what one process tells another keeps its order, whatever it
//! is.

use quorate_vocab::{NodeId, Pid, Ref};
use tokio::sync::oneshot;

use crate::{Exit, Info, Loss};

/// What lies in a mailbox: mail, and the system's news, in the order of their coming.
#[derive(Debug)]
pub enum Incoming<M> {
    /// A message.
    Mail(M),
    /// A process that this one monitors has ended.
    Down(Box<Down>),
    /// An exit signal, trapped.
    Exited(Box<Trapped>),
    /// A timeout that this process has asked for.
    Timeout(Ref),
}

/// A monitored process has ended. There is exactly one for each monitor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down {
    /// Which monitor it answers.
    pub monitor: Ref,
    /// Who has ended.
    pub pid: Pid,
    /// How it ended; [`Exit::NoProc`] when it had ended before it was monitored, and
    /// [`Exit::NoConnection`] or [`Exit::NodeDown`] when that is all that can be known.
    pub exit: Exit,
}

/// An exit signal that came to a process which traps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trapped {
    /// Whose signal it is.
    pub from: Pid,
    /// How that process ended, or what it said.
    pub exit: Exit,
}

/// What lies in a gate.
pub(crate) enum Entry<M> {
    In(Incoming<M>),
    /// Mail from another node that is so long that it counts towards the mailbox's bytes.
    Heavy(Box<Heavy<M>>),
    /// One more message lies in the ring of a mailbox that drops its oldest.
    Ring,
    Signal(Box<Signal>),
}

pub(crate) struct Heavy<M> {
    pub(crate) incoming: Incoming<M>,
    /// How long its letter was.
    pub(crate) kib: u32,
}

/// What the runtime tells a process. Only the process itself acts on it, in its turn.
pub(crate) enum Signal {
    /// End, unless you trap exits.
    Exit { from: Pid, exit: Exit, why: Why },
    /// `from` is linked to you.
    Link { from: Pid },
    /// `from` is linked to you no more; say that you know.
    Unlink { from: Pid, id: Ref },
    /// `from` knows that you are linked no more.
    Unlinked { from: Pid, id: Ref },
    /// Tell `from` when you end.
    Monitor { from: Pid, monitor: Ref },
    /// Tell nobody for this monitor.
    Demonitor { from: Pid, monitor: Ref },
    /// A far process that you monitor has ended.
    Down(Box<Down>),
    /// `from` has the name that this monitor was set on.
    HasName { from: Pid, monitor: Ref },
    /// The link to a node broke.
    Lost { node: NodeId, loss: Loss },
    /// A signal that came from that node.
    Foreign { node: NodeId, signal: Box<Signal> },
    /// Tell a task when you end.
    Watch(oneshot::Sender<Exit>),
    /// Say what you are.
    Info(oneshot::Sender<Info>),
}

/// Where an exit signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A linked process has ended.
    Linked,
    /// Somebody sent it.
    Sent,
    /// Somebody sent it, and it cannot be trapped.
    Kill,
    /// The runtime ends it; it cannot be trapped, and the reason stands.
    End,
}
