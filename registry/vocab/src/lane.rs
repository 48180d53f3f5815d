//! Lanes: how urgent what travels between nodes is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A priority on the way to another node. What is urgent overtakes what is not; the least urgent still moves.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Lane {
    /// Small, and somebody waits for it.
    High,
    /// What nobody has said anything about.
    #[default]
    Normal,
    /// Large, and nobody waits for it.
    Bulk,
}

impl Lane {
    /// All lanes, the most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Bulk];

    /// Its place in [`Lane::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// What it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Bulk => "bulk",
        }
    }
}

impl fmt::Display for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
