//! What was seen of a drill, from outside of all nodes: what the verdict is spoken on, and the page drawn of.
//!
//! All times are in milliseconds since the drill began, by one clock that no node has a say in.
//!
//! It is what `--json` prints and what a report has within it, so its words are for other programs, too.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::lives::Wrong;
use crate::verdict::Check;

/// A drill, as it went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Story {
    /// What it is called.
    pub drill: String,
    /// What it shows.
    pub about: String,
    /// What it drew from.
    pub seed: u64,
    /// The command that does the same again.
    pub again: String,
    /// Who took part.
    pub nodes: Vec<String>,
    /// How long a node may be silent.
    pub lease_ms: u64,
    /// How soon all must run again once a quorum can talk, and nothing is wrong any more.
    pub bound_ms: u64,
    /// How long it took.
    pub took_ms: f64,
    /// What was done.
    pub done: Vec<Done>,
    /// Who led.
    pub reigns: Vec<Reign>,
    /// Who owned.
    pub turns: Vec<Turn>,
    /// What was wrong with that.
    pub wrongs: Vec<String>,
    /// Whether nodes answered.
    pub probes: Vec<Probe>,
    /// What clients asked for, and were told.
    pub calls: Vec<Call>,
    /// What former owners tried.
    pub stale: Vec<Stale>,
    /// What processes of different nodes wrote to each other; none if they did not.
    pub letters: Option<Letters>,
    /// Whether all nodes had the same state in the end; none if that was not looked at.
    pub replicas: Option<Replicas>,
    /// How much nodes took.
    pub sizes: Vec<Size>,
    /// What is made of all this.
    pub checks: Vec<Check>,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The deed's word.
    pub deed: String,
    /// In words.
    pub what: String,
    /// To whom.
    pub on: Vec<String>,
    /// From when.
    pub from: f64,
    /// Until it was undone.
    pub until: f64,
    /// When all served and ran again.
    pub calm: Option<f64>,
    /// Whether a majority could talk meanwhile.
    pub quorum: bool,
}

/// Somebody led.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reign {
    /// Who.
    pub node: String,
    /// When that was first seen.
    pub from: f64,
    /// When that was last seen.
    pub until: f64,
}

/// A singleton ran.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Which.
    pub name: String,
    /// Under which epoch.
    pub epoch: u64,
    /// On which node.
    pub node: String,
    /// From its first sign of life.
    pub from: f64,
    /// Until its last.
    pub until: f64,
}

/// A node was asked whether it serves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Which.
    pub node: String,
    /// When.
    pub at: f64,
    /// Whether it is part of a majority, as it says; none if it said nothing.
    pub quorate: Option<bool>,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With an answer.
    Done,
    /// It certainly did not happen.
    NotDone,
    /// Nobody knows.
    Unknown,
}

/// A client asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Who.
    pub client: String,
    /// Whom.
    pub node: String,
    /// In words.
    pub what: String,
    /// In words.
    pub answer: String,
    /// How it ended.
    pub end: End,
    /// When it was asked.
    pub from: f64,
    /// When that ended.
    pub until: f64,
}

/// Somebody wrote under an epoch that was over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stale {
    /// When.
    pub at: f64,
    /// Whose checkpoint.
    pub name: String,
    /// Under which epoch.
    pub epoch: u64,
    /// Whether it was refused; none if nobody answered.
    pub refused: Option<bool>,
}

/// What processes wrote to each other.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Letters {
    /// How many were seen to arrive.
    pub arrived: u64,
    /// What was wrong with that.
    pub wrongs: Vec<String>,
    /// Who did not hear whom any more when all was over, by their nodes.
    pub silent: Vec<String>,
}

/// What all nodes had applied, and whether it came to the same.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Replicas {
    /// The entry of the log up to which all were looked at; none if they were never seen at one.
    pub index: Option<u64>,
    /// The nodes, those together that had the same state.
    pub parties: Vec<Vec<String>>,
}

/// How much a node took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Which.
    pub node: String,
    /// When.
    pub at: f64,
    /// Memory, in kB.
    pub memory_kb: u64,
    /// How many files it had open, sockets included.
    pub files: u64,
    /// What its data took on its disk, in kB.
    pub disk_kb: u64,
}

impl Story {
    /// Whether all that had to hold did hold.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.passed)
    }

    /// Takes down what is wrong with the lives of witnesses.
    pub fn accuse(&mut self, wrongs: &[Wrong]) {
        self.wrongs.extend(wrongs.iter().map(Wrong::to_string));
    }

    /// What they are called that ran.
    pub fn singletons(&self) -> BTreeSet<&str> {
        self.turns.iter().map(|turn| turn.name.as_str()).collect()
    }

    /// The times in which nobody ran a singleton, between two turns of it.
    pub fn gaps(&self) -> Vec<Gap<'_>> {
        let mut gaps = Vec::new();
        for name in self.singletons() {
            let mut turns: Vec<&Turn> =
                self.turns.iter().filter(|turn| turn.name == name).collect();
            turns.sort_by(|a, b| a.from.total_cmp(&b.from));
            gaps.extend(turns.windows(2).map(|pair| Gap {
                name,
                from: pair[0].until,
                until: pair[1].from,
            }));
        }
        gaps
    }

    /// How much of a time no majority could talk, or its disks did not answer.
    pub fn without_quorum(&self, from: f64, until: f64) -> f64 {
        let overlap = |done: &Done| (done.until.min(until) - done.from.max(from)).max(0.0);
        self.done.iter().filter(|done| !done.quorum).map(overlap).sum()
    }
}

/// Nobody ran it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gap<'a> {
    /// Which.
    pub name: &'a str,
    /// Since when.
    pub from: f64,
    /// Until when.
    pub until: f64,
}

impl Gap<'_> {
    /// How long.
    pub fn ms(&self) -> f64 {
        (self.until - self.from).max(0.0)
    }
}
