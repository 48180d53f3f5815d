//! Where each entry of the log lies: in memory while it is young, in a segment's file once it is written.
//!
//! The young entries are a cache with a bound in bytes; the oldest written ones leave it first. What is not
//! yet written stays, whatever the bound says, since there is nowhere else to read it from.

use std::collections::VecDeque;

use bytes::Bytes;

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) at: u32,
    pub(crate) bytes: u32,
}

/// Where to read an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    Here(Bytes),
    There(Place),
}

/// The entries that the log holds.
#[derive(Debug)]
pub(crate) struct Window {
    first: u64,
    slots: VecDeque<Slot>,
    /// The next entry's stamp.
    stamp: u64,
    /// How many bytes the slots hold in memory, and how many they may.
    cached: usize,
    cached_max: usize,
    /// No slot below this index is in memory.
    young: u64,
}

#[derive(Debug)]
struct Slot {
    /// Tells this entry from another that had its index before a truncation.
    stamp: u64,
    bytes: u32,
    data: Option<Bytes>,
    place: Option<Place>,
}

impl Window {
    pub(crate) fn new(cached_max: usize) -> Self {
        Self { first: 0, slots: VecDeque::new(), stamp: 0, cached: 0, cached_max, young: 0 }
    }

    /// The lowest index that is held.
    pub(crate) fn first(&self) -> Option<u64> {
        (!self.slots.is_empty()).then_some(self.first)
    }

    /// The highest index that is held.
    pub(crate) fn last(&self) -> Option<u64> {
        (!self.slots.is_empty()).then(|| self.first + self.slots.len() as u64 - 1)
    }

    /// How many entries are held.
    pub(crate) fn count(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Takes a new entry, whose index follows the last; returns its stamp.
    pub(crate) fn push(&mut self, index: u64, data: Bytes) -> u64 {
        let bytes = u32::try_from(data.len()).expect("entries are bounded");
        self.cached += data.len();
        if self.slots.is_empty() {
            self.young = index;
        }
        self.add(index, Slot { stamp: self.stamp, bytes, data: Some(data), place: None });
        self.stamp - 1
    }

    /// Takes an entry that was found in a file.
    pub(crate) fn restore(&mut self, index: u64, bytes: u32, place: Place) {
        self.add(index, Slot { stamp: self.stamp, bytes, data: None, place: Some(place) });
        self.young = index + 1;
    }

    fn add(&mut self, index: u64, slot: Slot) {
        if self.slots.is_empty() {
            self.first = index;
        }
        debug_assert_eq!(index, self.first + self.slots.len() as u64);
        self.slots.push_back(slot);
        self.stamp += 1;
    }

    /// Notes where an entry was written, unless it is gone by now, and lets old ones leave the memory.
    pub(crate) fn settle(&mut self, index: u64, stamp: u64, place: Place) {
        if let Some(slot) = self.slot_mut(index)
            && slot.stamp == stamp
        {
            slot.place = Some(place);
        }
        while self.cached > self.cached_max {
            let young = self.young;
            let Some(slot) = self.slot_mut(young) else {
                break;
            };
            if slot.place.is_none() {
                break;
            }
            let freed = slot.data.take().map_or(0, |data| data.len());
            self.cached -= freed;
            self.young += 1;
        }
    }

    /// Drops entries at and above `from`.
    pub(crate) fn truncate(&mut self, from: u64) {
        while self.last().is_some_and(|held| held >= from) {
            let gone = self.slots.pop_back();
            self.forget(gone);
        }
        self.young = self.young.min(from).max(self.first);
    }

    /// Drops entries up to `upto`.
    pub(crate) fn purge(&mut self, upto: u64) {
        while self.first().is_some_and(|held| held <= upto) {
            let gone = self.slots.pop_front();
            self.forget(gone);
            self.first += 1;
        }
        self.young = self.young.max(self.first);
    }

    fn forget(&mut self, slot: Option<Slot>) {
        self.cached -= slot.and_then(|slot| slot.data).map_or(0, |data| data.len());
    }

    fn slot_mut(&mut self, index: u64) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// The entries from `from` on: as many as `bytes_max` allows, but at least one if it is held.
    pub(crate) fn find(&self, from: u64, to_exclusive: u64, bytes_max: usize) -> Vec<(u64, Held)> {
        let Some(skipped) = from.checked_sub(self.first) else {
            return Vec::new();
        };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let mut found = Vec::new();
        for (index, slot) in (from..to_exclusive).zip(self.slots.iter().skip(skipped)) {
            bytes += slot.bytes as usize;
            if bytes > bytes_max && !found.is_empty() {
                break;
            }
            let held = match (&slot.data, slot.place) {
                (Some(data), _) => Held::Here(data.clone()),
                (None, Some(place)) => Held::There(place),
                (None, None) => unreachable!("an entry leaves the memory only once it has a place"),
            };
            found.push((index, held));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { segment: 1, at: 0, bytes: 8 };

    fn data(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn written_entries_leave_the_memory_oldest_first_and_unwritten_ones_stay() {
        let mut window = Window::new(4);
        let stamps: Vec<u64> = (1..=3).map(|index| window.push(index, data("abc"))).collect();
        assert!(matches!(window.find(1, 2, 0)[..], [(1, Held::Here(_))]));
        window.settle(2, stamps[1], PLACE);
        assert!(matches!(window.find(2, 3, 0)[..], [(2, Held::Here(_))]), "1 goes first");
        window.settle(1, stamps[0], PLACE);
        let held = window.find(1, 9, usize::MAX);
        assert_eq!(held[..2], [(1, Held::There(PLACE)), (2, Held::There(PLACE))]);
        assert_eq!(held[2], (3, Held::Here(data("abc"))));
    }

    #[test]
    fn a_late_place_is_not_given_to_the_entry_that_took_the_index() {
        let mut window = Window::new(0);
        let old = window.push(1, data("old"));
        window.truncate(1);
        let new = window.push(1, data("new"));
        window.settle(1, old, PLACE);
        assert_eq!(window.find(1, 2, 9), [(1, Held::Here(data("new")))]);
        window.settle(1, new, PLACE);
        assert_eq!(window.find(1, 2, 9), [(1, Held::There(PLACE))]);
    }

    #[test]
    fn a_read_is_bounded_but_never_empty_handed() {
        let mut window = Window::new(99);
        for index in 5..9 {
            window.push(index, data("four"));
        }
        assert_eq!(window.find(5, 9, 8).len(), 2);
        assert_eq!(window.find(5, 9, 1).len(), 1);
        assert_eq!(window.find(4, 9, 99).len(), 0);
        assert_eq!(window.find(9, 12, 99).len(), 0);
        window.purge(6);
        assert_eq!((window.first(), window.last(), window.count()), (Some(7), Some(8), 2));
    }
}
