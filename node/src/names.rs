//! Global names, as users hold them: taken, reserved, confirmed, amended, given back, watched.
//!
//! Not here: how names are looked up (`reads.rs`) and written to (`via.rs`, `verified.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Addr, Message};
use quorate_consensus::{Change, TooOld, Watch};
use quorate_registry::{Bond, Claim, Effect, Op, Registration, Verdict};
use quorate_vocab::{Epoch, Index, Name, Pid, SessionId};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::hall::Hall;
use crate::marks::{self, Mark, Number};
use crate::steward;

/// The cluster's names. Cheap to clone.
#[derive(Clone)]
pub struct Names {
    pub(crate) hall: Arc<Hall>,
    pub(crate) within: Duration,
}

/// A registration that was acknowledged: it is durable on a majority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which name.
    pub name: Name,
    /// Its fencing number.
    pub epoch: Epoch,
    /// The index at which it became true.
    pub index: Index,
    /// The session that was opened for it, if it has a time to live. It is to be renewed, as every session.
    pub session: Option<SessionId>,
}

/// What a lookup found, and how old that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The registration, if the name is held; shared with the node's own state.
    pub registration: Option<Arc<Registration>>,
    /// The state that was looked into is at least as new as this index: watch from it, and no change is
    /// missed.
    pub index: Index,
    /// How old it may be: whatever was acknowledged anywhere before so long ago is in it. Counted by the
    /// clocks of nodes, so it is wrong by as much as those go wrong. Zero for a linearizable lookup, as of
    /// the call; [`Duration::MAX`] where this node cannot say, as it has not caught up with a majority yet.
    pub stale: Duration,
}

/// A page of names, all as they were at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The registrations, in the order of their names.
    pub registrations: Vec<Registration>,
    /// The index of the state.
    pub index: Index,
    /// Whether there is more behind the last one.
    pub more: bool,
    /// How old it may be, as in [`Found::stale`].
    pub stale: Duration,
}

/// How to register something that is not a process of this node.
#[derive(Clone, Debug, Default)]
pub struct Claiming {
    /// What ends it, beside a release.
    pub bond: Bond,
    /// What to be known under the name.
    pub value: Vec<u8>,
    /// Labels.
    pub meta: BTreeMap<String, String>,
    /// Replace the present registration, if it has exactly this epoch.
    pub replace: Option<Epoch>,
    /// A key that marks repetitions of this request, if somebody else than this call may repeat it.
    pub key: Option<u128>,
}

/// What to say under a name from now on.
#[derive(Clone, Debug, Default)]
pub struct Amendment {
    /// Another value; none leaves it.
    pub value: Option<Vec<u8>>,
    /// Other labels, all of them; none leaves them.
    pub meta: Option<BTreeMap<String, String>>,
    /// Only if what is said has this version.
    pub expected: Option<Index>,
    /// A key that marks repetitions of this request, if somebody else than this call may repeat it.
    pub key: Option<u128>,
}

/// Changes of names under a prefix, without a hole.
#[derive(Debug)]
pub struct NameWatch {
    watch: Watch,
    prefix: String,
}

/// A name that is being taken for a process of this node.
struct Taking {
    names: Names,
    name: Name,
    pid: Pid,
    unheard: Unheard,
}

/// What becomes of a name that was taken for a process, when nobody waits for the answer any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unheard {
    /// The process holds it.
    Stays,
    /// It is given back.
    GivenBack,
}

/// What whoever waits for a name is told.
struct Answer {
    held: Held,
    /// That it was heard: an answer may be dropped together with who waited for it.
    heard: oneshot::Sender<()>,
}

