//! The state of everything, and what each thing that may happen makes of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_vocab::SessionId;

use crate::bounds::{Bounds, FAST, Mutant};
use crate::ledger::{Entry, Ledger, Life, Op};
use crate::seat::{Place, Seat};
use crate::voter::{Heard, Reign, Voter};

/// What is explored.
#[derive(Clone, Debug)]
pub struct Protocol {
    /// How far, and with which rule left out.
    pub bounds: Bounds,
}

/// One state of the model.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) voters: Vec<Voter>,
    pub(crate) seats: Vec<Seat>,
    /// What some leader knows to be agreed, and what that comes to.
    pub(crate) agreed: Arc<Vec<Entry>>,
    pub(crate) ledger: Arc<Ledger>,
    /// How long a leader waits for a session.
    pub(crate) wait: Duration,
    /// Whether there is, or will be, a leader that asks the voters what they remember.
    remember: bool,
    /// What was agreed before the first entry.
    first: Arc<Ledger>,
    /// Commands on their way to a leader, for as long as it pleases.
    pub(crate) under_way: BTreeSet<Op>,
    pub(crate) left: Left,
    pub(crate) seen: Seen,
}

/// How much more of each trouble there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub elections: u8,
    pub crashes: u8,
    pub pauses: u8,
    pub moves: u8,
}

/// What must not happen and leaves no other trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    /// A renew was answered though its session was over when its round began.
    pub answered_over: bool,
    /// A renew was answered that no majority stands behind.
    pub answered_alone: bool,
    /// Two leaders did not agree on what is agreed.
    pub disagreed: bool,
}

impl World {
    /// One leader, one term, all is agreed; every holder has just renewed, and the owner runs.
    pub(crate) fn new(bounds: &Bounds) -> Self {
        let ledger = Arc::new(Ledger::new(bounds));
        let mut leader = Voter::new(1);
        let mut reign = Reign::new(ledger.clone(), bounds);
        reign.take_office(1, bounds);
        // There was none before it that it could ask about.
        reign.recalled = true;
        leader.reign = Some(reign);
        let seat = |life: &Life| Seat::new(life.holder, life.session, bounds);
        let mut seats: Vec<Seat> = ledger.lives().iter().map(seat).collect();
        for seat in &mut seats {
            if let Some((_, view)) = seat.look(&ledger) {
                seat.view = view;
                seat.running = view.map(|grant| grant.epoch);
            }
        }
        let Bounds { elections, crashes, pauses, moves, .. } = *bounds;
        let mut voters = vec![leader, Voter::new(1), Voter::new(1)];
        voters.iter_mut().for_each(|voter| voter.survey(&ledger));
        Self {
            voters,
            seats,
            wait: bounds.terms().wait(bounds.ttl()),
            remember: bounds.remember,
            agreed: Arc::default(),
            first: ledger.clone(),
            ledger,
            under_way: BTreeSet::new(),
            left: Left { elections, crashes, pauses, moves },
            seen: Seen::default(),
        }
    }

    /// Whether nothing that is bound to a clock is to be done first: whoever is awake stops in time, and
    /// the fencer kills in time.
    pub(crate) fn may_tick(&self, bounds: &Bounds) -> bool {
        !self.seats.iter().any(|seat| seat.overruns(bounds))
    }

    pub(crate) fn tick(&mut self) {
        for at in 0..self.seats.len() {
            if self.seats[at].tick() {
                self.lose(at);
            }
        }
        self.voters.iter_mut().for_each(|voter| voter.now = voter.now + FAST);
        let reigns = self.voters.iter_mut().filter_map(|voter| voter.reign.as_mut());
        let asked: Vec<Op> = reigns.flat_map(Reign::tick).collect();
        self.under_way.extend(asked);
        self.drop_void();
    }

    /// A holder sends a renew. What is one too many is lost, with what became of it.
    pub(crate) fn send(&mut self, at: usize, bounds: &Bounds) {
        if self.seats[at].asks.len() == usize::from(bounds.asks) {
            let oldest = self.seats[at].asks[0].seq;
            self.forget(at, oldest);
        }
        self.seats[at].send();
    }

