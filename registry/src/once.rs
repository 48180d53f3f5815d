//! What was answered: how a repeated command is known, and answered as before.
//!
//! Three memories in one. A living session's newest verdicts are its window. A client's key goes with its
//! verdict into a queue that forgets the oldest. And a command by which a session ended itself finds no
//! window to be remembered in, so it is remembered in that queue, too.
//!
//! This is part of the state (I11): whether a copy is applied must not depend on who applies it.

use std::ops::Bound;

use imbl::OrdMap;
use quorate_vocab::{Index, SessionId};

use crate::changes::Changes;
use crate::rows::Key;
use crate::sessions::Sessions;
use crate::{Broken, Machine, Once, Refusal, Verdict};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// The windows, only of sessions that live; none is wider than [`Once::WINDOW`] numbers.
    answers: OrdMap<(SessionId, u64), Verdict>,
    /// By the entry that was answered, so the first is the oldest.
    queue: OrdMap<Index, (Once, Verdict)>,
    /// Derived: where in the queue a mark is.
    by_mark: OrdMap<Once, Index>,
}

/// What is known of a command before it is applied.
pub(crate) enum Recall {
    /// It was applied before, or must not be: this is the answer.
    Answered(Verdict),
    /// It is to be applied.
    New,
}

impl Memory {
    pub(crate) fn recall(&self, once: Once, sessions: &Sessions) -> Recall {
        let queued = || {
            let index = self.by_mark.get(&once)?;
            self.queue.get(index).map(|(_, verdict)| Recall::Answered(verdict.clone()))
        };
        match once {
            Once::Free => Recall::New,
            Once::Key(_) => queued().unwrap_or(Recall::New),
            Once::Seq { session, seq } if sessions.find(session).is_some() => {
                self.recall_window(session, seq)
            }
            Once::Seq { session, .. } => {
                queued().unwrap_or(Recall::Answered(Verdict::Refused(Refusal::NoSession(session))))
            }
        }
    }

    fn recall_window(&self, session: SessionId, seq: u64) -> Recall {
        if let Some(verdict) = self.answer(session, seq) {
            return Recall::Answered(verdict.clone());
        }
        match self.newest_of(session) {
            Some(newest) if is_below(seq, newest) => {
                Recall::Answered(Verdict::Refused(Refusal::Forgotten))
            }
            _ => Recall::New,
        }
    }

    /// Remembers what was answered to a command that had not been known.
    pub(crate) fn keep(
        &mut self,
        index: Index,
        once: Once,
        verdict: Verdict,
        sessions: &Sessions,
        changes: &mut Changes,
    ) {
        match once {
            Once::Free => {}
            Once::Seq { session, seq } if sessions.find(session).is_some() => {
                self.keep_in_window(session, seq, verdict, changes);
            }
            Once::Key(_) | Once::Seq { .. } => self.keep_in_queue(index, once, verdict, changes),
        }
    }

    fn keep_in_window(
        &mut self,
        session: SessionId,
        seq: u64,
        verdict: Verdict,
        changes: &mut Changes,
    ) {
        self.load_answer(session, seq, verdict);
        changes.born(Key::Answer(session, seq));
        let newest = self.newest_of(session).unwrap_or(seq);
        while let Some(oldest) = self.oldest_of(session).filter(|one| is_below(*one, newest)) {
            changes.died(Key::Answer(session, oldest));
            self.answers.remove(&(session, oldest));
        }
    }

    fn keep_in_queue(&mut self, index: Index, once: Once, verdict: Verdict, changes: &mut Changes) {
        self.load_queued(index, once, verdict);
        changes.born(Key::Kept(index));
        while self.queue.len() > Once::KEYS_MAX {
            let Some((oldest, (mark, _))) = self.queue.get_min().cloned() else {
                return;
            };
            self.queue.remove(&oldest);
            self.by_mark.remove(&mark);
            changes.died(Key::Kept(oldest));
        }
    }

    /// A session has ended.
    pub(crate) fn forget(&mut self, session: SessionId, changes: &mut Changes) {
        while let Some(seq) = self.oldest_of(session) {
            self.answers.remove(&(session, seq));
            changes.died(Key::Answer(session, seq));
        }
    }

