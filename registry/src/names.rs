//! Names: who holds which, under which epoch, and the two commands that change it.
//!
//! I1 and I2 hold here. A name's registration is one entry of one map; the index by session is derived from
//! it and is never stored.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use quorate_vocab::{Epoch, Index, Name, Pid, SessionId};
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::rows::Key;
use crate::{At, Broken, Claim, Effect, Holding, Machine, Refusal, ReleaseCause, Verdict};

/// A name that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Which name.
    pub name: Name,
    /// Under which epoch; greater than that of every registration of this name before (I1).
    pub epoch: Epoch,
    /// The life it is bound to, which has not ended; `None` for a durable name.
    pub session: Option<SessionId>,
    /// The process that holds it, if a process does.
    pub holder: Option<Pid>,
    /// What the holder wants to be known under this name.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Labels of the registration.
    pub meta: BTreeMap<String, String>,
    /// The entry of the log that made it.
    pub index: Index,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    by_name: BTreeMap<Name, Registration>,
    /// Derived. No set in it is empty.
    by_session: BTreeMap<SessionId, BTreeSet<Name>>,
}

impl Machine {
    pub(crate) fn register(
        &mut self,
        at: At,
        name: Name,
        claim: Claim,
        replace: Option<Epoch>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        fits("value and metadata", weight(&claim.value, &claim.meta), Claim::BYTES_MAX)?;
        if let Some(session) = claim.session
            && self.sessions.find(session).is_none()
        {
            return Err(Refusal::NoSession(session));
        }
        match (replace, self.names.find(name.as_str())) {
            (None, Some(held)) => return Err(Refusal::Taken(Holding::from(held))),
            (Some(expected), held) if held.map(|held| held.epoch) != Some(expected) => {
                return Err(Refusal::Stale { present: held.map(|held| held.epoch) });
            }
            _ => {}
        }
        let epoch = Epoch::new(self.generation, at.index).ok_or(Refusal::EpochsSpent)?;
        let Claim { session, holder, value, meta } = claim;
        let registration =
            Registration { name, epoch, session, holder, value, meta, index: at.index };
        self.names.put(registration.clone(), &mut self.changes);
        out.push(Effect::Registered(registration));
        Ok(Verdict::Registered { epoch })
    }

    pub(crate) fn release(
        &mut self,
        name: &Name,
        expected: Option<Epoch>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let present = self.names.find(name.as_str()).map(|held| held.epoch);
        let epoch = present.ok_or(Refusal::Free)?;
        if expected.is_some_and(|expected| expected != epoch) {
            return Err(Refusal::Stale { present });
        }
        self.names.remove(name, &mut self.changes);
        let cause = ReleaseCause::Asked;
        out.push(Effect::Released { name: name.clone(), epoch, cause });
        Ok(Verdict::Released { epoch })
    }

    pub(crate) fn audit_name(&self, name: &Name) -> Result<(), Broken> {
        match self.names.by_name.get(name) {
            Some(held) => self.audit_registration(name, held),
            None => Ok(()),
        }
    }

    fn audit_registration(&self, name: &Name, held: &Registration) -> Result<(), Broken> {
        let one = |what| Err(Broken { invariant: "I1", what });
        let two = |what| Err(Broken { invariant: "I2", what });
        if self.newest_epoch().is_some_and(|newest| held.epoch > newest) {
            return one("a name is held under an epoch that is yet to come");
        }
        if !self.has_applied(held.index) {
            return one("a registration was made by no applied entry");
        }
        if held.name != *name {
            return two("a registration stands under another name");
        }
        if let Some(session) = held.session {
            if self.sessions.find(session).is_none() {
                return two("a name is held by a session that has ended");
            }
            if !self.names.by_session.get(&session).is_some_and(|names| names.contains(name)) {
                return two("a session does not know of a name that it holds");
            }
        }
        if weight(&held.value, &held.meta) > Claim::BYTES_MAX as u64 {
            return two("a registration is larger than any claim may be");
        }
        Ok(())
    }
}

