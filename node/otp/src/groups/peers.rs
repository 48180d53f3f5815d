//! What ushers of different nodes say to each other, and how each knows that it has missed nothing. Pure.
//!
//! All there is comes under a number, and each change under the next one. Who hears a number that is not the
//! next asks for all again. What was not sent is told again later, as all there is.

use std::collections::BTreeMap;

use quorate_vocab::{NodeId, Pid};
use serde::{Deserialize, Serialize};

use super::Membership;

/// How many memberships another node's processes may have here.
pub(super) const MEMBERSHIPS_MAX: usize = 262_144;

/// How many changes may go by before what was missed is asked for again.
const CHANGES_A_QUESTION: u32 = 64;

/// What an usher says to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Said {
    /// These are all of my node's members; and whether I want to know all of yours.
    All { number: u64, groups: Vec<(String, Vec<Pid>)>, and_yours: bool },
    /// These have joined or left.
    Changed { number: u64, group: String, now: Membership, pids: Vec<Pid> },
    /// I have missed something: say all.
    Again,
}

/// The nodes that are linked with this one.
#[derive(Default)]
pub(super) struct Peers(BTreeMap<NodeId, Peer>);

#[derive(Default)]
pub(super) struct Peer {
    /// Under which number it was told last.
    told: u64,
    /// Something could not be sent to it.
    pub(super) is_behind: bool,
    /// What was heard last; nothing yet, or not all, if there is no number.
    heard: Option<u64>,
    /// How many changes came that are of no use without what was missed.
    waited: u32,
    /// How many memberships its processes have here.
    pub(super) memberships: usize,
}

/// What to do with a change that was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Next,
    /// Something before it was missed, and is to be asked for.
    Gap,
    /// It was asked for not long ago.
    Waits,
}

impl Peers {
    pub(super) fn met(&mut self, node: NodeId) {
        self.0.entry(node).or_default();
    }

    pub(super) fn lost(&mut self, node: NodeId) {
        self.0.remove(&node);
    }

    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.0.keys().copied().collect()
    }

    pub(super) fn behind(&self) -> Vec<NodeId> {
        let behind = self.0.iter().filter(|(_, peer)| peer.is_behind);
        behind.map(|(node, _)| *node).collect()
    }

    pub(super) fn get(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.0.get_mut(&node)
    }
}

impl Peer {
    /// The number of what it is told next.
    pub(super) fn next(&mut self) -> u64 {
        self.told += 1;
        self.told
    }

    /// Whether nothing was heard from it yet.
    pub(super) fn is_unheard(&self) -> bool {
        self.heard.is_none()
    }

    pub(super) fn heard_all(&mut self, number: u64) {
        self.heard = Some(number);
    }

    pub(super) fn heard_change(&mut self, number: u64) -> Heard {
        match self.heard {
            None => {
                // What was asked for may have been lost as well.
                self.waited = self.waited.wrapping_add(1);
                match self.waited % CHANGES_A_QUESTION {
                    0 => Heard::Gap,
                    _ => Heard::Waits,
                }
            }
            Some(last) if last.checked_add(1) == Some(number) => {
                self.heard = Some(number);
                Heard::Next
            }
            Some(_) => {
                (self.heard, self.waited) = (None, 0);
                Heard::Gap
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_asked_for_once_and_closed_by_all() {
        let mut peer = Peer::default();
        for number in 1..64 {
            assert_eq!(peer.heard_change(number), Heard::Waits);
        }
        assert_eq!(peer.heard_change(64), Heard::Gap, "nobody says all by himself");
        peer.heard_all(4);
        assert_eq!(peer.heard_change(5), Heard::Next);
        assert_eq!(peer.heard_change(7), Heard::Gap);
        assert_eq!(peer.heard_change(8), Heard::Waits);
        peer.heard_all(9);
        assert_eq!(peer.heard_change(10), Heard::Next);
        peer.heard_all(u64::MAX - 1);
        assert_eq!(peer.heard_change(u64::MAX), Heard::Next);
    }
}
