//! I2: at most one registration per name, in every applied state.
//!
//! The checker follows each life of each node by its effects alone, as a watcher of the cluster would, and
//! asks of each of them whether it could follow from the state before: a name that is held is taken by
//! nobody else unless the entry replaces exactly that registration, only what is held is released, and
//! nothing is held by a life that has ended.

use std::collections::{BTreeMap, BTreeSet};

use quorate_registry::{Effect, Op, Registration};
use quorate_vocab::{Epoch, Index, Name, SessionId};

use super::{Applied, Violation};

const I2: &str = "I2";

/// What each life of each node holds to be registered.
#[derive(Debug, Default)]
pub struct OneHolder {
    lives: BTreeMap<(String, u64), State>,
    violations: Vec<Violation>,
}

#[derive(Debug, Default)]
struct State {
    applied: Index,
    held: BTreeMap<Name, (Epoch, Option<SessionId>)>,
    ended: BTreeSet<SessionId>,
}

impl OneHolder {
    /// A life begins with, or leaps to, a state that it did not apply entry by entry: its shelf's, or a
    /// snapshot's.
    pub fn restored<'a>(
        &mut self,
        node: &str,
        life: u64,
        index: Index,
        state: impl IntoIterator<Item = &'a Registration>,
    ) {
        let mut held = BTreeMap::new();
        for registration in state {
            let name = registration.name.clone();
            let two = held.insert(name, (registration.epoch, registration.session));
            if two.is_some() {
                let what = format_args!("{node} at {index} holds {} twice", registration.name);
                self.violations.push(Violation::new(I2, what));
            }
        }
        let state = self.lives.entry((node.to_owned(), life)).or_default();
        (state.applied, state.held) = (index, held);
    }

    /// Takes in what a node applied.
    pub fn applied(&mut self, applied: &Applied<'_>) {
        let Applied { node, life, index, .. } = *applied;
        let state = self.lives.entry((node.to_owned(), life)).or_default();
        let mut wrong = Vec::new();
        if index <= state.applied {
            wrong.push(format!("it had applied {} before", state.applied));
        }
        state.applied = index;
        for effect in applied.effects {
            state.take(effect, applied.op, &mut wrong);
        }
        let held = state.held.iter().filter(|_| !applied.effects.is_empty());
        for (name, (epoch, session)) in held {
            if session.is_some_and(|session| state.ended.contains(&session)) {
                wrong.push(format!("{name} is held under {epoch} by a life that has ended"));
            }
        }
        for what in wrong {
            let what = format_args!("{node} at {index}: {what}");
            self.violations.push(Violation::new(I2, what));
        }
    }

    /// What was found so far.
    pub fn finish(self) -> Vec<Violation> {
        self.violations
    }
}

impl State {
    fn take(&mut self, effect: &Effect, op: Option<&Op>, wrong: &mut Vec<String>) {
        match effect {
            Effect::Registered(new) => {
                let before = self.held.insert(new.name.clone(), (new.epoch, new.session));
                if let Some((before, _)) = before
                    && !replaces(op, before, new.epoch)
                {
                    let (name, epoch) = (&new.name, new.epoch);
                    wrong.push(format!("{name} is held under {before} and under {epoch}"));
                }
            }
            Effect::Amended(new) => {
                let before = self.held.insert(new.name.clone(), (new.epoch, new.session));
                if before.map(|(epoch, _)| epoch) != Some(new.epoch) {
                    let (name, epoch) = (&new.name, new.epoch);
                    wrong.push(format!(
                        "{name} was amended under {epoch}, and held under {before:?}"
                    ));
                }
            }
            Effect::Released { name, epoch, .. } => {
                let before = self.held.remove(name).map(|(epoch, _)| epoch);
                if before != Some(*epoch) {
                    wrong.push(format!(
                        "{name} was released from {epoch}, and was held under {before:?}"
                    ));
                }
            }
            Effect::SessionEnded { session, .. } => {
                self.ended.insert(*session);
            }
            _ => {}
        }
    }
}

/// Whether an entry may put another registration in the place of one. Of an unknown entry only the order of
/// epochs can be judged.
fn replaces(op: Option<&Op>, before: Epoch, new: Epoch) -> bool {
    match op {
        Some(Op::Register { replace, .. }) => *replace == Some(before),
        Some(_) => false,
        None => new > before,
    }
}
