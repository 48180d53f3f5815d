//! One node's book: which names its processes claim, change by change.

use std::collections::BTreeMap;

use quorate_vocab::{Name, NodeId};

use super::{Change, Edition, Mark, Stake, Update};

/// How many removals a book may carry beyond one for each name that it has.
const REMOVALS_SPARE: usize = 1024;

/// What a change weighs beside the text of its name, about, on its way to another node.
const CHANGE_BYTES: usize = 48;

/// A book or a copy of it. A copy is what its writer's book was when it had the copy's version, except that
/// names that have changed since may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Book {
    pub(super) edition: Edition,
    /// The version at which this edition says no less than the one before it.
    whole: u64,
    version: u64,
    /// The last state of each name, and the number of that change.
    names: BTreeMap<Name, Entry>,
    /// The same by number.
    log: BTreeMap<u64, Name>,
    claims: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    version: u64,
    stake: Option<Stake>,
    over: Vec<Mark>,
}

impl Book {
    pub(super) fn new(edition: Edition, whole: u64) -> Self {
        Self { edition, whole, version: 0, names: BTreeMap::new(), log: BTreeMap::new(), claims: 0 }
    }

    pub(super) fn mark(&self, node: NodeId) -> Mark {
        Mark { node, edition: self.edition, version: self.version }
    }

    /// Whether it says at least what the edition before it said.
    pub(super) fn is_whole(&self) -> bool {
        self.version >= self.whole
    }

    pub(super) fn stake(&self, name: &Name) -> Option<&Stake> {
        self.names.get(name)?.stake.as_ref()
    }

    /// The place of what is said of a name.
    pub(super) fn mark_of(&self, node: NodeId, name: &Name) -> Option<Mark> {
        let version = self.names.get(name)?.version;
        Some(Mark { node, edition: self.edition, version })
    }

    /// Which other claims were seen beside the claim of a name.
    pub(super) fn over(&self, name: &Name) -> &[Mark] {
        self.names.get(name).map_or(&[], |entry| &entry.over)
    }

    /// The names that are claimed.
    pub(super) fn claimed(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().filter(|(_, entry)| entry.stake.is_some()).map(|(name, _)| name)
    }

    /// How many names are claimed.
    pub(super) fn claims(&self) -> usize {
        self.claims
    }

    /// As its writer: says something else of a name.
    pub(super) fn write(&mut self, name: Name, stake: Option<Stake>, over: Vec<Mark>) {
        self.version += 1;
        self.note(Change { version: self.version, name, stake, over });
        if self.names.len() > 2 * self.claims + REMOVALS_SPARE {
            self.write_anew();
        }
    }

    /// Puts out an edition without what was removed.
    fn write_anew(&mut self) {
        let edition = Edition { number: self.edition.number + 1, ..self.edition };
        let mut next = Self::new(edition, self.claims as u64);
        for (name, Entry { stake, over, .. }) in std::mem::take(&mut self.names) {
            if stake.is_some() {
                next.version += 1;
                next.note(Change { version: next.version, name, stake, over });
            }
        }
        *self = next;
    }

    /// As a copy: takes what follows on what it has, or overlaps with it. `false` if something is missing
    /// between the two.
    pub(super) fn take(&mut self, update: Update) -> bool {
        if update.after > self.version {
            return false;
        }
        let known = self.version;
        update.changes.into_iter().filter(|change| change.version > known).for_each(|change| {
            self.note(change);
        });
        self.version = self.version.max(update.upto);
        true
    }

    fn note(&mut self, change: Change) {
        let Change { version, name, stake, over } = change;
        self.claims += usize::from(stake.is_some());
        self.log.insert(version, name.clone());
        if let Some(former) = self.names.insert(name, Entry { version, stake, over }) {
            self.log.remove(&former.version);
            self.claims -= usize::from(former.stake.is_some());
        }
    }

    /// What a copy of a version lacks, or its first part of about so many bytes; and what that weighs.
    pub(super) fn after(&self, node: NodeId, after: u64, bytes_max: usize) -> (Update, usize) {
        let mut changes = Vec::new();
        let mut bytes = 0;
        let mut upto = self.version;
        for (&version, name) in self.log.range(after.saturating_add(1)..) {
            let Entry { stake, over, .. } = &self.names[name];
            bytes += CHANGE_BYTES * (1 + over.len()) + name.as_str().len();
            changes.push(Change { version, name: name.clone(), stake: *stake, over: over.clone() });
            if bytes >= bytes_max {
                upto = version;
                break;
            }
        }
        let (edition, whole) = (self.edition, self.whole);
        (Update { node, edition, whole, after, upto, changes }, bytes + CHANGE_BYTES)
    }
}
