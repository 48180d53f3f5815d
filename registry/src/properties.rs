//! Properties: what many say under one key, who says it, and the two commands that change it.
//!
//! A name has one holder; a key has as many bearers as set it. What a bearer says goes when its session ends.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use quorate_vocab::{Index, Name, Pid, SessionId};
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::frozen::Before;
use crate::names::{fits, weight};
use crate::rows::Key;
use crate::{
    At, Broken, Claim, Effect, Machine, Query, Refusal, ReleaseCause, SessionOwner, Verdict,
};

/// Who says something under a key: a life, or one process in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bearer {
    /// The life with whose end it goes.
    pub session: SessionId,
    /// The process that says it, if a process does.
    pub process: Option<Pid>,
}

/// Something that is said under a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// Which key.
    pub key: Name,
    /// Who says it.
    pub bearer: Bearer,
    /// What it says.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Labels, by which it is found.
    pub meta: BTreeMap<String, String>,
    /// The entry of the log that last set it.
    pub version: Index,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties {
    by_key: OrdMap<(Name, Bearer), Arc<Property>>,
    /// Derived.
    by_bearer: OrdSet<(Bearer, Name)>,
}

impl Machine {
    /// What one bearer says under a key.
    pub fn property(&self, key: &Name, bearer: Bearer) -> Option<&Property> {
        self.properties.find(&(key.clone(), bearer))
    }

    /// The properties that a query looks for and that come after one, in the order of keys and bearers.
    pub fn properties<'a>(
        &'a self,
        query: &'a Query,
        after: Option<&(Name, Bearer)>,
    ) -> impl Iterator<Item = &'a Property> + use<'a> {
        let stem = query.keys.stem();
        self.properties
            .from(stem, after)
            .take_while(move |property| property.key.as_str().starts_with(stem))
            .filter(|property| query.fits(property.key.as_str(), &property.meta))
    }

    /// What one bearer says, in the order of keys.
    pub fn borne_by(&self, bearer: Bearer) -> impl Iterator<Item = &Property> {
        let keys =
            self.properties.by_bearer.range((Bound::Included(Before(&bearer)), Bound::Unbounded));
        keys.take_while(move |(of, _)| *of == bearer)
            .filter_map(|(bearer, key)| self.properties.find(&(key.clone(), *bearer)))
    }

    pub(crate) fn set_property(
        &mut self,
        at: At,
        property: Property,
        expected: Option<Index>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        fits("value and metadata", weight(&property.value, &property.meta), Claim::BYTES_MAX)?;
        let session = property.bearer.session;
        match self.sessions.find(session).map(|session| session.owner) {
            None | Some(SessionOwner::Name) => return Err(Refusal::NoSession(session)),
            Some(_) => {}
        }
        let before = self.properties.find(&(property.key.clone(), property.bearer));
        let present = before.map_or(Index(0), |before| before.version);
        if expected.is_some_and(|expected| expected != present) {
            return Err(Refusal::Changed { present });
        }
        self.properties.put(property.clone(), &mut self.changes);
        out.push(Effect::PropertySet(property));
        Ok(Verdict::Amended { version: at.index })
    }

    pub(crate) fn drop_property(
        &mut self,
        key: Name,
        bearer: Bearer,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let place = (key, bearer);
        if self.properties.find(&place).is_none() {
            return Err(Refusal::Absent);
        }
        self.properties.remove(&place, &mut self.changes);
        let (key, cause) = (place.0, ReleaseCause::Asked);
        out.push(Effect::PropertyDropped { key, bearer, cause });
        Ok(Verdict::Dropped)
    }

    pub(crate) fn audit_property(&self, place: &(Name, Bearer)) -> Result<(), Broken> {
        let broken = |what| Err(Broken { invariant: "state", what });
        let Some(property) = self.properties.find(place) else {
            return Ok(());
        };
        if (&property.key, property.bearer) != (&place.0, place.1) {
            return broken("a property stands in another's place");
        }
        if !self.has_applied(property.version) {
            return broken("a property was set by no applied entry");
        }
        if self.sessions.find(place.1.session).is_none_or(|one| one.owner == SessionOwner::Name) {
            return broken("a property is borne by a session that has ended, or may not bear any");
        }
        if !self.properties.by_bearer.contains(&(place.1, place.0.clone())) {
            return broken("a bearer does not know of a property");
        }
        if weight(&property.value, &property.meta) > Claim::BYTES_MAX as u64 {
            return broken("a property is larger than any may be");
        }
        Ok(())
    }

    pub(crate) fn audit_properties(&self) -> Result<(), Broken> {
        if self.properties.by_key.len() != self.properties.by_bearer.len() {
            return Err(Broken { invariant: "state", what: "the properties do not add up" });
        }
        self.properties.by_key.keys().try_for_each(|place| self.audit_property(place))
    }
}

impl Properties {
    pub(crate) fn find(&self, place: &(Name, Bearer)) -> Option<&Property> {
        self.by_key.get(place).map(|property| &**property)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Property> {
        self.by_key.values().map(|property| &**property)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    fn from<'a>(
        &'a self,
        stem: &'a str,
        after: Option<&(Name, Bearer)>,
    ) -> impl Iterator<Item = &'a Property> + use<'a> {
        let range = match after {
            Some(after) if after.0.as_str() >= stem => {
                self.by_key.range::<_, (Name, Bearer)>((Bound::Excluded(after), Bound::Unbounded))
            }
            _ => self
                .by_key
                .range::<_, Before<'_, str>>((Bound::Included(Before(stem)), Bound::Unbounded)),
        };
        range.map(|(_, property)| &**property)
    }

    fn put(&mut self, property: Property, changes: &mut Changes) {
        let place = (property.key.clone(), property.bearer);
        match self.load(property) {
            None => changes.born(Key::Property(place)),
            Some(_) => changes.altered(Key::Property(place)),
        }
    }

    fn remove(&mut self, place: &(Name, Bearer), changes: &mut Changes) {
        self.by_key.remove(place);
        self.by_bearer.remove(&(place.1, place.0.clone()));
        changes.died(Key::Property(place.clone()));
    }

    /// Whether anything is borne by a session or a process in it.
    pub(crate) fn has_any_of(&self, session: SessionId) -> bool {
        self.places_of(session).next().is_some()
    }

    /// Takes away all that a session and the processes in it said.
    pub(crate) fn drop_all(
        &mut self,
        session: SessionId,
        changes: &mut Changes,
        out: &mut Vec<Effect>,
    ) {
        let cause = ReleaseCause::SessionEnded(session);
        let places: Vec<_> = self.places_of(session).collect();
        for place in places {
            self.remove(&place, changes);
            let (key, bearer) = place;
            out.push(Effect::PropertyDropped { key, bearer, cause });
        }
    }

    fn places_of(&self, session: SessionId) -> impl Iterator<Item = (Name, Bearer)> {
        let first = Bearer { session, process: None };
        let all = self.by_bearer.range((Bound::Included(Before(&first)), Bound::Unbounded));
        all.take_while(move |(bearer, _)| bearer.session == session)
            .map(|(bearer, key)| (key.clone(), *bearer))
    }

    /// Takes in what was stored, an audit follows; or what is new.
    pub(crate) fn load(&mut self, property: Property) -> Option<Arc<Property>> {
        let place = (property.key.clone(), property.bearer);
        self.by_bearer.insert((place.1, place.0.clone()));
        self.by_key.insert(place, Arc::new(property))
    }
}
