//! Singletons, as users hold them: defined, watched, moved, stopped, called by name.
//!
//! ```text
//!   define ──▶ actor.rs   what a program writes, and what it gets to write it with: a tenure
//!                 │
//!   log ──▶ troupe.rs ──▶ turn.rs      what this node runs, one turn for each epoch that is its own
//!                 │
//!            tenancy (fence)    │      everything ends before the lease does
//!                              ▼
//!                          bearer.rs   what a turn leaves goes to the next node before the grant does
//! ```
//!
//! Not here: who it falls to. That is decided when the log is applied, by the registry.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_registry::{
    Blocked, Candidate, Command, Ending, Grant, Once, Op, Phase, Refusal, Singleton as Row, Spec,
    Standing, Verdict,
};
use quorate_vocab::{Epoch, Index, Name, NodeId, NodeName, SessionId};

use crate::error::Error;
use crate::hall::Hall;
use crate::names::no;
use crate::{marks, reads};

pub(crate) mod actor;
mod bearer;
mod calls;
mod legacy;
mod logs;
pub(crate) mod mover;
mod tally;
pub(crate) mod troupe;
mod turn;

pub use actor::{Lost, Own, Singleton, Stamped, Tenure};
pub use calls::SingletonCallError;
pub use legacy::Inherited;
pub(crate) use logs::tell as tell_tail;
pub use logs::{TAIL_BYTES_MAX, path as log_path};
pub use mover::Relocation;
pub use tally::Turnover;

/// The cluster's singletons. Cheap to clone.
#[derive(Clone)]
pub struct Singletons {
    pub(crate) hall: Arc<Hall>,
    pub(crate) within: Duration,
}

/// A singleton as a node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingletonInfo {
    /// What is wanted, who holds it and who did.
    pub row: Row,
    /// Who offers to run it.
    pub candidates: Vec<Candidate>,
    /// What it said last for its successor: under which epoch, and how many bytes.
    pub checkpoint: Option<(Epoch, usize)>,
    /// How it is.
    pub state: SingletonState,
}

/// How the singletons are, all together, as a node knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Whose owner says that it runs.
    pub running: usize,
    /// Whose owner was told to run it.
    pub starting: usize,
    /// Whose owner is to end it.
    pub yielding: usize,
    /// Which are not to run.
    pub stopped: usize,
    /// Which nobody may run.
    pub waiting: usize,
    /// Which failed wherever they might run; a person has to look at them.
    pub failed: Vec<Name>,
    /// Those of all of them that this node has.
    pub here: usize,
}

impl Census {
    /// How many are in each state, by the word for it.
    pub fn by_state(&self) -> [(&'static str, usize); 6] {
        [
            ("running", self.running),
            ("starting", self.starting),
            ("yielding", self.yielding),
            ("stopped", self.stopped),
            ("waiting", self.waiting),
            ("failed", self.failed.len()),
        ]
    }
}

/// How a singleton is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SingletonState {
    /// Its owner says that it runs.
    Running,
    /// Somebody has been told to run it, and has not said that it does.
    Starting,
    /// Its owner is to end it.
    Yielding,
    /// Somebody asked for it to stop, or it had done what it was for.
    Stopped,
    /// It failed wherever it might run. Nobody runs it until somebody says so.
    Failed,
    /// Nobody runs it, and why.
    Waiting(Blocked),
}

impl SingletonState {
    fn of(machine: &quorate_registry::Machine, row: &Row) -> Self {
        match row.grant {
            Some(Grant { phase: Phase::Yielding { .. }, .. }) => Self::Yielding,
            Some(Grant { ready: true, .. }) => Self::Running,
            Some(_) => Self::Starting,
            None => match machine.blocked(row) {
                Some(Blocked::Halted) => Self::Stopped,
                Some(Blocked::AllFailed) => Self::Failed,
                Some(blocked) => Self::Waiting(blocked),
                // It is about to be placed.
                None => Self::Starting,
            },
        }
    }
}

