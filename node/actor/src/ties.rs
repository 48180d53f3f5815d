//! What ties a process to others: its links, its monitors, and who monitors it. It alone keeps them; others
//! ask by signals. So a tie and an end never race: what the ended process had taken up it answers itself, and
//! what it had not comes back from its closed gate and is answered there.
//!
//! Pure: what is to be said to others is handed out, not sent.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use quorate_vocab::{Pid, Ref};
use tokio::sync::oneshot;

use crate::Exit;
use crate::signal::{Signal, Why};

/// The ties of one process. Most processes have few or none, so they are made on first use.
#[derive(Default)]
pub(crate) struct Ties {
    /// Whose end is ours.
    links: BTreeSet<Pid>,
    /// Who was told that we are linked no more, and has not said yet that it knows. What it said of a link
    /// before it knew is void.
    unlinking: BTreeMap<Pid, Ref>,
    /// Whose end we are to be told.
    monitors: BTreeMap<Ref, Pid>,
    /// Which processes are to be told of our end.
    watchers: BTreeMap<Ref, Pid>,
    /// Which tasks are to be told of our end.
    tasks: Vec<oneshot::Sender<Exit>>,
    /// Which part of the body waits for the mailbox, when it is woken on its own.
    pub(crate) sleeper: Option<Waker>,
    /// How this process is to end, once that is settled. The first settlement stands.
    pub(crate) doom: Option<Exit>,
}

/// What becomes of an exit signal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Nothing.
    Ignored,
    /// It goes into the mailbox.
    Trapped,
    /// The process ends by it.
    Ends(Exit),
}

impl Ties {
    /// Links us to another process; whether it has to be told.
    pub(crate) fn link(&mut self, to: Pid) -> bool {
        self.unlinking.remove(&to);
        self.links.insert(to)
    }

    /// Unlinks us from another process; whether it has to be told, as `id`.
    pub(crate) fn unlink(&mut self, from: Pid, id: Ref) -> bool {
        let linked = self.links.remove(&from);
        if linked {
            self.unlinking.insert(from, id);
        }
        linked
    }

    /// Another process says that it is linked to us.
    pub(crate) fn linked(&mut self, from: Pid) {
        if !self.unlinking.contains_key(&from) {
            self.links.insert(from);
        }
    }

    /// Another process says that it is linked to us no more.
    pub(crate) fn unlinked(&mut self, from: Pid) {
        self.links.remove(&from);
    }

    /// Another process knows that we are linked no more. Of an earlier unlinking it means nothing.
    pub(crate) fn knows_unlinked(&mut self, from: Pid, id: Ref) {
        if self.unlinking.get(&from) == Some(&id) {
            self.unlinking.remove(&from);
        }
    }

    pub(crate) fn monitor(&mut self, pid: Pid, monitor: Ref) {
        self.monitors.insert(monitor, pid);
    }

    /// Whom we monitor by this; forgotten from now on. `None` when it is not open any more.
    pub(crate) fn close_monitor(&mut self, monitor: Ref) -> Option<Pid> {
        self.monitors.remove(&monitor)
    }

    pub(crate) fn watched_by(&mut self, watcher: Pid, monitor: Ref) {
        self.watchers.insert(monitor, watcher);
    }

    pub(crate) fn unwatched(&mut self, monitor: Ref) {
        self.watchers.remove(&monitor);
    }

    pub(crate) fn watched_by_task(&mut self, tell: oneshot::Sender<Exit>) {
        // Who gave up waiting is forgotten when the list is about to grow.
        if self.tasks.len() == self.tasks.capacity() {
            self.tasks.retain(|tell| !tell.is_closed());
        }
        self.tasks.push(tell);
    }

    /// Decides on an exit signal to the process `me`, which traps exits or does not.
    pub(crate) fn decide(
        &mut self,
        me: Pid,
        traps: bool,
        from: Pid,
        exit: &Exit,
        why: Why,
    ) -> Fate {
        match why {
            Why::Kill => Fate::Ends(Exit::Killed),
            Why::End => Fate::Ends(exit.clone()),
            // Of a link that is not: it was cut before the news came.
            Why::Linked if !self.links.remove(&from) => Fate::Ignored,
            _ if traps => Fate::Trapped,
            // To end normally is a process's own business.
            _ if *exit == Exit::Normal && from != me => Fate::Ignored,
            _ => Fate::Ends(exit.clone()),
        }
    }

