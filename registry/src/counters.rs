//! Counters: durable whole numbers under names, and the two commands that change one.
//!
//! A counter's name is not that of a registration: the two are different books.

use imbl::OrdMap;
use quorate_vocab::Name;

use crate::changes::Changes;
use crate::rows::Key;
use crate::{Effect, Machine, Refusal, Verdict};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counters(OrdMap<Name, i64>);

impl Machine {
    /// What is in a counter, if it exists.
    pub fn counter(&self, name: &str) -> Option<i64> {
        self.counters.find(name)
    }

    /// The counters whose names begin with `prefix` and come after `after`, in the order of names.
    pub fn counters<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&str>,
    ) -> impl Iterator<Item = (&'a Name, i64)> + use<'a> {
        let range = crate::query::after_or_at(prefix, after);
        let all = self.counters.0.range::<_, str>(range).map(|(name, value)| (name, *value));
        all.take_while(move |(name, _)| name.as_str().starts_with(prefix))
    }

    pub(crate) fn count(
        &mut self,
        name: Name,
        add: i64,
        expected: Option<i64>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let present = self.counters.find(name.as_str()).unwrap_or(0);
        if expected.is_some_and(|expected| expected != present) {
            return Err(Refusal::Miscounted { present });
        }
        let value = present.checked_add(add).ok_or(Refusal::Overflow { present })?;
        self.counters.put(name.clone(), value, &mut self.changes);
        out.push(Effect::Counted { name, value });
        Ok(Verdict::Counted { value })
    }

    pub(crate) fn drop_counter(
        &mut self,
        name: Name,
        expected: Option<i64>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let present = self.counters.find(name.as_str()).ok_or(Refusal::Absent)?;
        if expected.is_some_and(|expected| expected != present) {
            return Err(Refusal::Miscounted { present });
        }
        self.counters.0.remove(&name);
        self.changes.died(Key::Counter(name.clone()));
        out.push(Effect::CounterDropped { name });
        Ok(Verdict::Dropped)
    }
}

impl Counters {
    pub(crate) fn find(&self, name: &str) -> Option<i64> {
        self.0.get(name).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, i64)> {
        self.0.iter().map(|(name, value)| (name, *value))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn put(&mut self, name: Name, value: i64, changes: &mut Changes) {
        match self.0.insert(name.clone(), value) {
            None => changes.born(Key::Counter(name)),
            Some(_) => changes.altered(Key::Counter(name)),
        }
    }

    /// Takes in what was stored.
    pub(crate) fn load(&mut self, name: Name, value: i64) {
        self.0.insert(name, value);
    }
}
