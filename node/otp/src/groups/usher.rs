//! The process that makes the changes to groups, watches the members, and tells the subscribers.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorate_actor::{Exit, ReplyTo, SendError};
use quorate_vocab::{Pid, Ref};

use super::{GroupNews, GroupsMessage, Membership, Shared, Subscription};
use crate::context::Input;
use crate::{Context, GroupsError, News};

pub(super) enum Ask {
    Join(Arc<str>, Pid, ReplyTo<Result<(), GroupsError>>),
    Leave(Arc<str>, Pid, ReplyTo<Result<(), GroupsError>>),
    Subscribe {
        group: Option<Arc<str>>,
        pid: Pid,
        tell: Arc<Tell>,
        reply: ReplyTo<(Subscription, Vec<Pid>)>,
    },
    Unsubscribe(Subscription, ReplyTo<bool>),
}

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
}

impl Usher {
    pub(super) async fn run(shared: Arc<Shared>, cx: Context<GroupsMessage>) -> Exit {
        let mut this = Self { shared, cx, watched: BTreeMap::new() };
        this.take_over();
        this.cx.is_ready();
        loop {
            let incoming = this.cx.next().await;
            match this.cx.sort(incoming) {
                Input::Mail(GroupsMessage(ask)) => this.answer(ask),
                Input::Parent(exit) => return exit,
                Input::News(News::Down(down)) => this.ended(down.pid),
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
        known.into_iter().for_each(|pid| self.watch(pid));
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
        }
    }

    fn join(&mut self, group: &Arc<str>, pid: Pid) -> Result<(), GroupsError> {
        if pid.node != self.cx.pid().node {
            return Err(GroupsError::Abroad(pid));
        }
        self.shared.write(|table| table.roll.join(group, pid));
        self.watch(pid);
        self.tell(group, Membership::Joined, &[pid]);
        Ok(())
    }

    fn leave(&mut self, group: &Arc<str>, pid: Pid) -> Result<(), GroupsError> {
        if !self.shared.write(|table| table.roll.leave(group, pid)) {
            return Err(GroupsError::NotJoined(pid));
        }
        self.unwatch_if_nobody(pid);
        self.tell(group, Membership::Left, &[pid]);
        Ok(())
    }

    fn ended(&mut self, pid: Pid) {
        self.watched.remove(&pid);
        let left = self.shared.write(|table| {
            table.subscribers.retain(|one| one.pid != pid);
            table.roll.remove(pid)
        });
        for (group, times) in left {
            self.tell(&group, Membership::Left, &vec![pid; times as usize]);
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