/// A word of an operator, or of whoever runs a singleton outside of a node's own processes.
impl Singletons {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        let within = hall.config().patience();
        Self { hall, within }
    }

    /// The same with another bound on every call.
    pub fn within(&self, within: Duration) -> Self {
        Self { hall: self.hall.clone(), within }
    }

    /// Offers to run a singleton on this node for as long as the node lives: it runs here whenever the
    /// cluster says so, and nowhere else at that time. Defined again on the same node it is another program
    /// from its next turn on.
    ///
    /// Returns once the cluster knows of the offer.
    pub async fn define<S: Singleton>(&self, name: &Name, singleton: S) -> Result<(), Error> {
        self.define_with(name, Spec::default(), singleton).await
    }

    /// Offers to run a singleton on this node, and says what is wanted of it. The newest word of any node is
    /// in force.
    pub async fn define_with<S: Singleton>(
        &self,
        name: &Name,
        spec: Spec,
        singleton: S,
    ) -> Result<(), Error> {
        let offered = troupe::define(&self.hall, name, spec, actor::part(singleton));
        match quorate_env::timeout(self.within, offered).await {
            Ok(Ok(decided)) => decided,
            Ok(Err(_)) => Err(Error::Unknown),
            Err(_) => Err(Error::NotDone(crate::NotDone::NoLeader)),
        }
    }

    /// Takes back this node's offer to run a singleton. If it runs here, it is ended before this returns.
    pub async fn undefine(&self, name: &Name) -> Result<(), Error> {
        troupe::undefine(&self.hall, name).await
    }

    /// What this node knows of a singleton, without a word to anybody.
    pub fn peek(&self, name: &Name) -> Option<SingletonInfo> {
        self.hall.group().read(|machine, _| {
            let row = machine.singleton(name.as_str())?;
            Some(info(machine, row))
        })
    }

    /// What is known of a singleton, and by everything that was acknowledged before the call.
    pub async fn find(&self, name: &Name) -> Result<Option<SingletonInfo>, Error> {
        self.hall.confirm(self.within).await?;
        Ok(self.peek(name))
    }

    /// The singletons under a prefix after one, at most so many, as this node knows them; and its index.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> (Vec<SingletonInfo>, Index) {
        self.hall.group().read(|machine, index| {
            let rows = machine.singletons(prefix, after).take(most);
            (rows.map(|row| info(machine, row)).collect(), index)
        })
    }

    /// How the singletons are, all together, as this node knows it.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        self.hall.group().read(|machine, _| {
            for row in machine.singletons("", None) {
                census.here += usize::from(row.grant.is_some_and(|one| one.node == self.hall.id()));
                match SingletonState::of(machine, row) {
                    SingletonState::Running => census.running += 1,
                    SingletonState::Starting => census.starting += 1,
                    SingletonState::Yielding => census.yielding += 1,
                    SingletonState::Stopped => census.stopped += 1,
                    SingletonState::Waiting(_) => census.waiting += 1,
                    SingletonState::Failed => census.failed.push(row.name.clone()),
                }
            }
        });
        census
    }

    /// The commands that nodes are to run, and what is wanted of each.
    pub fn commands(&self) -> BTreeMap<Name, Spec> {
        self.hall.group().read(|machine, _| {
            let rows = machine.singletons("", None).filter(|row| row.spec.exec.is_some());
            rows.map(|row| (row.name.clone(), row.spec.clone())).collect()
        })
    }

    /// How often singletons changed hands since this node began, as far as it heard.
    pub fn turnover(&self) -> Turnover {
        self.hall.troupe().turnover()
    }

    /// How each node stands towards a singleton, and what it is called; in the order of that.
    pub fn why(&self, name: &Name) -> Option<Vec<(NodeName, NodeId, Standing)>> {
        self.hall.group().read(|machine, _| {
            let row = machine.singleton(name.as_str())?;
            let named = |(node, standing)| {
                let called = machine.node(node).map(|node| node.name.clone())?;
                Some((called, node, standing))
            };
            let mut nodes: Vec<_> = machine.outlook(row).into_iter().filter_map(named).collect();
            nodes.sort_by(|(one, ..), (other, ..)| one.cmp(other));
            Some(nodes)
        })
    }

    /// Offers a session of a client as a candidate; it is taken for one of this node's.
    pub async fn offer(
        &self,
        name: &Name,
        session: SessionId,
        spec: Spec,
        key: Option<u128>,
    ) -> Result<Index, Error> {
        let (name, node) = (name.clone(), self.hall.id());
        let spec = Box::new(spec);
        self.done(Op::Volunteer { name, session, node, spec }, key).await
    }

    /// Offers this node's own life as a candidate, for a command that whoever runs nodes starts by itself.
    pub async fn offer_here(
        &self,
        name: &Name,
        spec: Spec,
        key: Option<u128>,
    ) -> Result<Index, Error> {
        let session = self.hall.tenancy().session();
        self.offer(name, session.ok_or(Error::NotDone(crate::NotDone::NoSession))?, spec, key).await
    }

    /// Takes a session's offer back. If it held the singleton, what ran has ended.
    pub async fn withdraw(&self, name: &Name, session: SessionId) -> Result<Index, Error> {
        self.done(Op::Withdraw { name: name.clone(), session }, None).await
    }

    /// Waits until a session holds a singleton; none when the time is over, or it offers no more.
    pub async fn until_granted(
        &self,
        name: &Name,
        session: SessionId,
        within: Duration,
    ) -> Option<Grant> {
        let granted = reads::until(&self.hall, |machine| {
            let row = machine.singleton(name.as_str());
            let grant = row.and_then(|row| row.grant).filter(|grant| grant.session == session);
            let offers = machine.session(session).is_some();
            (grant.is_some() || !offers).then_some(grant)
        });
        quorate_env::timeout(within, granted).await.ok().flatten()
    }

    /// Waits until a singleton is not to be run under an epoch any more, or the time is over.
    pub async fn until_over(&self, name: &Name, epoch: Epoch, within: Duration) {
        let over = reads::until(&self.hall, |machine| {
            let grant = machine.singleton(name.as_str()).and_then(|row| row.grant);
            let runs =
                grant.is_some_and(|grant| grant.epoch == epoch && grant.phase == Phase::Active);
            (!runs).then_some(())
        });
        // What is so then is what is looked at next.
        let _ = quorate_env::timeout(within, over).await;
    }

    /// Says that what runs under an epoch runs: who waits for it may start.
    pub async fn ready(&self, name: &Name, epoch: Epoch) -> Result<Index, Error> {
        self.done(Op::Ready { name: name.clone(), epoch }, None).await
    }

    /// Says that what ran under an epoch has ended, and how.
    pub async fn ended(&self, name: &Name, epoch: Epoch, ending: Ending) -> Result<Index, Error> {
        self.done(Op::EndGrant { name: name.clone(), epoch, ending }, None).await
    }

    /// Keeps a state for the successor of an epoch, which must be the present one.
    pub async fn checkpoint(
        &self,
        name: &Name,
        epoch: Epoch,
        state: Vec<u8>,
    ) -> Result<Index, Error> {
        self.done(Op::Checkpoint { name: name.clone(), epoch, state }, None).await
    }

    /// What a singleton said last for its successor.
    pub fn last_checkpoint(&self, name: &Name) -> Option<quorate_registry::Checkpoint> {
        self.hall.group().read(|machine, _| machine.checkpoint(name.as_str()).cloned())
    }

    /// Asks the owner of a singleton to give it up for another node, or for whoever it falls to. Returns once
    /// that is decided; [`Singletons::until_moved`] waits for the end of it.
    pub async fn move_to(
        &self,
        name: &Name,
        to: Option<&NodeName>,
        expected: Option<Epoch>,
    ) -> Result<Index, Error> {
        let node = |name| self.hall.node_named(name).ok_or(Error::Refused(Refusal::NoNode));
        let to = to.map(node).transpose()?;
        self.done(Op::Move { name: name.clone(), to, expected }, None).await
    }

    /// Waits until a singleton is held under another epoch than this one; none when the time is over.
    pub async fn until_moved(
        &self,
        name: &Name,
        from: Option<Epoch>,
        within: Duration,
    ) -> Option<Grant> {
        let moved = reads::until(&self.hall, |machine| {
            let grant = machine.singleton(name.as_str())?.grant?;
            (from.is_none_or(|from| grant.epoch > from)).then_some(grant)
        });
        quorate_env::timeout(within, moved).await.ok()
    }

    /// Has a singleton stop, and not start again until somebody says so.
    pub async fn stop(&self, name: &Name) -> Result<Index, Error> {
        self.done(Op::Halt { name: name.clone() }, None).await
    }

    /// Lets a singleton run again that was stopped, or that failed.
    pub async fn start(&self, name: &Name) -> Result<Index, Error> {
        self.done(Op::Resume { name: name.clone() }, None).await
    }

    /// Says that what ran under an epoch has ended, though nobody proved it. Where it has not, two will run.
    pub async fn force(&self, name: &Name, epoch: Epoch, why: String) -> Result<Index, Error> {
        self.done(Op::Force { name: name.clone(), epoch, why }, None).await
    }

    /// Takes a singleton out that nobody offers to run.
    pub async fn forget(&self, name: &Name) -> Result<Index, Error> {
        self.done(Op::Forget { name: name.clone() }, None).await
    }

    /// Lets a node have no singletons any more, and moves those away that it has; with no reason, ends that.
    pub async fn drain(&self, node: &NodeName, why: Option<String>) -> Result<Index, Error> {
        let node = self.hall.node_named(node).ok_or(Error::Refused(Refusal::NoNode))?;
        self.done(Op::Drain { node, why }, None).await
    }

    /// How many singletons a node still holds, and why it is drained, if it is.
    pub fn load(&self, node: &NodeName) -> Option<(u32, Option<String>)> {
        self.hall.group().read(|machine, _| {
            let node = machine.nodes().find(|one| one.name == *node)?.id;
            Some((machine.load_of(node), machine.drained(node).map(str::to_owned)))
        })
    }

    pub(crate) async fn done(&self, op: Op, key: Option<u128>) -> Result<Index, Error> {
        match marks::decide(&self.hall, op, key, self.within).await? {
            (index, Verdict::Done | Verdict::Amended { .. }) => Ok(index),
            (_, other) => Err(no(other)),
        }
    }
}

fn info(machine: &quorate_registry::Machine, row: &Row) -> SingletonInfo {
    let checkpoint = machine.checkpoint(row.name.as_str());
    SingletonInfo {
        candidates: machine.candidates(&row.name).cloned().collect(),
        checkpoint: checkpoint.map(|one| (one.epoch, one.state.len())),
        state: SingletonState::of(machine, row),
        row: row.clone(),
    }
}

/// A command that is harmless to repeat.
pub(crate) fn free(op: Op) -> Command {
    Command { once: Once::Free, op }
}
