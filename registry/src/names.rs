//! Names: who holds which, under which epoch, what is said under them, and the commands that end or amend it.
//!
//! I1 and I2 hold here. A name's registration is one entry of one map; the index by session is derived from
//! it and is never stored.
//!
//! Not here: how a name is taken; that is `claims.rs`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};
use imbl::{OrdMap, OrdSet};
use quorate_vocab::{Epoch, Index, Name, Pid, SessionId};
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::query::after_or_at;
use crate::rows::Key;
use crate::{At, Broken, Claim, Effect, Machine, Query, Refusal, ReleaseCause, Verdict};

/// A name that is held, or reserved.
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
    /// The entry of the log that last changed what is said under it.
    pub version: Index,
    /// Whether the name is only kept free for whoever reserved it. Then nobody holds it.
    pub reserved: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    by_name: OrdMap<Name, Arc<Registration>>,
    /// Derived: those that are bound to a session.
    by_session: OrdSet<Tied>,
}

/// A registration as its session knows it, in the order of sessions and then of epochs, which no two names
/// share. One pointer is all that a session costs a name.
#[derive(Clone, Debug)]
struct Tied(Arc<Registration>);

/// The place of a session's registrations: before the first of them, or that under an epoch.
struct Tie(SessionId, Option<Epoch>);

impl Machine {
    pub(crate) fn release(
        &mut self,
        name: &Name,
        expected: Option<Epoch>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let held = self.names.find(name.as_str()).ok_or(Refusal::Free)?;
        let (epoch, session) = (held.epoch, held.session);
        if expected.is_some_and(|expected| expected != epoch) {
            return Err(Refusal::Stale { present: Some(epoch) });
        }
        self.names.remove(name, &mut self.changes);
        let cause = ReleaseCause::Asked;
        out.push(Effect::Released { name: name.clone(), epoch, cause });
        self.unbind(session, None, out);
        Ok(Verdict::Released { epoch })
    }

    /// Changes what is said under a name. `amendment` is the new value and the new labels.
    pub(crate) fn amend(
        &mut self,
        at: At,
        name: &Name,
        epoch: Epoch,
        expected: Option<Index>,
        amendment: (Option<Vec<u8>>, Option<BTreeMap<String, String>>),
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let held = self.names.held_under(name, epoch)?;
        let present = held.version;
        if expected.is_some_and(|expected| expected != present) {
            return Err(Refusal::Changed { present });
        }
        let (value, meta) = amendment;
        let (value_now, meta_now) =
            (value.as_ref().unwrap_or(&held.value), meta.as_ref().unwrap_or(&held.meta));
        fits("value and metadata", weight(value_now, meta_now), Claim::BYTES_MAX)?;

        let mut registration = held.clone();
        registration.value = value.unwrap_or(registration.value);
        registration.meta = meta.unwrap_or(registration.meta);
        registration.version = at.index;
        let registration = Arc::new(registration);
        self.names.put(registration.clone(), &mut self.changes);
        out.push(Effect::Amended(registration));
        Ok(Verdict::Amended { version: at.index })
    }

    /// The registrations that a query looks for and that come after a name, in the order of names.
    pub fn select<'a>(
        &'a self,
        query: &'a Query,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Registration> + use<'a> {
        let held = self.names.list(query.keys.stem(), after);
        held.filter(|held| query.fits(held.name.as_str(), &held.meta))
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
        if !self.has_applied(held.index) || !self.has_applied(held.version) {
            return one("a registration was made by no applied entry");
        }
        if held.version < held.index {
            return one("a registration was changed before it was made");
        }
        if held.name != *name {
            return two("a registration stands under another name");
        }
        match held.session {
            Some(session) if self.sessions.find(session).is_none() => {
                return two("a name is held by a session that has ended");
            }
            Some(session) if !self.names.is_tied(session, held) => {
                return two("a session does not know of a name that it holds");
            }
            None if held.reserved => return two("a reservation is bound to nothing"),
            _ => {}
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
        self.shared(name).map(|held| &**held)
    }

    pub(crate) fn shared(&self, name: &str) -> Option<&Arc<Registration>> {
        self.by_name.get(name)
    }

    pub(crate) fn all_shared(&self) -> impl Iterator<Item = &Arc<Registration>> {
        self.by_name.values()
    }

    pub(crate) fn held_under(&self, name: &Name, epoch: Epoch) -> Result<&Registration, Refusal> {
        let held = self.find(name.as_str()).ok_or(Refusal::Free)?;
        match held.epoch == epoch {
            true => Ok(held),
            false => Err(Refusal::Stale { present: Some(held.epoch) }),
        }
    }

    pub(crate) fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Registration> + use<'a> {
        self.by_name
            .range::<_, str>(after_or_at(prefix, after))
            .map(|(_, registration)| &**registration)
            .take_while(move |registration| registration.name.as_str().starts_with(prefix))
    }

