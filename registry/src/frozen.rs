//! The state as it was at one index, for as long as somebody looks at it.
//!
//! All that grows with the cluster lies in ordered maps whose copies share what has not changed since. So to
//! freeze costs nothing, whoever looks holds no lock, and the machine goes on meanwhile; what is paid is the
//! copy of those few nodes of a map that a later command changes.
//!
//! Here is also how such a map is entered at the beginning of a part of its keys.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Deref;
use std::sync::Arc;

use equivalent::{Comparable, Equivalent};

use crate::Machine;
use crate::changes::Changes;

/// A machine that does not change any more. Cheap to clone, and to be read by many threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frozen(Arc<Machine>);

impl Machine {
    /// The state as it is now. It costs the same whatever the state holds.
    pub fn freeze(&self) -> Frozen {
        Frozen(Arc::new(Self {
            generation: self.generation,
            applied: self.applied,
            level: self.level,
            nodes: self.nodes.clone(),
            sessions: self.sessions.clone(),
            names: self.names.clone(),
            properties: self.properties.clone(),
            counters: self.counters.clone(),
            memory: self.memory.clone(),
            topology: self.topology.clone(),
            singletons: self.singletons.clone(),
            roster: self.roster.clone(),
            // Who takes changes takes them from the machine that goes on.
            changes: Changes::default(),
        }))
    }
}

impl Deref for Frozen {
    type Target = Machine;

    fn deref(&self) -> &Machine {
        &self.0
    }
}

/// The place in an ordered map of pairs that is just before every pair that begins with this.
pub(crate) struct Before<'a, A: ?Sized>(pub(crate) &'a A);

impl<A: Ord + ?Sized, K: Borrow<A>, B> Equivalent<(K, B)> for Before<'_, A> {
    fn equivalent(&self, _: &(K, B)) -> bool {
        false
    }
}

impl<A: Ord + ?Sized, K: Borrow<A>, B> Comparable<(K, B)> for Before<'_, A> {
    fn compare(&self, (key, _): &(K, B)) -> Ordering {
        self.0.cmp(key.borrow()).then(Ordering::Less)
    }
}
