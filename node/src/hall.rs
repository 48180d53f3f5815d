//! The hall: how a proposal or a read finds whoever leads, from wherever it begins.
//!
//! Nothing here waits longer than its caller's bound. What a lost answer means is decided in one place: a
//! command that carries a mark is sent again under the same mark until the bound runs out, since it is
//! applied once; one that carries none ends as unknown at the first doubt.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use quorate_actor::{Actors, Carrier, NotSent, Postage};
use quorate_consensus::{Group, PeerError, Peers, ProposeError, ReadError, Rounds};
use quorate_env::BoxFuture;
use quorate_mesh::{CallError, Mesh, SendError};
use quorate_registry::{Command, Once, Refusal, Verdict};
use quorate_vocab::{Index, Lane, NodeId, NodeName};
use tokio::sync::watch;

use crate::abroad::Company;
use crate::available::desk::Desk;
use crate::config::Config;
use crate::courier::Courier;
use crate::error::{Error, NotDone};
use crate::ground::Identity;
use crate::health::Health;
use crate::keeper::Keeper;
use crate::links::Rulebook;
use crate::memory::Recollection;
use crate::post::{self, Ask, Newcomer, Renewal, Told};
use crate::sentinel::Sentinel;
use crate::sessions::Renewed;
use crate::singletons::troupe::Troupe;
use crate::steward::Steward;
use crate::tenancy::Tenancy;
use crate::views::Views;

/// How long to wait before a leader is looked for again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Raft's requests keep their order, but those that are long have a flow of their own.
const RAFT_FLOW: u64 = u64::MAX;
const RAFT_LONG_FLOW: u64 = RAFT_FLOW - 1;
const FEED_FLOW: u64 = RAFT_LONG_FLOW - 1;

/// From this length on a request is long.
const LONG_BYTES: usize = 64 * 1024;

pub(crate) struct Hall {
    config: Config,
    identity: Arc<dyn Identity>,
    wires: Arc<Wires>,
    group: Group,
    actors: Actors,
    tenancy: Tenancy,
    steward: Steward,
    troupe: Troupe,
    sentinel: Option<Arc<dyn Sentinel>>,
    keeper: Keeper,
    recollection: Recollection,
    /// The number of the next request's flow.
    next_flow: AtomicU64,
    /// What this node's reads ask the leader, one round for all that wait.
    reads: Rounds<Result<Index, Miss>>,
    /// Who carries this node's proposals to another that leads, many at once.
    courier: Courier,
    rulebook: Rulebook,
    health: Health,
    company: Company,
    views: Views,
    available: Desk,
    closing: watch::Sender<bool>,
}

/// The rooms' way out, before the mesh stands.
#[derive(Default)]
pub(crate) struct Wires(OnceLock<Mesh>);

/// Why one attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    NotDone(NotDone),
    Unknown,
}

/// What may have happened before an attempt was answered.
#[derive(Clone, Copy)]
enum Doubt {
    /// Nothing: every attempt before it certainly came to nothing.
    None,
    /// An attempt before it was not answered, and may have been applied.
    AnEarlierCopy,
}

