//! The table of peers: who is linked, who is to be dialled, and which of two links of a road stays.
//!
//! A core: it waits for nothing and calls nobody. What the inside has to be told is queued in order, and
//! announced by whoever holds no lock.
//!
//! Of two links in one road to the same life of a peer, the one that was dialled by the smaller node id
//! stays, so both sides choose the same one without a word; of two that were dialled by the same side, the
//! later one, since a side dials only when it has none. When both dial at once the smaller one settles it
//! before either link carries anything: it refuses the other's while its own proof is under way, and keeps
//! its own proof to itself once it has let the other's in. A later life ends every link of an earlier one,
//! and an earlier life is refused.
//!
//! Invariants: I12, as far as "the break is told" goes: between two `Met` of a peer there is a `Parted`, and
//! a link that takes another's place is raised only after the other has ended.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, Weak};

use quorate_vocab::{ClusterId, NodeId};
use tokio::sync::{Semaphore, watch};

use crate::hello::Hello;
use crate::link::Link;
use crate::{Limits, Peer, Reason, Road};

/// A peer as it is now, shared by the table, which writes, and the peer's links, which read.
#[derive(Debug)]
pub(crate) struct Face(Mutex<Arc<Peer>>);

/// What the inside has to be told.
#[derive(Debug)]
pub(crate) enum Event {
    Met(Arc<Peer>),
    Parted(NodeId),
}

/// Held by a dialler from its proof until its connection has become a link, or nothing.
#[derive(Debug)]
pub(crate) struct Proving;

/// What a link that was let in works with.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) face: Arc<Face>,
    /// One permit for each call that may be under way.
    pub(crate) permits: Arc<Semaphore>,
    /// The links that have to end before this one is raised.
    pub(crate) before: Vec<Arc<Link>>,
}

#[derive(Debug)]
pub(crate) struct Table {
    me: NodeId,
    cluster: Option<ClusterId>,
    calls_max: usize,
    peers_max: usize,
    closed: bool,
    entries: BTreeMap<NodeId, Entry>,
    greets: BTreeMap<String, Greet>,
    events: VecDeque<Event>,
    announcing: bool,
}

#[derive(Debug, Default)]
struct Entry {
    shown: Option<Shown>,
    slots: [Slot; 2],
    /// Alive while this node's own proof for a road is under way.
    proofs: [Weak<Proving>; 2],
    met: bool,
    dial: Option<Dial>,
}

#[derive(Debug)]
struct Shown {
    face: Arc<Face>,
    permits: [Arc<Semaphore>; 2],
}

#[derive(Debug, Default)]
struct Slot {
    link: Option<Arc<Link>>,
    up: bool,
}

/// Where a node is dialled. Its tasks end when this is dropped.
#[derive(Debug)]
struct Dial {
    address: watch::Sender<String>,
    /// Where the hall said that it is; `None` while only a greeting has found it.
    said: Option<String>,
}

/// An address that is asked who is there. Its task ends when this is dropped.
#[derive(Debug)]
struct Greet {
    found: Option<NodeId>,
    _alive: watch::Sender<()>,
}

impl Table {
    pub(crate) fn new(me: NodeId, cluster: Option<ClusterId>, limits: &Limits) -> Self {
        Self {
            me,
            cluster,
            calls_max: limits.calls_max,
            peers_max: limits.peers_max,
            closed: false,
            entries: BTreeMap::new(),
            greets: BTreeMap::new(),
            events: VecDeque::new(),
            announcing: false,
        }
    }

    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// Whether this side should prove itself to a peer that claims to be so: not when the road has a link by
    /// now.
    pub(crate) fn prove(&mut self, claimed: &Hello, road: Road) -> Result<Arc<Proving>, Reason> {
        let entry = self.entries.get_mut(&claimed.node).ok_or(Reason::Forgotten)?;
        match &entry.shown {
            Some(shown) if claimed.boot < shown.face.peer().boot => return Err(Reason::OldBoot),
            Some(shown) if claimed.boot > shown.face.peer().boot => {}
            _ if entry.slots[road.index()].link.is_some() => return Err(Reason::Duplicate),
            _ => {}
        }
        let proving = Arc::new(Proving);
        entry.proofs[road.index()] = Arc::downgrade(&proving);
        Ok(proving)
    }