impl Names {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        let within = hall.config().patience();
        Self { hall, within }
    }

    /// The same names with another bound on every call.
    pub fn within(&self, within: Duration) -> Self {
        Self { hall: self.hall.clone(), within }
    }

    /// Registers a process of this node. The name is released when the process ends, or when this node is
    /// taken for dead; and when this node loses its session, the process is ended, as another may hold the
    /// name by then.
    ///
    /// Once begun it is settled, whether or not somebody waits: when the future is dropped, or the answer is
    /// that nobody knows, a process that turns out to have got the name holds it as if that had been said.
    /// [`Locks::elect`](crate::Locks::elect) gives it back instead.
    pub async fn register<M: Message>(&self, name: &Name, addr: &Addr<M>) -> Result<Held, Error> {
        self.hold(name, addr.pid(), Unheard::Stays, take(name, None)).await
    }

    /// Takes a name over for a process of this node, if it is held under exactly this epoch: there is no
    /// moment at which nobody holds it. It is settled as [`Names::register`] is.
    pub async fn take_over<M: Message>(
        &self,
        name: &Name,
        addr: &Addr<M>,
        from: Epoch,
    ) -> Result<Held, Error> {
        self.hold(name, addr.pid(), Unheard::Stays, take(name, Some(from))).await
    }

    /// Makes a reservation a registration of a process of this node, under the same epoch. It is settled as
    /// [`Names::register`] is.
    pub async fn confirm_for<M: Message>(
        &self,
        name: &Name,
        epoch: Epoch,
        addr: &Addr<M>,
    ) -> Result<Held, Error> {
        let confirm = |claim| Op::Confirm { name: name.clone(), epoch, claim };
        self.hold(name, addr.pid(), Unheard::Stays, confirm).await
    }

    /// Proposes what makes a process of this node the holder of a name, and sees to it from then on.
    pub(crate) async fn hold(
        &self,
        name: &Name,
        pid: Pid,
        unheard: Unheard,
        op: impl FnOnce(Claim) -> Op,
    ) -> Result<Held, Error> {
        let number = Number::next(&self.hall, self.within).await?;
        let bond = Bond::Session(number.session());
        let claim = Claim { bond, holder: Some(pid), value: Vec::new(), meta: BTreeMap::new() };
        let taking = Taking { names: self.clone(), name: name.clone(), pid, unheard };
        let (tell, told) = oneshot::channel();
        self.hall.run(taking.run(number, op(claim), tell));
        // A node that is closed says nothing any more. What was decided by then ends with its session.
        let Answer { held, heard } = told.await.unwrap_or(Err(Error::Unknown))?;
        let _ = heard.send(());
        Ok(held)
    }

    /// Registers a value.
    pub async fn claim(&self, name: &Name, claiming: Claiming) -> Result<Held, Error> {
        let Claiming { bond, value, meta, replace, key } = claiming;
        let claim = Claim { bond, holder: None, value, meta };
        let op = Op::Register { name: name.clone(), claim, replace };
        registered(name, self.marked(op, key).await?)
    }

    /// Keeps a name free for whoever asks here, until what it is bound to ends: nobody holds it, and nobody
    /// else gets it. Its epoch stays when it is confirmed.
    pub async fn reserve(&self, name: &Name, bond: Bond, key: Option<u128>) -> Result<Held, Error> {
        let op = Op::Reserve { name: name.clone(), bond, replace: None };
        registered(name, self.marked(op, key).await?)
    }

    /// Makes a reservation a registration of a value. Its bond takes the place of the reservation's, and may
    /// be the same session.
    pub async fn confirm(
        &self,
        name: &Name,
        epoch: Epoch,
        claiming: Claiming,
    ) -> Result<Held, Error> {
        let Claiming { bond, value, meta, key, .. } = claiming;
        let claim = Claim { bond, holder: None, value, meta };
        let op = Op::Confirm { name: name.clone(), epoch, claim };
        registered(name, self.marked(op, key).await?)
    }

    /// Says something else under a name that is held under exactly this epoch, which stays. Returns the
    /// version of what is said now.
    pub async fn amend(
        &self,
        name: &Name,
        epoch: Epoch,
        amendment: Amendment,
    ) -> Result<Index, Error> {
        let Amendment { value, meta, expected, key } = amendment;
        let op = Op::Amend { name: name.clone(), epoch, expected, value, meta };
        match self.marked(op, key).await? {
            (_, Verdict::Amended { version }) => Ok(version),
            (_, other) => Err(no(other)),
        }
    }

    /// Gives a name back; with an epoch, only if it is held under exactly that one.
    pub async fn release(
        &self,
        name: &Name,
        epoch: Option<Epoch>,
        key: Option<u128>,
    ) -> Result<(Epoch, Index), Error> {
        let op = Op::Release { name: name.clone(), epoch };
        match self.marked(op, key).await? {
            (index, Verdict::Released { epoch }) => Ok((epoch, index)),
            (_, other) => Err(no(other)),
        }
    }

    /// Watches names under a prefix from an index on. Take the index from a listing, and nothing is missed.
    pub fn watch(&self, prefix: &str, from: Index) -> NameWatch {
        NameWatch { watch: self.hall.group().watch(from), prefix: prefix.to_owned() }
    }

    async fn marked(&self, op: Op, key: Option<u128>) -> Result<(Index, Verdict), Error> {
        marks::decide(&self.hall, op, key, self.within).await
    }
}

