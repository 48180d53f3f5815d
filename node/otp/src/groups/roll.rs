//! Who is in which group, and how often. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_vocab::{NodeId, Pid};

/// The members of all groups. Both maps say the same, by group and by process.
#[derive(Debug, Default)]
pub(crate) struct Roll {
    groups: BTreeMap<Arc<str>, BTreeMap<Pid, u32>>,
    of: BTreeMap<Pid, BTreeMap<Arc<str>, u32>>,
}

impl Roll {
    /// One more membership.
    pub(crate) fn join(&mut self, group: &Arc<str>, pid: Pid) {
        *self.groups.entry(group.clone()).or_default().entry(pid).or_default() += 1;
        *self.of.entry(pid).or_default().entry(group.clone()).or_default() += 1;
    }

    /// One membership less; `false` if there was none.
    pub(crate) fn leave(&mut self, group: &str, pid: Pid) -> bool {
        let here = take_one(&mut self.groups, group, &pid);
        take_one(&mut self.of, &pid, group);
        here
    }

    /// All memberships of a process less: in which groups it was, and how often.
    pub(crate) fn remove(&mut self, pid: Pid) -> BTreeMap<Arc<str>, u32> {
        let gone = self.of.remove(&pid).unwrap_or_default();
        for group in gone.keys() {
            if let Some(members) = self.groups.get_mut(group) {
                members.remove(&pid);
                if members.is_empty() {
                    self.groups.remove(group);
                }
            }
        }
        gone
    }

    /// Whether a process is in any group.
    pub(crate) fn has(&self, pid: Pid) -> bool {
        self.of.contains_key(&pid)
    }

    /// A group's members in the order of their pids, each as often as it has joined.
    pub(crate) fn members(&self, group: &str) -> impl Iterator<Item = Pid> {
        let members = self.groups.get(group).into_iter().flatten();
        members.flat_map(|(&pid, &times)| std::iter::repeat_n(pid, times as usize))
    }

    /// The groups that have members.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.keys()
    }

    /// Who of a node is in which group, once for each membership.
    pub(crate) fn of_node(&self, node: NodeId) -> BTreeMap<Arc<str>, Vec<Pid>> {
        let mut lists = BTreeMap::<Arc<str>, Vec<Pid>>::new();
        for (pid, groups) in self.of.iter().filter(|(pid, _)| pid.node == node) {
            for (group, times) in groups {
                let again = std::iter::repeat_n(*pid, *times as usize);
                lists.entry(group.clone()).or_default().extend(again);
            }
        }
        lists
    }

    /// All processes that are in some group.
    pub(crate) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.of.keys().copied()
    }
}

/// Takes one of what `outer` counts at `[a][b]`, and leaves nothing empty behind.
fn take_one<A, B, QA, QB>(outer: &mut BTreeMap<A, BTreeMap<B, u32>>, a: &QA, b: &QB) -> bool
where
    A: Ord + std::borrow::Borrow<QA>,
    B: Ord + std::borrow::Borrow<QB>,
    QA: Ord + ?Sized,
    QB: Ord + ?Sized,
{
    let Some(inner) = outer.get_mut(a) else { return false };
    let Some(times) = inner.get_mut(b) else { return false };
    *times -= 1;
    if *times == 0 {
        inner.remove(b);
    }
    if inner.is_empty() {
        outer.remove(a);
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quorate_vocab::Boot;

    use super::*;

    fn pid(serial: u64) -> Pid {
        Pid { node: NodeId(1), boot: Boot(1), serial }
    }

    #[derive(Clone, Debug)]
    enum Act {
        Join(usize, u64),
        Leave(usize, u64),
        Die(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => (0usize..3, 0u64..4).prop_map(|(group, pid)| Act::Join(group, pid)),
            3 => (0usize..3, 0u64..4).prop_map(|(group, pid)| Act::Leave(group, pid)),
            1 => (0u64..4).prop_map(Act::Die),
        ]
    }

    proptest! {
        /// Against a plain list of memberships.
        #[test]
        fn the_roll_is_the_list_of_all_memberships(acts in prop::collection::vec(act(), 0..80)) {
            let names: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).into();
            let (mut roll, mut list) = (Roll::default(), Vec::<(usize, Pid)>::new());
            for act in acts {
                match act {
                    Act::Join(group, n) => {
                        roll.join(&names[group], pid(n));
                        list.push((group, pid(n)));
                    }
                    Act::Leave(group, n) => {
                        let at = list.iter().position(|one| *one == (group, pid(n)));
                        prop_assert_eq!(roll.leave(&names[group], pid(n)), at.is_some());
                        at.map(|at| list.remove(at));
                    }
                    Act::Die(n) => {
                        let gone = roll.remove(pid(n));
                        for (group, name) in names.iter().enumerate() {
                            let times = list.iter().filter(|one| **one == (group, pid(n))).count();
                            prop_assert_eq!(gone.get(name).copied().unwrap_or(0) as usize, times);
                        }
                        list.retain(|(_, member)| *member != pid(n));
                    }
                }
                for (group, name) in names.iter().enumerate() {
                    let mut members: Vec<Pid> =
                        list.iter().filter(|one| one.0 == group).map(|one| one.1).collect();
                    members.sort_unstable();
                    prop_assert_eq!(roll.groups().any(|g| g == name), !members.is_empty());
                    prop_assert_eq!(roll.members(name).collect::<Vec<_>>(), members);
                }
                let listed = |n| list.iter().any(|one| one.1 == pid(n));
                prop_assert!((0..4).all(|n| roll.has(pid(n)) == listed(n)));
                prop_assert_eq!(roll.pids().count(), (0..4).filter(|&n| listed(n)).count());
            }
        }
    }
}