    /// Lets a proven peer's link in, or says why not. The link is not up yet; see [`Table::raise`].
    pub(crate) fn admit(&mut self, link: &Arc<Link>, hello: &Hello) -> Result<Place, Reason> {
        if self.closed {
            return Err(Reason::Closing);
        }
        // The cluster may have been adopted while the handshake went on.
        if self.cluster.zip(hello.cluster).is_some_and(|(ours, theirs)| ours != theirs) {
            return Err(Reason::OtherCluster);
        }
        self.make_room_for(link.node)?;
        let entry = self.entries.entry(link.node).or_default();
        let mut before = Vec::new();
        if let Some(shown) = &entry.shown {
            let known = shown.face.peer().boot;
            if link.boot < known {
                return Err(Reason::OldBoot);
            }
            if link.boot > known {
                before.extend(entry.clear(link.node, Reason::Superseded, &mut self.events));
                entry.shown = None;
            }
        }
        let slot = &entry.slots[link.road.index()];
        let is_theirs = link.dialled_by == link.node && self.me < link.node;
        if is_theirs && entry.proofs[link.road.index()].strong_count() > 0 {
            return Err(Reason::Duplicate);
        }
        if slot.link.as_ref().is_some_and(|held| !displaces(link, held)) {
            return Err(Reason::Duplicate);
        }
        before.extend(entry.vacate(link.road, Reason::Replaced, link.node, &mut self.events));
        let shown = entry.shown.get_or_insert_with(|| Shown::new(hello, self.calls_max));
        shown.face.edit(|peer| {
            peer.name = hello.name.clone();
            peer.address.clone_from(&hello.address);
            peer.cluster = hello.cluster;
        });
        let place = Place {
            face: shown.face.clone(),
            permits: shown.permits[link.road.index()].clone(),
            before,
        };
        entry.slots[link.road.index()].link = Some(link.clone());
        Ok(place)
    }

    /// A link that was let in begins to carry. False: it has lost its place since.
    pub(crate) fn raise(&mut self, link: &Arc<Link>) -> bool {
        let Some(entry) = self.entries.get_mut(&link.node) else {
            return false;
        };
        if !entry.slots[link.road.index()].holds(link) {
            return false;
        }
        entry.slots[link.road.index()].up = true;
        let peer = entry.show();
        if let Some(peer) = peer
            && peer.control_up
            && peer.data_up
        {
            entry.met = true;
            self.events.push_back(Event::Met(peer));
        }
        if let Some(cluster) = self.cluster
            && link.said != Some(cluster)
        {
            link.outbox.adopted(cluster);
        }
        true
    }

    /// A link has ended by itself.
    pub(crate) fn leave(&mut self, link: &Arc<Link>) {
        if let Some(entry) = self.entries.get_mut(&link.node)
            && entry.slots[link.road.index()].holds(link)
        {
            entry.vacate(link.road, Reason::Gone, link.node, &mut self.events);
        }
    }

    /// The link that carries a road now.
    pub(crate) fn link(&self, node: NodeId, road: Road) -> Option<&Arc<Link>> {
        let slot = &self.entries.get(&node)?.slots[road.index()];
        slot.link.as_ref().filter(|_| slot.up)
    }

    /// The link that has a road's place, whether it carries already or not.
    pub(crate) fn occupant(&self, node: NodeId, road: Road) -> Option<Arc<Link>> {
        self.entries.get(&node)?.slots[road.index()].link.clone()
    }

    /// Where to dial a node from now on. When that begins a dial, gives what its tasks have to watch.
    pub(crate) fn learn(
        &mut self,
        node: NodeId,
        address: &str,
        greeted: bool,
    ) -> Option<watch::Receiver<String>> {
        if self.closed || node == self.me {
            return None;
        }
        let entry = self.entries.entry(node).or_default();
        if let Some(dial) = &mut entry.dial {
            // Whoever answers where it was greeted is there now; what the hall knows may be of an earlier
            // life.
            if !greeted {
                dial.said = Some(address.to_owned());
            }
            dial.turn_to(address);
            return None;
        }
        let said = (!greeted).then(|| address.to_owned());
        let (address, seen) = watch::channel(address.to_owned());
        entry.dial = Some(Dial { address, said });
        Some(seen)
    }

    /// An address is to be asked who is there. Gives what the task has to watch, when there is none yet.
    pub(crate) fn greet(&mut self, address: &str) -> Option<watch::Receiver<()>> {
        if self.closed || self.greets.contains_key(address) {
            return None;
        }
        let (alive, seen) = watch::channel(());
        self.greets.insert(address.to_owned(), Greet { found: None, _alive: alive });
        Some(seen)
    }

    /// Who was found at a greeted address.
    pub(crate) fn found(&self, address: &str) -> Option<NodeId> {
        self.greets.get(address)?.found
    }

    /// A node has answered at a greeted address, and is dialled there from now on. Who answered there before
    /// is dialled where the hall said that it is, if it did.
    pub(crate) fn find(&mut self, address: &str, node: NodeId) -> Option<watch::Receiver<String>> {
        let before = self.greets.get_mut(address)?.found.replace(node);
        if let Some(before) = before.filter(|before| *before != node)
            && let Some(entry) = self.entries.get_mut(&before)
            && let Some(dial) = &entry.dial
            && *dial.address.borrow() == address
        {
            match &dial.said {
                Some(said) => dial.turn_to(said),
                None => entry.dial = None,
            }
        }
        self.learn(node, address, true)
    }

