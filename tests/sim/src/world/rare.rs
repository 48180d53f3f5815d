//! What seldom comes together, and whether it did: a seed that never reaches it tests nothing of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use quorate_drill::nemesis::DiskCall;
use quorate_registry::{Effect, Evidence, Phase};
use quorate_vocab::{Epoch, Index, Name, NodeId};

/// A session that ends so soon after a new leader was seen fell silent around the change.
const AROUND: Duration = Duration::from_secs(4);
/// A new cluster agrees on a level within this time.
const AT_ONCE: Duration = Duration::from_secs(10);
/// Who dies so soon after it was granted something had hardly begun with it.
const HARDLY: Duration = Duration::from_secs(3);

/// Something that seldom happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rare {
    /// Another leader came.
    LeaderChanged,
    /// A session expired around that.
    ExpiredAroundIt,
    /// A node was given a snapshot.
    SnapshotInstalled,
    /// While cables were cut.
    SnapshotInACut,
    /// Others vote than before.
    VoterReplaced,
    /// Who was to hand a singleton on died meanwhile.
    HandoffBroken,
    /// Who was to have it next died when it had hardly begun.
    HeirDied,
    /// A node died in the middle of this call of its disk.
    DiedIn(DiskCall),
    /// A journal went on in another segment.
    SegmentTurned,
    /// A journal let one of its segments go.
    SegmentRemoved,
    /// A cluster of different builds agreed on what the last of them to be replaced had not understood.
    Raised,
}

impl Rare {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::LeaderChanged,
        Self::ExpiredAroundIt,
        Self::SnapshotInstalled,
        Self::SnapshotInACut,
        Self::VoterReplaced,
        Self::HandoffBroken,
        Self::HeirDied,
        Self::DiedIn(DiskCall::Create),
        Self::DiedIn(DiskCall::Write),
        Self::DiedIn(DiskCall::Rename),
        Self::DiedIn(DiskCall::Remove),
        Self::DiedIn(DiskCall::Sync),
        Self::DiedIn(DiskCall::SyncFolder),
        Self::SegmentTurned,
        Self::SegmentRemoved,
        Self::Raised,
    ];
}

impl fmt::Display for Rare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiedIn(call) => write!(f, "DiedIn{call:?}"),
            other => fmt::Debug::fmt(other, f),
        }
    }
}

/// Counts them in one world.
#[derive(Debug, Default)]
pub(super) struct Rarities {
    seen: BTreeMap<Rare, u64>,
    /// Up to where the log is known.
    known: Index,
    term: u64,
    changed: Option<Duration>,
    voters: BTreeSet<NodeId>,
    yielding: BTreeMap<Name, Epoch>,
    granted: BTreeMap<Name, (Epoch, Duration)>,
}

impl Rarities {
    /// How often each came.
    pub(super) fn seen(&self) -> &BTreeMap<Rare, u64> {
        &self.seen
    }

    /// A node says how it is.
    pub(super) fn pulse(&mut self, term: u64, voters: &BTreeSet<NodeId>, now: Duration) {
        if term > self.term {
            if self.term > 0 {
                self.came(Rare::LeaderChanged);
                self.changed = Some(now);
            }
            self.term = term;
            // Who is behind says what was; only the newest term's word on voters counts.
            if !self.voters.is_empty() && self.voters.iter().any(|voter| !voters.contains(voter)) {
                self.came(Rare::VoterReplaced);
            }
            self.voters.clone_from(voters);
        }
    }

    /// These files are on a disk in the end. Segments are numbered from 1.
    pub(super) fn files(&mut self, names: &[String]) {
        let number = |name: &String| {
            let digits = name.strip_prefix("journal-")?.strip_suffix(".seg")?;
            u64::from_str_radix(digits, 16).ok()
        };
        let numbers = || names.iter().filter_map(number);
        if numbers().any(|number| number > 1) {
            self.came(Rare::SegmentTurned);
        }
        if numbers().min().is_some_and(|first| first > 1) {
            self.came(Rare::SegmentRemoved);
        }
    }

    /// A node was given a snapshot.
    pub(super) fn snapshot(&mut self, is_cut: bool) {
        self.came(Rare::SnapshotInstalled);
        if is_cut {
            self.came(Rare::SnapshotInACut);
        }
    }

    /// A node died in the middle of a call of its disk.
    pub(super) fn died_in(&mut self, call: DiskCall) {
        self.came(Rare::DiedIn(call));
    }

    /// A node has applied an entry, as the first one or again.
    pub(super) fn applied(&mut self, index: Index, effects: &[Effect], now: Duration) {
        if index <= self.known {
            return;
        }
        self.known = index;
        let is_change_near = self.changed.is_some_and(|changed| now - changed < AROUND);
        for effect in effects {
            match effect {
                Effect::SessionEnded { evidence, .. } if is_change_near && is_death(*evidence) => {
                    self.came(Rare::ExpiredAroundIt);
                }
                Effect::Granted { name, grant } => {
                    self.granted.insert(name.clone(), (grant.epoch, now));
                }
                Effect::GrantPhase { name, grant } if grant.phase != Phase::Active => {
                    self.yielding.insert(name.clone(), grant.epoch);
                }
                Effect::GrantClosed { name, epoch, evidence, .. } => {
                    let yielded = self.yielding.remove(name) == Some(*epoch);
                    let granted = self.granted.remove(name).filter(|(granted, _)| granted == epoch);
                    if is_death(*evidence) && yielded {
                        self.came(Rare::HandoffBroken);
                    }
                    if is_death(*evidence) && granted.is_some_and(|(_, at)| now - at < HARDLY) {
                        self.came(Rare::HeirDied);
                    }
                }
                // A cluster of the newest builds does so at once.
                Effect::Raised(_) if now > AT_ONCE => self.came(Rare::Raised),
                _ => {}
            }
        }
    }

    fn came(&mut self, rare: Rare) {
        *self.seen.entry(rare).or_default() += 1;
    }
}

/// Whether it was not the one who held it that said so.
fn is_death(evidence: Evidence) -> bool {
    !matches!(evidence, Evidence::Stopped)
}
