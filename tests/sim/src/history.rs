//! What clients asked for and what they were told, written down outside of all nodes.
//!
//! The history is the only witness that the checkers of promises believe. It tells three ends of an
//! operation apart: it was answered; it certainly did not happen; nobody knows, and it may still happen.
//!
//! Times are true ones. Within one nanosecond the order of writing counts: the world runs on one thread, so
//! what was written down first happened first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_registry::{Refusal, Registration, Verdict};
use quorate_vocab::{Epoch, Index, Name, Pid, SessionId};
use tokio::time::Instant;

use crate::clock;
use crate::trace::{Trace, hash_of};

/// A point of the history: true time since its beginning, and the place among what happened at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// True time.
    pub at: Duration,
    /// How many moments there were before.
    pub nth: u64,
}

impl Moment {
    /// Before everything.
    pub const START: Self = Self { at: Duration::ZERO, nth: 0 };
    /// After everything.
    pub const NEVER: Self = Self { at: Duration::MAX, nth: u64::MAX };
}

/// What stands for a registered value. Each registration of a history has a value of its own, so that a
/// reader's answer tells whose write it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

impl Mark {
    /// The mark of a value.
    pub fn of(value: &[u8]) -> Self {
        Self(hash_of(value))
    }

    /// The mark of a process, which registers itself rather than a value.
    pub fn of_process(holder: Pid) -> Self {
        Self::of(holder.to_string().as_bytes())
    }

    /// The mark of a reservation, which says nothing yet; whoever asks reserves a name once in a session.
    pub fn of_reservation(session: SessionId) -> Self {
        Self::of(format!("reserved in {session}").as_bytes())
    }

    /// The mark of what is registered.
    pub fn of_registration(held: &Registration) -> Self {
        match (held.holder, held.session) {
            (Some(holder), _) => Self::of_process(holder),
            (None, Some(session)) if held.reserved && held.version == held.index => {
                Self::of_reservation(session)
            }
            _ => Self::of(&held.value),
        }
    }
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Take the name.
    Register {
        /// What is registered.
        value: Mark,
        /// The life that it is bound to.
        session: Option<SessionId>,
        /// The epoch that it is to replace.
        replace: Option<Epoch>,
    },
    /// Take the name for a life of its own, which begins with it.
    Lease {
        /// What is registered.
        value: Mark,
    },
    /// Take the name as a lock, which whoever got it gives back. It says nothing that tells it from others.
    Lock,
    /// Say something else under the name.
    Amend {
        /// Only if it is held under this epoch.
        epoch: Epoch,
        /// Only if what is said has this version.
        expected: Option<Index>,
        /// What is said from then on.
        value: Mark,
    },
    /// Make a reservation a registration, under the same epoch and for the same life.
    Confirm {
        /// The epoch of the reservation.
        epoch: Epoch,
        /// What is said from then on.
        value: Mark,
    },
    /// Give the name back.
    Release {
        /// Only if it is held under this epoch.
        epoch: Option<Epoch>,
    },
    /// Who holds the name now: a linearizable read.
    Find,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer.
    Done(Answer),
    /// It did not happen and never will.
    NotDone,
    /// Nobody knows: it may have happened, may happen later, or never.
    Unknown,
}

