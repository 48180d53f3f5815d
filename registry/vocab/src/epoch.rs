//! The numbers that only grow: log indexes and fencing epochs.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Name;

/// A position in the replicated log. The first entry has index 1; 0 is before everything.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Index(pub u64);

/// A name's fencing number: the cluster's generation and the log index of the grant.
///
/// Strictly rising for a name over all time (I1): the index rises within a life of the cluster, and the
/// generation rises whenever a backup is restored. It stays below 2^53, so JSON carries it unharmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(u64);

/// What is shown to the outside world: which name, under which epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    /// The name that is held.
    pub name: Name,
    /// The epoch it is held under.
    pub epoch: Epoch,
}

impl Epoch {
    const INDEX_BITS: u32 = 41;
    const GENERATION_BITS: u32 = 12;

    /// Packs a generation and an index; `None` when either has outgrown its bits.
    pub fn new(generation: u16, index: Index) -> Option<Self> {
        let fits =
            u32::from(generation) < 1 << Self::GENERATION_BITS && index.0 < 1 << Self::INDEX_BITS;
        fits.then_some(Self(u64::from(generation) << Self::INDEX_BITS | index.0))
    }

    /// The log index of the grant.
    pub fn index(self) -> Index {
        Index(self.0 & ((1 << Self::INDEX_BITS) - 1))
    }

    /// How often the cluster was restored before the grant.
    pub fn generation(self) -> u16 {
        (self.0 >> Self::INDEX_BITS) as u16
    }

    /// The number as it is shown.
    pub fn get(self) -> u64 {
        self.0
    }

    /// Reads a shown number back; `None` when no epoch has that number.
    pub fn from_shown(number: u64) -> Option<Self> {
        (number < 1 << (Self::INDEX_BITS + Self::GENERATION_BITS)).then_some(Self(number))
    }
}

impl Index {
    /// The index after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_grows_with_the_index_and_more_with_the_generation() {
        let at = |generation, index| Epoch::new(generation, Index(index)).unwrap();
        assert!(at(0, 7) < at(0, 8));
        assert!(at(0, 1 << 40) < at(1, 1));
        assert!(at(4095, (1 << 41) - 1).get() < 1 << 53);
        assert_eq!(at(4095, (1 << 41) - 1).index(), Index((1 << 41) - 1));
        assert_eq!(at(4095, (1 << 41) - 1).generation(), 4095);
        assert_eq!(Epoch::new(4096, Index(1)), None);
        assert_eq!(Epoch::new(0, Index(1 << 41)), None);
        assert_eq!(Epoch::from_shown(at(3, 9).get()), Some(at(3, 9)));
        assert_eq!(Epoch::from_shown(1 << 53), None);
    }
}