impl Names {
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Registration> {
        self.by_name.get(name)
    }

    pub(crate) fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Registration> + use<'a> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.by_name
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, registration)| registration)
            .take_while(move |registration| registration.name.as_str().starts_with(prefix))
    }

    pub(crate) fn held_by(&self, session: SessionId) -> impl Iterator<Item = &Name> {
        self.by_session.get(&session).into_iter().flatten()
    }

    fn put(&mut self, registration: Registration, changes: &mut Changes) {
        let name = registration.name.clone();
        if let Some(session) = registration.session {
            self.by_session.entry(session).or_default().insert(name.clone());
        }
        let bound_to = registration.session;
        match self.by_name.entry(name.clone()) {
            Entry::Vacant(free) => {
                free.insert(registration);
                changes.born(Key::Name(name));
            }
            Entry::Occupied(mut held) => {
                assert!(registration.epoch > held.get().epoch, "I1: an epoch did not rise");
                let before = held.insert(registration);
                if before.session != bound_to {
                    self.unbind(before.session, &name);
                }
                changes.altered(Key::Name(name));
            }
        }
    }

    fn remove(&mut self, name: &Name, changes: &mut Changes) {
        if let Some(held) = self.by_name.remove(name) {
            self.unbind(held.session, name);
            changes.died(Key::Name(held.name));
        }
    }

    fn unbind(&mut self, session: Option<SessionId>, name: &Name) {
        let Some(session) = session else { return };
        if let Entry::Occupied(mut names) = self.by_session.entry(session) {
            names.get_mut().remove(name);
            if names.get().is_empty() {
                names.remove();
            }
        }
    }

    /// Frees all that a session held, in the order of names.
    pub(crate) fn release_all(
        &mut self,
        session: SessionId,
        changes: &mut Changes,
        out: &mut Vec<Effect>,
    ) {
        let cause = ReleaseCause::SessionEnded(session);
        for name in self.by_session.remove(&session).unwrap_or_default() {
            if let Some(Registration { epoch, .. }) = self.by_name.remove(&name) {
                changes.died(Key::Name(name.clone()));
                out.push(Effect::Released { name, epoch, cause });
            }
        }
    }

    /// Builds both maps of what was stored, at once and so without slack in the larger one.
    pub(crate) fn load(registrations: Vec<Registration>) -> Self {
        let mut by_session = BTreeMap::<_, BTreeSet<_>>::new();
        for held in &registrations {
            if let Some(session) = held.session {
                by_session.entry(session).or_default().insert(held.name.clone());
            }
        }
        let by_name = registrations.into_iter().map(|held| (held.name.clone(), held)).collect();
        Self { by_name, by_session }
    }

    /// What no single name shows: that the index holds nothing besides, and that no epoch was given twice.
    pub(crate) fn audit_sizes(&self) -> Result<(), Broken> {
        let bound = self.by_name.values().filter(|held| held.session.is_some()).count();
        let indexed: usize = self.by_session.values().map(BTreeSet::len).sum();
        if bound != indexed || self.by_session.values().any(BTreeSet::is_empty) {
            return Err(Broken { invariant: "I2", what: "the names of sessions do not add up" });
        }
        let epochs: BTreeSet<_> = self.by_name.values().map(|held| held.epoch).collect();
        if epochs.len() != self.by_name.len() {
            return Err(Broken { invariant: "I1", what: "two names are held under one epoch" });
        }
        Ok(())
    }
}

/// What a value and labels weigh together.
pub(crate) fn weight(value: &[u8], labels: &BTreeMap<String, String>) -> u64 {
    let labels: usize = labels.iter().map(|(key, value)| key.len() + value.len()).sum();
    (value.len() + labels) as u64
}

pub(crate) fn fits(what: &str, bytes: u64, bytes_max: usize) -> Result<(), Refusal> {
    let bytes_max = bytes_max as u64;
    if bytes > bytes_max {
        return Err(Refusal::TooLarge { what: what.to_owned(), bytes, bytes_max });
    }
    Ok(())
}
