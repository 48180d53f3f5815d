//! One child many times, so that keys share the work: a key always falls to the same partition.
//!
//! The partitions are children of a supervisor and restarted one for one. Which process a partition is at the
//! moment stands in a table beside the supervisor, so looking one up asks nobody.

use std::sync::{Arc, RwLock};

use quorate_actor::{Actors, Addr, Message};
use quorate_vocab::Pid;

use crate::child::Child;
use crate::supervisor::Supervisor;

/// A supervisor over copies of one child, and the way to them by key.
///
/// It becomes a [`Supervisor`] to be started or to be a child in a tree. Start one at a time: what is made
/// from one description shares its [`Partitions`].
#[derive(Clone, Debug)]
pub struct PartitionSupervisor {
    supervisor: Supervisor,
    partitions: Partitions,
}

/// The way to the partitions by key. Cheap to clone, and good before they are started.
#[derive(Clone, Debug)]
pub struct Partitions(Arc<[RwLock<Option<Pid>>]>);

impl PartitionSupervisor {
    /// As many copies as `count`, at least one. `child` makes the description of each from its number; their
    /// ids are their numbers.
    pub fn new(count: usize, child: impl Fn(usize) -> Child) -> Self {
        let partitions = Partitions((0..count.max(1)).map(|_| RwLock::default()).collect());
        let mut supervisor = Supervisor::one_for_one();
        for at in 0..partitions.count() {
            let table = partitions.clone();
            let child = child(at).with_id(at.to_string()).then(move |pid| table.put(at, pid));
            supervisor = supervisor.child(child);
        }
        Self { supervisor, partitions }
    }

    /// The way to the partitions.
    pub fn partitions(&self) -> Partitions {
        self.partitions.clone()
    }
}

impl From<PartitionSupervisor> for Supervisor {
    fn from(partitioned: PartitionSupervisor) -> Self {
        partitioned.supervisor
    }
}

impl Partitions {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// To which partition a key falls: the same one in every process, on every node and in every version.
    pub fn of(&self, key: impl AsRef<[u8]>) -> usize {
        // The upper half of the product: an even share of the hash's whole range for each partition.
        let spread = u128::from(hash(key.as_ref())) * self.0.len() as u128;
        (spread >> 64) as usize
    }

    /// The process that is a key's partition, or was when it ended; `None` before its first start.
    pub fn pid(&self, key: impl AsRef<[u8]>) -> Option<Pid> {
        *self.0[self.of(key)].read().expect("nothing panics while it holds a pid")
    }

    /// Where a key's partition is reached.
    pub fn addr<M: Message>(&self, actors: &Actors, key: impl AsRef<[u8]>) -> Option<Addr<M>> {
        self.pid(key).map(|pid| actors.addr(pid))
    }

    fn put(&self, at: usize, pid: Pid) {
        *self.0[at].write().expect("nothing panics while it holds a pid") = Some(pid);
    }
}

/// FNV-1a over the bytes, then the last mix of MurmurHash3, since FNV leaves the upper bits of short keys
/// alike. Never to be changed: nodes of different versions have to agree.
fn hash(key: &[u8]) -> u64 {
    let fnv = key.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mixed = (fnv ^ fnv >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ mixed >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ mixed >> 33
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions(count: usize) -> Partitions {
        Partitions((0..count).map(|_| RwLock::default()).collect())
    }

    #[test]
    fn a_key_falls_where_it_fell_in_every_version_before() {
        let of = |key: &str| partitions(1000).of(key);
        assert_eq!(
            [of(""), of("a"), of("b"), of("till/7"), of("till/8")],
            [936, 510, 431, 544, 102]
        );
    }

    #[test]
    fn keys_are_shared_evenly() {
        for count in [1, 2, 3, 7, 16] {
            let partitions = partitions(count);
            let mut keys = vec![0_usize; count];
            (0..16_000).for_each(|n| keys[partitions.of(format!("key {n}"))] += 1);
            let (fair, least, most) = (16_000 / count, keys.iter().min(), keys.iter().max());
            assert!(least >= Some(&(fair * 8 / 10)), "{keys:?}");
            assert!(most <= Some(&(fair * 12 / 10)), "{keys:?}");
        }
    }
}
