//! What holds of singletons in every state, for what a command touched and for rows that came from outside.
//!
//! I1: the epochs of a singleton rise. I2: it is held by at most one life, which has not ended and offers to
//! run it. I5 needs no row: a grant is made only where there is none, and goes only into the past, with
//! evidence.

use quorate_vocab::{Epoch, Name, NodeId, SessionId};

use super::{Checkpoint, Legacy, Phase, Singleton};
use crate::{Broken, Machine, SessionOwner};

type Audit = Result<(), Broken>;

fn state(what: &'static str) -> Audit {
    Err(Broken { invariant: "state", what })
}

impl Machine {
    pub(crate) fn audit_singleton(&self, name: &Name) -> Audit {
        let Some(singleton) = self.singletons.find(name.as_str()) else {
            let is_spoken_of = self.singletons.candidates(name).next().is_some()
                || self.singletons.checkpoint(name.as_str()).is_some();
            return match is_spoken_of {
                true => state("something is said of a singleton that is not there"),
                false => Ok(()),
            };
        };
        if singleton.name != *name || !self.has_applied(singleton.version) {
            return state("a singleton was wanted by no applied entry");
        }
        if singleton.spec.judge(name).is_err() {
            return state("what is wanted of a singleton cannot be");
        }
        self.audit_past(singleton)?;
        self.audit_grant(singleton)
    }

    fn audit_grant(&self, singleton: &Singleton) -> Audit {
        let Some(grant) = &singleton.grant else {
            return Ok(());
        };
        let i2 = |what| Err(Broken { invariant: "I2", what });
        let offer = self.singletons.candidate(&singleton.name, grant.session);
        if offer.is_none_or(|offer| offer.node != grant.node) {
            return i2("a singleton is held by a life that does not offer to run it there");
        }
        if let Phase::Yielding { to: Some(to) } = grant.phase
            && (to == grant.session || self.singletons.candidate(&singleton.name, to).is_none())
        {
            return i2("a singleton is to be handed to a life that does not offer to run it");
        }
        if singleton.halted && grant.phase != (Phase::Yielding { to: None }) {
            return state("a singleton was stopped, and its owner was not told");
        }
        if self.singletons.load_of(grant.node) == 0 {
            return state("a node does not know how much it holds");
        }
        let before = singleton.past.back().map(|past| past.epoch);
        match before < Some(grant.epoch) && self.has_given(grant.epoch) {
            true => Ok(()),
            false => Err(Broken { invariant: "I1", what: "an epoch of a singleton did not rise" }),
        }
    }

    fn audit_past(&self, singleton: &Singleton) -> Audit {
        let past = &singleton.past;
        if !past.iter().map(|past| past.epoch).is_sorted_by(|a, b| a < b)
            || past.back().is_some_and(|last| !self.has_given(last.epoch))
        {
            let what = "the epochs that a singleton had did not rise";
            return Err(Broken { invariant: "I1", what });
        }
        if !past.iter().all(|past| self.has_applied(past.closed)) {
            return state("a grant was closed by no applied entry");
        }
        if past.len() > Singleton::PAST_MAX
            || past.iter().any(|past| past.why.len() > Singleton::WHY_BYTES_MAX)
        {
            return state("more is said of the past of a singleton than may be");
        }
        let is_long = |left: &Legacy| left.bytes > Legacy::BYTES_MAX as u64;
        if past.iter().filter_map(|past| past.left.as_ref()).any(is_long) {
            return state("more was left to a turn than may be");
        }
        Ok(())
    }

    /// One offer; when it is no more, that nothing rests on it.
    pub(crate) fn audit_candidate(&self, name: &Name, session: SessionId) -> Audit {
        let Some(singleton) = self.singletons.find(name.as_str()) else {
            return self.audit_singleton(name);
        };
        let Some(candidate) = self.singletons.candidate(name, session) else {
            let rests = singleton.grant.is_some_and(|grant| {
                grant.session == session || grant.phase == (Phase::Yielding { to: Some(session) })
            });
            let what = "a singleton is held by a life that does not offer to run it";
            return if rests { Err(Broken { invariant: "I2", what }) } else { Ok(()) };
        };
        match self.sessions.find(session).map(|session| session.owner) {
            None | Some(SessionOwner::Name) => {
                let what = "a life that has ended, or may not, offers to run a singleton";
                return Err(Broken { invariant: "I2", what });
            }
            Some(SessionOwner::Node { node, .. }) if node != candidate.node => {
                return state("a node's life offers to run a singleton on another node");
            }
            Some(_) => {}
        }
        if candidate.session != session || !self.has_applied(candidate.since) {
            return state("a singleton was offered to be run by no applied entry");
        }
        match candidate.failed.as_ref().map_or(0, String::len) > Singleton::WHY_BYTES_MAX {
            true => state("why a singleton failed is longer than it may be"),
            false => self.audit_grant(singleton),
        }
    }

    pub(crate) fn audit_checkpoint(&self, name: &Name) -> Audit {
        let Some(checkpoint) = self.singletons.checkpoint(name.as_str()) else {
            return Ok(());
        };
        if self.singletons.find(name.as_str()).is_none() {
            return state("something is said of a singleton that is not there");
        }
        if !self.has_given(checkpoint.epoch) || !self.has_applied(checkpoint.version) {
            let what = "a checkpoint was made under an epoch, or by an entry, that is yet to come";
            return Err(Broken { invariant: "I6", what });
        }
        match checkpoint.state.len() > Checkpoint::BYTES_MAX {
            true => state("a checkpoint is larger than any may be"),
            false => Ok(()),
        }
    }

    pub(crate) fn audit_drained(&self, node: NodeId) -> Audit {
        match self.singletons.drained(node) {
            Some(_) if self.nodes.find(node).is_none() => {
                state("a node is drained that takes no part")
            }
            Some(why) if why.len() > Singleton::WHY_BYTES_MAX => {
                state("why a node is drained is longer than it may be")
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn audit_singletons(&self) -> Audit {
        let book = &self.singletons;
        book.iter().try_for_each(|singleton| self.audit_singleton(&singleton.name))?;
        book.iter_candidates()
            .try_for_each(|((name, session), _)| self.audit_candidate(name, *session))?;
        book.iter_checkpoints().try_for_each(|(name, _)| self.audit_checkpoint(name))?;
        book.iter_drained().try_for_each(|(node, _)| self.audit_drained(*node))?;
        if !book.is_in_order() {
            return state("singletons wait for each other");
        }
        match *book == book.derived_anew() {
            true => Ok(()),
            false => state("what is derived of singletons does not add up"),
        }
    }

    /// Whether an epoch is none that is yet to come.
    fn has_given(&self, epoch: Epoch) -> bool {
        let newest = self.newest_epoch();
        newest.is_none_or(|newest| epoch <= newest)
    }
}
