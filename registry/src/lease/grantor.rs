//! The grantor: which silent sessions the leader may end.
//!
//! It is volatile and lives on the leader. All that it knows is how long ago, on its own clock, it last heard
//! of each session; a new leader knows nothing and starts every wait at its election, and so does a leader
//! that was itself paused, as what was sent to it meanwhile is still unread. What a majority of the voters
//! remembers ([`super::memory`]) may tell it later that a session had been silent for some time by then.
//!
//! Three duties of its driver are part of I3 and I4:
//! - [`Input::Elected`] is given when the first entry of the leader's own term is applied, with the sessions
//!   of that state. Then no older leader's expiry is still under way.
//! - A renew is answered only if, after its quorum round, [`Grantor::admits`] still says yes. An expiry that
//!   was proposed may yet be applied, so in this term there is no way back.
//! - It is answered only in the term in which it was counted, as [`Grantor::term`] says when it comes: one
//!   that came before the election was counted by nobody, and what the voters remember may begin before it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_vocab::{SessionId, Time};

use super::Terms;

/// What happens to a grantor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// This node leads.
    Elected {
        /// Its term.
        term: u64,
        /// The sessions that live, each with its time to live.
        sessions: Vec<(SessionId, Duration)>,
    },
    /// This node leads no more.
    Deposed,
    /// A session began. One without a time to live (zero) never expires and is not watched.
    Opened {
        /// Which.
        session: SessionId,
        /// How long it may stay silent.
        ttl: Duration,
    },
    /// A session ended.
    Ended {
        /// Which.
        session: SessionId,
    },
    /// A renew was received, whether it will be answered or not.
    Renewed {
        /// Of which session.
        session: SessionId,
    },
    /// A majority of the voters remembers for how long sessions have been silent by now, at least.
    Recalled {
        /// The term of the leader that asked them.
        term: u64,
        /// The youngest of their answers for each.
        ages: Vec<(SessionId, Duration)>,
    },
    /// Time passed.
    Tick,
}

/// What a grantor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Propose that this session is ended as expired, under this term. Said again after a while if the
    /// session does not end.
    Expire {
        /// Which.
        session: SessionId,
        /// The term of the leader that waited.
        term: u64,
    },
}

/// For how long nothing was heard of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Silence {
    /// How long ago its count began.
    pub lasted: Duration,
    /// How long ago its end was last asked for, if it was.
    pub condemned: Option<Duration>,
    /// Whether its count began with the leader's time, which the session's silence may be older than.
    pub inherited: bool,
}

/// No wait is shorter, whatever a session asks for: the leader would do nothing but wake up. To wait longer
/// than the terms say is always safe.
const WAIT_MIN: Duration = Duration::from_millis(80);

/// The waits of a leader; nothing on any other node.
#[derive(Clone, Debug)]
pub struct Grantor {
    terms: Terms,
    reign: Option<Reign>,
    /// The greatest term that it was elected in.
    newest: u64,
}

#[derive(Clone, Debug)]
struct Reign {
    term: u64,
    began: Time,
    last_step: Time,
    counts: BTreeMap<SessionId, Count>,
    /// Derived: when each count is due.
    due: BTreeSet<(Time, SessionId)>,
    /// Derived: how many counts have which wait. The first is the shortest.
    waits: BTreeMap<Duration, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    wait: Duration,
    /// Since when nothing was heard.
    since: Time,
    /// When its expiry was last asked for. From the first time on, no renew is admitted.
    condemned: Option<Time>,
    /// Nothing has happened to it since the reign began.
    inherited: bool,
}

impl Count {
    /// How long the next event of this count takes, and from when.
    fn pace(&self) -> (Time, Duration) {
        match self.condemned {
            Some(asked) => (asked, self.wait / 4),
            None => (self.since, self.wait),
        }
    }

    fn due(&self) -> Time {
        let (from, span) = self.pace();
        from + span
    }