impl Hall {
    pub(crate) fn new(
        config: Config,
        identity: Arc<dyn Identity>,
        wires: Arc<Wires>,
        group: Group,
        actors: Actors,
        sentinel: Option<Arc<dyn Sentinel>>,
    ) -> Self {
        let tenancy = Tenancy::new(config.lease, config.stop_budget());
        let available = Desk::new(identity.node(), identity.boot());
        Self {
            config,
            identity,
            wires,
            group,
            actors,
            tenancy,
            steward: Steward::default(),
            troupe: Troupe::default(),
            sentinel,
            keeper: Keeper::new(),
            recollection: Recollection::default(),
            next_flow: AtomicU64::new(0),
            reads: Rounds::default(),
            courier: Courier::default(),
            rulebook: Rulebook::default(),
            health: Health::default(),
            company: Company::default(),
            views: Views::default(),
            available,
            closing: watch::Sender::new(false),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn identity(&self) -> &dyn Identity {
        &*self.identity
    }

    pub(crate) fn id(&self) -> NodeId {
        self.identity.node()
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    pub(crate) fn actors(&self) -> &Actors {
        &self.actors
    }

    pub(crate) fn mesh(&self) -> &Mesh {
        self.wires.0.get().expect("the mesh stands before anything runs that asks for it")
    }

    pub(crate) fn tenancy(&self) -> &Tenancy {
        &self.tenancy
    }

    pub(crate) fn steward(&self) -> &Steward {
        &self.steward
    }

    /// Who ends this node's process, if somebody does.
    pub(crate) fn sentinel(&self) -> Option<&dyn Sentinel> {
        self.sentinel.as_deref()
    }

    /// What this node offers to run, and runs.
    pub(crate) fn troupe(&self) -> &Troupe {
        &self.troupe
    }

    pub(crate) fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    pub(crate) fn recollection(&self) -> &Recollection {
        &self.recollection
    }

    pub(crate) fn courier(&self) -> &Courier {
        &self.courier
    }

    pub(crate) fn rulebook(&self) -> &Rulebook {
        &self.rulebook
    }

    pub(crate) fn health(&self) -> &Health {
        &self.health
    }

    pub(crate) fn company(&self) -> &Company {
        &self.company
    }

    pub(crate) fn views(&self) -> &Views {
        &self.views
    }

    pub(crate) fn available(&self) -> &Desk {
        &self.available
    }

    /// Which node that takes part is called so.
    pub(crate) fn node_named(&self, name: &NodeName) -> Option<NodeId> {
        self.group
            .read(|machine, _| machine.nodes().find(|node| node.name == *name).map(|node| node.id))
    }

    pub(crate) fn newcomer(&self) -> Newcomer {
        let mut labels = self.config.labels.clone();
        self.config.level.announce(&mut labels);
        let (name, address) = (self.config.name.clone(), self.mesh().address().to_owned());
        Newcomer { id: self.id(), name, address, labels }
    }

    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
    }

    /// Runs something until the node closes.
    pub(crate) fn run<F>(&self, work: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut closing = self.closing.subscribe();
        quorate_env::spawn(async move {
            tokio::select! {
                biased;
                // An error means that the hall is gone, and then there is nothing to run for.
                _ = closing.wait_for(|closing| *closing) => {}
                () = work => {}
            }
        });
    }

    /// Proposes a command to whoever leads.
    pub(crate) async fn propose(
        self: &Arc<Self>,
        command: Command,
        within: Duration,
    ) -> Result<(Index, Verdict), Error> {
        let repeatable = command.once != Once::Free;
        let attempts = self.pursue(within, repeatable, || self.try_propose(&command));
        match attempts.await? {
            // The marks of a session are forgotten with it, so this may be said of a copy whose first one was
            // applied while the session lived.
            (
                (_, Verdict::Refused(Refusal::NoSession(_) | Refusal::Forgotten)),
                Doubt::AnEarlierCopy,
            ) => Err(Error::Unknown),
            (decided, _) => Ok(decided),
        }
    }

    /// Returns when a majority has confirmed a leader since the call, and everything that was acknowledged
    /// before the call is applied here.
    pub(crate) async fn confirm(self: &Arc<Self>, within: Duration) -> Result<Index, Error> {
        let round = || async {
            let hall = self.clone();
            let work = move || {
                let hall = hall.clone();
                async move { hall.try_confirm().await }
            };
            let round = self.reads.join(work).await;
            let index = round.unwrap_or(Err(Miss::NotDone(NotDone::Closing)))?;
            // Everybody waits for this by itself: a node that does not apply must not hold up the round.
            self.group.reached(index).await;
            Ok(index)
        };
        self.pursue(within, true, round).await.map(|(index, _)| index).map_err(
            |error| match error {
                // A read has changed nothing, whatever became of it.
                Error::Unknown => Error::NotDone(NotDone::NoQuorum),
                error => error,
            },
        )
    }

    /// Renews a session at whoever leads.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        renewal: Renewal,
        within: Duration,
    ) -> Result<Renewed, Error> {
        self.pursue(within, true, || self.try_renew(renewal))
            .await
            .map(|(renewed, _)| renewed)
            .map_err(|error| match error {
                Error::Unknown => Error::NotDone(NotDone::NoQuorum),
                error => error,
            })
    }

    /// Asks another node.
    pub(crate) async fn ask(
        &self,
        to: NodeId,
        ask: &Ask,
        within: Duration,
    ) -> Result<Told, CallError> {
        // A flow of its own: to answer one of them may take long, and no order is promised between them.
        let flow = self.next_flow.fetch_add(1, Ordering::Relaxed);
        let lane = match ask {
            Ask::Confirm | Ask::Renew(_) | Ask::Hear(_) => Lane::High,
            Ask::Remember { .. } | Ask::Recall { .. } => Lane::High,
            _ => Lane::Normal,
        };
        let answer = self.mesh().call(to, lane, flow, post::wrap_ask(ask), within).await?;
        post::unwrap_told(&answer).ok_or(CallError::Unknown)
    }

    /// Tries until it is decided, or the time is up. Tells whether what was decided may have been a copy.
    async fn pursue<T, F>(
        &self,
        within: Duration,
        repeatable: bool,
        mut attempt: impl FnMut() -> F,
    ) -> Result<(T, Doubt), Error>
    where
        F: Future<Output = Result<T, Miss>>,
    {
        let until = quorate_env::now() + within;
        let mut doubt = Doubt::None;
        loop {
            let left = until.since(quorate_env::now());
            let why = match quorate_env::timeout(left, attempt()).await {
                Ok(Ok(answer)) => return Ok((answer, doubt)),
                // Trying again by itself would only add to what is too much already.
                Ok(Err(Miss::NotDone(NotDone::Overloaded))) => {
                    return Err(match doubt {
                        Doubt::None => Error::NotDone(NotDone::Overloaded),
                        Doubt::AnEarlierCopy => Error::Unknown,
                    });
                }
                Ok(Err(Miss::NotDone(why))) => why,
                Ok(Err(Miss::Unknown)) if repeatable => {
                    doubt = Doubt::AnEarlierCopy;
                    NotDone::NoLeader
                }
                Ok(Err(Miss::Unknown)) | Err(_) => return Err(Error::Unknown),
            };
            if until.since(quorate_env::now()) <= LOOK_AGAIN {
                return Err(match doubt {
                    Doubt::None => Error::NotDone(why),
                    Doubt::AnEarlierCopy => Error::Unknown,
                });
            }
            quorate_env::sleep(LOOK_AGAIN).await;
        }
    }

    /// Who leads, if that is another node.
    pub(crate) fn other_leader(&self) -> Option<NodeId> {
        self.group.leader().filter(|leader| *leader != self.id())
    }

    async fn try_propose(self: &Arc<Self>, command: &Command) -> Result<(Index, Verdict), Miss> {
        #[cfg(feature = "mutants")]
        let command = &self.config.bug.map_or(command.clone(), |bug| bug.send(command.clone()));
        match self.other_leader() {
            None => self.group.propose(command.clone()).await.map_err(|error| missed(&error)),
            Some(_) => self.courier.bring(self, command.clone()).await,
        }
    }

    async fn try_confirm(&self) -> Result<Index, Miss> {
        let Some(leader) = self.other_leader() else {
            return self.group.confirm().await.map_err(|error| missed_read(&error));
        };
        match self.ask_leader(leader, &Ask::Confirm).await? {
            Told::Confirmed(index) => Ok(index),
            Told::NoQuorum => Err(Miss::NotDone(NotDone::NoQuorum)),
            _ => Err(Miss::NotDone(NotDone::NoLeader)),
        }
    }

    async fn try_renew(self: &Arc<Self>, renewal: Renewal) -> Result<Renewed, Miss> {
        let told = match self.other_leader() {
            Some(leader) => self.ask_leader(leader, &Ask::Renew(renewal)).await?,
            None => self.keeper.renew(self, renewal).await,
        };
        match told {
            Told::Renewed { ttl_ms } => Ok(Renewed::For(Duration::from_millis(ttl_ms))),
            Told::SessionEnded => Ok(Renewed::Ended),
            Told::NoQuorum => Err(Miss::NotDone(NotDone::NoQuorum)),
            _ => Err(Miss::NotDone(NotDone::NoLeader)),
        }
    }

    /// One attempt waits no longer for a leader than a lease: a leader that is silent for longer is one no
    /// more, and the next attempt looks for its successor.
    pub(crate) async fn ask_leader(&self, leader: NodeId, ask: &Ask) -> Result<Told, Miss> {
        let within = match ask {
            // A leader that cannot be reached must not cost this node its lease.
            Ask::Renew(_) => self.config.renew_every(),
            _ => self.config.lease / 2,
        };
        match self.ask(leader, ask, within).await {
            Ok(told) => Ok(told),
            Err(CallError::NotSent(_) | CallError::Busy) => Err(Miss::NotDone(NotDone::NoLeader)),
            Err(_) => Err(Miss::Unknown),
        }
    }
}

pub(crate) fn missed(error: &ProposeError) -> Miss {
    match error {
        ProposeError::NotDone { .. } => Miss::NotDone(NotDone::NoLeader),
        ProposeError::Overloaded => Miss::NotDone(NotDone::Overloaded),
        ProposeError::Disk => Miss::NotDone(NotDone::Disk),
        _ => Miss::Unknown,
    }
}

fn missed_read(error: &ReadError) -> Miss {
    Miss::NotDone(match error {
        ReadError::NoQuorum => NotDone::NoQuorum,
        _ => NotDone::NoLeader,
    })
}

impl Wires {
    pub(crate) fn connect(&self, mesh: Mesh) {
        assert!(self.0.set(mesh).is_ok(), "a hall has one mesh");
    }

