//! The holder: until when the owner of a session may act.
//!
//! It believes only what was confirmed, and counts from when it asked: the leader may have counted from any
//! moment after that. Once lost, a lease stays lost, whatever is confirmed later; a new life needs a new
//! session, and a new holder. A session without a time to live has no lease and needs no holder.
//!
//! I3 rests on this side on [`Holder::is_valid`], which is asked with the time of the act.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_vocab::Time;

/// What happens to a holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A renew (or the opening of the session) is sent now; ask before handing it to the network.
    Sent {
        /// Its number, greater than all before.
        seq: u64,
    },
    /// The leader answered it, after a majority confirmed the leader.
    Confirmed {
        /// Its number.
        seq: u64,
    },
    /// Time passed.
    Tick,
}

/// What a holder asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The lease ended; nothing may be done under it any more. Said once.
    Lost,
}

/// One session's lease, as its owner sees it.
#[derive(Clone, Debug)]
pub struct Holder {
    ttl: Duration,
    /// When each unanswered renew was sent; at most [`Holder::PENDING_MAX`] of them.
    pending: BTreeMap<u64, Time>,
    /// The greatest number that was ever sent, and when.
    newest: Option<(u64, Time)>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was confirmed yet.
    Waiting,
    Held {
        until: Time,
    },
    Lost,
}

impl Holder {
    /// How many unanswered renews are remembered. An answer to an older one is worth nothing.
    pub const PENDING_MAX: usize = 64;

    /// Nothing is held until the first confirmation.
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, pending: BTreeMap::new(), newest: None, state: State::Waiting }
    }

    /// Takes one input. Time that passed is looked at first, so a late confirmation revives nothing.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        self.expire(now, out);
        match input {
            _ if self.state == State::Lost => {}
            Input::Sent { seq } => self.remember(seq, now),
            Input::Confirmed { seq } => self.confirm(seq),
            Input::Tick => {}
        }
        self.expire(now, out);
    }

    /// When the lease ends, if it is held: the driver steps no later than then.
    pub fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Held { until } => Some(until),
            State::Waiting | State::Lost => None,
        }
    }

    /// Whether an act at this time is covered.
    pub fn is_valid(&self, now: Time) -> bool {
        self.deadline().is_some_and(|until| now < until)
    }

    /// Whether the lease was held and ended.
    pub fn is_lost(&self) -> bool {
        self.state == State::Lost
    }

    /// Asserts what the holder relies on.
    ///
    /// # Panics
    /// With I3, when a renew that is not confirmed would have prolonged the lease.
    pub fn check(&self) {
        assert!(self.pending.len() <= Self::PENDING_MAX, "I3: renews pile up");
        assert!(self.pending.values().is_sorted(), "I3: a later renew was sent earlier");
    }

    fn remember(&mut self, seq: u64, now: Time) {
        // A number that comes again keeps its first time: an answer to the first copy may be under way.
        if self.newest.is_some_and(|(newest, at)| seq <= newest || now < at) {
            return;
        }
        self.newest = Some((seq, now));
        self.pending.insert(seq, now);
        if self.pending.len() > Self::PENDING_MAX {
            self.pending.pop_first();
        }
    }

    fn confirm(&mut self, seq: u64) {
        let Some(sent) = self.pending.get(&seq).copied() else {
            return;
        };
        self.pending = self.pending.split_off(&seq);
        self.pending.remove(&seq);
        let until = sent + self.ttl;
        self.state = match self.state {
            State::Held { until: before } => State::Held { until: until.max(before) },
            _ => State::Held { until },
        };
    }

    fn expire(&mut self, now: Time, out: &mut Vec<Output>) {
        if self.deadline().is_some_and(|until| now >= until) {
            self.state = State::Lost;
            self.pending.clear();
            out.push(Output::Lost);
        }
    }
}