    pub(crate) fn answer(&self, session: SessionId, seq: u64) -> Option<&Verdict> {
        self.answers.get(&(session, seq))
    }

    pub(crate) fn answers(&self) -> impl Iterator<Item = (SessionId, u64, &Verdict)> {
        self.answers.iter().map(|((session, seq), verdict)| (*session, *seq, verdict))
    }

    /// How many answers of windows there are, and how many in the queue.
    pub(crate) fn sizes(&self) -> [usize; 2] {
        [self.answers.len(), self.queue.len()]
    }

    fn oldest_of(&self, session: SessionId) -> Option<u64> {
        let ((of, seq), _) = self.answers.get_next(&(session, 0))?;
        (*of == session).then_some(*seq)
    }

    fn newest_of(&self, session: SessionId) -> Option<u64> {
        let ((of, seq), _) = self.answers.get_prev(&(session, u64::MAX))?;
        (*of == session).then_some(*seq)
    }

    pub(crate) fn queued(&self, index: Index) -> Option<&(Once, Verdict)> {
        self.queue.get(&index)
    }

    pub(crate) fn queue(&self) -> impl Iterator<Item = (Index, &(Once, Verdict))> {
        self.queue.iter().map(|(index, kept)| (*index, kept))
    }

    /// The sessions that have a window, in their order.
    pub(crate) fn windows(&self) -> impl Iterator<Item = SessionId> {
        let first = self.answers.get_min().map(|((session, _), _)| *session);
        std::iter::successors(first, |session| {
            let last = Bound::Excluded((*session, u64::MAX));
            let next = self.answers.range((last, Bound::Unbounded)).next();
            next.map(|((session, _), _)| *session)
        })
    }

    pub(crate) fn kept(&self) -> impl Iterator<Item = Index> {
        self.queue.keys().copied()
    }

    /// Takes in what was stored; an audit follows.
    pub(crate) fn load_answer(&mut self, session: SessionId, seq: u64, verdict: Verdict) {
        self.answers.insert((session, seq), verdict);
    }

    /// Takes in what was stored; an audit follows.
    pub(crate) fn load_queued(&mut self, index: Index, once: Once, verdict: Verdict) {
        self.by_mark.insert(once, index);
        self.queue.insert(index, (once, verdict));
    }

    pub(crate) fn audit_size(&self) -> Result<(), Broken> {
        if self.queue.len() > Once::KEYS_MAX || self.queue.len() != self.by_mark.len() {
            return broken("the remembered marks do not add up");
        }
        Ok(())
    }
}

impl Machine {
    pub(crate) fn audit_window(&self, session: SessionId) -> Result<(), Broken> {
        let (oldest, newest) = (self.memory.oldest_of(session), self.memory.newest_of(session));
        let Some((oldest, newest)) = oldest.zip(newest) else {
            return Ok(());
        };
        if self.sessions.find(session).is_none() {
            return broken("the commands of a session that has ended are remembered");
        }
        if is_below(oldest, newest) {
            return broken("a session's window is too wide");
        }
        Ok(())
    }

    pub(crate) fn audit_kept(&self, index: Index) -> Result<(), Broken> {
        let Some((once, _)) = self.memory.queue.get(&index) else {
            return Ok(());
        };
        if !self.has_applied(index) || self.memory.by_mark.get(once) != Some(&index) {
            return broken("a mark is remembered of no applied entry, or twice");
        }
        match once {
            Once::Key(_) => Ok(()),
            Once::Seq { session, .. } if self.sessions.find(*session).is_none() => Ok(()),
            _ => broken("a mark is remembered in the wrong place"),
        }
    }
}

fn broken(what: &'static str) -> Result<(), Broken> {
    Err(Broken { invariant: "I11", what })
}

/// Whether a session whose newest number is `newest` has forgotten what happened to `seq`.
fn is_below(seq: u64, newest: u64) -> bool {
    newest.checked_sub(seq).is_some_and(|distance| distance >= Once::WINDOW as u64)
}
