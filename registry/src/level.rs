//! Feature levels: which commands every member of a cluster understands, agreed through the log.
//!
//! A build knows some levels; its newest one may be above what the cluster has agreed on, as long as older
//! builds take part. A command that needs more than is agreed is refused on every replica alike.
//!
//! A level that a build does not know is one that it cannot even read: the entry that raises to it does not
//! decode, nor does a header row that carries it. So a node that is too old stops with an error before the
//! first entry whose meaning it would have to guess.
//!
//! That is the last resort. Each node announces the newest level that it understands among the labels that it
//! takes part with, as builds from before this carry labels without knowing them; and a leader raises the
//! level once everybody has announced one that is higher. A build from before this announces nothing, so it
//! holds the level where logs began for as long as it is a member.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::rows::Key;
use crate::{Bond, Command, Effect, Evidence, Machine, Node, Op, Refusal, SessionOwner, Verdict};

/// The label under which a node announces the newest level that it understands.
const LABEL: &str = "quorate.level";

/// How much a cluster's members understand, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Nodes, sessions, names, topology rules.
    One,
    /// Also names with a time to live, amendments, reservations, properties, counters.
    Two,
    /// The level is raised only to what all nodes announced, and a node that announced less does not get in.
    Three,
    /// Also singletons, and lives that are proven to have ended.
    Four,
}

impl Level {
    /// Where a log begins. It is not in the log, so builds that begin one together must agree: this stays
    /// what it is, and whoever founds a cluster raises it to what its members understand.
    pub const FIRST: Self = Self::Two;
    /// The newest one that this build understands.
    pub const NEWEST: Self = Self::Four;
    /// All of them, the oldest first.
    const ALL: [Self; 4] = [Self::One, Self::Two, Self::Three, Self::Four];

    /// The number that people see, and rows hold.
    pub fn number(self) -> u16 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Four => 4,
        }
    }

    /// The level of that number; `None` when this build does not know it.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.number() == number)
    }

    /// Says among the labels of a node that it understands everything up to this level.
    pub fn announce(self, labels: &mut BTreeMap<String, String>) {
        labels.insert(LABEL.to_owned(), self.number().to_string());
    }
}

impl Node {
    /// The number of the newest level that it announced; this build need not know that one.
    fn understands(&self) -> u16 {
        let announced = self.labels.get(LABEL).and_then(|number| number.parse().ok());
        announced.unwrap_or(Level::FIRST.number())
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
            Op::End { evidence: Evidence::ProvenDead | Evidence::Forced, .. } => Level::Four,
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
            Op::Volunteer { .. }
            | Op::Withdraw { .. }
            | Op::EndGrant { .. }
            | Op::Ready { .. }
            | Op::Checkpoint { .. }
            | Op::ActUnder { .. }
            | Op::Move { .. }
            | Op::Halt { .. }
            | Op::Resume { .. }
            | Op::Force { .. }
            | Op::Forget { .. }
            | Op::Drain { .. } => Level::Four,
        }
    }
}

impl Machine {
    /// The level that the cluster has agreed on.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Whether all members understand a command. One that some do not must not get into the log: those would
    /// stop at it.
    pub fn admit(&self, command: &Command) -> Result<(), Refusal> {
        let (needs, agreed) = (command.level(), self.level);
        if needs > agreed { Err(Refusal::TooNew { needs, agreed }) } else { Ok(()) }
    }

    /// The newest level that this build knows and all nodes announced, if that is above what is agreed.
    pub fn attainable(&self) -> Option<Level> {
        let mut above = Level::ALL.into_iter().rev().take_while(|level| *level > self.level);
        above.find(|level| self.all_understand(*level))
    }

    fn all_understand(&self, level: Level) -> bool {
        self.nodes.iter().all(|node| node.understands() >= level.number())
    }

    /// Whether a node may take part: one that is too old would stop at the first entry that it cannot read,
    /// and must not vote until then.
    pub(crate) fn lets_in(&self, node: &Node) -> Result<(), Refusal> {
        let (understands, agreed) = (node.understands(), self.level);
        if agreed >= Level::Three && understands < agreed.number() {
            return Err(Refusal::TooOld { understands, agreed });
        }
        Ok(())
    }

    pub(crate) fn raise(&mut self, level: Level, out: &mut Vec<Effect>) -> Verdict {
        // Whoever proposed it may have looked before an older node came. Builds that do not judge this cannot
        // read a level of three.
        let is_judged = level >= Level::Three;
        if level > self.level && (!is_judged || self.all_understand(level)) {
            self.level = level;
            self.changes.altered(Key::Header);
            out.push(Effect::Raised(level));
        }
        Verdict::Raised { level: self.level }
    }
}
