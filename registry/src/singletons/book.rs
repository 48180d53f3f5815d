//! The book of singletons: the rows, and what is derived from them.
//!
//! Not here: any rule. Whoever changes a grant has looked at its evidence before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use quorate_vocab::{Index, Name, NodeId, SessionId};

use super::{Candidate, Checkpoint, Grant, Past, Singleton};
use crate::changes::Changes;
use crate::frozen::Before;
use crate::query::after_or_at;
use crate::rows::Key;
use crate::{Company, Spec};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Singletons {
    by_name: OrdMap<Name, Arc<Singleton>>,
    candidates: OrdMap<(Name, SessionId), Candidate>,
    checkpoints: OrdMap<Name, Arc<Checkpoint>>,
    /// The nodes that are being drained, and why.
    drained: OrdMap<NodeId, String>,
    /// Derived.
    by_session: OrdSet<(SessionId, Name)>,
    /// Derived: how many grants are on each node that has some.
    loads: OrdMap<NodeId, u32>,
    /// Derived: how many of each group are on each node that has some.
    groups: OrdMap<(String, NodeId), u32>,
    /// Derived: those that nobody holds though somebody offers to run them, and that were not stopped.
    waiting: OrdSet<Name>,
    /// Derived: who waits for whom, the one that is waited for first.
    after: OrdSet<(Name, Name)>,
}