    pub(crate) fn held_by(&self, session: SessionId) -> impl Iterator<Item = &Name> {
        self.by_session
            .range((Bound::Included(Tie(session, None)), Bound::Unbounded))
            .map(|Tied(held)| &**held)
            .take_while(move |held| held.session == Some(session))
            .map(|held| &held.name)
    }

    fn is_tied(&self, session: SessionId, held: &Registration) -> bool {
        let tied = self.by_session.get(&Tie(session, Some(held.epoch)));
        tied.is_some_and(|Tied(tied)| std::ptr::eq(&**tied, held))
    }

    pub(crate) fn put(&mut self, registration: Arc<Registration>, changes: &mut Changes) {
        let name = registration.name.clone();
        let (epoch, version) = (registration.epoch, registration.version);
        let before = self.load(registration);
        if let Some(before) = &before {
            let rises = (epoch, version) > (before.epoch, before.version) && epoch >= before.epoch;
            assert!(rises, "I1: neither an epoch nor its version did rise");
        }
        match before {
            None => changes.born(Key::Name(name)),
            Some(_) => changes.altered(Key::Name(name)),
        }
    }

    fn remove(&mut self, name: &Name, changes: &mut Changes) {
        if let Some(held) = self.by_name.remove(name) {
            self.untie(&held);
            changes.died(Key::Name(name.clone()));
        }
    }

    fn untie(&mut self, held: &Registration) {
        if let Some(session) = held.session {
            self.by_session.remove(&Tie(session, Some(held.epoch)));
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
        let mut names: Vec<Name> = self.held_by(session).cloned().collect();
        names.sort_unstable();
        for name in names {
            if let Some(epoch) = self.find(name.as_str()).map(|held| held.epoch) {
                self.remove(&name, changes);
                out.push(Effect::Released { name, epoch, cause });
            }
        }
    }

    /// Takes in what was stored, an audit follows; or what is new. Gives what it took the place of.
    pub(crate) fn load(&mut self, held: Arc<Registration>) -> Option<Arc<Registration>> {
        let before = self.by_name.insert(held.name.clone(), held.clone());
        if let Some(before) = &before {
            self.untie(before);
        }
        if held.session.is_some() {
            self.by_session.insert(Tied(held));
        }
        before
    }

    /// What no single name shows: that the index holds nothing besides, and that no epoch was given twice.
    pub(crate) fn audit_sizes(&self) -> Result<(), Broken> {
        let bound = self.by_name.values().filter(|held| held.session.is_some()).count();
        if bound != self.by_session.len() {
            return Err(Broken { invariant: "I2", what: "the names of sessions do not add up" });
        }
        let mut epochs: Vec<_> = self.by_name.values().map(|held| held.epoch).collect();
        epochs.sort_unstable();
        if epochs.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Broken { invariant: "I1", what: "two names are held under one epoch" });
        }
        Ok(())
    }
}

impl Tied {
    fn place(&self) -> (Option<SessionId>, Epoch) {
        (self.0.session, self.0.epoch)
    }
}

impl PartialEq for Tied {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for Tied {}

impl PartialOrd for Tied {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tied {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl Equivalent<Tied> for Tie {
    fn equivalent(&self, tied: &Tied) -> bool {
        self.compare(tied).is_eq()
    }
}

impl Comparable<Tied> for Tie {
    fn compare(&self, tied: &Tied) -> Ordering {
        // None is less than every epoch.
        (Some(self.0), self.1).cmp(&(tied.0.session, Some(tied.0.epoch)))
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
