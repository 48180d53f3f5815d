//! What goes on between processes of this node and of others besides mail: links, monitors and exits.
//!
//! A signal to a process of another node is posted as a notice, and a notice that comes is put into its
//! process's gate as the signal that it is; so far and near ties follow the same rules (`ties`), and what
//! differs stands here:
//!
//! - When the link to a node breaks, each process that is tied to it is told by a signal of its own, after
//!   all that came by the link and before anything of the next one. It takes what the node's processes said
//!   before as their last word: open monitors are answered, links end, watchers there are forgotten.
//! - A question (link, monitor, exit) that the carrier does not take is answered here, at once. What must
//!   not be lost while the link stands (a down, an exit of a link, the taking back of either) is owed when
//!   the carrier is full, and goes out in order before anything else does. Who cannot even be owed to is cut
//!   off.
//! - A node speaks for its own processes only, may tie itself to so many of ours, and may have so many
//!   signals under way.

use std::time::Duration;

use quorate_vocab::{Lane, NodeId, Pid, Ref};
use tokio::sync::oneshot;

use crate::notice::{NAME_BYTES_MAX, Notice, Says};
use crate::peers::Owed;
use crate::sheet::on_a_sheet;
use crate::signal::{Signal, Why};
use crate::timers::Fire;
use crate::{Actors, Down, Exit, LetterError, Loss, NotSent, Postage};

/// When a full carrier is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(5);

impl Actors {
    /// Learns that the link to a node broke, so letters may have been lost both ways. Calls to it that wait
    /// end as [`CallError::MaybeDelivered`](crate::CallError::MaybeDelivered); each monitor of a process
    /// there is answered and each link to one ends, by [`Exit::NoConnection`] or [`Exit::NodeDown`]; and
    /// whoever there watched a process of this node is forgotten.
    ///
    /// It is to be called after the last letter of the broken link was delivered, and before the first one of
    /// the next link is; on both sides, though not at the same time.
    pub fn lost(&self, node: NodeId, loss: Loss) {
        self.settle_as_lost(Some(node));
        let (tied, awaited) = self.peers().lose(node);
        for serial in tied {
            // One that has ended has no ties any more, and says so itself.
            let _ = self.signal(self.pid_of(serial), Signal::Lost { node, loss });
        }
        for tell in awaited {
            // Who asked may have gone.
            let _ = tell.send(loss.exit());
        }
    }

    /// Whether a process here monitors, is monitored by, is linked with or waits for one of that node. While
    /// one does, the link should stay open.
    pub fn is_tied_to(&self, node: NodeId) -> bool {
        self.peers().is_tied(node) || self.calls().wait_for(node)
    }

    /// Posts a signal to a process of another node; gives it back when that was a question, and the carrier
    /// does not take it.
    pub(crate) fn signal_abroad(&self, to: Pid, signal: Signal) -> Result<(), Signal> {
        let Some(notice) = Notice::of(to, &signal) else { return Err(signal) };
        let asks = matches!(
            signal,
            Signal::Link { .. }
                | Signal::Monitor { .. }
                | Signal::Exit { why: Why::Sent | Why::Kill, .. }
        );
        match asks {
            true => self.ask(&notice).map_err(|_| signal),
            false => {
                self.tell(&notice);
                Ok(())
            }
        }
    }

    /// Asks for the end of whoever has a name on another node, when there is one; whether that was taken.
    pub(crate) fn monitor_name(&self, node: NodeId, name: &str, from: Pid, monitor: Ref) -> bool {
        let says = Says::MonitorName(monitor, name.to_owned());
        name.len() <= NAME_BYTES_MAX
            && self.ask(&Notice { from, to: nobody_at(node), says }).is_ok()
    }

    /// Posts what may be refused.
    fn ask(&self, notice: &Notice) -> Result<(), NotSent> {
        match self.peers().owes(notice.to.node) {
            true => Err(NotSent::Full),
            false => on_a_sheet(|sheet| self.post_notice(notice, &mut sheet.text)),
        }
    }

    /// Posts what must get there for as long as the link stands.
    fn tell(&self, notice: &Notice) {
        let node = notice.to.node;
        let owed = on_a_sheet(|sheet| {
            let letter = &mut sheet.text;
            if self.peers().owes(node) {
                notice.write(letter);
            } else {
                // Of a link that is no more nobody there expects anything.
                let Err(NotSent::Full) = self.post_notice(notice, letter) else { return None };
            }
            Some(self.peers().owe(node, (postage_of(notice), letter.clone())))
        });
        match owed {
            Some(Owed::First) => self.pay_later(node),
            Some(Owed::TooMuch) => {
                tracing::warn!(%node, "a node that takes no notices is cut off");
                self.0.carrier.sever(node);
            }
            Some(Owed::Behind) | None => {}
        }
    }

    fn post_notice(&self, notice: &Notice, letter: &mut Vec<u8>) -> Result<(), NotSent> {
        notice.write(letter);
        self.0.carrier.post(notice.to.node, postage_of(notice), letter)
    }