    /// Ends everything with a node: links, dials, and greetings that found it.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.greets.retain(|_, greet| greet.found != Some(node));
        if let Some(mut entry) = self.entries.remove(&node) {
            entry.clear(node, Reason::Forgotten, &mut self.events);
        }
    }

    /// This node belongs to a cluster from now on.
    pub(crate) fn adopt(&mut self, cluster: ClusterId) {
        self.cluster = Some(cluster);
        for (node, entry) in &mut self.entries {
            let peer = entry.shown.as_ref().map(|shown| shown.face.peer());
            if peer.and_then(|peer| peer.cluster).is_some_and(|theirs| theirs != cluster) {
                entry.clear(*node, Reason::OtherCluster, &mut self.events);
            }
            for link in entry.slots.iter().filter_map(|slot| slot.link.as_ref()) {
                link.outbox.adopted(cluster);
            }
        }
    }

    /// A peer says that it belongs to a cluster from now on.
    pub(crate) fn adopted(&mut self, link: &Arc<Link>, theirs: ClusterId) -> Result<(), Reason> {
        if self.cluster.is_some_and(|ours| ours != theirs) {
            return Err(Reason::OtherCluster);
        }
        if let Some(entry) = self.entries.get(&link.node)
            && entry.slots[link.road.index()].holds(link)
            && let Some(shown) = &entry.shown
        {
            shown.face.edit(|peer| peer.cluster = Some(theirs));
        }
        Ok(())
    }

    /// Ends everything, and lets nothing begin any more.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.greets.clear();
        for (node, mut entry) in std::mem::take(&mut self.entries) {
            entry.clear(node, Reason::Closing, &mut self.events);
        }
    }

    pub(crate) fn peers(&self) -> Vec<Peer> {
        let shown = self.entries.values().filter_map(|entry| entry.shown.as_ref());
        shown.map(|shown| Peer::clone(&shown.face.peer())).collect()
    }

    /// Takes the right to announce, if nobody has it and there is something to announce.
    pub(crate) fn begin_announcing(&mut self) -> bool {
        let begins = !self.announcing && !self.events.is_empty();
        self.announcing |= begins;
        begins
    }

    /// The next event for whoever has the right to announce; `None` takes the right away.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        self.announcing = event.is_some();
        event
    }

    /// Strangers that are neither linked nor dialled are forgotten when there are too many.
    fn make_room_for(&mut self, node: NodeId) -> Result<(), Reason> {
        if self.entries.len() < self.peers_max || self.entries.contains_key(&node) {
            return Ok(());
        }
        let is_idle = |entry: &Entry| {
            entry.dial.is_none() && entry.slots.iter().all(|slot| slot.link.is_none())
        };
        let idle = self.entries.iter().find(|(_, entry)| is_idle(entry)).map(|(node, _)| *node);
        idle.and_then(|node| self.entries.remove(&node)).map(|_| ()).ok_or(Reason::TooManyPeers)
    }
}

/// Whether a new link takes the place of the one that has it.
fn displaces(new: &Link, held: &Link) -> bool {
    held.is_closing() || new.dialled_by <= held.dialled_by
}

impl Entry {
    fn clear(
        &mut self,
        node: NodeId,
        reason: Reason,
        events: &mut VecDeque<Event>,
    ) -> Vec<Arc<Link>> {
        Road::ALL.into_iter().filter_map(|road| self.vacate(road, reason, node, events)).collect()
    }

    fn vacate(
        &mut self,
        road: Road,
        reason: Reason,
        node: NodeId,
        events: &mut VecDeque<Event>,
    ) -> Option<Arc<Link>> {
        let slot = std::mem::take(&mut self.slots[road.index()]);
        self.show();
        if std::mem::take(&mut self.met) {
            // Either this road was up, or it was not and the peer was not met.
            events.push_back(Event::Parted(node));
        }
        slot.link.inspect(|link| link.close(reason))
    }

    /// Writes the roads' state into the face.
    fn show(&self) -> Option<Arc<Peer>> {
        let [control, data] = &self.slots;
        let face = &self.shown.as_ref()?.face;
        face.edit(|peer| (peer.control_up, peer.data_up) = (control.up, data.up));
        Some(face.peer())
    }
}

impl Dial {
    /// Tells the tasks that dial of another address.
    fn turn_to(&self, address: &str) {
        self.address.send_if_modified(|held| {
            let changes = held != address;
            if changes {
                address.clone_into(held);
            }
            changes
        });
    }
}

impl Slot {
    fn holds(&self, link: &Arc<Link>) -> bool {
        self.link.as_ref().is_some_and(|held| Arc::ptr_eq(held, link))
    }
}

impl Shown {
    fn new(hello: &Hello, calls_max: usize) -> Self {
        let peer = Peer {
            id: hello.node,
            name: hello.name.clone(),
            boot: hello.boot,
            address: hello.address.clone(),
            control_up: false,
            data_up: false,
            cluster: hello.cluster,
        };
        let permits = || Arc::new(Semaphore::new(calls_max));
        Self { face: Arc::new(Face(Mutex::new(Arc::new(peer)))), permits: [permits(), permits()] }
    }
}

impl Face {
    pub(crate) fn peer(&self) -> Arc<Peer> {
        self.0.lock().expect("nothing panics while it holds a face").clone()
    }

    fn edit(&self, edit: impl FnOnce(&mut Peer)) {
        edit(Arc::make_mut(&mut *self.0.lock().expect("nothing panics while it holds a face")));
    }
}

#[cfg(test)]
mod tests;