/// An answer of the registry, reduced to what a checker can judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name is held by who asked.
    Registered {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// The name is held by somebody.
    Taken {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// The name was given back.
    Released {
        /// It was held under this epoch.
        epoch: Epoch,
    },
    /// Nobody holds the name.
    Free,
    /// The name is not held under the expected epoch.
    Stale {
        /// But under this one, if it is held.
        present: Option<Epoch>,
    },
    /// Who holds the name, and what was said when it was taken.
    Found(Option<(Epoch, Mark)>),
    /// Who holds the name, and what was said later.
    FoundAmended {
        /// Under this epoch.
        epoch: Epoch,
        /// Since this entry of the log.
        version: Index,
        /// What is said.
        value: Mark,
    },
    /// Something else is said, under the same epoch.
    Amended {
        /// Since this entry of the log.
        version: Index,
    },
    /// The reservation is a registration now. A repetition is answered as the first was, so no version can be
    /// told from when it was answered.
    Confirmed,
    /// What is said has another version than was expected.
    Changed {
        /// Which.
        present: Index,
    },
    /// The name is held, and not only reserved.
    NotReserved,
    /// Refused for a reason that is not the name's: its session has ended, or something is too large.
    Void,
}

impl Answer {
    /// Reads a verdict; `None` if it answers no question about a name.
    pub fn from_verdict(verdict: &Verdict) -> Option<Self> {
        Some(match verdict {
            Verdict::Registered { epoch } | Verdict::Leased { epoch, .. } => {
                Self::Registered { epoch: *epoch }
            }
            Verdict::Amended { version } => Self::Amended { version: *version },
            Verdict::Released { epoch } => Self::Released { epoch: *epoch },
            Verdict::Refused(Refusal::Taken(held)) => Self::Taken { epoch: held.epoch },
            Verdict::Refused(Refusal::Stale { present }) => Self::Stale { present: *present },
            Verdict::Refused(Refusal::Free) => Self::Free,
            Verdict::Refused(Refusal::Changed { present }) => Self::Changed { present: *present },
            Verdict::Refused(Refusal::NotReserved) => Self::NotReserved,
            Verdict::Refused(_) => Self::Void,
            _ => return None,
        })
    }

    /// Reads what a linearizable read found.
    pub fn from_found(found: Option<&Registration>) -> Self {
        match found {
            Some(held) if held.version != held.index => Self::FoundAmended {
                epoch: held.epoch,
                version: held.version,
                value: Mark::of_registration(held),
            },
            found => Self::Found(found.map(|held| (held.epoch, Mark::of_registration(held)))),
        }
    }
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who asked.
    pub client: String,
    /// The node that was asked.
    pub asked: String,
    /// The name that it is about.
    pub name: Name,
    /// What was asked for.
    pub ask: Ask,
    /// When.
    pub invoked: Moment,
    /// When the client gave up or was answered; [`Moment::NEVER`] if it still waits.
    pub returned: Moment,
    /// How it ended.
    pub outcome: Outcome,
}

/// The end of a session, which frees its names without any client asking for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which session.
    pub session: SessionId,
    /// It had not ended before this.
    pub from: Moment,
    /// It had ended by then; [`Moment::NEVER`] if it may not have ended at all.
    pub by: Moment,
}

/// The history of one world. A clone writes to the same history.
#[derive(Clone, Debug)]
pub struct History(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    trace: Trace,
    origin: Instant,
    moments: u64,
    records: Vec<Record>,
    endings: BTreeMap<SessionId, Ending>,
}

/// An operation that waits for its end.
#[derive(Debug)]
#[must_use = "an operation that is never ended counts as unknown"]
pub struct Ticket(usize);

impl History {
    /// An empty history; every line of it goes to the trace as well.
    pub fn new(trace: Trace) -> Self {
        let inner = Inner {
            trace,
            origin: clock::now(),
            moments: 0,
            records: Vec::new(),
            endings: BTreeMap::new(),
        };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// The present moment; no two are the same.
    pub fn moment(&self) -> Moment {
        self.inner().moment()
    }

    /// A client asks.
    pub fn invoke(&self, client: &str, asked: &str, name: &Name, ask: Ask) -> Ticket {
        let mut inner = self.inner();
        let invoked = inner.moment();
        inner.trace.note(format_args!("op {client}@{asked} asks {name} {ask:?}"));
        inner.records.push(Record {
            client: client.to_owned(),
            asked: asked.to_owned(),
            name: name.clone(),
            ask,
            invoked,
            returned: Moment::NEVER,
            outcome: Outcome::Unknown,
        });
        Ticket(inner.records.len() - 1)
    }

    /// A client is answered, or gives up.
    #[expect(clippy::needless_pass_by_value, reason = "an operation ends once")]
    pub fn end(&self, ticket: Ticket, outcome: Outcome) {
        let mut inner = self.inner();
        let returned = inner.moment();
        let Inner { trace, records, .. } = &mut *inner;
        let record = &mut records[ticket.0];
        trace.note(format_args!("op {}@{} ends {outcome:?}", record.client, record.asked));
        record.returned = returned;
        record.outcome = outcome;
    }

    /// A session is known: its end cannot have come before somebody asked for its beginning.
    pub fn session_opened(&self, session: SessionId, asked: Moment) {
        let from = asked;
        self.inner().endings.entry(session).or_insert(Ending { session, from, by: Moment::NEVER });
    }

    /// A session is seen to have ended, at the latest now.
    pub fn session_ended(&self, session: SessionId) {
        let mut inner = self.inner();
        let by = inner.moment();
        let ending = Ending { session, from: Moment::START, by };
        let known = inner.endings.entry(session).or_insert(ending);
        known.by = known.by.min(by);
    }

    /// All operations, in the order in which they were asked for.
    pub fn records(&self) -> Vec<Record> {
        self.inner().records.clone()
    }

    /// The ends of sessions.
    pub fn endings(&self) -> Vec<Ending> {
        self.inner().endings.values().copied().collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().expect("nothing panics while it holds the history")
    }
}

impl Inner {
    fn moment(&mut self) -> Moment {
        self.moments += 1;
        Moment { at: clock::now().duration_since(self.origin), nth: self.moments }
    }
}
