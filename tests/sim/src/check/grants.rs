//! What the log says of singletons: which grants there were, and by what each of them was closed.
//!
//! I5, as far as the log can show it: a grant is made only where the one before it is closed, with evidence
//! that nothing runs under it any more. What nobody proved (`Forced`) is none, and no operator of a simulated
//! world says it. Other checkers ask it which epoch was the present one at an index.

use std::collections::BTreeMap;

use quorate_registry::{Effect, Evidence, Singleton};
use quorate_vocab::{Epoch, Index, Name, NodeId};

use super::{Applied, Violation};

const I5: &str = "I5";

/// All grants that some node applied, or shows in its state.
#[derive(Debug, Default)]
pub struct Grants {
    by_name: BTreeMap<Name, BTreeMap<Epoch, Granted>>,
    violations: Vec<Violation>,
}

/// One grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The entry that made it.
    pub at: Index,
    /// To which node.
    pub node: NodeId,
    /// What closed it.
    pub closed: Option<Closed>,
}

/// The end of a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The entry that closed it.
    pub at: Index,
    /// How it is known that nothing runs under it.
    pub evidence: Evidence,
    /// Its owner is known to have said so of this one, and not of its whole life.
    pub by_owner: bool,
}

impl Grants {
    /// Takes in what a node applied.
    pub fn applied(&mut self, applied: &Applied<'_>) {
        let at = applied.index;
        for effect in applied.effects {
            match effect {
                Effect::Granted { name, grant } => self.granted(name, grant.epoch, grant.node),
                Effect::GrantClosed { name, epoch, session, evidence } => {
                    let ends = |effect: &Effect| match effect {
                        Effect::SessionEnded { session: of, .. } => of == session,
                        _ => false,
                    };
                    let by_owner =
                        *evidence == Evidence::Stopped && !applied.effects.iter().any(ends);
                    self.closed(name, *epoch, Closed { at, evidence: *evidence, by_owner });
                }
                _ => {}
            }
        }
    }

    /// A node shows a singleton.
    pub fn shown(&mut self, row: &Singleton) {
        for past in &row.past {
            self.granted(&row.name, past.epoch, past.node);
            let (at, evidence) = (past.closed, past.evidence);
            self.closed(&row.name, past.epoch, Closed { at, evidence, by_owner: false });
        }
        if let Some(grant) = row.grant {
            self.granted(&row.name, grant.epoch, grant.node);
        }
    }

    /// A grant, if there was one.
    pub fn find(&self, name: &Name, epoch: Epoch) -> Option<&Granted> {
        self.by_name.get(name)?.get(&epoch)
    }

    /// Whether a singleton was held under an epoch when an entry was applied that needs it to be. The entry
    /// itself may have closed the grant.
    pub fn held(&self, name: &Name, epoch: Epoch, at: Index) -> bool {
        self.find(name, epoch).is_some_and(|granted| {
            granted.at < at && granted.closed.is_none_or(|closed| at <= closed.at)
        })
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.by_name.values().map(|grants| grants.len() as u64).sum()
    }

    fn granted(&mut self, name: &Name, epoch: Epoch, node: NodeId) {
        let grants = self.by_name.entry(name.clone()).or_default();
        let new = Granted { at: epoch.index(), node, closed: None };
        let known = grants.entry(epoch).or_insert(new);
        if known.node != node {
            let what = format_args!("{name} under {epoch} is {}'s and {node}'s", known.node);
            self.violations.push(Violation::new(I5, what));
        }
    }

    fn closed(&mut self, name: &Name, epoch: Epoch, new: Closed) {
        let Some(granted) = self.by_name.get_mut(name).and_then(|all| all.get_mut(&epoch)) else {
            // It was made before anybody looked.
            return;
        };
        let known = granted.closed.get_or_insert(new);
        known.by_owner |= new.by_owner;
        if (known.at, known.evidence) != (new.at, new.evidence) {
            let what = format_args!("{name} under {epoch} was closed by {known:?} and by {new:?}");
            self.violations.push(Violation::new(I5, what));
        }
    }

    /// Finds grants that were made while the one before was not known to be over.
    pub fn finish(self) -> Vec<Violation> {
        let Self { by_name, mut violations } = self;
        for (name, grants) in &by_name {
            for ((epoch, before), (next, granted)) in grants.iter().zip(grants.iter().skip(1)) {
                let is_proven = before.closed.is_some_and(|closed| {
                    closed.at <= granted.at && closed.evidence != Evidence::Forced
                });
                if !is_proven {
                    let what = format_args!(
                        "{name} was granted under {next} while {epoch} was {:?}",
                        before.closed
                    );
                    violations.push(Violation::new(I5, what));
                }
            }
        }
        violations
    }
}
