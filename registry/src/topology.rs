//! Topology: the rules that are in force, and the command that changes them.
//!
//! Not here: what rules mean; that is `rules.rs`.

use std::sync::Arc;

use quorate_vocab::Index;

use crate::changes::Changes;
use crate::rows::Key;
use crate::{At, Broken, Effect, Machine, Refusal, Rule, Rules, Verdict};

/// The rules in force, with the entry that set them; `None` as long as none ever did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topology(Option<(Index, Arc<Rules>)>);

impl Machine {
    pub(crate) fn set_rules(
        &mut self,
        at: At,
        rules: Vec<Rule>,
        expected: Option<Index>,
        out: &mut Vec<Effect>,
    ) -> Result<Verdict, Refusal> {
        let rules = Rules::new(rules)?;
        let present = self.rules_version();
        if expected.is_some_and(|expected| expected != present) {
            return Err(Refusal::RulesChanged { present });
        }
        let version = at.index;
        self.topology.put(version, rules.clone(), &mut self.changes);
        out.push(Effect::RulesSet { version, rules });
        Ok(Verdict::RulesSet { version })
    }

    /// The topology rules in force. They say which nodes may send to which.
    pub fn rules(&self) -> &Rules {
        const NONE: &Rules = &Rules::NONE;
        self.topology.set().map_or(NONE, |(_, rules)| rules)
    }

    /// The entry that set the rules in force; 0 when none ever did.
    pub fn rules_version(&self) -> Index {
        self.topology.set().map_or(Index(0), |(version, _)| version)
    }

    pub(crate) fn audit_topology(&self) -> Result<(), Broken> {
        match self.topology.set() {
            Some((version, _)) if !self.has_applied(version) => {
                Err(Broken { invariant: "state", what: "rules were set by no applied entry" })
            }
            _ => Ok(()),
        }
    }
}

impl Topology {
    /// The version and the rules, if any were ever set.
    pub(crate) fn set(&self) -> Option<(Index, &Rules)> {
        self.0.as_ref().map(|(version, rules)| (*version, &**rules))
    }

    fn put(&mut self, version: Index, rules: Rules, changes: &mut Changes) {
        match self.set() {
            None => changes.born(Key::Rules),
            Some(_) => changes.altered(Key::Rules),
        }
        self.load(version, rules);
    }

    /// Takes in what was stored; an audit follows.
    pub(crate) fn load(&mut self, version: Index, rules: Rules) {
        self.0 = Some((version, Arc::new(rules)));
    }
}