    fn is_due(&self, now: Time) -> bool {
        let (from, span) = self.pace();
        now.since(from) >= span
    }
}

impl Grantor {
    /// Grants nothing until it is elected.
    pub fn new(terms: Terms) -> Self {
        Self { terms, reign: None, newest: 0 }
    }

    /// Takes one input, then asks for whatever is due.
    pub fn step(&mut self, now: Time, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Elected { term, sessions } => {
                let mut reign = match self.reign.take() {
                    Some(reign) if reign.term == term => reign.once_more(now, &sessions),
                    _ => Reign::new(term, now),
                };
                // In a term that began once more, renewals of the first time may have been answered.
                let inherited = term > self.newest;
                for (session, ttl) in sessions {
                    reign.watch(session, ttl, &self.terms, inherited);
                }
                self.newest = self.newest.max(term);
                self.reign = Some(reign);
            }
            Input::Deposed => self.reign = None,
            input => {
                if let Some(reign) = &mut self.reign {
                    reign.step(now, &input, &self.terms, out);
                }
            }
        }
    }

    /// When to step at the latest: for the next session that is due, and often enough that a pause of this
    /// node is told from silence of the others.
    pub fn deadline(&self) -> Option<Time> {
        let reign = self.reign.as_ref()?;
        let (due, _) = reign.due.first()?;
        let (shortest, _) = reign.waits.first_key_value()?;
        Some((*due).min(reign.last_step + *shortest / 8))
    }

    /// Whether a renew of this session may be answered, as far as this leader's own expiries go.
    pub fn admits(&self, session: SessionId) -> bool {
        let count = self.reign.as_ref().and_then(|reign| reign.counts.get(&session));
        count.is_some_and(|count| count.condemned.is_none())
    }

    /// The term in which this leader counts now, if it does.
    pub fn term(&self) -> Option<u64> {
        self.reign.as_ref().map(|reign| reign.term)
    }

    /// For how long nothing was heard of each session that is watched, as of `now`.
    pub fn silences(&self, now: Time) -> impl Iterator<Item = (SessionId, Silence)> {
        let counts = self.reign.iter().flat_map(|reign| &reign.counts);
        counts.map(move |(session, count)| {
            let condemned = count.condemned.map(|asked| now.since(asked));
            let lasted = now.since(count.since);
            (*session, Silence { lasted, condemned, inherited: count.inherited })
        })
    }

    /// Asserts what the grantor relies on, for all sessions.
    ///
    /// # Panics
    /// With I3, when a count is not where it is looked for.
    pub fn check(&self) {
        let Some(reign) = &self.reign else { return };
        let mut waits = BTreeMap::<Duration, usize>::new();
        for (session, count) in &reign.counts {
            *waits.entry(count.wait).or_default() += 1;
            assert!(reign.due.contains(&(count.due(), *session)), "I3: a count is never due");
            let waited = count.condemned.is_none_or(|at| at.since(count.since) >= count.wait);
            assert!(waited, "I3: a session was condemned before its time");
            let grace = count.since + count.wait >= reign.began + count.wait / 4;
            assert!(grace, "I3: a count began before its leader's time, and too long before");
        }
        assert_eq!(reign.due.len(), reign.counts.len(), "I3: something else is due");
        assert_eq!(reign.waits, waits, "I3: the shortest wait is not known");
    }
}

impl Reign {
    fn new(term: u64, now: Time) -> Self {
        Self {
            term,
            began: now,
            last_step: now,
            counts: BTreeMap::new(),
            due: BTreeSet::new(),
            waits: BTreeMap::new(),
        }
    }

    /// Waits anew for those that still live, but for the condemned: their expiries may yet be applied.
    fn once_more(mut self, now: Time, sessions: &[(SessionId, Duration)]) -> Self {
        self.last_step = now.max(self.last_step);
        let live: BTreeSet<SessionId> = sessions.iter().map(|(session, _)| *session).collect();
        for session in self.counts.keys().copied().collect::<Vec<_>>() {
            match live.contains(&session) {
                true => self.restart(session, self.last_step),
                false => self.unwatch(session),
            }
        }
        self
    }

