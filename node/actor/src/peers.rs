//! What ties this node's processes to other nodes: for each node, which processes have how many ties with it,
//! and what it is still owed.
//!
//! The ties themselves are the processes' own (`ties`). Here they are only counted, so that the loss of a
//! node is told to those it concerns and to no others, and so that a process without far ties costs nothing.
//! A tie is counted before the other side hears of it, and no more once it is cut; so whoever looks here
//! after a link broke finds every process that had a tie by that link.
//!
//! All of it is bounded: what a node may tie itself to, how many of its signals wait to be taken in, and what
//! waits for it because the carrier was full.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

use quorate_vocab::{NodeId, Ref};
use tokio::sync::oneshot;

use crate::{Exit, Postage};

/// How many signals of one node may wait for processes to take them in.
const UNDER_WAY_MAX: u32 = 65_536;
/// How many notices one node may be owed.
const OWED_MAX: usize = 65_536;

#[derive(Default)]
pub(crate) struct Peers(Mutex<BTreeMap<NodeId, Peer>>);

#[derive(Default)]
struct Peer {
    /// The serials of processes that have ties with the node, and how many.
    tied: BTreeMap<u64, u32>,
    ties: usize,
    /// Signals of the node that its processes have not taken in yet.
    under_way: u32,
    /// Notices for the node that the carrier had no room for, in order.
    owed: VecDeque<Debt>,
    /// Somebody tries to post them, or will.
    paying: bool,
    /// How many links to the node were lost while it was known; what was owed by one is void by the next.
    era: u32,
    /// Tasks that wait for the end of a process there.
    awaited: BTreeMap<Ref, oneshot::Sender<Exit>>,
}

/// A notice that is owed.
pub(crate) type Debt = (Postage, Vec<u8>);

/// What becomes of a notice that must not be lost.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Owed {
    /// It is the first that waits: somebody has to try again.
    First,
    /// It waits behind others.
    Behind,
    /// Too much waits already.
    TooMuch,
}

impl Peers {
    /// Counts a tie of a process with a node.
    pub(crate) fn tie(&self, node: NodeId, serial: u64) {
        self.with(node, |peer| peer.tie(serial));
    }

    /// The same where the node asks for it; false when it has tied itself to too much already.
    pub(crate) fn tie_by_peer(&self, node: NodeId, serial: u64, ties_max: usize) -> bool {
        self.with(node, |peer| {
            let may = peer.ties < ties_max;
            if may {
                peer.tie(serial);
            }
            may
        })
    }

    /// So many ties are cut.
    pub(crate) fn untie(&self, node: NodeId, serial: u64, cut: u32) {
        if cut == 0 {
            return;
        }
        self.with(node, |peer| {
            let Some(count) = peer.tied.get_mut(&serial) else { return };
            let cut = cut.min(*count);
            *count -= cut;
            peer.ties -= cut as usize;
            if *count == 0 {
                peer.tied.remove(&serial);
            }
        });
    }

    /// Whether anything waits for that node.
    pub(crate) fn is_tied(&self, node: NodeId) -> bool {
        self.lock()
            .get(&node)
            .is_some_and(|peer| !(peer.tied.is_empty() && peer.awaited.is_empty()) || peer.paying)
    }

    /// Lets a signal of a node in; false when too many are under way.
    pub(crate) fn enter(&self, node: NodeId) -> bool {
        self.with(node, |peer| {
            let may = peer.under_way < UNDER_WAY_MAX;
            peer.under_way += u32::from(may);
            may
        })
    }

    /// A signal of a node was taken in, or came back.
    pub(crate) fn leave(&self, node: NodeId) {
        self.with(node, |peer| peer.under_way = peer.under_way.saturating_sub(1));
    }

    /// Whether a node is owed notices: what is posted now would overtake them.
    pub(crate) fn owes(&self, node: NodeId) -> bool {
        self.lock().get(&node).is_some_and(|peer| peer.paying)
    }

    /// Keeps a notice for later.
    pub(crate) fn owe(&self, node: NodeId, debt: Debt) -> Owed {
        self.with(node, |peer| {
            if peer.owed.len() >= OWED_MAX {
                return Owed::TooMuch;
            }
            peer.owed.push_back(debt);
            match std::mem::replace(&mut peer.paying, true) {
                true => Owed::Behind,
                false => Owed::First,
            }
        })
    }

    /// The first notice that a node is owed, and by which of its links. When there is none any more, nobody
    /// pays.
    pub(crate) fn take_owed(&self, node: NodeId) -> Option<(u32, Debt)> {
        self.with(node, |peer| {
            let debt = peer.owed.pop_front();
            peer.paying = debt.is_some();
            debt.map(|debt| (peer.era, debt))
        })
    }

    /// The notice that was taken could not be paid; it is the first again, unless its link was lost.
    pub(crate) fn put_back(&self, node: NodeId, era: u32, debt: Debt) {
        self.with(node, |peer| {
            if peer.era == era {
                peer.owed.push_front(debt);
            }
        });
    }

    /// A task waits for the end of a process of a node.
    pub(crate) fn await_end(&self, node: NodeId, monitor: Ref, tell: oneshot::Sender<Exit>) {
        self.with(node, |peer| peer.awaited.insert(monitor, tell));
    }