    pub(crate) fn hear(&mut self, voter: usize, at: usize, ask: usize) {
        let ask = self.seats[at].asks[ask];
        let holder = self.seats[at].id;
        let (session, seq) = (ask.session, ask.seq);
        // Whom no leader will ask, need not remember.
        let stored = !self.is_to_recall();
        let heard = Heard { holder, session, seq, asked: false, over: false, stored };
        let asked = self.voters[voter].reign.as_mut().map(|reign| reign.hear(heard));
        self.under_way.extend(asked.into_iter().flatten());
        self.drop_void();
    }

    /// A round begins, and a majority takes part in it. What lies between the two changes nothing: a round
    /// that began earlier is for fewer renews.
    pub(crate) fn round(&mut self, voter: usize, with: usize) {
        let term = self.voters[voter].term;
        self.voters[with].follow(term);
        let ledger = &self.ledger;
        let Some(reign) = &mut self.voters[voter].reign else { return };
        let mut round = std::mem::take(&mut reign.heard);
        for heard in &mut round {
            heard.asked = voter != with;
            heard.over = !ledger.lives_on(heard.session);
        }
        reign.round = Some(round);
    }

    /// A leader and another voter, and so a majority, store what the leader has heard of; or the other one
    /// refuses, and it is as if it had not been asked.
    pub(crate) fn store(&mut self, voter: usize, with: usize, bounds: &Bounds) {
        let term = self.voters[voter].term;
        let Some(reign) = &mut self.voters[voter].reign else { return };
        let sessions: Vec<_> = reign.unstored().map(|heard| heard.session).collect();
        let stored = self.voters[voter].store(term, &sessions, bounds)
            && self.voters[with].store(term, &sessions, bounds);
        let reign = self.voters[voter].reign.as_mut().filter(|_| stored);
        reign.into_iter().for_each(|reign| reign.unstored().for_each(|heard| heard.stored = true));
    }

    /// A leader asks another voter, and itself, for how long nobody was heard of.
    pub(crate) fn recall(&mut self, voter: usize, with: usize) {
        let term = self.voters[voter].term;
        let sessions: Vec<_> = self.ledger.lives().iter().map(|life| life.session).collect();
        let own = self.voters[voter].recall(term, &sessions);
        let other = self.voters[with].recall(term, &sessions);
        let (Some(own), Some(other), Some(reign)) = (own, other, self.voters[voter].reign.as_mut())
        else {
            return;
        };
        let youngest = own.into_iter().zip(other).map(|(own, other)| own.min(other));
        let asked = reign.recall(term, sessions.into_iter().zip(youngest).collect());
        self.under_way.extend(asked);
        self.drop_void();
    }

    /// Whether some leader may still ask what the voters remember.
    pub(crate) fn is_to_recall(&self) -> bool {
        let asks = |voter: &Voter| voter.reign.as_ref().is_some_and(|reign| !reign.recalled);
        self.remember && (self.left.elections > 0 || self.voters.iter().any(asks))
    }

    pub(crate) fn answer(&mut self, voter: usize, bounds: &Bounds) {
        let Some(reign) = &mut self.voters[voter].reign else { return };
        let mut round = reign.round.take().unwrap_or_default();
        if bounds.is(Mutant::EarlyRound) {
            round.append(&mut reign.heard);
        }
        for heard in round {
            let lives = reign.ledger.lives_on(heard.session);
            let admits = reign.grantor.admits(heard.session);
            let admits = admits || bounds.is(Mutant::ForgetsCondemned);
            let asks = &mut self.seats[usize::from(heard.holder)].asks;
            let Some(ask) = asks.iter_mut().find(|ask| ask.seq == heard.seq) else { continue };
            match (lives, admits) {
                (false, _) => ask.over = true,
                (true, true) => {
                    ask.renewed = true;
                    let over =
                        if heard.asked { heard.over } else { !self.ledger.lives_on(heard.session) };
                    self.seen.answered_over |= over;
                    self.seen.answered_alone |= !heard.asked;
                }
                (true, false) => {}
            }
        }
    }

