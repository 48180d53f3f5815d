//! The directory: who holds which name, for those who look one up and wait for nobody.
//!
//! Whoever applies feeds it; whoever looks takes no lock, copies nothing, and finds a name by its hash rather
//! than by its order. It shares the registrations of the machine, so a name costs an entry here and no more.
//!
//! One look is of one name: it is answered from a state that is at least as new as the index that goes with
//! it. Two looks may be of two states; what must be of one is read from the machine.
//!
//! Not here: listings, which need an order, and waiting, which needs the feed.

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use papaya::HashMap;
use quorate_registry::{Effect, Machine, Registration};
use quorate_vocab::{Index, Name};

#[derive(Debug)]
pub(crate) struct Directory {
    /// Its order is never looked at. Hashed with a secret, as strangers choose the names.
    names: HashMap<Name, Arc<Registration>, RandomState>,
    /// Everything up to here is in it.
    applied: AtomicU64,
}

impl Directory {
    pub(crate) fn of(machine: &Machine, at: Index) -> Self {
        let names = HashMap::with_capacity_and_hasher(machine.names_held(), RandomState::new());
        let directory = Self { names, applied: AtomicU64::new(0) };
        directory.replace(machine, at);
        directory
    }

    /// Who holds a name, in a state at least as new as the index.
    pub(crate) fn look(&self, name: &str) -> (Option<Arc<Registration>>, Index) {
        // First: what is looked up after it is not older than it says.
        let at = Index(self.applied.load(Ordering::Acquire));
        let held = self.names.pin().get(name).cloned();
        let at = held.as_ref().map_or(at, |held| held.version.max(at));
        (held, at)
    }

    /// An entry was applied; this is what it changed. To be seen from [`Directory::reached`] on, or before.
    pub(crate) fn follow(&self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Registered(held) | Effect::Amended(held) => {
                    self.names.pin().insert(held.name.clone(), held.clone());
                }
                Effect::Released { name, .. } => {
                    self.names.pin().remove(name);
                }
                _ => {}
            }
        }
    }

    /// Everything up to an index is in it.
    pub(crate) fn reached(&self, at: Index) {
        self.applied.store(at.0, Ordering::Release);
    }

    /// The state became another one, which is newer. Each name is as it was or as it is at any moment.
    pub(crate) fn replace(&self, machine: &Machine, at: Index) {
        let names = self.names.pin();
        names.retain(|name, _| machine.shared(name.as_str()).is_some());
        for held in machine.all_shared() {
            names.insert(held.name.clone(), held.clone());
        }
        drop(names);
        self.reached(at);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quorate_registry::{At, Bond, Claim, Command, Once, Op};

    use super::*;

    struct Town {
        machine: Machine,
        directory: Directory,
    }

    impl Town {
        fn new() -> Self {
            let machine = Machine::new(0);
            let directory = Directory::of(&machine, Index(0));
            Self { machine, directory }
        }

        fn apply(&mut self, op: Op) {
            let at = At { index: self.machine.applied().next(), term: 1 };
            let mut effects = Vec::new();
            self.machine.apply(at, Command { once: Once::Free, op }, &mut effects);
            self.directory.follow(&effects);
            self.directory.reached(at.index);
        }
    }

    fn register(name: &str) -> Op {
        let bond = Bond::Durable;
        let claim = Claim { bond, holder: None, value: b"v".to_vec(), meta: BTreeMap::new() };
        Op::Register { name: Name::new(name).unwrap(), claim, replace: None }
    }

    #[test]
    fn a_look_finds_what_was_applied_and_shares_it_with_the_machine() {
        let mut town = Town::new();
        town.apply(register("a"));
        town.apply(register("b"));
        let (held, at) = town.directory.look("a");
        assert!(Arc::ptr_eq(&held.unwrap(), town.machine.shared("a").unwrap()));
        assert_eq!(at, Index(2));
        town.apply(Op::Release { name: Name::new("a").unwrap(), epoch: None });
        assert_eq!(town.directory.look("a"), (None, Index(3)));
        assert!(town.directory.look("b").0.is_some());
    }

    #[test]
    fn what_is_found_is_never_newer_than_its_index_says() {
        let mut town = Town::new();
        town.apply(register("a"));
        // In the middle of a batch: applied, and not yet said to be.
        let at = At { index: Index(7), term: 1 };
        let mut effects = Vec::new();
        town.machine.apply(at, Command { once: Once::Free, op: register("b") }, &mut effects);
        town.directory.follow(&effects);
        assert_eq!(town.directory.look("b").1, Index(7));
        assert_eq!(town.directory.look("a").1, Index(1));
    }

    #[test]
    fn another_state_takes_the_place_of_the_first() {
        let mut town = Town::new();
        town.apply(register("gone"));
        town.apply(register("both"));
        let mut newer = Machine::new(0);
        for (index, name) in [(5, "both"), (6, "new")] {
            let at = At { index: Index(index), term: 2 };
            newer.apply(at, Command { once: Once::Free, op: register(name) }, &mut Vec::new());
        }
        town.directory.replace(&newer, Index(6));
        assert_eq!(town.directory.look("gone"), (None, Index(6)));
        assert_eq!(town.directory.look("both").0.unwrap().index, Index(5));
        assert!(town.directory.look("new").0.is_some());
    }
}
