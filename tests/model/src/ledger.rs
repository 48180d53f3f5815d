//! What is agreed: the registry's own machine, and the little of it that the model looks at.

use std::collections::BTreeMap;

use quorate_registry::lease::grantor;
use quorate_registry::{
    At, Command, Effect, Ending, Evidence, Level, Machine, Once, Op as Ask, Phase, SessionOwner,
};
use quorate_vocab::{Boot, Index, Name, NodeId, NodeName, SessionId};

use crate::bounds::{Bounds, Mutant};

/// One entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Entry {
    /// The term that it was appended in.
    pub term: u64,
    pub op: Op,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Op {
    /// The first entry of a term.
    Noop,
    /// A life of a holder begins, and offers to run the singleton, in two entries that follow each other.
    Open { holder: u8, boot: u8 },
    /// A life is over: its owner says so, or its fencer has seen it end.
    End { session: SessionId, proven: bool },
    /// A life fell silent for too long, as a leader of this term says.
    Expire { session: SessionId, term: u64 },
    /// The owner is to give the singleton to this holder.
    Move { to: u8 },
    /// The owner says that nothing runs under this epoch any more.
    Ended { epoch: u64 },
}

/// The right to run the singleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Grant {
    pub epoch: u64,
    pub session: SessionId,
    /// Who shall have it next. Its owner is to end it.
    pub to: Option<SessionId>,
}

/// A life that has not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub session: SessionId,
    pub holder: u8,
    boot: u8,
}

/// The state after some entry.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    machine: Machine,
    /// The oldest first.
    lives: Vec<Life>,
    grant: Option<Grant>,
    /// The greatest epoch that was ever granted.
    newest: u64,
    /// Whether every epoch was greater than those before it.
    rising: bool,
}

const SINGLETON: &str = "the-one";

impl Ledger {
    /// Each holder has opened its first life, and one of them holds the singleton.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let (machine, lives) = (Machine::new(0), Vec::new());
        let mut ledger = Self { machine, lives, grant: None, newest: 0, rising: true };
        for holder in 0..bounds.holders {
            let mut labels = BTreeMap::new();
            Level::NEWEST.announce(&mut labels);
            let name = NodeName::try_from(format!("node-{holder}")).expect("it is short");
            let (node, address) = (node(holder), String::new());
            ledger.perform(1, Ask::Join { node, name, address, labels });
        }
        ledger.perform(1, Ask::Raise { level: Level::NEWEST });
        for holder in 0..bounds.holders {
            let entry = Entry { term: 1, op: Op::Open { holder, boot: 1 } };
            ledger.apply(entry, bounds);
        }
        ledger
    }

    pub(crate) fn lives(&self) -> &[Life] {
        &self.lives
    }

    pub(crate) fn life_of(&self, holder: u8, boot: u8) -> Option<SessionId> {
        let of = |life: &&Life| life.holder == holder && life.boot == boot;
        self.lives.iter().find(of).map(|life| life.session)
    }

    pub(crate) fn lives_on(&self, session: SessionId) -> bool {
        self.lives.iter().any(|life| life.session == session)
    }

    pub(crate) fn grant(&self) -> Option<Grant> {
        self.grant
    }

    pub(crate) fn applied(&self) -> u64 {
        self.machine.applied().0
    }

    pub(crate) fn is_rising(&self) -> bool {
        self.rising
    }

    /// Applies the next entry, and says what a grantor must hear of it.
    pub(crate) fn apply(&mut self, entry: Entry, bounds: &Bounds) -> Vec<grantor::Input> {
        let mut effects = Vec::new();
        if let Some(ask) = command(entry, bounds, &self.machine) {
            effects.extend(self.perform(entry.term, ask));
            effects.extend(self.volunteer(entry));
        }
        self.look(bounds);
        let told = |effect: &Effect| match *effect {
            Effect::SessionOpened { session, .. } => {
                Some(grantor::Input::Opened { session, ttl: bounds.ttl() })
            }
            Effect::SessionEnded { session, .. } => Some(grantor::Input::Ended { session }),
            _ => None,
        };
        effects.iter().filter_map(told).collect()
    }

    fn volunteer(&mut self, entry: Entry) -> Vec<Effect> {
        let Op::Open { holder, boot } = entry.op else { return Vec::new() };
        let owner = SessionOwner::Node { node: node(holder), boot: Boot(boot.into()) };
        let Some(life) = self.machine.sessions().find(|life| life.owner == owner) else {
            return Vec::new();
        };
        let (session, node) = (life.id, node(holder));
        let ask = Ask::Volunteer { name: singleton(), session, node, spec: Box::default() };
        self.perform(entry.term, ask)
    }

    fn perform(&mut self, term: u64, op: Ask) -> Vec<Effect> {
        let index = Index(self.machine.applied().0 + 1);
        let mut effects = Vec::new();
        self.machine.apply(At { index, term }, Command { once: Once::Free, op }, &mut effects);
        self.machine.check();
        effects
    }

    fn look(&mut self, bounds: &Bounds) {
        let life = |session: &quorate_registry::Session| match session.owner {
            SessionOwner::Node { node, boot } => {
                let (holder, boot) = (small(node.0), small(boot.0));
                Some(Life { session: session.id, holder, boot })
            }
            SessionOwner::Client | SessionOwner::Name => None,
        };
        self.lives = self.machine.sessions().filter_map(life).collect();
        let before = self.grant;
        let granted = self.machine.singleton(SINGLETON).and_then(|one| one.grant);
        self.grant = granted.map(|grant| {
            let to = match grant.phase {
                Phase::Active => None,
                Phase::Yielding { to } => to,
            };
            let reused = bounds.is(Mutant::EpochReused) && self.newest > 0;
            let epoch = if reused { self.newest } else { grant.epoch.index().0 };
            Grant { epoch, session: grant.session, to }
        });
        if let Some(grant) = self.grant
            && before.is_none_or(|before| before.session != grant.session)
        {
            self.rising &= grant.epoch > self.newest;
            self.newest = grant.epoch;
        }
    }
}

/// What the registry is asked for. A noop is an entry like any other to a log, but none to the machine.
fn command(entry: Entry, bounds: &Bounds, machine: &Machine) -> Option<Ask> {
    Some(match entry.op {
        Op::Noop => return None,
        Op::Open { holder, boot } => {
            let owner = SessionOwner::Node { node: node(holder), boot: Boot(boot.into()) };
            let ttl_ms = bounds.ttl().as_millis().try_into().ok()?;
            Ask::Open { owner, ttl_ms }
        }
        Op::End { session, proven } => {
            let evidence = if proven { Evidence::ProvenDead } else { Evidence::Stopped };
            Ask::End { session, evidence }
        }
        Op::Expire { session, term } => {
            let term = if bounds.is(Mutant::UnboundExpiry) { entry.term } else { term };
            Ask::End { session, evidence: Evidence::Expired { term } }
        }
        Op::Move { to } => Ask::Move { name: singleton(), to: Some(node(to)), expected: None },
        Op::Ended { epoch } => {
            let grant = machine.singleton(SINGLETON)?.grant?;
            let is_it = grant.epoch.index().0 == epoch || bounds.is(Mutant::EpochReused);
            let ending = Ending::Stopped { state: None };
            return is_it.then(|| Ask::EndGrant { name: singleton(), epoch: grant.epoch, ending });
        }
    })
}

fn singleton() -> Name {
    Name::new(SINGLETON).expect("it is short")
}

fn node(holder: u8) -> NodeId {
    NodeId(holder.into())
}

fn small(number: u64) -> u8 {
    number.try_into().expect("all numbers here are small")
}