impl Singletons {
    /// The same rows, and all that is derived of them anew.
    pub(crate) fn derived_anew(&self) -> Self {
        let mut anew = Self {
            checkpoints: self.checkpoints.clone(),
            drained: self.drained.clone(),
            ..Self::default()
        };
        self.by_name.values().for_each(|singleton| anew.put(singleton.clone()));
        for ((name, _), candidate) in &self.candidates {
            anew.load_candidate(name.clone(), candidate.clone());
        }
        anew
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Singleton> {
        self.by_name.get(name).map(|singleton| &**singleton)
    }

    pub(crate) fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = &'a Singleton> + use<'a> {
        let range = after_or_at(prefix, after);
        let all = self.by_name.range::<_, str>(range).map(|(_, singleton)| &**singleton);
        all.take_while(move |singleton| singleton.name.as_str().starts_with(prefix))
    }

    pub(crate) fn names(&self) -> Vec<Name> {
        self.by_name.keys().cloned().collect()
    }

    pub(crate) fn candidate(&self, name: &Name, session: SessionId) -> Option<&Candidate> {
        self.candidates.get(&(name.clone(), session))
    }

    pub(crate) fn candidates(&self, name: &Name) -> impl Iterator<Item = &Candidate> {
        let [first, last] = [0, u64::MAX].map(|session| (name.clone(), SessionId(session)));
        self.candidates.range(first..=last).map(|(_, candidate)| candidate)
    }

    pub(crate) fn checkpoint(&self, name: &str) -> Option<&Checkpoint> {
        self.checkpoints.get(name).map(|checkpoint| &**checkpoint)
    }

    pub(crate) fn drained(&self, node: NodeId) -> Option<&str> {
        self.drained.get(&node).map(String::as_str)
    }

    pub(crate) fn offered_by(&self, session: SessionId) -> Vec<Name> {
        let all = self.by_session.range(from(&session));
        all.take_while(|(of, _)| *of == session).map(|(_, name)| name.clone()).collect()
    }

    pub(crate) fn load_of(&self, node: NodeId) -> u32 {
        self.loads.get(&node).copied().unwrap_or(0)
    }

    pub(crate) fn of_group_on(&self, group: &str, node: NodeId) -> u32 {
        self.groups.get(&(group.to_owned(), node)).copied().unwrap_or(0)
    }

    pub(crate) fn nodes_of_group(&self, group: &str) -> impl Iterator<Item = (NodeId, u32)> {
        let group = group.to_owned();
        let all = self.groups.range(from(&group));
        all.take_while(move |((of, _), _)| *of == group).map(|((_, node), many)| (*node, *many))
    }

    /// Whether this life offers to run something.
    pub(crate) fn has_any_of(&self, session: SessionId) -> bool {
        self.by_session.range(from(&session)).next().is_some_and(|(of, _)| *of == session)
    }

    pub(crate) fn waiting(&self) -> Vec<Name> {
        self.waiting.iter().cloned().collect()
    }

    pub(crate) fn is_ready(&self, name: &str) -> bool {
        self.find(name).and_then(|one| one.grant).is_some_and(|grant| grant.ready)
    }

    pub(crate) fn dependents(&self, name: &Name) -> Vec<Name> {
        let all = self.after.range(from(name));
        all.take_while(|(of, _)| of == name).map(|(_, dependent)| dependent.clone()).collect()
    }

    /// Whom a singleton would wait for that waits for it, if it wanted this.
    pub(crate) fn circle(&self, name: &Name, spec: &Spec) -> Option<Name> {
        let (mut seen, mut next) = (BTreeSet::new(), Vec::from_iter(&spec.after));
        while let Some(one) = next.pop() {
            if seen.insert(one)
                && let Some(found) = self.find(one.as_str())
            {
                if found.spec.after.contains(name) {
                    return Some(one.clone());
                }
                next.extend(&found.spec.after);
            }
        }
        None
    }

    /// Whether no singleton waits for itself through others: whether all can be started one after the other.
    pub(crate) fn is_in_order(&self) -> bool {
        let is_here = |first: &&Name| self.by_name.contains_key(*first);
        let mut unmet: BTreeMap<&Name, usize> = BTreeMap::new();
        let mut next = Vec::new();
        for (name, singleton) in &self.by_name {
            match singleton.spec.after.iter().filter(is_here).count() {
                0 => next.push(name.clone()),
                many => drop(unmet.insert(name, many)),
            }
        }
        while let Some(name) = next.pop() {
            for dependent in self.dependents(&name) {
                if let Some(many) = unmet.get_mut(&dependent) {
                    *many -= 1;
                    if *many == 0 {
                        unmet.remove(&dependent);
                        next.push(dependent);
                    }
                }
            }
        }
        unmet.is_empty()
    }

    pub(crate) fn offer(&mut self, name: &Name, candidate: Candidate, changes: &mut Changes) {
        let key = (name.clone(), candidate.session);
        let row = Key::Candidate(key.clone());
        match self.candidates.contains_key(&key) {
            true => changes.altered(row),
            false => changes.born(row),
        }
        self.load_candidate(key.0, candidate);
    }

    pub(crate) fn unoffer(
        &mut self,
        name: &Name,
        session: SessionId,
        changes: &mut Changes,
    ) -> bool {
        let key = (name.clone(), session);
        let was_there = self.candidates.remove(&key).is_some();
        if was_there {
            changes.died(Key::Candidate(key));
            self.by_session.remove(&(session, name.clone()));
            self.watch(name);
        }
        was_there
    }

    pub(crate) fn fail(
        &mut self,
        name: &Name,
        session: SessionId,
        why: Option<String>,
        changes: &mut Changes,
    ) {
        let key = (name.clone(), session);
        if let Some(candidate) = self.candidates.get_mut(&key)
            && candidate.failed != why
        {
            candidate.failed = why;
            changes.altered(Key::Candidate(key));
        }
    }

    /// Wants something else of a singleton, or a singleton that is not there yet.
    pub(crate) fn want(&mut self, name: &Name, spec: Spec, version: Index, changes: &mut Changes) {
        let row = Key::Singleton(name.clone());
        let singleton = match self.find(name.as_str()) {
            Some(before) => {
                changes.altered(row);
                let before = before.clone();
                self.unload(&before);
                Singleton { spec, version, ..before }
            }
            None => {
                changes.born(row);
                let (name, past) = (name.clone(), VecDeque::new());
                Singleton { name, spec, version, halted: false, grant: None, past }
            }
        };
        self.load(singleton);
    }

    pub(crate) fn set_grant(&mut self, name: &Name, grant: Option<Grant>, changes: &mut Changes) {
        self.alter(name, changes, |singleton| singleton.grant = grant);
    }

    pub(crate) fn set_halted(&mut self, name: &Name, halted: bool, changes: &mut Changes) {
        self.alter(name, changes, |singleton| singleton.halted = halted);
    }

    pub(crate) fn close(&mut self, name: &Name, past: Past, changes: &mut Changes) {
        self.alter(name, changes, |singleton| {
            singleton.grant = None;
            singleton.past.push_back(past);
            if singleton.past.len() > Singleton::PAST_MAX {
                singleton.past.pop_front();
            }
        });
    }

    pub(crate) fn forget(&mut self, name: &Name, changes: &mut Changes) {
        if let Some(singleton) = self.by_name.get(name).cloned() {
            self.unload(&singleton);
            self.by_name.remove(name);
            changes.died(Key::Singleton(name.clone()));
        }
        if self.checkpoints.remove(name).is_some() {
            changes.died(Key::Checkpoint(name.clone()));
        }
    }

    pub(crate) fn set_checkpoint(
        &mut self,
        name: &Name,
        checkpoint: Checkpoint,
        changes: &mut Changes,
    ) {
        let row = Key::Checkpoint(name.clone());
        match self.checkpoints.insert(name.clone(), Arc::new(checkpoint)) {
            Some(_) => changes.altered(row),
            None => changes.born(row),
        }
    }

    pub(crate) fn set_drained(&mut self, node: NodeId, why: Option<String>, changes: &mut Changes) {
        let row = Key::Drained(node);
        let is_drained = why.is_some();
        let before = match why {
            Some(why) => self.drained.insert(node, why),
            None => self.drained.remove(&node),
        };
        match (before.is_some(), is_drained) {
            (false, true) => changes.born(row),
            (true, true) => changes.altered(row),
            (true, false) => changes.died(row),
            (false, false) => {}
        }
    }

    /// Changes all but what is wanted, of which more is derived.
    fn alter(&mut self, name: &Name, changes: &mut Changes, how: impl FnOnce(&mut Singleton)) {
        let Some(singleton) = self.by_name.get_mut(name) else { return };
        changes.altered(Key::Singleton(name.clone()));
        let before = singleton.grant;
        let singleton = Arc::make_mut(singleton);
        how(singleton);
        if before.map(|grant| grant.node) != singleton.grant.map(|grant| grant.node) {
            let company = singleton.spec.company.as_ref();
            count_off(&mut self.loads, &mut self.groups, before, company);
            count_in(&mut self.loads, &mut self.groups, singleton.grant, company);
        }
        self.watch(name);
    }

    /// Takes in what was stored; an audit follows.
    pub(crate) fn load(&mut self, singleton: Singleton) {
        self.put(Arc::new(singleton));
    }

    pub(crate) fn load_candidate(&mut self, name: Name, candidate: Candidate) {
        // One text for all: there may be many of each singleton.
        let name = self.by_name.get_key_value(&name).map_or(name, |(name, _)| name.clone());
        self.by_session.insert((candidate.session, name.clone()));
        self.candidates.insert((name.clone(), candidate.session), candidate);
        self.watch(&name);
    }

    pub(crate) fn load_checkpoint(&mut self, name: Name, checkpoint: Checkpoint) {
        self.checkpoints.insert(name, Arc::new(checkpoint));
    }

    pub(crate) fn load_drained(&mut self, node: NodeId, why: String) {
        self.drained.insert(node, why);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Singleton> {
        self.by_name.values().map(|singleton| &**singleton)
    }

    pub(crate) fn iter_candidates(&self) -> impl Iterator<Item = (&(Name, SessionId), &Candidate)> {
        self.candidates.iter()
    }

    pub(crate) fn iter_checkpoints(&self) -> impl Iterator<Item = (&Name, &Checkpoint)> {
        self.checkpoints.iter().map(|(name, checkpoint)| (name, &**checkpoint))
    }

    pub(crate) fn iter_drained(&self) -> impl Iterator<Item = (&NodeId, &String)> {
        self.drained.iter()
    }

    pub(crate) fn rows(&self) -> usize {
        self.by_name.len() + self.candidates.len() + self.checkpoints.len() + self.drained.len()
    }

    fn put(&mut self, singleton: Arc<Singleton>) {
        let company = singleton.spec.company.as_ref();
        count_in(&mut self.loads, &mut self.groups, singleton.grant, company);
        let name = singleton.name.clone();
        for first in &singleton.spec.after {
            self.after.insert((first.clone(), name.clone()));
        }
        self.by_name.insert(name.clone(), singleton);
        self.watch(&name);
    }

    /// Takes back what `put` derived; the singleton itself stays.
    fn unload(&mut self, singleton: &Singleton) {
        let company = singleton.spec.company.as_ref();
        count_off(&mut self.loads, &mut self.groups, singleton.grant, company);
        for first in &singleton.spec.after {
            self.after.remove(&(first.clone(), singleton.name.clone()));
        }
        self.waiting.remove(&singleton.name);
    }

    fn waits(&self, singleton: &Singleton) -> bool {
        let is_free = singleton.grant.is_none() && !singleton.halted;
        is_free && self.candidates(&singleton.name).next().is_some()
    }

    /// Looks anew whether a singleton waits for somebody who can have it.
    fn watch(&mut self, name: &Name) {
        match self.find(name.as_str()).is_some_and(|singleton| self.waits(singleton)) {
            true => self.waiting.insert(name.clone()),
            false => self.waiting.remove(name),
        };
    }
}

fn count_in(
    loads: &mut OrdMap<NodeId, u32>,
    groups: &mut OrdMap<(String, NodeId), u32>,
    grant: Option<Grant>,
    company: Option<&Company>,
) {
    let Some(Grant { node, .. }) = grant else { return };
    *loads.entry(node).or_default() += 1;
    if let Some(company) = company {
        *groups.entry((company.group.clone(), node)).or_default() += 1;
    }
}

fn count_off(
    loads: &mut OrdMap<NodeId, u32>,
    groups: &mut OrdMap<(String, NodeId), u32>,
    grant: Option<Grant>,
    company: Option<&Company>,
) {
    let Some(Grant { node, .. }) = grant else { return };
    one_less(loads, &node);
    if let Some(company) = company {
        one_less(groups, &(company.group.clone(), node));
    }
}

fn one_less<K: Ord + Clone>(counts: &mut OrdMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// All pairs that begin with this, and those that come after them.
fn from<A: Ord>(first: &A) -> (Bound<Before<'_, A>>, Bound<Before<'_, A>>) {
    (Bound::Included(Before(first)), Bound::Unbounded)
}
