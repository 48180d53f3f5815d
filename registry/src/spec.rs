//! What is wanted of a singleton: where it may run, when, and what becomes of it when it fails.
//!
//! Not here: who is there to run it (candidates), and who does (grants).

use std::collections::{BTreeMap, BTreeSet};

use quorate_vocab::{Name, NodeName};
use serde::{Deserialize, Serialize};

use crate::Refusal;
use crate::names::weight;

/// What is wanted of a singleton. The newest one that a candidate brings is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Labels that its node must have. The key `node` stands for the node's name.
    pub on: BTreeMap<String, String>,
    /// Labels that its node should have: of two nodes the one that has more of them is chosen.
    pub prefer: BTreeMap<String, String>,
    /// Labels that its node must not have.
    pub not: BTreeMap<String, String>,
    /// The node that it belongs to, whenever that one can have it.
    pub pin: Option<Pin>,
    /// Whom it keeps a distance from.
    pub company: Option<Company>,
    /// Singletons that must be ready before it starts. They may change hands later without a word to it.
    pub after: BTreeSet<Name>,
    /// What its owner does when it ends.
    pub restarts: Restarts,
    /// What to run, when that is a command which nodes that allow it start by themselves.
    pub exec: Option<Exec>,
}

/// The node that a singleton belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Its name.
    pub node: NodeName,
    /// Whether it is moved back there once that node can have it again. Otherwise it stays where it is.
    pub back: bool,
}

/// Singletons that mind each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Company {
    /// What they are called together.
    pub group: String,
    /// Whether no two of them may be on one node.
    pub apart: bool,
    /// The label over whose values they are spread as evenly as the nodes allow.
    pub spread: Option<String>,
}

/// What the owner of a singleton does when it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarts {
    /// After which ends it is started again.
    pub when: Restart,
    /// How often within the time, before it is somebody else's turn.
    pub most: u32,
    /// The time, in milliseconds.
    pub within_ms: u64,
}

/// After which ends something is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// After every one.
    Always,
    /// After one that was a failure.
    OnFailure,
    /// After none.
    Never,
}

/// A command that nodes start by themselves, if they allow it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The program and what it is given.
    pub argv: Vec<String>,
    /// What is added to its environment.
    pub env: BTreeMap<String, String>,
    /// Where it runs; the data directory of its node if nothing is said.
    pub dir: Option<String>,
    /// How long before its time is over it is asked to end.
    pub grace_ms: u64,
}

impl Default for Restarts {
    fn default() -> Self {
        Self { when: Restart::OnFailure, most: 5, within_ms: 600_000 }
    }
}

impl Spec {
    /// The most that all texts of one may weigh together, in bytes.
    pub const BYTES_MAX: usize = 16 * 1024;
    /// The most that one may wait for.
    pub const AFTER_MAX: usize = 32;

    /// Judges what can be judged of it alone.
    pub(crate) fn judge(&self, name: &Name) -> Result<(), Refusal> {
        let bytes = self.weight();
        if bytes > Self::BYTES_MAX as u64 {
            let what = "the spec".to_owned();
            return Err(Refusal::TooLarge { what, bytes, bytes_max: Self::BYTES_MAX as u64 });
        }
        let bad = |what: &str| Err(Refusal::BadSpec { what: what.to_owned() });
        match self {
            _ if self.after.len() > Self::AFTER_MAX => bad("it waits for more than 32 others"),
            _ if self.after.contains(name) => Err(Refusal::Cycle { through: name.clone() }),
            Self { company: Some(company), .. } if company.group.is_empty() => {
                bad("its group has no name")
            }
            Self { exec: Some(exec), .. } if exec.argv.first().is_none_or(String::is_empty) => {
                bad("there is no command to run")
            }
            _ => Ok(()),
        }
    }

    /// About how many bytes its texts take.
    pub(crate) fn weight(&self) -> u64 {
        let labels = [&self.on, &self.prefer, &self.not];
        let labels: u64 = labels.into_iter().map(|labels| weight(&[], labels)).sum();
        let text = |text: &str| text.len() as u64 + 8;
        let pin = self.pin.as_ref().map_or(0, |pin| text(pin.node.as_str()));
        let company = self
            .company
            .as_ref()
            .map_or(0, |company| text(&company.group) + company.spread.as_deref().map_or(0, text));
        let after: u64 = self.after.iter().map(|name| text(name.as_str())).sum();
        let exec = self.exec.as_ref().map_or(0, |exec| {
            let argv: u64 = exec.argv.iter().map(|word| text(word)).sum();
            argv + weight(&[], &exec.env) + exec.dir.as_deref().map_or(0, text)
        });
        labels + pin + company + after + exec
    }
}