impl Taking {
    /// Whatever becomes of whoever waits: a name that its process holds and that the steward does not know
    /// of would outlive the process.
    async fn run(self, number: Number, op: Op, tell: oneshot::Sender<Result<Answer, Error>>) {
        let Self { names, name, pid, unheard } = self;
        let (hall, session) = (&names.hall, number.session());
        let mut tell = Some(tell);
        let doubt = || drop(tell.take().map(|tell| tell.send(Err(Error::Unknown))));
        let decided = Mark::Number(number).settle(hall, op, names.within, doubt).await;
        let held = match decided.and_then(|answer| registered(&name, answer)) {
            Ok(held) => held,
            Err(error) => {
                let _ = tell.map(|tell| tell.send(Err(error)));
                return;
            }
        };
        steward::keep(hall, &held, session, pid);
        let (heard, until_heard) = oneshot::channel();
        let answer = Answer { held: held.clone(), heard };
        let is_told = tell.is_some_and(|tell| tell.send(Ok(answer)).is_ok());
        let is_heard = is_told && until_heard.await.is_ok();
        if !is_heard && unheard == Unheard::GivenBack {
            steward::give_back(hall, &held).await;
        }
    }
}

impl NameWatch {
    /// The next change that touches a name under the prefix; only its effects on such names are in it.
    pub async fn next(&mut self) -> Result<Arc<Change>, TooOld> {
        loop {
            let change = self.watch.next().await?;
            let touches = |effect: &&Effect| match effect {
                Effect::Registered(held) | Effect::Amended(held) => {
                    held.name.as_str().starts_with(&self.prefix)
                }
                Effect::Released { name, .. } => name.as_str().starts_with(&self.prefix),
                _ => false,
            };
            // Most changes are of one name, and are handed on as they are.
            if change.effects.iter().all(|effect| touches(&effect)) {
                return Ok(change);
            }
            let effects: Vec<Effect> = change.effects.iter().filter(touches).cloned().collect();
            if !effects.is_empty() {
                return Ok(Arc::new(Change { index: change.index, effects }));
            }
        }
    }
}

/// Takes a name for whoever a claim is of.
pub(crate) fn take(name: &Name, replace: Option<Epoch>) -> impl FnOnce(Claim) -> Op + use<> {
    let name = name.clone();
    move |claim| Op::Register { name, claim, replace }
}

pub(crate) fn registered(name: &Name, answer: (Index, Verdict)) -> Result<Held, Error> {
    let (index, epoch, session) = match answer {
        (index, Verdict::Registered { epoch }) => (index, epoch, None),
        (index, Verdict::Leased { epoch, session }) => (index, epoch, Some(session)),
        (_, other) => return Err(no(other)),
    };
    Ok(Held { name: name.clone(), epoch, index, session })
}

/// What a verdict means that is not the one hoped for.
pub(crate) fn no(verdict: Verdict) -> Error {
    match verdict {
        Verdict::Refused(refusal) => Error::Refused(refusal),
        _ => Error::Unknown,
    }
}

pub(crate) fn draw_key() -> u128 {
    use rand::Rng;
    let mut dice = quorate_env::dice();
    u128::from(dice.next_u64()) << 64 | u128::from(dice.next_u64())
}
