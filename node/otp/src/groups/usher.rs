//! The process that makes the changes to groups, watches the members, and tells the subscribers.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_actor::{Addr, Exit, Origin, ReplyTo, SendError};
use quorate_vocab::{NodeId, Pid, Ref};

use super::peers::{Heard, MEMBERSHIPS_MAX, Said};
use super::{GroupNews, GroupsMessage, Membership, Shared, Subscription};
use crate::context::Input;
use crate::{Context, GroupsError, News};

pub(crate) enum Ask {
    Join(Arc<str>, Pid, ReplyTo<Result<(), GroupsError>>),
    Leave(Arc<str>, Pid, ReplyTo<Result<(), GroupsError>>),
    Subscribe {
        group: Option<Arc<str>>,
        pid: Pid,
        tell: Arc<Tell>,
        reply: ReplyTo<(Subscription, Vec<Pid>)>,
    },
    Unsubscribe(Subscription, ReplyTo<bool>),
    Met(NodeId),
    Lost(NodeId),
}

/// The local name under which ushers find each other.
const NAME: &str = "quorate.groups";

/// When a node that could not be told is told again.
const TELL_AGAIN: Duration = Duration::from_millis(500);

/// Makes news into a subscriber's message and sends it.
type Tell = dyn Fn(GroupNews) -> Result<(), SendError> + Send + Sync;

#[derive(Clone)]
pub(super) struct Subscriber {
    id: Subscription,
    /// Of which group; of all, if not said.
    group: Option<Arc<str>>,
    pid: Pid,
    tell: Arc<Tell>,
    /// News that its mailbox refused since the last one that it took.
    lost: Arc<AtomicU64>,
}

pub(super) struct Usher {
    shared: Arc<Shared>,
    cx: Context<GroupsMessage>,
    /// One monitor for each process that is a member or subscribes.
    watched: BTreeMap<Pid, Ref>,
    /// Set while nodes are behind.
    tells_again: Option<Ref>,
}

impl Usher {
    pub(super) async fn run(shared: Arc<Shared>, cx: Context<GroupsMessage>) -> Exit {
        let mut this = Self { shared, cx, watched: BTreeMap::new(), tells_again: None };
        this.take_over();
        this.cx.is_ready();
        loop {
            let incoming = this.cx.next().await;
            match this.cx.sort(incoming) {
                Input::Mail(GroupsMessage::Ask(ask)) => this.answer(ask),
                Input::Mail(GroupsMessage::Peer(from, said)) => this.hear(from.node(), said),
                Input::Parent(exit) => return exit,
                Input::News(News::Down(down)) => this.ended(down.pid),
                Input::News(News::Timeout(timeout)) if this.tells_again == Some(timeout) => {
                    this.tell_again();
                }
                Input::News(_) => {}
            }
        }
    }

