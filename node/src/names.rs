//! Global names, as users hold them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Addr, Message, SendError};
use quorate_consensus::{Change, TooOld, Watch};
use quorate_registry::{Bond, Claim, Command, Effect, Once, Op, Registration, Verdict};
use quorate_vocab::{Epoch, Index, Name, Pid, SessionId};

use crate::error::{Error, NotDone};
use crate::hall::Hall;
use crate::steward;

/// The cluster's names. Cheap to clone.
#[derive(Clone)]
pub struct Names {
    hall: Arc<Hall>,
    within: Duration,
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
}

/// What a lookup found, and how old that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The registration, if the name is held.
    pub registration: Option<Registration>,
    /// The index of the state that was looked into.
    pub index: Index,
    /// How long ago this node last heard from the leader; zero for a linearizable lookup.
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
    /// How long ago this node last heard from the leader; zero for a linearizable listing.
    pub stale: Duration,
}

/// How to register something that is not a process of this node.
#[derive(Clone, Debug, Default)]
pub struct Claiming {
    /// The session it is bound to; none makes the name durable.
    pub session: Option<SessionId>,
    /// What to be known under the name.
    pub value: Vec<u8>,
    /// Labels.
    pub meta: BTreeMap<String, String>,
    /// Replace the present registration, if it has exactly this epoch.
    pub replace: Option<Epoch>,
    /// A key that marks repetitions of this request; drawn at random if none is given.
    pub key: Option<u128>,
}

/// Changes of names under a prefix, without a hole.
#[derive(Debug)]
pub struct NameWatch {
    watch: Watch,
    prefix: String,
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
    pub async fn register<M: Message>(&self, name: &Name, addr: &Addr<M>) -> Result<Held, Error> {
        let pid = addr.pid();
        let (session, seq) =
            self.hall.tenancy().next_mark().ok_or(Error::NotDone(NotDone::NoSession))?;
        let claim = Claim { bond: Bond::Session(session), holder: Some(pid), ..empty_claim() };
        let op = Op::Register { name: name.clone(), claim, replace: None };
        let command = Command { once: Once::Seq { session, seq }, op };
        let held = self.registered(name, self.hall.propose(command, self.within).await?)?;
        steward::keep(&self.hall, &held, session, pid);
        Ok(held)
    }

    /// Registers a value.
    pub async fn claim(&self, name: &Name, claiming: Claiming) -> Result<Held, Error> {
        let Claiming { session, value, meta, replace, key } = claiming;
        let claim = Claim { bond: session.into(), holder: None, value, meta };
        let op = Op::Register { name: name.clone(), claim, replace };
        let command = Command { once: Once::Key(key.unwrap_or_else(draw_key)), op };
        self.registered(name, self.hall.propose(command, self.within).await?)
    }

    /// Gives a name back; with an epoch, only if it is held under exactly that one.
    pub async fn release(
        &self,
        name: &Name,
        epoch: Option<Epoch>,
        key: Option<u128>,
    ) -> Result<(Epoch, Index), Error> {
        let op = Op::Release { name: name.clone(), epoch };
        let command = Command { once: Once::Key(key.unwrap_or_else(draw_key)), op };
        match self.hall.propose(command, self.within).await? {
            (index, Verdict::Released { epoch }) => Ok((epoch, index)),
            (_, Verdict::Refused(refusal)) => Err(Error::Refused(refusal)),
            (_, _) => Err(Error::Unknown),
        }
    }

    /// Looks a name up, linearizably: sees every registration that was acknowledged before the call.
    pub async fn find(&self, name: &Name) -> Result<Found, Error> {
        self.hall.confirm(self.within).await?;
        Ok(Found { stale: Duration::ZERO, ..self.peek(name) })
    }

    /// Looks a name up in what this node knows, at once.
    pub fn peek(&self, name: &Name) -> Found {
        let (registration, index) =
            self.hall.group().read(|machine, at| (machine.find(name.as_str()).cloned(), at));
        Found { registration, index, stale: self.hall.group().silence() }
    }

    /// Sends a message to the process that holds a name, wherever it is, by what this node knows. At most
    /// once; a holder that has just changed may be missed.
    pub fn send<M: Message>(&self, name: &Name, message: M) -> Result<(), SendError> {
        let pid = self.peek(name).registration.and_then(|held| held.holder);
        self.hall.actors().addr::<M>(pid.ok_or(SendError::NoProc)?).send(message)
    }

    /// The process that holds a name, as an address; none when nobody or no process does.
    pub async fn whereis<M: Message>(&self, name: &Name) -> Result<Option<Addr<M>>, Error> {
        let holder: Option<Pid> = self.find(name).await?.registration.and_then(|held| held.holder);
        Ok(holder.map(|pid| self.hall.actors().addr::<M>(pid)))
    }

    /// Names that begin with a prefix, in order, after a name, at most `limit`; by what this node knows.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Listing {
        let stale = self.hall.group().silence();
        self.hall.group().read(|machine, index| {
            let mut page: Vec<Registration> =
                machine.list(prefix, after).take(limit.saturating_add(1)).cloned().collect();
            let more = page.len() > limit;
            page.truncate(limit);
            Listing { registrations: page, index, more, stale }
        })
    }

    /// Like [`Names::list`], but linearizable.
    pub async fn list_confirmed(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, Error> {
        self.hall.confirm(self.within).await?;
        Ok(Listing { stale: Duration::ZERO, ..self.list(prefix, after, limit) })
    }

    /// Watches names under a prefix from an index on. Take the index from a listing, and nothing is missed.
    pub fn watch(&self, prefix: &str, from: Index) -> NameWatch {
        NameWatch { watch: self.hall.group().watch(from), prefix: prefix.to_owned() }
    }

    fn registered(&self, name: &Name, answer: (Index, Verdict)) -> Result<Held, Error> {
        match answer {
            (index, Verdict::Registered { epoch }) => Ok(Held { name: name.clone(), epoch, index }),
            (_, Verdict::Refused(refusal)) => Err(Error::Refused(refusal)),
            (_, _) => Err(Error::Unknown),
        }
    }
}

impl NameWatch {
    /// The next change that touches a name under the prefix; only its effects on such names are in it.
    pub async fn next(&mut self) -> Result<Change, TooOld> {
        loop {
            let change = self.watch.next().await?;
            let touches = |effect: &&Effect| match effect {
                Effect::Registered(held) | Effect::Amended(held) => {
                    held.name.as_str().starts_with(&self.prefix)
                }
                Effect::Released { name, .. } => name.as_str().starts_with(&self.prefix),
                _ => false,
            };
            let effects: Vec<Effect> = change.effects.iter().filter(touches).cloned().collect();
            if !effects.is_empty() {
                return Ok(Change { index: change.index, effects });
            }
        }
    }
}

fn empty_claim() -> Claim {
    Claim { bond: Bond::Durable, holder: None, value: Vec::new(), meta: BTreeMap::new() }
}

pub(crate) fn draw_key() -> u128 {
    use rand::Rng;
    let mut dice = quorate_env::dice();
    u128::from(dice.next_u64()) << 64 | u128::from(dice.next_u64())
}
