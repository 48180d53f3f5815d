//! Singletons: who offers to run which, who does and under which epoch, and the commands that change it.
//!
//! ```text
//!  candidates ──▶ placement ──▶ Grant { Active ──▶ Yielding } ──▶ Past { evidence }
//!                     ▲                                              │
//!                     └──────────── the same entry ──────────────────┘
//! ```
//!
//! A grant is made only where there is none, and goes only with [`Evidence`] that what ran under it has
//! ended; the entry that closes one places the singleton anew. So no two of a singleton are ever granted at
//! once (I2), and no start is possible before the end of the one before is known (I5). The epoch of a grant
//! is the entry that made it (I1).
//!
//! Not here: what is wanted (`spec.rs`), whom it falls to (`placement.rs`), and running anything.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use quorate_vocab::{Epoch, Index, Name, NodeId, SessionId};
use serde::{Deserialize, Serialize};

use crate::names::fits;
use crate::{
    At, Blocked, Claim, Deed, Effect, Ending, Evidence, Machine, Node, Refusal, SessionOwner, Spec,
    Standing, Verdict,
};

mod audit;
mod book;

pub(crate) use book::Singletons;

/// Something of which there is one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Singleton {
    /// What it is called.
    pub name: Name,
    /// What is wanted of it.
    pub spec: Spec,
    /// The entry that said so.
    pub version: Index,
    /// Whether somebody asked for it to stop.
    pub halted: bool,
    /// Who holds it, if somebody does.
    pub grant: Option<Grant>,
    /// Who held it before, the last one last; at most [`Singleton::PAST_MAX`] of them.
    pub past: VecDeque<Past>,
}

/// The right to run a singleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Its fencing number; the index in it is that of the entry which made the grant.
    pub epoch: Epoch,
    /// The life that it was given to, which has not ended.
    pub session: SessionId,
    /// The node on which that life is.
    pub node: NodeId,
    /// How far it is.
    pub phase: Phase,
    /// Whether its owner said that it runs.
    pub ready: bool,
}

/// How far a grant is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Its owner runs it.
    Active,
    /// Its owner is to end it, and to say when it has.
    Yielding {
        /// Who shall have it then, if that is known.
        to: Option<SessionId>,
    },
}

/// A grant that is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// Its epoch.
    pub epoch: Epoch,
    /// The node that held it.
    pub node: NodeId,
    /// The entry that closed it.
    pub closed: Index,
    /// How it is known that nothing runs under it.
    pub evidence: Evidence,
    /// What else there is to say.
    pub why: String,
    /// What it left to its successor outside of the log, if it did.
    pub left: Option<Legacy>,
}

/// What a turn left to the next one that is too long for the log: nodes hand it on, and this says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    /// How long it is.
    pub bytes: u64,
    /// What its bytes add up to, by whatever rule the nodes have for it.
    pub digest: u32,
}

/// A life that offers to run a singleton.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which life; the offer ends with it.
    pub session: SessionId,
    /// The node on which it is.
    pub node: NodeId,
    /// The entry in which it offered.
    pub since: Index,
    /// Why it gave up, if it did.
    pub failed: Option<String>,
}

/// What a singleton wants its successor to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The epoch that it was made under.
    pub epoch: Epoch,
    /// The entry that made it.
    pub version: Index,
    /// What it says.
    pub state: Vec<u8>,
}

/// What is said of a grant when it is closed.
#[derive(Default)]
struct Words {
    why: String,
    left: Option<Legacy>,
}

impl Singleton {
    /// How many grants that are no more are remembered.
    pub const PAST_MAX: usize = 16;
    /// The longest word on why something happened, in bytes.
    pub const WHY_BYTES_MAX: usize = 1024;

    /// The epoch that it is held under.
    pub fn epoch(&self) -> Option<Epoch> {
        self.grant.map(|grant| grant.epoch)
    }
}

impl Checkpoint {
    /// The longest state.
    pub const BYTES_MAX: usize = Claim::BYTES_MAX;
}

impl Legacy {
    /// The longest one.
    pub const BYTES_MAX: usize = 256 * 1024 * 1024;
}

impl Machine {
    /// A singleton that somebody offers to run, or did.
    pub fn singleton(&self, name: &str) -> Option<&Singleton> {
        self.singletons.find(name)
    }

