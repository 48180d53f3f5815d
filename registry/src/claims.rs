//! Claims: how a name is taken, reserved and confirmed, and what each is bound to.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_vocab::{Epoch, Name, SessionId};

use crate::names::{fits, weight};
use crate::{
    At, Bond, Claim, Effect, Evidence, Holding, Machine, Refusal, Registration, Session,
    SessionOwner, Verdict,
};

impl Machine {
    pub(crate) fn register(
        &mut self,
        at: At,
        name: Name,
        claim: Claim,
        replace: Option<Epoch>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        self.judge(&name, &claim)?;
        self.take(at, name, claim, replace, false, out)
    }

    pub(crate) fn reserve(
        &mut self,
        at: At,
        name: Name,
        bond: Bond,
        replace: Option<Epoch>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        if bond == Bond::Durable {
            return Err(Refusal::Unbound);
        }
        let claim = Claim { bond, holder: None, value: Vec::new(), meta: BTreeMap::new() };
        self.judge(&name, &claim)?;
        self.take(at, name, claim, replace, true, out)
    }

    pub(crate) fn confirm(
        &mut self,
        at: At,
        name: Name,
        epoch: Epoch,
        claim: Claim,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        self.judge(&name, &claim)?;
        let held = self.names.held_under(&name, epoch)?;
        if !held.reserved {
            return Err(Refusal::NotReserved);
        }
        let (index, before) = (held.index, held.session);
        let session = self.bind(at, claim.bond, out);
        let Claim { bond, holder, value, meta } = claim;
        let (version, reserved) = (at.index, false);
        let registration =
            Registration { name, epoch, session, holder, value, meta, index, version, reserved };
        let registration = Arc::new(registration);
        self.names.put(registration.clone(), &mut self.changes);
        out.push(Effect::Amended(registration));
        self.unbind(before, session, out);
        Ok(taken(epoch, bond, session))
    }

    /// What of a claim can be judged without the name's holder.
    fn judge(&self, name: &Name, claim: &Claim) -> Result<(), Refusal> {
        fits("value and metadata", weight(&claim.value, &claim.meta), Claim::BYTES_MAX)?;
        let Bond::Session(session) = claim.bond else { return Ok(()) };
        let is_own = || self.find(name.as_str()).is_some_and(|held| held.session == Some(session));
        match self.sessions.find(session).map(|session| session.owner) {
            None => Err(Refusal::NoSession(session)),
            // The session of a name ends with it, so that nothing else may rest on it.
            Some(SessionOwner::Name) if !is_own() => Err(Refusal::NoSession(session)),
            Some(_) => Ok(()),
        }
    }

    fn take(
        &mut self,
        at: At,
        name: Name,
        claim: Claim,
        replace: Option<Epoch>,
        reserved: bool,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let before = match (replace, self.names.find(name.as_str())) {
            (None, Some(held)) => return Err(Refusal::Taken(Holding::from(held))),
            (Some(expected), held) if held.map(|held| held.epoch) != Some(expected) => {
                return Err(Refusal::Stale { present: held.map(|held| held.epoch) });
            }
            (_, held) => held.and_then(|held| held.session),
        };
        let epoch = Epoch::new(self.generation, at.index).ok_or(Refusal::EpochsSpent)?;
        let session = self.bind(at, claim.bond, out);
        let Claim { bond, holder, value, meta } = claim;
        let (index, version) = (at.index, at.index);
        let registration =
            Registration { name, epoch, session, holder, value, meta, index, version, reserved };
        let registration = Arc::new(registration);
        self.names.put(registration.clone(), &mut self.changes);
        out.push(Effect::Registered(registration));
        self.unbind(before, session, out);
        Ok(taken(epoch, bond, session))
    }

    /// The life that a claim is bound to; one that is the name's own begins here.
    fn bind(&mut self, at: At, bond: Bond, out: &mut Vec<Effect>) -> Option<SessionId> {
        match bond {
            Bond::Durable => None,
            Bond::Session(session) => Some(session),
            Bond::Ttl { ms: ttl_ms } => {
                let (session, owner) = (SessionId(at.index.0), SessionOwner::Name);
                self.sessions.put(Session { id: session, owner, ttl_ms }, &mut self.changes);
                out.push(Effect::SessionOpened { session, owner, ttl_ms });
                Some(session)
            }
        }
    }

    /// Ends the life that a name was bound to and is no more, if it was the name's own.
    pub(crate) fn unbind(
        &mut self,
        before: Option<SessionId>,
        now: Option<SessionId>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(before) = before
            && Some(before) != now
            && self.sessions.find(before).is_some_and(|one| one.owner == SessionOwner::Name)
        {
            self.end_session(before, Evidence::NameGone, out);
        }
    }
}

fn taken(epoch: Epoch, bond: Bond, session: Option<SessionId>) -> Verdict {
    match (bond, session) {
        (Bond::Ttl { .. }, Some(session)) => Verdict::Leased { epoch, session },
        _ => Verdict::Registered { epoch },
    }
}