    /// Who waits by this monitor, forgotten from now on.
    pub(crate) fn awaited(&self, node: NodeId, monitor: Ref) -> Option<oneshot::Sender<Exit>> {
        if !self.lock().contains_key(&node) {
            return None;
        }
        self.with(node, |peer| peer.awaited.remove(&monitor))
    }

    /// The link to a node broke: the serials of all processes with ties to it, and the tasks that wait. What
    /// it is owed went with the link. The ties are uncounted by their processes.
    pub(crate) fn lose(&self, node: NodeId) -> (Vec<u64>, Vec<oneshot::Sender<Exit>>) {
        if !self.lock().contains_key(&node) {
            return (Vec::new(), Vec::new());
        }
        self.with(node, |peer| {
            peer.owed.clear();
            peer.era = peer.era.wrapping_add(1);
            let awaited = std::mem::take(&mut peer.awaited);
            (peer.tied.keys().copied().collect(), awaited.into_values().collect())
        })
    }

    /// All nodes that anything is known of.
    pub(crate) fn nodes(&self) -> Vec<NodeId> {
        self.lock().keys().copied().collect()
    }

    /// Acts on what is known of a node; a node of which nothing is known is forgotten.
    fn with<R>(&self, node: NodeId, act: impl FnOnce(&mut Peer) -> R) -> R {
        let mut peers = self.lock();
        let peer = peers.entry(node).or_default();
        let done = act(peer);
        if peer.is_idle() {
            peers.remove(&node);
        }
        done
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Peer>> {
        self.0.lock().expect("nothing panics while it holds the peers")
    }
}

impl Peer {
    fn tie(&mut self, serial: u64) {
        *self.tied.entry(serial).or_default() += 1;
        self.ties += 1;
    }

    fn is_idle(&self) -> bool {
        self.tied.is_empty() && self.under_way == 0 && !self.paying && self.awaited.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_vocab::Lane;

    const NODE: NodeId = NodeId(2);

    #[test]
    fn a_node_is_known_for_as_long_as_something_ties_it() {
        let peers = Peers::default();
        peers.tie(NODE, 7);
        peers.tie(NODE, 7);
        peers.tie(NODE, 8);
        peers.untie(NODE, 7, 1);
        assert_eq!(peers.lose(NODE).0, [7, 8], "the processes uncount their own ties");
        peers.untie(NODE, 7, 1);
        peers.untie(NODE, 8, 9);
        assert!(!peers.is_tied(NODE) && peers.nodes().is_empty());
        peers.untie(NODE, 8, 1);
        assert!(peers.awaited(NODE, Ref(1)).is_none() && peers.nodes().is_empty());
    }

    #[test]
    fn what_a_node_asks_for_is_bounded() {
        let peers = Peers::default();
        assert!(peers.tie_by_peer(NODE, 7, 2) && peers.tie_by_peer(NODE, 8, 2));
        assert!(!peers.tie_by_peer(NODE, 7, 2));
        peers.untie(NODE, 7, 1);
        assert!(peers.tie_by_peer(NODE, 9, 2));

        let entered = (0..=UNDER_WAY_MAX).filter(|_| peers.enter(NODE)).count();
        assert_eq!(entered, UNDER_WAY_MAX as usize);
        peers.leave(NODE);
        assert!(peers.enter(NODE));
    }

    #[test]
    fn debts_are_paid_in_order_and_end_with_the_link() {
        let debt = |number| (Postage { lane: Lane::High, flow: 0 }, vec![number]);
        let peers = Peers::default();
        assert_eq!(peers.owe(NODE, debt(1)), Owed::First);
        assert_eq!(peers.owe(NODE, debt(2)), Owed::Behind);
        let (era, first) = peers.take_owed(NODE).unwrap();
        assert_eq!(first, debt(1));
        peers.put_back(NODE, era, first);
        assert_eq!(peers.take_owed(NODE), Some((era, debt(1))));
        assert_eq!(peers.take_owed(NODE), Some((era, debt(2))));
        assert!(peers.owes(NODE), "the last is still in the hand of who pays");
        assert_eq!(peers.owe(NODE, debt(3)), Owed::Behind);
        assert_eq!(peers.take_owed(NODE), Some((era, debt(3))));
        assert_eq!(peers.take_owed(NODE), None);
        assert!(!peers.owes(NODE) && peers.nodes().is_empty());

        assert_eq!(peers.owe(NODE, debt(4)), Owed::First);
        let (era, old) = peers.take_owed(NODE).unwrap();
        peers.lose(NODE);
        peers.put_back(NODE, era, old);
        assert_eq!(peers.take_owed(NODE), None, "it was of the link before");
    }

    #[test]
    fn what_a_node_is_owed_is_bounded() {
        let peers = Peers::default();
        let owe = || peers.owe(NODE, (Postage { lane: Lane::High, flow: 0 }, vec![]));
        let owed = (0..=OWED_MAX).filter(|_| owe() != Owed::TooMuch).count();
        assert_eq!(owed, OWED_MAX);
    }
}
