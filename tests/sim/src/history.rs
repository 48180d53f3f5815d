//! The history of a simulated world, as its clients write it down (`quorate_drill::history`).
//!
//! Within one nanosecond the order of writing counts: the world runs on one thread, so what was written down
//! first happened first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

pub use quorate_drill::history::*;
use quorate_vocab::{Name, SessionId};
use tokio::time::Instant;

use crate::clock;
use crate::trace::Trace;

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
