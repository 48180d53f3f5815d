//! A list of rules, judged: what its bounds are, and what in a rule could not mean what it says.

use quorate_vocab::Lane;
use serde::{Deserialize, Serialize};

use super::{Rate, Rule, Selector};

/// A list of rules that can be in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Rule>", into = "Vec<Rule>")]
pub struct Rules(Vec<Rule>);

/// Why a list of rules cannot be in force. Nothing changed; correct the rules. Verdicts are remembered, so
/// this stays small, whatever the rules were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RulesError {
    /// There are more rules than one list may have.
    #[error("{rules} rules are too many; {rules_max} is the most")]
    TooMany {
        /// How many there are.
        rules: u64,
        /// How many there may be.
        rules_max: u64,
    },
    /// The texts of all selectors are too long together.
    #[error("the selectors have {bytes} bytes together; {bytes_max} is the most")]
    TooLarge {
        /// How long they are.
        bytes: u64,
        /// How long they may be.
        bytes_max: u64,
    },
    /// A rule names no lane, so it says nothing.
    #[error("rule {rule} names no lane; leave its lanes out to mean all of them")]
    NoLanes {
        /// Its number, from 1.
        rule: u64,
    },
    /// A selector whose text would mean something else, or nothing.
    #[error(
        "rule {rule}: a selector does not read as what it means: a label's key is not empty and has no `=`, \
         a group's name is not empty and has no comma, nor blanks around it"
    )]
    Selector {
        /// The number of its rule, from 1.
        rule: u64,
    },
    /// A rate at which nothing moves, or one beyond counting.
    #[error(
        "rule {rule}: lane {lane} may have a rate of 1 to {max} bytes in a second, and a burst of \
         {burst_min} to {max}; to stop a lane, deny it", burst_min = Rate::BURST_MIN, max = Rate::BYTES_MAX
    )]
    Rate {
        /// The number of its rule, from 1.
        rule: u64,
        /// Of which lane.
        lane: Lane,
    },
}

impl Rules {
    /// No rules: everybody may send to everybody.
    pub const NONE: Self = Self(Vec::new());
    /// The most rules in a list.
    pub const MAX: usize = 256;
    /// The most bytes in the texts of all selectors.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// Judges rules. What it accepts is in bounds, and every selector in it reads back from its text.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RulesError> {
        let (count, rules_max) = (rules.len() as u64, Self::MAX as u64);
        if count > rules_max {
            return Err(RulesError::TooMany { rules: count, rules_max });
        }
        let (bytes, bytes_max) = (weight(&rules), Self::BYTES_MAX as u64);
        if bytes > bytes_max {
            return Err(RulesError::TooLarge { bytes, bytes_max });
        }
        for (number, rule) in (1..).zip(&rules) {
            rule.check(number)?;
        }
        Ok(Self(rules))
    }

    /// The rules, the first to be asked first.
    pub fn list(&self) -> &[Rule] {
        &self.0
    }

    /// Whether there are none, so that everything is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Rule {
    fn check(&self, rule: u64) -> Result<(), RulesError> {
        if self.lanes.is_empty() {
            return Err(RulesError::NoLanes { rule });
        }
        let timid = |lane: &Lane| self.rates[lane.index()].is_some_and(|rate| !rate.can_be());
        if let Some(lane) = Lane::ALL.into_iter().find(timid) {
            return Err(RulesError::Rate { rule, lane });
        }
        if [&self.from, &self.to].iter().any(|selector| selector.check().is_err()) {
            return Err(RulesError::Selector { rule });
        }
        Ok(())
    }
}

impl Selector {
    /// The text of a selector is all that people see of it, so it must say what the selector means.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Any | Self::Role(_) | Self::Node(_) => Ok(()),
            Self::Label { key, .. } if key.is_empty() => Err("a label has a key"),
            Self::Label { key, .. } if key.contains('=') => Err("no key of a label has a `=`"),
            Self::Label { .. } => Ok(()),
            Self::Group(group) if group.is_empty() => Err("a group has a name"),
            Self::Group(group) if group.trim() != group || group.contains(',') => {
                Err("no group's name has a comma, or a blank at either end")
            }
            Self::Group(_) => Ok(()),
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Any | Self::Role(_) => 0,
            Self::Label { key, value } => key.len() + value.len(),
            Self::Group(group) => group.len(),
            Self::Node(name) => name.as_str().len(),
        }
    }
}

impl TryFrom<Vec<Rule>> for Rules {
    type Error = RulesError;

    fn try_from(rules: Vec<Rule>) -> Result<Self, RulesError> {
        Self::new(rules)
    }
}

impl From<Rules> for Vec<Rule> {
    fn from(rules: Rules) -> Self {
        rules.0
    }
}

fn weight(rules: &[Rule]) -> u64 {
    rules.iter().map(|rule| (rule.from.weight() + rule.to.weight()) as u64).sum()
}