    pub(crate) fn confirm(&mut self, at: usize, ask: usize, bounds: &Bounds) {
        let ask = self.seats[at].asks[ask];
        if self.seats[at].confirm(ask, bounds) {
            self.lose(at);
        }
        self.forget(at, ask.seq);
    }

    /// A holder is told that its session is over.
    pub(crate) fn tell_over(&mut self, at: usize) {
        match self.seats[at].place {
            Place::Taking(_) => self.go_out(at),
            _ => {
                let end = self.seats[at].end();
                self.seats[at].fence(end);
                self.lose(at);
            }
        }
    }

    /// A holder looks at what is agreed.
    pub(crate) fn look(&mut self, at: usize) {
        let Some((place, view)) = self.seats[at].look(&self.ledger) else { return };
        let is_out = matches!(place, Place::Out);
        self.seats[at].place = place;
        self.seats[at].view = view;
        if is_out {
            self.go_out(at);
        }
    }

    pub(crate) fn stop(&mut self, at: usize) {
        let seat = &mut self.seats[at];
        seat.running = None;
        match (&seat.place, seat.view) {
            (Place::Fencing(session, _), _) => {
                let session = *session;
                self.leave(at, session);
            }
            (_, Some(grant)) => {
                seat.ended = grant.epoch;
                self.under_way.insert(Op::Ended { epoch: grant.epoch });
                self.drop_void();
            }
            _ => {}
        }
    }

    /// A holder goes on after it was stopped. What it lost meanwhile it stops, if it still runs.
    pub(crate) fn resume(&mut self, at: usize) {
        self.seats[at].asleep = false;
        if self.seats[at].step(quorate_registry::lease::holder::Input::Tick) {
            self.lose(at);
        }
    }

    /// A holder's process ends. Its fencer has seen it, and reports it, sooner or later or never.
    pub(crate) fn end_process(&mut self, at: usize) {
        let over = self.seats[at].session();
        self.under_way.extend(over.map(|session| Op::End { session, proven: true }));
        self.seats[at].restart();
        self.go_out(at);
        self.drop_void();
    }

    /// A leader takes a command into its log.
    pub(crate) fn append(&mut self, voter: usize, op: Op) {
        self.under_way.remove(&op);
        let term = self.voters[voter].term;
        Arc::make_mut(&mut self.voters[voter].log).push(Entry { term, op });
    }

    /// A voter stores all that a leader has in its log.
    pub(crate) fn copy(&mut self, from: usize, to: usize) {
        let (term, log) = (self.voters[from].term, self.voters[from].log.clone());
        self.voters[to].follow(term);
        self.voters[to].log = log;
    }

    /// Up to where a majority stores what a leader has, as far as it may count: the last of it is of its
    /// term.
    pub(crate) fn stored(&self, voter: usize) -> usize {
        let Voter { term, log, .. } = &self.voters[voter];
        let is_stored = |upto: &usize| {
            let has = |other: &&Voter| other.log.get(..*upto) == Some(&log[..*upto]);
            log[*upto - 1].term == *term && self.voters.iter().filter(has).count() >= 2
        };
        (1..=log.len()).rev().find(is_stored).unwrap_or(0)
    }

    /// A leader learns what is agreed, and applies it.
    pub(crate) fn agree(&mut self, voter: usize, bounds: &Bounds) {
        let upto = self.stored(voter);
        let Voter { term, log, reign, .. } = &mut self.voters[voter];
        let Some(reign) = reign else { return };
        self.under_way.extend(reign.apply(&log[..upto], *term, bounds));
        let both = upto.min(self.agreed.len());
        self.seen.disagreed |= self.agreed[..both] != log[..both];
        if upto > self.agreed.len() {
            self.agreed = Arc::new(log[..upto].to_vec());
            self.ledger = reign.ledger.clone();
            self.voters.iter_mut().for_each(|voter| voter.survey(&self.ledger));
        }
        self.drop_void();
    }