    /// Watches again whom an usher before this one has watched.
    fn take_over(&mut self) {
        let me = self.cx.addr();
        let known: Vec<Pid> = self.shared.write(|table| {
            table.usher = Some(me);
            table.roll.pids().chain(table.subscribers.iter().map(|one| one.pid)).collect()
        });
        let here = self.cx.pid().node;
        known.iter().filter(|pid| pid.node == here).for_each(|pid| self.watch(*pid));
        // Who has the name already is found by the other nodes, and we are not.
        let _ = self.cx.actors().register(NAME, self.cx.pid());
        let peers = self.shared.read(|table| table.peers.nodes());
        let strangers: BTreeSet<NodeId> = known.iter().map(|pid| pid.node).collect();
        for node in strangers.into_iter().filter(|node| *node != here && !peers.contains(node)) {
            self.forget_members(node);
        }
        for node in peers {
            // Whatever lay in the mailbox of the usher before is lost.
            self.tell_all(node, true);
        }
    }

    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Join(group, pid, to) => to.send(self.join(&group, pid)),
            Ask::Leave(group, pid, to) => to.send(self.leave(&group, pid)),
            Ask::Subscribe { group, pid, tell, reply } => {
                let (id, members) = self.shared.write(|table| {
                    let id = Subscription(table.next_subscription);
                    table.next_subscription += 1;
                    let of = |group: &Arc<str>| table.roll.members(group).collect();
                    let members = group.as_ref().map(of).unwrap_or_default();
                    table.subscribers.push(Subscriber {
                        id,
                        group,
                        pid,
                        tell,
                        lost: Arc::default(),
                    });
                    (id, members)
                });
                self.watch(pid);
                reply.send((id, members));
            }
            Ask::Unsubscribe(subscription, to) => to.send(self.unsubscribe(subscription)),
            Ask::Met(node) => {
                let and_yours = self
                    .shared
                    .write(|table| table.peers.get(node).is_some_and(|peer| peer.is_unheard()));
                self.tell_all(node, and_yours);
            }
            Ask::Lost(node) => self.forget_members(node),
        }
    }

    fn join(&mut self, group: &Arc<str>, pid: Pid) -> Result<(), GroupsError> {
        if pid.node != self.cx.pid().node {
            return Err(GroupsError::Abroad(pid));
        }
        self.shared.write(|table| table.roll.join(group, pid));
        self.watch(pid);
        self.tell(group, Membership::Joined, &[pid]);
        self.tell_peers(group, Membership::Joined, &[pid]);
        Ok(())
    }

    fn leave(&mut self, group: &Arc<str>, pid: Pid) -> Result<(), GroupsError> {
        if !self.shared.write(|table| table.roll.leave(group, pid)) {
            return Err(GroupsError::NotJoined(pid));
        }
        self.unwatch_if_nobody(pid);
        self.tell(group, Membership::Left, &[pid]);
        self.tell_peers(group, Membership::Left, &[pid]);
        Ok(())
    }

    fn ended(&mut self, pid: Pid) {
        self.watched.remove(&pid);
        let here = pid.node == self.cx.pid().node;
        let left = self.shared.write(|table| {
            table.subscribers.retain(|one| one.pid != pid);
            // Of another node's members its own usher tells.
            if here { table.roll.remove(pid) } else { BTreeMap::new() }
        });
        for (group, times) in left {
            let pids = vec![pid; times as usize];
            self.tell(&group, Membership::Left, &pids);
            self.tell_peers(&group, Membership::Left, &pids);
        }
    }

    /// Another usher has said something of its node's processes; of others it knows nothing.
    fn hear(&mut self, from: NodeId, said: Said) {
        match said {
            Said::All { number, groups, and_yours } => {
                let known = self.shared.write(|table| {
                    table.peers.get(from).map(|peer| peer.heard_all(number)).is_some()
                });
                if !known {
                    return;
                }
                self.replace_members(from, groups);
                if and_yours {
                    self.tell_all(from, false);
                }
            }
            Said::Changed { number, group, now, pids } => {
                let heard = self
                    .shared
                    .write(|table| table.peers.get(from).map(|peer| peer.heard_change(number)));
                match heard {
                    Some(Heard::Next) => self.change(from, &group.into(), now, pids),
                    Some(Heard::Gap) => self.say(from, Said::Again),
                    Some(Heard::Waits) | None => {}
                }
            }
            Said::Again => self.tell_all(from, false),
        }
    }

    fn change(&mut self, from: NodeId, group: &Arc<str>, now: Membership, mut pids: Vec<Pid>) {
        pids.retain(|pid| pid.node == from);
        self.shared.write(|table| {
            let Some(peer) = table.peers.get(from) else { return pids.clear() };
            match now {
                Membership::Joined => {
                    pids.truncate(MEMBERSHIPS_MAX.saturating_sub(peer.memberships));
                    peer.memberships += pids.len();
                    pids.iter().for_each(|pid| table.roll.join(group, *pid));
                }
                Membership::Left => {
                    pids.retain(|pid| table.roll.leave(group, *pid));
                    peer.memberships -= pids.len();
                }
            }
        });
        if !pids.is_empty() {
            self.tell(group, now, &pids);
        }
    }

    /// A node's members are these and no others. Who stays is not told of.
    fn replace_members(&mut self, node: NodeId, groups: Vec<(String, Vec<Pid>)>) {
        let mut before = self.shared.read(|table| table.roll.of_node(node));
        let mut joined = Vec::new();
        for (group, mut pids) in groups {
            let group: Arc<str> = group.into();
            if let Some(known) = before.get_mut(&group) {
                pids.retain(|pid| match known.iter().position(|one| one == pid) {
                    Some(at) => {
                        known.swap_remove(at);
                        false
                    }
                    None => true,
                });
            }
            joined.push((group, pids));
        }
        for (group, pids) in before {
            self.change(node, &group, Membership::Left, pids);
        }
        for (group, pids) in joined {
            self.change(node, &group, Membership::Joined, pids);
        }
    }

    /// The link to a node is gone, and so are its processes, as far as this one knows.
    fn forget_members(&mut self, node: NodeId) {
        let gone = self.shared.write(|table| {
            let gone = table.roll.of_node(node);
            let pids: BTreeSet<Pid> = gone.values().flatten().copied().collect();
            pids.into_iter().for_each(|pid| drop(table.roll.remove(pid)));
            if let Some(peer) = table.peers.get(node) {
                peer.memberships = 0;
            }
            gone
        });
        for (group, pids) in gone {
            self.tell(&group, Membership::Left, &pids);
        }
    }

    /// Tells a node's usher who of this node is in which group.
    fn tell_all(&mut self, node: NodeId, and_yours: bool) {
        let here = self.cx.pid().node;
        let said = self.shared.write(|table| {
            let number = table.peers.get(node)?.next();
            let lists = table.roll.of_node(here).into_iter();
            let groups = lists.map(|(group, pids)| (group.to_string(), pids)).collect();
            Some(Said::All { number, groups, and_yours })
        });
        if let Some(said) = said {
            self.say(node, said);
        }
    }

    /// Tells the ushers of all nodes of a change here.
    fn tell_peers(&mut self, group: &Arc<str>, now: Membership, pids: &[Pid]) {
        for node in self.shared.read(|table| table.peers.nodes()) {
            let Some(number) = self.shared.write(|table| Some(table.peers.get(node)?.next()))
            else {
                continue;
            };
            let (group, pids) = (group.to_string(), pids.to_vec());
            self.say(node, Said::Changed { number, group, now, pids });
        }
    }

    fn say(&mut self, node: NodeId, said: Said) {
        let usher: Addr<GroupsMessage> = self.cx.actors().named(node, NAME);
        let said = GroupsMessage::Peer(Origin::of(self.cx.actors()), said);
        if usher.send(said).is_ok() {
            return;
        }
        self.shared.write(|table| {
            if let Some(peer) = table.peers.get(node) {
                peer.is_behind = true;
            }
        });
        if self.tells_again.is_none() {
            self.tells_again = Some(self.cx.timeout_after(TELL_AGAIN).0);
        }
    }

    fn tell_again(&mut self) {
        self.tells_again = None;
        let behind = self.shared.write(|table| {
            let behind = table.peers.behind();
            for node in &behind {
                if let Some(peer) = table.peers.get(*node) {
                    peer.is_behind = false;
                }
            }
            behind
        });
        for node in behind {
            // What it was not told may have been a question.
            self.tell_all(node, true);
        }
    }

    fn watch(&mut self, pid: Pid) {
        self.watched.entry(pid).or_insert_with(|| self.cx.monitor(pid));
    }

    fn unwatch_if_nobody(&mut self, pid: Pid) {
        let somebody = self.shared.read(|table| {
            table.roll.has(pid) || table.subscribers.iter().any(|one| one.pid == pid)
        });
        if !somebody && let Some(monitor) = self.watched.remove(&pid) {
            self.cx.demonitor(monitor);
        }
    }

    /// Tells all who subscribe. Their own code runs here, so it runs without the table, and what panics is
    /// told nothing more.
    fn tell(&mut self, group: &Arc<str>, now: Membership, pids: &[Pid]) {
        let hears = |one: &&Subscriber| one.group.as_ref().is_none_or(|of| of == group);
        let told: Vec<Subscriber> =
            self.shared.read(|table| table.subscribers.iter().filter(hears).cloned().collect());
        for one in told {
            let lost = one.lost.load(Ordering::Relaxed);
            let news = GroupNews { group: group.clone(), now, pids: pids.to_vec(), lost };
            match catch_unwind(AssertUnwindSafe(|| (one.tell)(news))) {
                Ok(Ok(())) => one.lost.store(0, Ordering::Relaxed),
                // If it has ended, its monitor is about to say so.
                Ok(Err(_)) => one.lost.store(lost + 1, Ordering::Relaxed),
                Err(_) => {
                    tracing::error!(subscriber = %one.pid, %group, "news of a group panicked");
                    self.unsubscribe(one.id);
                }
            }
        }
    }

    fn unsubscribe(&mut self, subscription: Subscription) -> bool {
        let gone = self.shared.write(|table| {
            let at = table.subscribers.iter().position(|one| one.id == subscription)?;
            Some(table.subscribers.remove(at).pid)
        });
        gone.inspect(|&pid| self.unwatch_if_nobody(pid)).is_some()
    }
}