    /// Pays what a node is owed, as far as the carrier takes it.
    fn pay(&self, node: NodeId) {
        while let Some((era, (postage, mut letter))) = self.peers().take_owed(node) {
            if let Err(NotSent::Full) = self.0.carrier.post(node, postage, &mut letter) {
                self.peers().put_back(node, era, (postage, letter));
                self.pay_later(node);
                return;
            }
        }
    }

    fn pay_later(&self, node: NodeId) {
        let actors = self.clone();
        let fire = Fire::Once(Box::new(move || actors.pay(node)));
        self.set_timer(self.next_ref(), TRY_AGAIN, fire);
    }

    /// Takes in a notice that another node has sent.
    pub(crate) fn deliver_notice(&self, sender: NodeId, notice: Notice) -> Result<(), LetterError> {
        if notice.from.node != sender {
            return Err(LetterError::Forged);
        }
        if notice.to.node != self.node() {
            return Err(LetterError::NotMine);
        }
        let (from, mut to) = (notice.from, notice.to);
        let signal = match notice.says {
            Says::MonitorName(monitor, name) => {
                let Some(pid) = self.whereis(&name) else {
                    self.undelivered(nobody_at(self.node()), Signal::Monitor { from, monitor });
                    return Err(LetterError::NoProc);
                };
                to = pid;
                let _ = self.signal(from, Signal::HasName { from: pid, monitor });
                Signal::Monitor { from, monitor }
            }
            Says::Down(monitor, exit) if to == self.pid_of(0) => {
                // Who waited may have gone.
                let _ = self.peers().awaited(sender, monitor).map(|tell| tell.send(exit));
                return Ok(());
            }
            _ => match notice.into_signal() {
                Some(signal) => signal,
                None => return Err(LetterError::Malformed),
            },
        };
        self.let_in(from, to, signal)
    }

    /// Puts a signal of another node into its process's gate.
    fn let_in(&self, from: Pid, to: Pid, signal: Signal) -> Result<(), LetterError> {
        let ties = matches!(signal, Signal::Link { .. } | Signal::Monitor { .. });
        let Some(process) = self.find(to) else {
            self.undelivered(to, signal);
            return Err(LetterError::NoProc);
        };
        if ties && !self.peers().tie_by_peer(from.node, to.serial, self.0.config.ties_per_node_max)
        {
            self.refuse_tie(to, &signal);
            return Err(LetterError::Ties);
        }
        if !self.peers().enter(from.node) {
            tracing::warn!(node = %from.node, "a node with too many signals under way is cut off");
            if ties {
                self.peers().untie(from.node, to.serial, 1);
            }
            self.0.carrier.sever(from.node);
            return Err(LetterError::Full);
        }
        let signal = Signal::Foreign { node: from.node, signal: Box::new(signal) };
        process.signal(Box::new(signal)).map_err(|signal| {
            self.undelivered(to, *signal);
            LetterError::NoProc
        })
    }

    fn refuse_tie(&self, to: Pid, signal: &Signal) {
        let exit = Exit::NoConnection;
        let _ = match signal {
            Signal::Link { from } => {
                self.signal(*from, Signal::Exit { from: to, exit, why: Why::Linked })
            }
            Signal::Monitor { from, monitor } => {
                let down = Down { monitor: *monitor, pid: to, exit };
                self.signal(*from, Signal::Down(Box::new(down)))
            }
            _ => Ok(()),
        };
    }

    /// How a process of another node ends.
    pub(crate) fn ended_abroad(&self, pid: Pid, tell: oneshot::Sender<Exit>) -> Awaiting {
        let (from, monitor) = (self.pid_of(0), self.next_ref());
        self.peers().await_end(pid.node, monitor, tell);
        if self.signal(pid, Signal::Monitor { from, monitor }).is_err()
            && let Some(tell) = self.peers().awaited(pid.node, monitor)
        {
            let _ = tell.send(Exit::NoConnection);
        }
        Awaiting { actors: self.clone(), pid, monitor }
    }

    /// Lets go of all nodes: this one closes.
    pub(crate) fn lose_all(&self) {
        for node in self.peers().nodes() {
            self.lost(node, Loss::Link);
        }
    }
}

/// A task waits for the end of a far process, until this is dropped.
pub(crate) struct Awaiting {
    actors: Actors,
    pid: Pid,
    monitor: Ref,
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        if self.actors.peers().awaited(self.pid.node, self.monitor).is_some() {
            let (from, monitor) = (self.actors.pid_of(0), self.monitor);
            let _ = self.actors.signal(self.pid, Signal::Demonitor { from, monitor });
        }
    }
}

impl Loss {
    /// What the processes of the node have ended by, as far as this one knows.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Link => Exit::NoConnection,
            Self::Node => Exit::NodeDown,
        }
    }
}

/// Notices are small and somebody waits for them; with the mail of the same pair they keep their order.
fn postage_of(notice: &Notice) -> Postage {
    Postage::between(Lane::High, notice.from.serial, notice.to)
}

/// Who is meant where only a node is known.
pub(crate) fn nobody_at(node: NodeId) -> Pid {
    Pid { node, boot: quorate_vocab::Boot(0), serial: 0 }
}
