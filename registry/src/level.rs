//! Feature levels: which commands every member of a cluster understands, agreed through the log.
//!
//! A build knows some levels; its newest one may be above what the cluster has agreed on, as long as older
//! builds take part. A command that needs more than is agreed is refused on every replica alike.
//!
//! A level that a build does not know is one that it cannot even read: the entry that raises to it does not
//! decode, nor does a header row that carries it. So a node that is too old stops with an error before the
//! first entry whose meaning it would have to guess.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rows::Key;
use crate::{Bond, Command, Effect, Machine, Op, Refusal, SessionOwner, Verdict};

/// How much a cluster's members understand, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Nodes, sessions, names, topology rules.
    One,
    /// Also names with a time to live, amendments, reservations, properties, counters.
    Two,
}

impl Level {
    /// Where a log begins. It is not in the log, so builds that begin one together must agree: this stays
    /// what it is, and whoever founds a cluster raises it to what its members understand.
    pub const FIRST: Self = Self::Two;
    /// The newest one that this build understands.
    pub const NEWEST: Self = Self::Two;

    /// The number that people see, and rows hold.
    pub fn number(self) -> u16 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }

    /// The level of that number; `None` when this build does not know it.
    pub fn from_number(number: u16) -> Option<Self> {
        [Self::One, Self::Two].into_iter().find(|level| level.number() == number)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl Command {
    /// The level that a cluster must have agreed on before this is applied.
    pub fn level(&self) -> Level {
        match &self.op {
            Op::Register { claim, .. } if matches!(claim.bond, Bond::Ttl { .. }) => Level::Two,
            Op::Open { owner: SessionOwner::Name, .. } => Level::Two,
            Op::Join { .. }
            | Op::Leave { .. }
            | Op::Open { .. }
            | Op::End { .. }
            | Op::Register { .. }
            | Op::Release { .. }
            | Op::SetRules { .. }
            // What it raises to is for all to read; it needs nothing that is agreed before.
            | Op::Raise { .. } => Level::One,
            Op::Amend { .. }
            | Op::Reserve { .. }
            | Op::Confirm { .. }
            | Op::SetProperty { .. }
            | Op::DropProperty { .. }
            | Op::Count { .. }
            | Op::DropCounter { .. } => Level::Two,
        }
    }
}

impl Machine {
    /// The level that the cluster has agreed on.
    pub fn level(&self) -> Level {
        self.level
    }

    pub(crate) fn admit(&self, command: &Command) -> Result<(), Refusal> {
        let (needs, agreed) = (command.level(), self.level);
        if needs > agreed { Err(Refusal::TooNew { needs, agreed }) } else { Ok(()) }
    }

    pub(crate) fn raise(&mut self, level: Level, out: &mut Vec<Effect>) -> Verdict {
        if level > self.level {
            self.level = level;
            self.changes.altered(Key::Header);
            out.push(Effect::Raised(level));
        }
        Verdict::Raised { level: self.level }
    }
}
