//! A node that may run the singleton: the driver of a holder, as in `node/src/tenancy.rs`, and of what
//! runs.

use std::time::Duration;

use quorate_registry::lease::{Holder, holder};
use quorate_vocab::{SessionId, Time};

use crate::bounds::{Bounds, GUARD, Mutant, SLOW};
use crate::ledger::{Grant, Ledger};
use crate::voter::BIRTH;

#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub id: u8,
    /// How often it was started.
    pub boot: u8,
    /// For how long a renew is good, from when it is sent.
    pub good_for: Duration,
    /// How long what runs may take to end after that.
    pub budget: Duration,
    pub now: Time,
    /// Whether its process is stopped. Its clock goes on, and so does its fencer.
    pub asleep: bool,
    pub place: Place,
    /// The renews that are under way, the oldest first.
    pub asks: Vec<Ask>,
    last_seq: u64,
    /// The grant that concerns it, as of when it last looked.
    pub view: Option<Grant>,
    /// The epoch under which the singleton runs here.
    pub running: Option<u64>,
    /// The greatest epoch of which it said that nothing runs under it any more.
    pub ended: u64,
}

/// How far it is with its session.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// It has none and asks for one.
    Out,
    /// It was told of one, which counts from its first renew on.
    Taking(SessionId),
    Held(SessionId, Holder),
    /// It lost it, and what runs ends until then.
    Fencing(SessionId, Time),
    /// What ran has ended, and it says so.
    Leaving(SessionId),
}

/// A renew under way, and the answers to it, which may come any number of times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub session: SessionId,
    pub seq: u64,
    pub sent: Time,
    pub renewed: bool,
    pub over: bool,
}

impl Seat {
    /// It has just renewed the session that it opened.
    pub(crate) fn new(id: u8, session: SessionId, bounds: &Bounds) -> Self {
        Self {
            id,
            boot: 1,
            good_for: bounds.ttl() - bounds.budget(),
            budget: bounds.budget(),
            now: BIRTH,
            asleep: false,
            place: Place::Held(session, seated(BIRTH, BIRTH, bounds)),
            asks: Vec::new(),
            last_seq: 0,
            view: None,
            running: None,
            ended: 0,
        }
    }

    pub(crate) fn session(&self) -> Option<SessionId> {
        match self.place {
            Place::Out => None,
            Place::Taking(session)
            | Place::Held(session, _)
            | Place::Fencing(session, _)
            | Place::Leaving(session) => Some(session),
        }
    }

    /// Until when its lease is held, if it is.
    pub(crate) fn until(&self) -> Option<Time> {
        match &self.place {
            Place::Held(_, holder) => holder.deadline().filter(|until| self.now < *until),
            _ => None,
        }
    }

    /// When nothing may run under its session any more.
    pub(crate) fn end(&self) -> Option<Time> {
        match &self.place {
            Place::Held(_, holder) => holder.deadline().map(|until| until + self.budget),
            Place::Fencing(_, end) => Some(*end),
            Place::Out | Place::Taking(_) | Place::Leaving(_) => None,
        }
    }

    /// Whether a tick would leave something running that ought to have been stopped, or killed.
    pub(crate) fn overruns(&self, bounds: &Bounds) -> bool {
        let (Some(_), Some(end)) = (self.running, self.end()) else { return false };
        let then = self.now + SLOW;
        match (self.asleep, &self.place) {
            (false, Place::Fencing(..)) => then >= end,
            (false, _) => false,
            (true, _) => then >= end + GUARD && !bounds.is(Mutant::NoFencer),
        }
    }

    /// Whether the fencer sees its deadline pass.
    pub(crate) fn is_overdue(&self) -> bool {
        self.asleep && self.running.is_some() && self.end().is_some_and(|end| end <= self.now)
    }

    /// Its clock makes a tick; true when it lost its lease.
    pub(crate) fn tick(&mut self) -> bool {
        self.now = self.now + SLOW;
        !self.asleep && self.step(holder::Input::Tick)
    }

    /// Whether it may send: not twice at the same moment, which would be one renew that comes twice.
    pub(crate) fn may_send(&self) -> bool {
        let sits = matches!(self.place, Place::Taking(_)) || self.until().is_some();
        sits && self.asks.last().is_none_or(|ask| ask.sent < self.now)
    }

