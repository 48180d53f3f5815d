//! The memory: when a voter last heard of each session, by way of whoever leads.
//!
//! A leader that dies takes with it all that it knew of who was silent for how long. So a renewal is answered
//! only once a majority of the voters has stored, each by its own clock, when it heard of it; and a new
//! leader recalls from a majority for how long each session has been silent, and counts on from the
//! **youngest** of those answers. The two majorities have a voter in common.
//!
//! ```text
//!  holder   s ───────────────────── ttl ─────────────────────▶ lost
//!            ╲ renew
//!  voter      v ────── age ──────┐                              its clock, from the RECEIPT
//!                                 ╲ recalled
//!  new leader                      r ── wait − age ──────────────▶ expire      its clock, from the answer
//! ```
//!
//! As `v` is not before `s`, and each of the two clocks runs at most 1 + ρ, `wait` on both together is as
//! much real time as `wait` on one: `lost` comes before `expire` (I3).
//!
//! What the argument rests on:
//! - **Order.** An answered renewal was stored *before* the voter's answer to any later leader: a voter takes
//!   nothing any more from an office before the latest that it has seen, and answers the leader of that one
//!   alone. Its driver says which one that is by Raft's own **flushed** vote; so it holds over a restart.
//! - **No memory is no silence.** Whatever a voter does not know it takes for heard of now: at its start, and
//!   when its [`Footing`] changes. A session that it does not know at all has age zero.
//!
//! Not here: messages, majorities, and which sessions live. Bounded by those: an unknown one is not stored,
//! as whoever applies its opening later counts from then.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_vocab::{Index, NodeId, SessionId, Time};

/// A leader's time in office. Of two, the greater is the later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Office {
    /// Raft's term.
    pub term: u64,
    /// Who leads in it, or stands for it. There may be several in one term, one after the other.
    pub leader: NodeId,
}

/// What the word of a voter is worth something for: the voters as one entry of the log named them. A renewal
/// that was answered under voters that have none in common with these came before that entry, so before any
/// voter saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Footing {
    /// Who wrote that entry.
    pub office: Office,
    /// Where it stands.
    pub index: Index,
}

/// What one voter knows. It is volatile.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    office: Office,
    footing: Option<Footing>,
    heard: BTreeMap<SessionId, Time>,
}

impl Memory {
    /// A session began, as this voter has applied it, or is found at the start: heard of now, at the latest.
    pub fn open(&mut self, now: Time, session: SessionId) {
        self.heard.entry(session).or_insert(now);
    }

    /// A session ended.
    pub fn end(&mut self, session: SessionId) {
        self.heard.remove(&session);
    }

    /// These sessions live and no others; of those that are new nothing is known.
    pub fn survey(&mut self, now: Time, living: impl IntoIterator<Item = SessionId>) {
        let mut before = std::mem::take(&mut self.heard);
        let keep = |session| (session, before.remove(&session).unwrap_or(now));
        self.heard = living.into_iter().map(keep).collect();
    }

    /// Takes note of where this voter stands, before each word that it gives: the latest office that its vote
    /// on disk knows, and its footing; none where nobody is to rely on it. Before the first term, or before
    /// its vote was read, nobody is: it might be bound to an office that it does not know of yet.
    pub fn stand(&mut self, now: Time, office: Office, footing: Option<Footing>) {
        let footing = footing.filter(|_| office.term > 0);
        self.office = self.office.max(office);
        if self.footing != footing {
            self.footing = footing;
            self.heard.values_mut().for_each(|at| *at = now);
        }
    }

    /// A leader heard of these sessions. False when nothing was stored and nothing may rest on it.
    pub fn store(&mut self, now: Time, office: Office, sessions: &[SessionId]) -> bool {
        let takes = self.footing.is_some() && office >= self.office;
        for session in sessions.iter().filter(|_| takes) {
            if let Some(at) = self.heard.get_mut(session) {
                *at = now.max(*at);
            }
        }
        takes
    }

    /// For how long nothing was heard of each of these sessions, for the leader of the latest office. `None`
    /// for anybody else, and for one that does not stand where this voter stands.
    pub fn recall(
        &self,
        now: Time,
        office: Office,
        footing: Footing,
        sessions: &[SessionId],
    ) -> Option<Vec<Duration>> {
        let age = |session: &SessionId| {
            let heard = self.heard.get(session);
            heard.map_or(Duration::ZERO, |at| now.since(*at))
        };
        let answers = self.office == office && self.footing == Some(footing);
        answers.then(|| sessions.iter().map(age).collect())
    }

