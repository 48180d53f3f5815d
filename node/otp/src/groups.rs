//! Process groups: names that stand for any number of processes, as Erlang's `pg`.
//!
//! A process joins and leaves, several times if it likes, and leaves for good when it ends. Who is a member
//! is read from a table that all handles share, without asking anybody; only changes go through one process,
//! the usher, so all who subscribe hear of them in one order.
//!
//! The table outlives the usher: restarted by a supervisor, it watches again whoever is in it, and those that
//! ended meanwhile leave. So a crash of the usher loses no membership and no subscription.
//!
//! A group is of processes of all nodes. A process joins at its own node, and the ushers tell each other: all
//! there is when their nodes [meet](Groups::met), and then each change. The members of a node that is
//! [lost](Groups::lost) leave. So where a link stands, both sides soon know the same of each other; where
//! none does, each side knows its own.
//!
//! Not here: which nodes there are, and when they meet.

mod peers;
mod roll;
mod usher;

use std::sync::{Arc, RwLock};
use std::time::Duration;

use quorate_actor::{Actors, Addr, Capacity, Mailbox, Message, ReplyTo, Spawn};
use quorate_actor::{Origin, Wire};
use quorate_vocab::{NodeId, Pid};
use serde::{Deserialize, Serialize};

use crate::child::Child;
use crate::{GroupsError, Start, StartError, start};
use peers::{Peers, Said};
use roll::Roll;
use usher::{Ask, Subscriber, Usher};

/// The groups of one node. Cheap to clone; all clones are the same groups.
#[derive(Clone, Default)]
pub struct Groups(Arc<Shared>);

/// What the usher writes and all read.
#[derive(Default)]
struct Shared {
    table: RwLock<Table>,
}

#[derive(Default)]
struct Table {
    roll: Roll,
    subscribers: Vec<Subscriber>,
    next_subscription: u64,
    peers: Peers,
    /// The process that makes changes now.
    usher: Option<Addr<GroupsMessage>>,
}

/// What the usher receives.
#[derive(Serialize, Deserialize)]
pub(crate) enum GroupsMessage {
    /// From another node's usher.
    Peer(Origin, Said),
    /// From this node. It never travels, and stands last, so that the places of those that do stay theirs.
    #[serde(skip)]
    Ask(Ask),
}

impl Message for GroupsMessage {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("quorate.groups", 1));
}

/// Who has joined or left a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupNews {
    /// Which group.
    pub group: Arc<str>,
    /// What they are now.
    pub now: Membership,
    /// Who, each as often as it has joined or left.
    pub pids: Vec<Pid>,
    /// How many news of this subscription were lost before this one, because the subscriber's mailbox was
    /// full. If there are any, read the members again.
    pub lost: u64,
}

/// What became of memberships.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Membership {
    /// They are members from now on.
    Joined,
    /// They have left, or ended.
    Left,
}

/// A subscription, for as long as its process lives and [`Groups::unsubscribe`] is not called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subscription(u64);

impl Groups {
    /// Changes are made at once; an usher that hangs this long is as good as dead.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Groups without members, and without an usher as yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the usher under nobody.
    pub async fn start(&self, actors: &Actors) -> Result<Pid, StartError> {
        let shared = self.0.clone();
        let body = move |cx| Usher::run(shared, cx);
        Ok(start::start(actors, Self::how(), body).await?.pid())
    }

    /// Starts the usher linked to the process that has this mailbox.
    pub async fn start_link<M: Message>(&self, parent: &mut Mailbox<M>) -> Result<Pid, StartError> {
        let shared = self.0.clone();
        let body = move |cx| Usher::run(shared, cx);
        Ok(start::start_link(parent, Self::how(), body).await?.pid())
    }

    /// The usher as a supervisor's child.
    pub fn child(&self, id: impl Into<Arc<str>>) -> Child {
        let groups = self.clone();
        Child::new(id, move |mut starter| {
            let groups = groups.clone();
            Box::pin(async move {
                groups.start_link(starter.parent()).await.map_err(StartError::into_exit)
            })
        })
    }

    /// Makes a process of this node a member once more. One that has ended leaves at once.
    pub async fn join(&self, group: impl Into<Arc<str>>, pid: Pid) -> Result<(), GroupsError> {
        let group = group.into();
        self.ask(|to| Ask::Join(group, pid, to)).await?
    }

