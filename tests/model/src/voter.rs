//! A voter: its log, the driver of its memory, as in `node/src/memory.rs`, and while it believes to lead,
//! that of a grantor, as in `node/src/keeper.rs`.

use std::sync::Arc;
use std::time::Duration;

use quorate_registry::lease::memory::{Footing, Office};
use quorate_registry::lease::{Grantor, Memory, grantor};
use quorate_vocab::{Index, NodeId, SessionId, Time};

use crate::bounds::{Bounds, FAST, Mutant};
use crate::ledger::{Entry, Ledger, Op};

/// When every clock begins: late enough for what began before.
pub(crate) const BIRTH: Time = Time(1_000_000_000_000);

#[derive(Clone, Debug)]
pub(crate) struct Voter {
    pub term: u64,
    pub log: Arc<Vec<Entry>>,
    /// Its clock as a voter.
    pub now: Time,
    pub memory: Arc<Memory>,
    /// What it has as long as it believes to lead.
    pub reign: Option<Reign>,
}

/// All voters are named once, before the first entry.
const FOOTING: Footing = Footing { office: Office { term: 1, leader: NodeId(0) }, index: Index(0) };

#[derive(Clone, Debug)]
pub(crate) struct Reign {
    /// How long it waits for a session.
    pub wait: Duration,
    pub now: Time,
    /// For how many ticks it has been stopped.
    pub asleep: Option<u32>,
    /// How many entries it knows to be agreed, and what they come to.
    pub applied: usize,
    pub ledger: Arc<Ledger>,
    pub grantor: Arc<Grantor>,
    /// When it applied an entry of its own term, so that none of an earlier one is still to come.
    pub in_office: Option<Time>,
    /// Whether it has been told what the voters remember.
    pub recalled: bool,
    /// The renews that wait for a round.
    pub heard: Vec<Heard>,
    /// Those that a round which a majority took part in is for.
    pub round: Option<Vec<Heard>>,
}

/// A renew that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub holder: u8,
    pub session: SessionId,
    pub seq: u64,
    /// Whether a round that began after it came was taken part in by a majority.
    pub asked: bool,
    /// Whether its session was over when the round began.
    pub over: bool,
    /// Whether a majority has stored it.
    pub stored: bool,
}

impl Voter {
    pub(crate) fn new(term: u64) -> Self {
        Self { term, log: Arc::default(), now: BIRTH, memory: Arc::default(), reign: None }
    }

    /// Says to its memory which lives there are, and where it stands.
    pub(crate) fn survey(&mut self, ledger: &Ledger) {
        let living = ledger.lives().iter().map(|life| life.session);
        Arc::make_mut(&mut self.memory).survey(self.now, living);
        self.memory();
    }

    /// Its memory, which has taken note of the term.
    fn memory(&mut self) -> &mut Memory {
        let memory = Arc::make_mut(&mut self.memory);
        // There is one leader in a term, so it needs no name.
        memory.stand(self.now, Office { term: self.term, leader: NodeId(0) }, Some(FOOTING));
        memory
    }

    pub(crate) fn store(&mut self, term: u64, sessions: &[SessionId], bounds: &Bounds) -> bool {
        let term = if bounds.is(Mutant::ForgetsOffice) { term.max(self.term) } else { term };
        let now = self.now;
        self.memory().store(now, Office { term, leader: NodeId(0) }, sessions)
    }

    pub(crate) fn recall(&mut self, term: u64, sessions: &[SessionId]) -> Option<Vec<Duration>> {
        let now = self.now;
        self.memory().recall(now, Office { term, leader: NodeId(0) }, FOOTING, sessions)
    }

    /// Its process starts anew: what it stored is still there, and nothing else.
    pub(crate) fn restart(&mut self, ledger: &Ledger, bounds: &Bounds) {
        let now = self.now;
        if bounds.is(Mutant::RemembersNothing) {
            self.now = now - bounds.terms().wait(bounds.ttl());
        }
        self.reign = None;
        self.memory = Arc::default();
        self.survey(ledger);
        self.now = now;
    }

    /// Whether it believes to lead, and is not stopped.
    pub(crate) fn leads(&self) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.asleep.is_none())
    }

    pub(crate) fn is_asleep(&self) -> bool {
        self.reign.as_ref().is_some_and(|reign| reign.asleep.is_some())
    }

    /// Hears of a term; whoever led in an earlier one leads no more.
    pub(crate) fn follow(&mut self, term: u64) {
        if term > self.term {
            self.term = term;
            self.reign = None;
        }
    }

    /// What decides whether another one would vote for it.
    pub(crate) fn newest(&self) -> (u64, usize) {
        (self.log.last().map_or(1, |entry| entry.term), self.log.len())
    }

    pub(crate) fn begin(&mut self, term: u64, first: Arc<Ledger>, bounds: &Bounds) {
        self.term = term;
        Arc::make_mut(&mut self.log).push(Entry { term, op: Op::Noop });
        self.reign = Some(Reign::new(first, bounds));
    }
}