    pub(crate) fn elect(&mut self, voter: usize, by: usize, bounds: &Bounds) {
        let term = self.voters[voter].term.max(self.voters[by].term) + 1;
        self.voters[by].follow(term);
        self.voters[voter].begin(term, self.first.clone(), bounds);
    }

    /// Whether there is one leader, and will be no other.
    pub(crate) fn is_last_reign(&self) -> bool {
        let reigns = self.voters.iter().filter(|voter| voter.reign.is_some()).count();
        self.left.elections == 0 && reigns == 1
    }

    /// The voters that would take part in what a leader does.
    pub(crate) fn listeners(&self, voter: usize) -> impl Iterator<Item = usize> + Clone {
        let term = self.voters[voter].term;
        let listens = move |other: &usize| {
            *other != voter && !self.voters[*other].is_asleep() && self.voters[*other].term <= term
        };
        (0..self.voters.len()).filter(listens)
    }

    /// Ends the reign of whoever can do nothing any more: no majority will ever follow, as terms only rise,
    /// there is no round left to answer, and the expiries that it may still ask for are void. What it
    /// believes has no consequence then; so there is no need to tell its states apart.
    pub(crate) fn retire(&mut self) {
        for at in 0..self.voters.len() {
            let term = self.voters[at].term;
            let idle = self.voters[at].reign.as_ref().is_some_and(|reign| reign.round.is_none());
            let later = self.voters.iter().filter(|other| other.term > term).count();
            if idle && later >= 2 {
                self.voters[at].reign = None;
            }
        }
    }

    pub(crate) fn wake(&mut self, voter: usize) {
        let asked = self.voters[voter].reign.as_mut().map(Reign::wake);
        self.under_way.extend(asked.into_iter().flatten());
        self.drop_void();
    }

    /// The holders that could have the singleton and do not.
    pub(crate) fn others(&self) -> impl Iterator<Item = u8> {
        let grant = self.ledger.grant();
        let is_other = move |life: &&Life| {
            grant.is_some_and(|grant| grant.session != life.session && grant.to.is_none())
        };
        self.ledger.lives().iter().filter(is_other).map(|life| life.holder)
    }

    /// Whether the entry of this index came after the beginning.
    pub(crate) fn is_new(&self, index: u64) -> bool {
        index > self.first.applied()
    }

    /// A holder has lost its lease: what ran ends, within the budget.
    fn lose(&mut self, at: usize) {
        self.forget(at, u64::MAX);
        let seat = &mut self.seats[at];
        seat.view = None;
        if let Place::Fencing(session, end) = seat.place
            && (seat.running.is_none() || end <= seat.now)
        {
            seat.running = None;
            self.leave(at, session);
        }
    }

    /// Nothing runs any more, and a holder says so.
    fn leave(&mut self, at: usize, session: SessionId) {
        self.seats[at].place = Place::Leaving(session);
        self.under_way.insert(Op::End { session, proven: false });
        self.drop_void();
    }

    /// What ends a session that is over changes nothing whenever it comes, as no session comes again.
    fn drop_void(&mut self) {
        let ledger = &self.ledger;
        self.under_way.retain(|op| match op {
            Op::End { session, .. } | Op::Expire { session, .. } => ledger.lives_on(*session),
            Op::Ended { epoch } => ledger.grant().is_some_and(|grant| grant.epoch == *epoch),
            _ => true,
        });
    }

    fn go_out(&mut self, at: usize) {
        self.forget(at, u64::MAX);
        let seat = &mut self.seats[at];
        seat.place = Place::Out;
        self.under_way.insert(Op::Open { holder: seat.id, boot: seat.boot });
    }

    /// Nobody cares any more for a holder's renews up to this one. A leader that still heard one of them
    /// would only wait for longer.
    fn forget(&mut self, at: usize, upto: u64) {
        let holder = self.seats[at].id;
        self.seats[at].asks.retain(|ask| ask.seq > upto);
        for reign in self.voters.iter_mut().filter_map(|voter| voter.reign.as_mut()) {
            reign.forget(holder, |seq| seq <= upto);
        }
    }
}
