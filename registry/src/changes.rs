//! Which rows differ from those that were last taken, and which the last command touched.
//!
//! Not part of the state: two machines are equal whatever was taken from either.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::rows::Key;

#[derive(Clone, Debug, Default)]
pub(crate) struct Changes {
    /// `true` when a row under this key may have been taken before. What was born and died in between was
    /// never seen outside and is dropped, so that this is bounded by the state even if nobody ever takes.
    since_taken: BTreeMap<Key, bool>,
    touched: Vec<Key>,
}

impl Changes {
    /// A command begins.
    pub(crate) fn begin(&mut self) {
        self.touched.clear();
    }

    /// There was no such row, and now there is.
    pub(crate) fn born(&mut self, key: Key) {
        self.touched.push(key.clone());
        self.since_taken.entry(key).or_insert(false);
    }

    /// The row has another value.
    pub(crate) fn altered(&mut self, key: Key) {
        self.touched.push(key.clone());
        self.since_taken.entry(key).or_insert(true);
    }

    /// There is no such row any more.
    pub(crate) fn died(&mut self, key: Key) {
        self.touched.push(key.clone());
        match self.since_taken.entry(key) {
            Entry::Occupied(unseen) if !unseen.get() => {
                unseen.remove();
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(seen) => {
                seen.insert(true);
            }
        }
    }

    /// What the last command touched.
    pub(crate) fn touched(&self) -> &[Key] {
        &self.touched
    }

    /// All rows that differ, by their keys.
    pub(crate) fn take(&mut self) -> BTreeMap<Key, bool> {
        std::mem::take(&mut self.since_taken)
    }
}

impl PartialEq for Changes {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Changes {}

#[cfg(test)]
mod tests {
    use quorate_vocab::Index;

    use super::*;

    #[test]
    fn a_row_that_nobody_saw_leaves_no_trace() {
        let (seen, unseen) = (Key::Kept(Index(1)), Key::Kept(Index(2)));
        let mut changes = Changes::default();
        changes.born(seen.clone());
        assert_eq!(changes.take().into_keys().collect::<Vec<_>>(), vec![seen.clone()]);

        changes.born(unseen.clone());
        changes.altered(unseen.clone());
        changes.died(unseen);
        changes.died(seen.clone());
        changes.born(seen.clone());
        changes.died(seen.clone());
        assert_eq!(changes.take().into_keys().collect::<Vec<_>>(), vec![seen]);
        assert!(changes.take().is_empty());
    }
}