    fn ask_raft(
        &self,
        to: NodeId,
        (lane, flow): (Lane, u64),
        body: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let Some(mesh) = self.0.get().cloned() else {
            return Box::pin(std::future::ready(Err(PeerError::NoLink)));
        };
        Box::pin(async move {
            mesh.call(to, lane, flow, body, within).await.map_err(|error| match error {
                CallError::NotSent(_) | CallError::Busy => PeerError::NoLink,
                _ => PeerError::NoAnswer,
            })
        })
    }
}

impl Peers for Wires {
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        let body = post::wrap_raft(&request);
        // What is long must not keep elections and heartbeats waiting.
        let way = match body.len() {
            0..LONG_BYTES => (Lane::High, RAFT_FLOW),
            _ => (Lane::Normal, RAFT_LONG_FLOW),
        };
        self.ask_raft(to, way, body, within)
    }

    fn fetch(
        &self,
        to: NodeId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        self.ask_raft(to, (Lane::Normal, FEED_FLOW), post::wrap_raft(&request), within)
    }
}

impl Carrier for Wires {
    fn post(&self, to: NodeId, postage: Postage, letter: &mut Vec<u8>) -> Result<(), NotSent> {
        let mesh = self.0.get().ok_or(NotSent::Unreachable)?;
        mesh.send(to, postage.lane, postage.flow, letter).map_err(not_sent)
    }

    fn post_parts(&self, to: NodeId, postage: Postage, parts: Vec<Bytes>) -> Result<(), NotSent> {
        let mesh = self.0.get().ok_or(NotSent::Unreachable)?;
        mesh.send_pieces(to, postage.lane, postage.flow, &parts).map_err(not_sent)
    }

    fn room(&self, to: NodeId) -> BoxFuture<'static, ()> {
        let mesh = self.0.get().cloned();
        Box::pin(async move {
            if let Some(mesh) = mesh {
                mesh.room(to).await;
            }
        })
    }

    fn sever(&self, node: NodeId) {
        if let Some(mesh) = self.0.get() {
            mesh.disconnect(node);
        }
    }
}

/// What the mesh says of a letter, as the processes understand it.
pub(crate) fn not_sent(error: SendError) -> NotSent {
    match error {
        SendError::Full => NotSent::Full,
        SendError::Denied => NotSent::Denied,
        SendError::TooLong { bytes_max, .. } => NotSent::TooLong { bytes_max },
        _ => NotSent::Unreachable,
    }
}