    fn step(&mut self, now: Time, input: &Input, terms: &Terms, out: &mut Vec<Output>) {
        let now = now.max(self.last_step);
        self.look_for_pause(now);
        self.last_step = now;
        match input {
            Input::Opened { session, ttl } => self.watch(*session, *ttl, terms, false),
            Input::Ended { session } => self.unwatch(*session),
            Input::Renewed { session } => self.restart(*session, now),
            Input::Recalled { term, ages } if *term == self.term => {
                ages.iter().for_each(|(session, age)| self.date_back(*session, now - *age));
            }
            Input::Recalled { .. } | Input::Tick | Input::Elected { .. } | Input::Deposed => {}
        }
        self.expire(now, out);
    }

    /// A count whose quarter is shorter than the gap between two steps may have missed what was sent to it
    /// in that gap. A longer one goes on: a session that asked for a short time must not keep those alive
    /// that did not.
    fn look_for_pause(&mut self, now: Time) {
        let gap = now.since(self.last_step);
        if self.waits.first_key_value().is_none_or(|(shortest, _)| gap <= *shortest / 4) {
            return;
        }
        let was_long =
            |(session, count): (&SessionId, &Count)| (gap > count.wait / 4).then_some(*session);
        let sessions: Vec<_> = self.counts.iter().filter_map(was_long).collect();
        sessions.into_iter().for_each(|session| self.restart(session, now));
    }

    fn watch(&mut self, session: SessionId, ttl: Duration, terms: &Terms, inherited: bool) {
        if ttl.is_zero() || self.counts.contains_key(&session) {
            return;
        }
        let (wait, since) = (terms.wait(ttl).max(WAIT_MIN), self.last_step);
        let count = Count { wait, since, condemned: None, inherited };
        *self.waits.entry(count.wait).or_default() += 1;
        self.due.insert((count.due(), session));
        self.counts.insert(session, count);
    }

    fn unwatch(&mut self, session: SessionId) {
        let Some(count) = self.counts.remove(&session) else {
            return;
        };
        self.due.remove(&(count.due(), session));
        if let Some(many) = self.waits.get_mut(&count.wait) {
            *many -= 1;
            if *many == 0 {
                self.waits.remove(&count.wait);
            }
        }
    }

    /// The session was heard of. For one that is condemned this comes too late.
    fn restart(&mut self, session: SessionId, now: Time) {
        self.alter(session, |count| {
            count.inherited = false;
            if count.condemned.is_none() {
                count.since = now;
            }
        });
    }

    /// The session has been silent since then, unless it was heard of in this reign. Whoever had no leader to
    /// renew with, for however long, has a quarter of the wait to find this one.
    fn date_back(&mut self, session: SessionId, since: Time) {
        let began = self.began;
        self.alter(session, |count| {
            if count.inherited && count.condemned.is_none() {
                let earliest = began - (count.wait - count.wait / 4);
                count.since = count.since.min(since.max(earliest));
            }
            count.inherited = false;
        });
    }

    fn expire(&mut self, now: Time, out: &mut Vec<Output>) {
        while let Some((_, session)) = self.due.first().copied() {
            if !self.counts.get(&session).is_some_and(|count| count.is_due(now)) {
                return;
            }
            self.alter(session, |count| count.condemned = Some(now));
            out.push(Output::Expire { session, term: self.term });
        }
    }

    fn alter(&mut self, session: SessionId, change: impl FnOnce(&mut Count)) {
        let Some(count) = self.counts.get_mut(&session) else {
            return;
        };
        self.due.remove(&(count.due(), session));
        change(count);
        self.due.insert((count.due(), session));
    }
}
