//! What ties a process to others: its links, its monitors, and who monitors it. It alone keeps them; others
//! ask by signals. So a tie and an end never race: what the ended process had taken up it answers itself, and
//! what it had not comes back from its closed gate and is answered there.
//!
//! Pure: what is to be said to others is handed out, not sent.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;

use quorate_vocab::{NodeId, Pid, Ref};
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
    watchers: BTreeSet<(Pid, Ref)>,
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
    pub(crate) fn link(&mut self, to: Pid) -> Linking {
        let was_unlinking = self.unlinking.remove(&to).is_some();
        match self.links.insert(to) {
            false => Linking::Stood,
            true if was_unlinking => Linking::Again,
            true => Linking::New,
        }
    }

    /// Unlinks us from another process; whether it has to be told, as `id`.
    pub(crate) fn unlink(&mut self, from: Pid, id: Ref) -> bool {
        let linked = self.links.remove(&from);
        if linked {
            self.unlinking.insert(from, id);
        }
        linked
    }

    /// Another process says that it is linked to us; whether that is a new tie.
    pub(crate) fn linked(&mut self, from: Pid) -> bool {
        !self.unlinking.contains_key(&from) && self.links.insert(from)
    }

    /// Another process says that it is linked to us no more; whether that cuts a tie.
    pub(crate) fn unlinked(&mut self, from: Pid) -> bool {
        self.links.remove(&from)
    }

    /// Another process knows that we are linked no more; whether that ends the matter. Of an earlier
    /// unlinking it means nothing.
    pub(crate) fn knows_unlinked(&mut self, from: Pid, id: Ref) -> bool {
        let knows = self.unlinking.get(&from) == Some(&id);
        if knows {
            self.unlinking.remove(&from);
        }
        knows
    }

    pub(crate) fn is_linked(&self, to: Pid) -> bool {
        self.links.contains(&to)
    }

    pub(crate) fn monitor(&mut self, pid: Pid, monitor: Ref) {
        self.monitors.insert(monitor, pid);
    }

    /// Whom we monitor by this; forgotten from now on. `None` when it is not open any more.
    pub(crate) fn close_monitor(&mut self, monitor: Ref) -> Option<Pid> {
        self.monitors.remove(&monitor)
    }

    /// Closes a monitor by the word of a process, if that is of the node of the one we monitor by it.
    pub(crate) fn answer_monitor(&mut self, monitor: Ref, by: Pid) -> bool {
        let its = self.monitors.get(&monitor).is_some_and(|pid| pid.node == by.node);
        its && self.monitors.remove(&monitor).is_some()
    }

    /// Who has the name that we monitor by this; false when it is not open any more.
    pub(crate) fn named(&mut self, monitor: Ref, pid: Pid) -> bool {
        match self.monitors.get_mut(&monitor) {
            Some(known) if known.node == pid.node => {
                *known = pid;
                true
            }
            _ => false,
        }
    }

    /// Another process is to be told of our end; whether that is a new tie.
    pub(crate) fn watched_by(&mut self, watcher: Pid, monitor: Ref) -> bool {
        self.watchers.insert((watcher, monitor))
    }

    /// It is not to be told any more; whether that cuts a tie.
    pub(crate) fn unwatched(&mut self, watcher: Pid, monitor: Ref) -> bool {
        self.watchers.remove(&(watcher, monitor))
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
        self.watchers.iter().map(|(watcher, _)| *watcher).collect()
    }

    /// Forgets a node: what we owe its processes is void. Whom there we were linked to and which monitors
    /// there were open is handed out, for us to be told; the links still stand until then.
    pub(crate) fn lose(&mut self, node: NodeId) -> Lost {
        let links = self.links.iter().copied().filter(|pid| pid.node == node).collect();
        let lost = |pid: &mut Pid| pid.node == node;
        let monitors: Vec<_> = self.monitors.extract_if(.., |_, pid| lost(pid)).collect();
        let held = self.watchers.len() + self.unlinking.len();
        self.watchers.retain(|(watcher, _)| watcher.node != node);
        self.unlinking.retain(|pid, _| pid.node != node);
        let forgotten = held - self.watchers.len() - self.unlinking.len() + monitors.len();
        Lost { links, monitors, forgotten: forgotten as u32 }
    }

    /// The nodes of our ties, once for each tie.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        let pids = self.links.iter().chain(self.unlinking.keys()).chain(self.monitors.values());
        pids.chain(self.watchers.iter().map(|(watcher, _)| watcher)).map(|pid| pid.node)
    }

    /// Tells all who are to know that `me` ended so.
    pub(crate) fn part(self, me: Pid, exit: &Exit, mut tell: impl FnMut(Pid, Parting)) {
        for linked in self.links {
            let exit = exit.clone();
            tell(linked, Parting::Signal(Signal::Exit { from: me, exit, why: Why::Linked }));
        }
        for (watcher, monitor) in self.watchers {
            tell(watcher, Parting::Down { monitor, exit: exit.clone() });
        }
        for (monitor, monitored) in self.monitors {
            // Else it would keep this monitor for as long as it lives.
            tell(monitored, Parting::Signal(Signal::Demonitor { from: me, monitor }));
        }
        for task in self.tasks {
            // Who gave up waiting needs no telling.
            let _ = task.send(exit.clone());
        }
    }
}

/// What has come of linking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Linking {
    /// The link was there.
    Stood,
    /// The link is there again, while the news that it is cut is still under way; that has to be undone.
    Again,
    /// There is a new link; the other side has to be told.
    New,
}

/// What the loss of a node has cost.
pub(crate) struct Lost {
    pub(crate) links: Vec<Pid>,
    pub(crate) monitors: Vec<(Ref, Pid)>,
    /// How many ties are cut already: all but the links.
    pub(crate) forgotten: u32,
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
        assert_eq!(ties.link(pid(2)), Linking::New);
        assert_eq!(ties.link(pid(2)), Linking::Stood, "linked twice is linked once");
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
        assert_eq!(ties.link(pid(2)), Linking::Again);
        ties.knows_unlinked(pid(2), Ref(1));
        assert_eq!(ties.links(), [pid(2)]);
    }
}
