//! Available names: the second class of names, which works on both sides of a cut and pays for it.
//!
//! A name of the log belongs to one process or to nobody. An available name is taken without asking a
//! majority, so during a cut two processes may hold it, one on each side. When the sides meet again, one
//! of them stays, and every node says the same one.
//!
//! ```text
//!   node 1 ── Book ─┐            each node writes its own book, and nobody else does;
//!   node 2 ── Book ─┼─▶ Table    the others copy it, from its writer or from a copy;
//!   node 3 ── Book ─┘            who holds a name is a function of the books of those who are there
//! ```
//!
//! As a book has one writer, its changes have numbers, and to merge two copies is to take the higher numbers:
//! in any order, any number of times, from anybody. What was removed cannot come back by an old copy, since
//! the removal has a number, too; removals are kept until the writer puts out a new edition without them. So
//! nothing has to guess for how long a tombstone is needed.
//!
//! Of several who claim a name the one of the highest [rank](Stake::rank) holds it. Ranks are a total order
//! of single claims: they depend neither on who looks nor on what else is seen, so two losers never end each
//! other, and the one that stays is in nobody's eyes a loser.
//!
//! Nobody gives way to a ghost. What a node remembers of another one's book may be from before a cut, and who
//! claimed the name then may have ended since. So whoever has the better claim writes into its own book which
//! claims it has seen beside it, and a claim is withdrawn only when its very number is read there.
//!
//! Not here: how books travel, who is there, what becomes of a process that loses. And no promise that one
//! holder is alone: that is what the names of the log are for.

mod book;
mod table;

use quorate_vocab::{Boot, Name, NodeId, Pid};
use serde::{Deserialize, Serialize};

pub use table::{News, Refused, Table};

/// Which claim it is: one more than the greatest ordinal that its node had seen. So of two claims the one
/// that could know of the other has the greater ordinal, and no clock has a say in it. Below 2^53.
///
/// It is no fencing token: during a cut two processes act under ordinals of which either may be the greater.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Ordinal(pub u64);

impl Ordinal {
    /// The greatest.
    pub const MAX: Self = Self((1 << 53) - 1);
}

/// Which of several claimants is to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Order {
    /// The one of the greatest ordinal.
    Newest,
    /// The one of the smallest. It goes before all that say otherwise.
    Oldest,
}

/// What a process claims a name by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stake {
    /// Who claims it.
    pub pid: Pid,
    /// Since when.
    pub ordinal: Ordinal,
    /// What is to be done about others.
    pub order: Order,
}

impl Stake {
    /// Of all who claim a name, the one of the greatest rank holds it.
    pub fn rank(&self) -> impl Ord + use<> {
        match self.order {
            Order::Newest => (self.order, self.ordinal.0, self.pid),
            Order::Oldest => {
                (self.order, Ordinal::MAX.0 - self.ordinal.0.min(Ordinal::MAX.0), self.pid)
            }
        }
    }
}

/// Which book: a node's life, and how often its book was written anew in that life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Edition {
    /// The life of its writer.
    pub boot: Boot,
    /// Counts from 0.
    pub number: u64,
}

/// A place in a node's book: how much of it somebody has, or which claim is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mark {
    /// Whose book.
    pub node: NodeId,
    /// Which edition.
    pub edition: Edition,
    /// Up to which change.
    pub version: u64,
}

/// One change of a book. Of one name only the last one counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its number.
    pub version: u64,
    /// Whose state it is.
    pub name: Name,
    /// The state; none when the name was given back.
    pub stake: Option<Stake>,
    /// The claims of others that were seen beside it, and are worse.
    pub over: Vec<Mark>,
}

/// A part of a node's book: all that changed last in a range of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Whose book.
    pub node: NodeId,
    /// Which edition.
    pub edition: Edition,
    /// From which change on this edition says at least what the one before it said at its end.
    pub whole: u64,
    /// The range begins behind this one,
    pub after: u64,
    /// and ends with this one.
    pub upto: u64,
    /// In the order of their numbers.
    pub changes: Vec<Change>,
}

impl Update {
    /// Whether it is what a book's writer could have written. What is not is taken from nobody.
    fn is_sound(&self) -> bool {
        let mut last = self.after;
        let in_order = self.changes.iter().all(|change| {
            let rises = change.version > last;
            last = change.version;
            rises
        });
        let own = |stake: &Stake| {
            (stake.pid.node, stake.pid.boot) == (self.node, self.edition.boot)
                && stake.ordinal <= Ordinal::MAX
        };
        in_order
            && last <= self.upto
            && self.changes.iter().filter_map(|change| change.stake.as_ref()).all(own)
    }
}