impl Reign {
    /// Begins with what was before the first entry.
    pub(crate) fn new(first: Arc<Ledger>, bounds: &Bounds) -> Self {
        Self {
            wait: bounds.terms().wait(bounds.ttl()),
            now: BIRTH,
            asleep: None,
            applied: 0,
            ledger: first,
            grantor: Arc::new(Grantor::new(bounds.terms())),
            in_office: None,
            recalled: false,
            heard: Vec::new(),
            round: None,
        }
    }

    /// Applies what is agreed; at the first entry of the own term, takes up the watch.
    pub(crate) fn apply(&mut self, log: &[Entry], term: u64, bounds: &Bounds) -> Vec<Op> {
        let mut heard = Vec::new();
        for entry in &log[self.applied..] {
            heard.extend(Arc::make_mut(&mut self.ledger).apply(*entry, bounds));
        }
        self.applied = log.len();
        if self.in_office.is_none() {
            return self.take_office(term, bounds);
        }
        heard.into_iter().flat_map(|input| self.step(self.now, input)).collect()
    }

    pub(crate) fn take_office(&mut self, term: u64, bounds: &Bounds) -> Vec<Op> {
        self.in_office = Some(self.now);
        let lives = self.ledger.lives().iter();
        let sessions = lives.map(|life| (life.session, bounds.ttl())).collect();
        let elected = grantor::Input::Elected { term, sessions };
        if bounds.is(Mutant::NoFreshStart) {
            let before = self.now - bounds.terms().wait(bounds.ttl());
            self.step(before, elected);
            return self.wake_until(self.now);
        }
        self.step(self.now, elected)
    }

    /// Its clock makes a tick, in which it does in time whatever it is not too stopped to do.
    pub(crate) fn tick(&mut self) -> Vec<Op> {
        self.now = self.now + FAST;
        match &mut self.asleep {
            None => self.wake_until(self.now),
            Some(ticks) => {
                *ticks += 1;
                Vec::new()
            }
        }
    }

    pub(crate) fn wake(&mut self) -> Vec<Op> {
        self.asleep = None;
        self.step(self.now, grantor::Input::Tick)
    }

    pub(crate) fn hear(&mut self, heard: Heard) -> Vec<Op> {
        self.heard.push(heard);
        self.step(self.now, grantor::Input::Renewed { session: heard.session })
    }

    /// Takes the youngest of what the voters remember.
    pub(crate) fn recall(&mut self, term: u64, ages: Vec<(SessionId, Duration)>) -> Vec<Op> {
        self.recalled = true;
        self.step(self.now, grantor::Input::Recalled { term, ages })
    }

    /// Whether it condemned somebody when it was in office for less than the wait.
    pub(crate) fn condemned_early(&self) -> bool {
        let lasted = self.in_office.map(|since| self.now.since(since));
        let mut silences = self.grantor.silences(self.now);
        lasted < Some(self.wait) && silences.any(|(_, silence)| silence.condemned.is_some())
    }

    /// Those that a majority has yet to store.
    pub(crate) fn unstored(&mut self) -> impl Iterator<Item = &mut Heard> {
        let waiting = self.heard.iter_mut().chain(self.round.iter_mut().flatten());
        waiting.filter(|heard| !heard.stored)
    }

    /// Those that wait for a round, and those that one is for.
    pub(crate) fn all_heard(&self) -> impl Iterator<Item = &Heard> {
        self.heard.iter().chain(self.round.iter().flatten())
    }

    pub(crate) fn awaits(&self, holder: u8, seq: u64) -> bool {
        self.all_heard().any(|heard| (heard.holder, heard.seq) == (holder, seq))
    }

    /// Nobody waits for the answers to these any more.
    pub(crate) fn forget(&mut self, holder: u8, is_gone: impl Fn(u64) -> bool) {
        let stays = |heard: &Heard| heard.holder != holder || !is_gone(heard.seq);
        self.heard.retain(stays);
        self.round.iter_mut().for_each(|round| round.retain(stays));
    }

    /// Steps whenever the grantor wants to be stepped, and at the end.
    fn wake_until(&mut self, end: Time) -> Vec<Op> {
        let mut asked = Vec::new();
        while let Some(at) = self.grantor.deadline().filter(|at| *at <= end) {
            asked.extend(self.step(at, grantor::Input::Tick));
        }
        asked.extend(self.step(end, grantor::Input::Tick));
        asked
    }

    fn step(&mut self, now: Time, input: grantor::Input) -> Vec<Op> {
        let mut out = Vec::new();
        Arc::make_mut(&mut self.grantor).step(now, input, &mut out);
        self.grantor.check();
        let op = |grantor::Output::Expire { session, term }| Op::Expire { session, term };
        out.into_iter().map(op).collect()
    }
}