    /// Takes one membership of a process back.
    pub async fn leave(&self, group: impl Into<Arc<str>>, pid: Pid) -> Result<(), GroupsError> {
        let group = group.into();
        self.ask(|to| Ask::Leave(group, pid, to)).await?
    }

    /// A group's members in the order of their pids, each as often as it has joined.
    pub fn members(&self, group: &str) -> Vec<Pid> {
        self.0.read(|table| table.roll.members(group).collect())
    }

    /// Those members that live on `node`.
    pub fn members_on(&self, node: NodeId, group: &str) -> Vec<Pid> {
        let here = |pid: &Pid| pid.node == node;
        self.0.read(|table| table.roll.members(group).filter(here).collect())
    }

    /// The groups that have members.
    pub fn which_groups(&self) -> Vec<Arc<str>> {
        self.0.read(|table| table.roll.groups().cloned().collect())
    }

    /// This node has a link to another one: their ushers tell each other who is in which group.
    pub fn met(&self, node: NodeId) {
        self.0.write(|table| table.peers.met(node));
        self.order(Ask::Met(node));
    }

    /// The link to a node broke, or the node is down: its processes leave all groups.
    pub fn lost(&self, node: NodeId) {
        self.0.write(|table| table.peers.lost(node));
        self.order(Ask::Lost(node));
    }

    /// Tells the usher; one that is only started again finds it in the table.
    fn order(&self, ask: Ask) {
        if let Some(usher) = self.0.read(|table| table.usher.clone()) {
            let _ = usher.send(GroupsMessage::Ask(ask));
        }
    }

    /// Sends a process the news of one group, made into its kind of message. Returns the members as they are
    /// before the first news.
    pub async fn subscribe<M: Message>(
        &self,
        group: impl Into<Arc<str>>,
        to: Addr<M>,
        make: impl Fn(GroupNews) -> M + Send + Sync + 'static,
    ) -> Result<(Subscription, Vec<Pid>), GroupsError> {
        self.add_subscriber(Some(group.into()), to, make).await
    }

    /// Sends a process the news of all groups, from now on.
    pub async fn subscribe_all<M: Message>(
        &self,
        to: Addr<M>,
        make: impl Fn(GroupNews) -> M + Send + Sync + 'static,
    ) -> Result<Subscription, GroupsError> {
        self.add_subscriber(None, to, make).await.map(|(subscription, _)| subscription)
    }

    /// Ends a subscription. What was sent before may still lie in the mailbox. `false` if it had ended.
    pub async fn unsubscribe(&self, subscription: Subscription) -> Result<bool, GroupsError> {
        self.ask(|to| Ask::Unsubscribe(subscription, to)).await
    }

    async fn add_subscriber<M: Message>(
        &self,
        group: Option<Arc<str>>,
        to: Addr<M>,
        make: impl Fn(GroupNews) -> M + Send + Sync + 'static,
    ) -> Result<(Subscription, Vec<Pid>), GroupsError> {
        let pid = to.pid();
        let tell = Arc::new(move |news| to.send(make(news)));
        self.ask(|reply| Ask::Subscribe { group, pid, tell, reply }).await
    }

    async fn ask<R: Send + 'static>(
        &self,
        make: impl FnOnce(ReplyTo<R>) -> Ask,
    ) -> Result<R, GroupsError> {
        let usher = self.0.read(|table| table.usher.clone()).ok_or(GroupsError::NotStarted)?;
        Ok(usher.call(Self::PATIENCE, |to| GroupsMessage::Ask(make(to))).await?)
    }

    /// Who asks here waits for the answer, so it is the other nodes that the bound is for. What they lose by
    /// it they are asked for again.
    fn how() -> Start {
        let spawn = Spawn::labelled("groups").mailbox(Capacity::Reject(1 << 20));
        Start { spawn, ..Start::default() }
    }
}

impl Shared {
    fn read<R>(&self, read: impl FnOnce(&Table) -> R) -> R {
        read(&self.table.read().expect("nothing panics while it holds the table"))
    }

    fn write<R>(&self, write: impl FnOnce(&mut Table) -> R) -> R {
        write(&mut self.table.write().expect("nothing panics while it holds the table"))
    }
}