    /// The singletons whose names begin with `prefix` and come after `after`, in the order of names.
    pub fn singletons<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Singleton> + use<'a> {
        self.singletons.list(prefix, after)
    }

    /// Who offers to run a singleton, the oldest life first.
    pub fn candidates(&self, name: &Name) -> impl Iterator<Item = &Candidate> {
        self.singletons.candidates(name)
    }

    /// What a singleton said last for its successor.
    pub fn checkpoint(&self, name: &str) -> Option<&Checkpoint> {
        self.singletons.checkpoint(name)
    }

    /// Why a node is being drained, if it is.
    pub fn drained(&self, node: NodeId) -> Option<&str> {
        self.singletons.drained(node)
    }

    /// How many singletons a node holds.
    pub fn load_of(&self, node: NodeId) -> u32 {
        self.singletons.load_of(node)
    }

    pub(crate) fn volunteer(
        &mut self,
        name: &Name,
        (session, node): (SessionId, NodeId),
        spec: Spec,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        match self.sessions.find(session).map(|session| session.owner) {
            None | Some(SessionOwner::Name) => return Err(Refusal::NoSession(session)),
            Some(SessionOwner::Node { node: own, .. }) if own != node => {
                return Err(Refusal::NoNode);
            }
            Some(_) if self.nodes.find(node).is_none() => return Err(Refusal::NoNode),
            Some(_) => {}
        }
        let present = self.singletons.find(name.as_str());
        let grant = present.and_then(|present| present.grant);
        let says_more = present.is_none_or(|present| present.spec != spec);
        if says_more {
            spec.judge(name)?;
            if let Some(through) = self.singletons.circle(name, &spec) {
                return Err(Refusal::Cycle { through });
            }
        }
        if grant.is_some_and(|grant| grant.session == session && grant.node != node) {
            return Err(Refusal::Unfit { why: "this life has it on another node".to_owned() });
        }
        let candidate = Candidate { session, node, since: self.applied, failed: None };
        if says_more {
            self.singletons.want(name, spec, self.applied, &mut self.changes);
        }
        self.singletons.offer(name, candidate, &mut self.changes);
        out.push(Effect::SingletonChanged(name.clone()));
        self.place(name, out);
        if let Some(grant) = grant.filter(|_| says_more) {
            // It may have left a group, which others keep apart from.
            self.place_waiting_on(grant.node, out);
        }
        Ok(Verdict::Done)
    }

    pub(crate) fn withdraw(
        &mut self,
        name: &Name,
        session: SessionId,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let singleton = self.singletons.find(name.as_str()).ok_or(Refusal::NoSingleton)?;
        let held = singleton.grant.is_some_and(|grant| grant.session == session);
        // What is to be run by any node that may is wanted, whoever offers it at the moment.
        let stays = singleton.halted || singleton.spec.exec.is_some();
        if !self.singletons.unoffer(name, session, &mut self.changes) {
            return Err(Refusal::NoCandidate);
        }
        let mut freed = None;
        if held {
            freed = self.close(name, Evidence::Stopped, Words::default(), out);
        }
        self.undo_yields(name, session, out);
        // Whoever says that it is done, and leaves nothing behind, leaves no singleton that waits for others.
        // That somebody stopped it is something: it must not start again because its nodes did.
        let is_over = self.singletons.candidates(name).next().is_none()
            && self.singletons.checkpoint(name.as_str()).is_none()
            && !stays;
        match is_over {
            true => self.singletons.forget(name, &mut self.changes),
            false => self.place(name, out),
        }
        out.push(Effect::SingletonChanged(name.clone()));
        self.place_after(freed, out);
        Ok(Verdict::Done)
    }

    /// The owner says that what ran under an epoch has ended.
    pub(crate) fn end_grant(
        &mut self,
        name: &Name,
        epoch: Epoch,
        ending: Ending,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let grant = self.granted_under(name, epoch)?;
        let mut target = match grant.phase {
            Phase::Yielding { to } => to,
            Phase::Active => None,
        };
        let mut left = None;
        let mut why = target.map_or(String::new(), |_| "it was moved".to_owned());
        match ending {
            Ending::Failed { why: failed } => {
                fits("the reason", failed.len() as u64, Singleton::WHY_BYTES_MAX)?;
                self.singletons.fail(name, grant.session, Some(failed.clone()), &mut self.changes);
                (why, target) = (failed, None);
            }
            Ending::Stopped { state: Some(state) } => self.set_checkpoint(name, epoch, state)?,
            Ending::Stopped { state: None } => {}
            Ending::Left { to, .. } if to != target => {
                return Err(unfit("it is not to be handed to whom it was left"));
            }
            Ending::Left { legacy, .. } => {
                fits("what was left", legacy.bytes, Legacy::BYTES_MAX)?;
                left = Some(legacy);
            }
        }
        let freed = self.close(name, Evidence::Stopped, Words { why, left }, out);
        match target.filter(|to| self.can_have(name, *to)) {
            Some(to) => self.grant(name, to, out),
            None => self.place(name, out),
        }
        self.place_after(freed, out);
        Ok(Verdict::Done)
    }

    pub(crate) fn set_ready(
        &mut self,
        name: &Name,
        epoch: Epoch,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let grant = self.granted_under(name, epoch)?;
        if !grant.ready {
            let grant = Grant { ready: true, ..grant };
            self.singletons.set_grant(name, Some(grant), &mut self.changes);
            out.push(Effect::SingletonChanged(name.clone()));
            for dependent in self.singletons.dependents(name) {
                self.place(&dependent, out);
            }
        }
        Ok(Verdict::Done)
    }

    pub(crate) fn keep_checkpoint(
        &mut self,
        name: &Name,
        epoch: Epoch,
        state: Vec<u8>,
    ) -> Result<Verdict, Refusal> {
        self.granted_under(name, epoch)?;
        self.set_checkpoint(name, epoch, state)?;
        Ok(Verdict::Amended { version: self.applied })
    }

    /// Changes the registry in the name of a singleton, if it is still held under this epoch (I6).
    pub(crate) fn act_under(
        &mut self,
        at: At,
        name: &Name,
        epoch: Epoch,
        deed: Deed,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        self.granted_under(name, epoch)?;
        match deed {
            Deed::Register { name, claim, replace } => self.register(at, name, claim, replace, out),
            Deed::Release { name, epoch } => self.release(&name, epoch, out),
            Deed::Amend { name, epoch, expected, value, meta } => {
                self.amend(at, &name, epoch, expected, (value, meta), out)
            }
            Deed::Count { name, add, expected } => self.count(name, add, expected, out),
        }
    }

    /// Asks the owner to give it up, to a node or to whoever it falls to then.
    pub(crate) fn move_grant(
        &mut self,
        name: &Name,
        to: Option<NodeId>,
        expected: Option<Epoch>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let singleton = self.singletons.find(name.as_str()).ok_or(Refusal::NoSingleton)?;
        let present = singleton.epoch();
        let stale = expected.is_some() && expected != present;
        let Some(grant) = singleton.grant.filter(|_| !stale) else {
            return Err(Refusal::NotGranted { present });
        };
        if singleton.halted {
            return Err(unfit(Blocked::Halted));
        }
        if to == Some(grant.node) {
            return match grant.phase {
                Phase::Active => Ok(Verdict::Done),
                Phase::Yielding { .. } => {
                    self.set_phase(name, grant, Phase::Active, out);
                    Ok(Verdict::Done)
                }
            };
        }
        let to = match to {
            None => self.choose(singleton, Some(grant.session)).map_err(unfit)?.session,
            Some(node) => {
                self.nodes.find(node).ok_or(Refusal::NoNode)?;
                match self.standing_on(singleton, node).unwrap_or(Standing::NoOffer) {
                    Standing::Fits(_) => {}
                    standing => return Err(unfit(standing)),
                }
                let mut offers = self.singletons.candidates(name);
                let offer = offers.find(|offer| offer.node == node && offer.failed.is_none());
                offer.ok_or(Refusal::NoCandidate)?.session
            }
        };
        self.set_phase(name, grant, Phase::Yielding { to: Some(to) }, out);
        Ok(Verdict::Done)
    }

    pub(crate) fn halt(&mut self, name: &Name, out: &mut Vec<Effect>) -> Result<Verdict, Refusal> {
        let singleton = self.singletons.find(name.as_str()).ok_or(Refusal::NoSingleton)?;
        let grant = singleton.grant;
        self.singletons.set_halted(name, true, &mut self.changes);
        match grant {
            Some(grant) => self.set_phase(name, grant, Phase::Yielding { to: None }, out),
            None => out.push(Effect::SingletonChanged(name.clone())),
        }
        Ok(Verdict::Done)
    }

    /// Lets it run again, also where it failed.
    pub(crate) fn resume(
        &mut self,
        name: &Name,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let singleton = self.singletons.find(name.as_str()).ok_or(Refusal::NoSingleton)?;
        let is_free = singleton.grant.is_none();
        self.singletons.set_halted(name, false, &mut self.changes);
        let failed: Vec<SessionId> =
            self.singletons.candidates(name).map(|one| one.session).collect();
        for session in failed {
            self.singletons.fail(name, session, None, &mut self.changes);
        }
        out.push(Effect::SingletonChanged(name.clone()));
        // What was told to end does so, and is placed anew then: its owner may have begun with it.
        if is_free {
            self.place(name, out);
        }
        Ok(Verdict::Done)
    }

    /// An operator says that what ran under an epoch has ended.
    pub(crate) fn force(
        &mut self,
        name: &Name,
        epoch: Epoch,
        why: String,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        fits("the reason", why.len() as u64, Singleton::WHY_BYTES_MAX)?;
        let grant = self.granted_under(name, epoch)?;
        let freed = self.close(name, Evidence::Forced, Words { why, left: None }, out);
        // Whoever had it is likely to be out of reach: another one has it, if another one can.
        let singleton = self.singletons.find(name.as_str());
        let another = singleton.and_then(|one| self.choose(one, Some(grant.session)).ok());
        match another.map(|candidate| candidate.session) {
            Some(another) => self.grant(name, another, out),
            None => self.place(name, out),
        }
        self.place_after(freed, out);
        Ok(Verdict::Done)
    }

    /// Takes a singleton out that nobody holds or offers to run, with what it left behind.
    pub(crate) fn forget(
        &mut self,
        name: &Name,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        self.singletons.find(name.as_str()).ok_or(Refusal::NoSingleton)?;
        if self.singletons.candidates(name).next().is_some() {
            return Err(Refusal::Offered);
        }
        self.singletons.forget(name, &mut self.changes);
        out.push(Effect::SingletonChanged(name.clone()));
        Ok(Verdict::Done)
    }

    pub(crate) fn drain(
        &mut self,
        node: NodeId,
        why: Option<String>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let bytes = why.as_ref().map_or(0, String::len);
        fits("the reason", bytes as u64, Singleton::WHY_BYTES_MAX)?;
        self.nodes.find(node).ok_or(Refusal::NoNode)?;
        let draining = why.is_some();
        self.singletons.set_drained(node, why, &mut self.changes);
        out.push(Effect::Drained { node, draining });
        if !draining {
            self.place_waiting_on(node, out);
        }
        Ok(Verdict::Done)
    }

    /// A life has ended; with it go its offers, and what it held is placed anew, all in one entry.
    pub(crate) fn end_offers(
        &mut self,
        session: SessionId,
        evidence: Evidence,
        out: &mut Vec<Effect>,
    ) {
        let offered = self.singletons.offered_by(session);
        for name in &offered {
            self.singletons.unoffer(name, session, &mut self.changes);
        }
        let (mut lost, mut freed) = (Vec::new(), BTreeSet::new());
        for name in &offered {
            let grant = self.singletons.find(name.as_str()).and_then(|one| one.grant);
            if grant.is_some_and(|grant| grant.session == session) {
                freed.extend(self.close(name, evidence, Words::default(), out));
                lost.push(name);
            }
            self.undo_yields(name, session, out);
            out.push(Effect::SingletonChanged(name.clone()));
        }
        // Only now, so that where one is placed the shares of all others are known.
        for name in lost {
            self.place(name, out);
        }
        self.place_after(freed, out);
    }

    /// Ends all offers and grants, for a cluster that begins anew.
    pub(crate) fn end_all_offers(&mut self) {
        for name in self.singletons.names() {
            let words = Words { why: "the cluster began anew".to_owned(), left: None };
            self.close(&name, Evidence::Forced, words, &mut Vec::new());
            let lives: Vec<SessionId> =
                self.singletons.candidates(&name).map(|one| one.session).collect();
            for session in lives {
                self.singletons.unoffer(&name, session, &mut self.changes);
            }
        }
    }

    /// The grant under which a singleton is held, if that is this epoch.
    fn granted_under(&self, name: &Name, epoch: Epoch) -> Result<Grant, Refusal> {
        let singleton = self.singletons.find(name.as_str()).ok_or(Refusal::NoSingleton)?;
        let present = singleton.epoch();
        let grant = singleton.grant.filter(|grant| grant.epoch == epoch);
        grant.ok_or(Refusal::NotGranted { present })
    }

    fn set_checkpoint(&mut self, name: &Name, epoch: Epoch, state: Vec<u8>) -> Result<(), Refusal> {
        fits("the checkpoint", state.len() as u64, Checkpoint::BYTES_MAX)?;
        let checkpoint = Checkpoint { epoch, version: self.applied, state };
        self.singletons.set_checkpoint(name, checkpoint, &mut self.changes);
        Ok(())
    }

    fn set_phase(&mut self, name: &Name, grant: Grant, phase: Phase, out: &mut Vec<Effect>) {
        let grant = Grant { phase, ..grant };
        self.singletons.set_grant(name, Some(grant), &mut self.changes);
        out.push(Effect::GrantPhase { name: name.clone(), grant });
    }

    /// Whoever it was to be moved to is no more: its owner keeps it.
    fn undo_yields(&mut self, name: &Name, to: SessionId, out: &mut Vec<Effect>) {
        let grant = self.singletons.find(name.as_str()).and_then(|one| one.grant);
        if let Some(grant) = grant
            && grant.phase == (Phase::Yielding { to: Some(to) })
        {
            self.set_phase(name, grant, Phase::Active, out);
        }
    }

    /// Gives the node that can take more than before, if it could not take everything before.
    fn close(
        &mut self,
        name: &Name,
        evidence: Evidence,
        Words { why, left }: Words,
        out: &mut Vec<Effect>,
    ) -> Option<NodeId> {
        let singleton = self.singletons.find(name.as_str())?;
        let Grant { epoch, session, node, .. } = singleton.grant?;
        let is_full = |found: &Node| self.singletons.load_of(node) >= found.capacity();
        let keeps_apart = singleton.spec.company.is_some();
        let is_freed = keeps_apart || self.nodes.find(node).is_some_and(is_full);
        let past = Past { epoch, node, closed: self.applied, evidence, why, left };
        self.singletons.close(name, past, &mut self.changes);
        out.push(Effect::GrantClosed { name: name.clone(), epoch, session, evidence });
        is_freed.then_some(node)
    }

    fn can_have(&self, name: &Name, session: SessionId) -> bool {
        let Some(singleton) = self.singletons.find(name.as_str()) else { return false };
        let Some(offer) = self.singletons.candidate(name, session) else { return false };
        let standing = self.standing_on(singleton, offer.node);
        !singleton.halted && offer.failed.is_none() && matches!(standing, Some(Standing::Fits(_)))
    }

    fn grant(&mut self, name: &Name, session: SessionId, out: &mut Vec<Effect>) {
        let Some(offer) = self.singletons.candidate(name, session) else { return };
        // Without epochs nothing can be granted any more; registrations say so by name.
        let Some(epoch) = Epoch::new(self.generation, self.applied) else { return };
        let grant = Grant { epoch, session, node: offer.node, phase: Phase::Active, ready: false };
        self.singletons.set_grant(name, Some(grant), &mut self.changes);
        out.push(Effect::Granted { name: name.clone(), grant });
    }

    /// Gives a singleton that nobody holds to whoever it falls to, if somebody can have it.
    fn place(&mut self, name: &Name, out: &mut Vec<Effect>) {
        let Some(singleton) = self.singletons.find(name.as_str()) else { return };
        if singleton.grant.is_some() {
            return;
        }
        if let Ok(candidate) = self.choose(singleton, None) {
            let session = candidate.session;
            self.grant(name, session, out);
        }
    }

    fn place_after(&mut self, freed: impl IntoIterator<Item = NodeId>, out: &mut Vec<Effect>) {
        for node in freed {
            self.place_waiting_on(node, out);
        }
    }

    /// A node can take more than before: places those that nobody holds and that can be there now.
    ///
    /// After every entry none waits that somebody can have. That is kept by trying, after a change, those for
    /// which it could matter: a singleton when its own wishes, candidates or halt change, those that come
    /// after one that became ready, and these here when a node joins, has other labels, is no longer drained,
    /// or gives up something while it was full or others keep apart from that. Each of those changes says
    /// nothing new about any other node.
    pub(crate) fn place_waiting_on(&mut self, node: NodeId, out: &mut Vec<Effect>) {
        for name in self.singletons.waiting() {
            let Some(singleton) = self.singletons.find(name.as_str()) else { continue };
            if self.waits_for(singleton).is_some() {
                continue;
            }
            match self.standing_on(singleton, node) {
                Some(Standing::Fits(_)) => self.place(&name, out),
                // So it stands to all others that nobody holds.
                Some(Standing::Full { .. } | Standing::Draining(_)) => return,
                _ => {}
            }
        }
    }
}

fn unfit(why: impl fmt::Display) -> Refusal {
    let mut why = why.to_string();
    // Verdicts are remembered, so they stay small.
    why.truncate(why.floor_char_boundary(Singleton::WHY_BYTES_MAX));
    Refusal::Unfit { why }
}
