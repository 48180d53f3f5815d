//! A stage: a world whose trouble a story tells, act by act, instead of the nemesis.
//!
//! What a story waits for it waits for in the world's time, so it may say how long something takes at most.
//! Around it everything is as ever: clients ask, the witness looks, and in the end the checkers judge.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate::{Claiming, Error, Held, Node, NodeName};
use quorate_vocab::{Name, NodeId};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::outcome_of;
use super::{PATIENCE, World, fate, name};
use crate::clock;
use crate::history::{Answer, Ask, Mark};
use quorate_drill::nemesis::Loss;

/// How often it is looked whether something has come to pass.
const LOOK: Duration = Duration::from_millis(10);

/// What came of a claim, and how long that took.
pub type Ended = (Result<(), Error>, Duration);

/// A claim that is under way.
pub type Claimed = JoinHandle<Ended>;

/// Where a story is told. Nodes are called by their places, from 0 on.
pub struct Stage {
    world: Arc<World>,
}

impl Stage {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world }
    }

    /// Waits until every node has a session and as many vote as shall.
    pub async fn settled(&self) {
        let count = self.world.seats.len();
        let settled = async || {
            let mut quorate = 0;
            for nth in 0..count {
                let status = self.on(nth, async |node| node.status()).await;
                quorate += usize::from(status.is_some_and(|status| status.quorate));
            }
            let leader = self.leader().await;
            quorate == count && self.voters(leader).await.len() == self.world.settings.voters
        };
        self.until("all take part, and enough vote", 10 * PATIENCE, settled).await;
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        clock::now()
    }

    /// Lets time pass.
    pub async fn pause(&self, span: Duration) {
        clock::pause(span).await;
    }

    /// Waits until something is so.
    ///
    /// # Panics
    /// If it is not so within this time.
    pub async fn until(&self, what: &str, within: Duration, is_so: impl AsyncFn() -> bool) {
        let until = clock::now() + within;
        while !is_so().await {
            assert!(clock::now() < until, "not within {within:?}: {what}");
            clock::pause(LOOK).await;
        }
    }

    /// What people call a node.
    pub fn name_of(&self, nth: usize) -> NodeName {
        self.world.seats[nth].name()
    }

    /// Does something as part of a node's life; `None` when the node is down, or has no answer for long.
    pub async fn on<T>(&self, nth: usize, act: impl AsyncFnOnce(&Node) -> T) -> Option<T> {
        let alive = self.world.alive(nth)?;
        alive.ask(10 * PATIENCE, act(&alive.node)).await
    }

    /// Who leads, once somebody does.
    pub async fn leader(&self) -> usize {
        loop {
            if let Some(leader) = fate::view(&self.world).await.leader {
                return leader;
            }
            clock::pause(LOOK).await;
        }
    }

    /// Who votes, by one node; whoever of them has no place here any more is left out.
    pub async fn voters(&self, by: usize) -> BTreeSet<usize> {
        let voters = self.on(by, async |node| node.status().group.voters).await.unwrap_or_default();
        let place = |voter: NodeId| self.world.seats.iter().position(|seat| seat.id() == voter);
        voters.into_iter().filter_map(place).collect()
    }

    /// Claims a name for good through a node, and says how long it took until that was decided; `None` if
    /// nobody decided it.
    pub async fn claim(&self, through: usize, wanted: &str) -> Option<Duration> {
        match claim(self.world.clone(), through, name(wanted), wanted.into()).await {
            // Taken by a claim before, whose answer was lost.
            (Ok(()) | Err(Error::Refused(_)), took) => Some(took),
            _ => None,
        }
    }

    /// Begins to claim a name for good through a node. What comes of it, and how long that took, is for
    /// whoever waits.
    pub fn claim_later(&self, through: usize, wanted: &str, value: &[u8]) -> Claimed {
        quorate_env::spawn(claim(self.world.clone(), through, name(wanted), value.into()))
    }

    /// Whether a name is held, linearizably.
    pub async fn is_held(&self, through: usize, wanted: &str) -> Option<bool> {
        let wanted: Name = name(wanted);
        let found = self.on(through, async |node| node.names().find(&wanted).await).await?;
        Some(found.ok()?.registration.is_some())
    }

    /// A node's process dies.
    pub fn kill(&self, nth: usize) {
        self.world.stop(nth, Loss::Process);
    }

    /// A node that is down starts.
    pub fn start(&self, nth: usize) {
        self.world.start(nth);
    }

    /// Nobody hears a node, and it hears nobody.
    pub fn cut_off(&self, nth: usize) {
        let host = &self.world.seats[nth].host;
        for other in self.world.seats.iter().filter(|seat| seat.host != *host) {
            self.world.net.cut(host, &other.host);
            self.world.net.cut(&other.host, host);
        }
        self.world.look_at_cables();
    }

    /// Everybody hears everybody.
    pub fn heal_cables(&self) {
        self.world.net.heal_all();
        self.world.look_at_cables();
    }

    /// A node's disk takes up to so long for a sync.
    pub fn slow_disk(&self, nth: usize, takes: Duration) {
        self.world.seats[nth].slow_disk(takes);
    }

    /// A node's disk has room for so many bytes more, or for all that there are.
    pub fn fill_disk(&self, nth: usize, room: Option<u64>) {
        self.world.seats[nth].disk.set_room(room);
    }

    /// No sync of a node's disk ends for so long.
    pub fn hang_disk(&self, nth: usize, span: Duration) {
        self.world.seats[nth].disk.stall(span);
    }
}

async fn claim(world: Arc<World>, through: usize, wanted: Name, value: Vec<u8>) -> Ended {
    let begun = clock::now();
    let Some(alive) = world.alive(through) else {
        return (Err(Error::Unknown), Duration::ZERO);
    };
    let ask = Ask::Register { value: Mark::of(&value), session: None, replace: None };
    let ticket = world.history.invoke("story", &alive.host, &wanted, ask);
    let names = alive.node.names();
    let claiming = Claiming { value, ..Claiming::default() };
    let held = alive.ask(10 * PATIENCE, names.claim(&wanted, claiming)).await;
    let read = |held: Held| Answer::Registered { epoch: held.epoch };
    world.history.end(ticket, outcome_of(held.clone().map(|held| held.map(read))));
    let ended = held.unwrap_or(Err(Error::Unknown)).map(drop);
    (ended, clock::now().duration_since(begun))
}