    pub(crate) fn send(&mut self) {
        let Some(session) = self.session() else { return };
        self.last_seq += 1;
        let (seq, sent) = (self.last_seq, self.now);
        self.step(holder::Input::Sent { seq });
        self.asks.push(Ask { session, seq, sent, renewed: false, over: false });
    }

    /// Takes the answer to a renew; true when it lost its lease.
    pub(crate) fn confirm(&mut self, ask: Ask, bounds: &Bounds) -> bool {
        let from_receipt = bounds.is(Mutant::CountsFromReceipt);
        match self.place {
            Place::Taking(session) => {
                let sent = if from_receipt { self.now } else { ask.sent };
                let holder = seated(sent, self.now, bounds);
                let is_late = holder.is_lost();
                self.place = Place::Held(session, holder);
                if is_late {
                    self.fence(None);
                }
                is_late
            }
            Place::Held(..) if from_receipt => {
                self.last_seq += 1;
                self.step(holder::Input::Sent { seq: self.last_seq })
                    || self.step(holder::Input::Confirmed { seq: self.last_seq })
            }
            _ => self.step(holder::Input::Confirmed { seq: ask.seq }),
        }
    }

    /// Gives one input to the holder; true when it has lost its lease by it.
    pub(crate) fn step(&mut self, input: holder::Input) -> bool {
        let end = self.end();
        let Place::Held(_, holder) = &mut self.place else { return false };
        let mut out = Vec::new();
        holder.step(self.now, input, &mut out);
        holder.check();
        if !out.is_empty() {
            self.fence(end);
        }
        !out.is_empty()
    }

    /// Its lease is no more; what runs has until then.
    pub(crate) fn fence(&mut self, end: Option<Time>) {
        if let Some(session) = self.session() {
            self.place = Place::Fencing(session, end.unwrap_or(self.now));
        }
    }

    /// What it would do if it looked now: another place, and another view.
    pub(crate) fn look(&self, ledger: &Ledger) -> Option<(Place, Option<Grant>)> {
        let concerns = |grant: &Grant| {
            self.session() == Some(grant.session)
                || self.session() == grant.to && grant.to.is_some()
        };
        let view = ledger.grant().filter(concerns);
        match self.place {
            Place::Out => {
                let session = ledger.life_of(self.id, self.boot)?;
                Some((Place::Taking(session), None))
            }
            Place::Leaving(session) if !ledger.lives_on(session) => Some((Place::Out, None)),
            _ => (view != self.view).then(|| (self.place.clone(), view)),
        }
    }

    /// The epoch that it may start under now (I5): granted to it alone, under a lease that is valid, and
    /// not one of which it said that it is over.
    pub(crate) fn may_start(&self, bounds: &Bounds) -> Option<u64> {
        self.until().filter(|_| !self.asleep && self.running.is_none())?;
        let grant = self.view.filter(|grant| grant.epoch > self.ended)?;
        let is_mine = Some(grant.session) == self.session() && grant.to.is_none();
        let is_next = bounds.is(Mutant::EarlyStart) && grant.to == self.session();
        (is_mine || is_next).then_some(grant.epoch)
    }

    /// Whether what runs here is to end, or is to be said to have ended: its lease is lost, or it is
    /// asked to give it up.
    pub(crate) fn must_stop(&self) -> bool {
        match self.place {
            Place::Fencing(..) => !self.asleep,
            Place::Held(..) => {
                let ended = self.view.is_some_and(|grant| grant.epoch <= self.ended);
                self.is_asked_to_yield() && !ended && !self.asleep && self.until().is_some()
            }
            _ => false,
        }
    }

    pub(crate) fn is_asked_to_yield(&self) -> bool {
        self.view.is_some_and(|grant| Some(grant.session) == self.session() && grant.to.is_some())
    }

    /// Its process is gone, with all that ran, and starts again.
    pub(crate) fn restart(&mut self) {
        self.boot += 1;
        self.asleep = false;
        self.place = Place::Out;
        self.asks.clear();
        self.view = None;
        self.running = None;
        self.ended = 0;
    }
}

fn seated(sent: Time, now: Time, bounds: &Bounds) -> Holder {
    let mut holder = Holder::new(bounds.ttl() - bounds.budget());
    let mut out = Vec::new();
    holder.step(sent, holder::Input::Sent { seq: 0 }, &mut out);
    holder.step(now, holder::Input::Confirmed { seq: 0 }, &mut out);
    holder
}