    pub(crate) fn links(&self) -> Vec<Pid> {
        self.links.iter().copied().collect()
    }

    pub(crate) fn monitoring(&self) -> Vec<Pid> {
        self.monitors.values().copied().collect()
    }

    pub(crate) fn watching(&self) -> Vec<Pid> {
        self.watchers.values().copied().collect()
    }

    /// Tells all who are to know that `me` ended so.
    pub(crate) fn part(self, me: Pid, exit: &Exit, mut tell: impl FnMut(Pid, Parting)) {
        for linked in self.links {
            let exit = exit.clone();
            tell(linked, Parting::Signal(Signal::Exit { from: me, exit, why: Why::Linked }));
        }
        for (monitor, watcher) in self.watchers {
            tell(watcher, Parting::Down { monitor, exit: exit.clone() });
        }
        for (monitor, monitored) in self.monitors {
            // Else it would keep this monitor for as long as it lives.
            tell(monitored, Parting::Signal(Signal::Demonitor { monitor }));
        }
        for task in self.tasks {
            // Who gave up waiting needs no telling.
            let _ = task.send(exit.clone());
        }
    }
}

/// What an ended process says to another.
pub(crate) enum Parting {
    Signal(Signal),
    Down { monitor: Ref, exit: Exit },
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_vocab::{Boot, NodeId};

    fn pid(serial: u64) -> Pid {
        Pid { node: NodeId(1), boot: Boot(1), serial }
    }

    const ME: u64 = 1;

    fn decide(ties: &mut Ties, traps: bool, from: u64, exit: &Exit, why: Why) -> Fate {
        ties.decide(pid(ME), traps, pid(from), exit, why)
    }

    #[test]
    fn what_an_exit_signal_does() {
        use Exit::{Killed, Normal, Shutdown};
        let mut ties = Ties::default();
        for (traps, from, exit, why, fate) in [
            (false, 2, Shutdown, Why::Sent, Fate::Ends(Shutdown)),
            (false, 2, Normal, Why::Sent, Fate::Ignored),
            (false, ME, Normal, Why::Sent, Fate::Ends(Normal)),
            (false, 2, Killed, Why::Sent, Fate::Ends(Killed)),
            (true, 2, Shutdown, Why::Sent, Fate::Trapped),
            (true, 2, Normal, Why::Sent, Fate::Trapped),
            (true, 2, Killed, Why::Sent, Fate::Trapped),
            (true, 2, Killed, Why::Kill, Fate::Ends(Killed)),
            (false, 2, Shutdown, Why::Linked, Fate::Ignored),
        ] {
            assert_eq!(
                decide(&mut ties, traps, from, &exit, why),
                fate,
                "{traps} {from} {exit} {why:?}"
            );
        }
        for (traps, exit, fate) in [
            (false, Shutdown, Fate::Ends(Shutdown)),
            (false, Normal, Fate::Ignored),
            (true, Normal, Fate::Trapped),
            (true, Killed, Fate::Trapped),
        ] {
            ties.link(pid(2));
            assert_eq!(decide(&mut ties, traps, 2, &exit, Why::Linked), fate);
            assert_eq!(decide(&mut ties, traps, 2, &exit, Why::Linked), Fate::Ignored, "once");
        }
    }

    #[test]
    fn a_link_that_crosses_its_unlinking_is_void_until_the_other_side_knows() {
        let mut ties = Ties::default();
        assert!(ties.link(pid(2)));
        assert!(!ties.link(pid(2)), "linked twice is linked once");
        assert!(ties.unlink(pid(2), Ref(1)));
        assert!(!ties.unlink(pid(2), Ref(2)));
        ties.linked(pid(2));
        assert_eq!(ties.links(), []);
        ties.knows_unlinked(pid(2), Ref(9));
        ties.linked(pid(2));
        assert_eq!(ties.links(), [], "that was the answer to another unlinking");
        ties.knows_unlinked(pid(2), Ref(1));
        ties.linked(pid(2));
        assert_eq!(ties.links(), [pid(2)]);
    }

    #[test]
    fn linking_again_stands_against_the_answer_to_the_unlinking_before() {
        let mut ties = Ties::default();
        ties.link(pid(2));
        ties.unlink(pid(2), Ref(1));
        assert!(ties.link(pid(2)));
        ties.knows_unlinked(pid(2), Ref(1));
        assert_eq!(ties.links(), [pid(2)]);
    }
}