    /// When each session that lives was last heard of.
    pub fn heard(&self) -> impl Iterator<Item = (SessionId, Time)> {
        self.heard.iter().map(|(session, at)| (*session, *at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SessionId = SessionId(7);
    const EARLY: Office = Office { term: 3, leader: NodeId(1) };
    const LATE: Office = Office { term: 3, leader: NodeId(2) };
    const FOOTING: Footing = Footing { office: EARLY, index: Index(4) };

    fn ms(ms: u64) -> Time {
        Time(1_000_000_000_000) + Duration::from_millis(ms)
    }

    /// It has known one session since 0.
    fn memory() -> Memory {
        let mut memory = Memory::default();
        memory.open(ms(0), S);
        memory.stand(ms(0), EARLY, Some(FOOTING));
        memory
    }

    fn age(memory: &Memory, now: u64, office: Office) -> Option<u128> {
        Some(memory.recall(ms(now), office, FOOTING, &[S])?[0].as_millis())
    }

    #[test]
    fn it_says_how_long_ago_it_heard_of_a_session() {
        let mut memory = memory();
        assert_eq!(age(&memory, 500, EARLY), Some(500));
        assert!(memory.store(ms(600), EARLY, &[S]));
        assert_eq!(age(&memory, 1000, EARLY), Some(400));
        // One that comes late does not take back what was heard since.
        assert!(memory.store(ms(550), EARLY, &[S]));
        assert_eq!(age(&memory, 1000, EARLY), Some(400));
    }

    #[test]
    fn what_an_earlier_leader_heard_comes_too_late_once_a_later_one_is_known() {
        let mut memory = memory();
        assert_eq!(age(&memory, 500, LATE), None, "it does not know of that one yet");
        memory.stand(ms(500), LATE, Some(FOOTING));
        assert_eq!(age(&memory, 500, LATE), Some(500));
        assert!(!memory.store(ms(600), EARLY, &[S]));
        assert_eq!(age(&memory, 700, EARLY), None);
        memory.stand(ms(800), EARLY, Some(FOOTING));
        assert!(!memory.store(ms(800), EARLY, &[S]), "it does not go back");
        assert_eq!(age(&memory, 900, LATE), Some(900));
    }

    #[test]
    fn nobody_relies_on_a_voter_that_has_not_read_its_vote() {
        let mut memory = Memory::default();
        memory.stand(ms(0), Office { term: 0, leader: NodeId(9) }, Some(FOOTING));
        assert!(!memory.store(ms(0), EARLY, &[]));
        memory.stand(ms(1), LATE, Some(FOOTING));
        assert!(!memory.store(ms(1), EARLY, &[]), "it was bound all the while");
        assert!(memory.store(ms(1), LATE, &[]));
    }

    #[test]
    fn it_says_no_more_than_since_it_last_found_its_footing() {
        let mut memory = memory();
        let other = Footing { index: Index(9), ..FOOTING };
        memory.stand(ms(300), EARLY, Some(other));
        assert_eq!(age(&memory, 500, EARLY), None);
        let ages = memory.recall(ms(500), EARLY, other, &[S]);
        assert_eq!(ages, Some(vec![Duration::from_millis(200)]));
        memory.stand(ms(600), EARLY, None);
        assert!(!memory.store(ms(600), EARLY, &[S]));
        assert_eq!(memory.recall(ms(600), EARLY, other, &[S]), None);
    }

    #[test]
    fn of_what_it_does_not_know_it_says_that_it_was_just_heard_and_keeps_nothing() {
        let mut memory = memory();
        let stranger = SessionId(9);
        assert!(memory.store(ms(100), EARLY, &[stranger]));
        assert_eq!(memory.heard().count(), 1);
        let ages = memory.recall(ms(500), EARLY, FOOTING, &[stranger, S]);
        assert_eq!(ages, Some(vec![Duration::ZERO, Duration::from_millis(500)]));
        memory.survey(ms(600), [stranger]);
        assert_eq!(memory.heard().collect::<Vec<_>>(), [(stranger, ms(600))]);
        memory.end(stranger);
        assert_eq!(memory.heard().count(), 0);
    }
}
