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
//! What is to be sent over a data road lies in an outbox that may be there before its link, and after one
//! that ended because nobody needed it; it brings about the next link.
//!
//! Invariants: I12, as far as "the break is told" goes: between two `Up` of a road there is a `Down`, which
//! is told only when nothing of the link can reach the inside any more; a link is raised only after those
//! before it have ended, forgotten ones as well, and carries only once the inside has been told of all that
//! was before.

mod events;
mod face;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use quorate_vocab::{ClusterId, Lane, NodeId, Time};
use tokio::sync::{Semaphore, watch};

use crate::hello::Hello;
use crate::link::Link;
use crate::outbox::Outbox;
use crate::{Limits, Peer, Reason, Road, Rule, SendError};
pub(crate) use events::Event;
use events::Events;
pub(crate) use face::Face;
use face::Shown;

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
    limits: Limits,
    closed: bool,
    /// The hall has said to whom links are to be kept.
    settled: bool,
    entries: BTreeMap<NodeId, Entry>,
    /// Links that have lost their place, and may still hand something to the inside.
    ending: Vec<Arc<Link>>,
    greets: BTreeMap<String, Greet>,
    events: Events,
}

#[derive(Debug, Default)]
struct Entry {
    shown: Option<Shown>,
    slots: [Slot; 2],
    /// Alive while this node's own proof for a road is under way.
    proofs: [Weak<Proving>; 2],
    /// Where the hall said that it is.
    said: Option<String>,
    /// Whether the hall wants a control link to it.
    kept: bool,
    dial: Option<Dial>,
    /// What is to be sent over the data road.
    data: Option<Arc<Outbox>>,
    reaching: Reaching,
    /// How often it could not be opened, in a row.
    failures: u32,
    /// What may be sent to it, and come from it.
    rule: Rule,
}

/// Whether the data road is being opened.
#[derive(Clone, Copy, Debug, Default)]
enum Reaching {
    #[default]
    No,
    /// A task is about it, and may be waiting for its turn.
    Now,
    /// It has its turn: the road counts as one that this node opened.
    Opening,
    /// It could not be, and is not tried again before then.
    Resting(Time),
}

impl Reaching {
    fn is_under_way(self) -> bool {
        matches!(self, Self::Now | Self::Opening)
    }
}

/// The way to send something to a node.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) outbox: Arc<Outbox>,
    /// The road has to be opened, by whoever sees this.
    pub(crate) closed: bool,
}

#[derive(Debug, Default)]
struct Slot {
    link: Option<Arc<Link>>,
    up: bool,
}

/// Where a node is dialled, to keep a control link to it. Its task ends when this is dropped.
#[derive(Debug)]
struct Dial {
    address: watch::Sender<String>,
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
            limits: limits.clone(),
            closed: false,
            settled: false,
            entries: BTreeMap::new(),
            ending: Vec::new(),
            greets: BTreeMap::new(),
            events: Events::default(),
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
        if link.dialled_by == self.me && !self.entries.contains_key(&link.node) {
            // It was forgotten while this node was about to link to it.
            return Err(Reason::Forgotten);
        }
        self.make_room_for(link.node)?;
        let entry = self.entries.entry(link.node).or_default();
        if let Some(shown) = &entry.shown {
            let known = shown.face.peer().boot;
            if link.boot < known {
                return Err(Reason::OldBoot);
            }
            if link.boot > known {
                entry.clear(Reason::Superseded, &mut self.ending);
                entry.shown = None;
            }
        }
        if link.road == Road::Data && entry.rule.is_shut() {
            return Err(Reason::Denied);
        }
        let slot = &entry.slots[link.road.index()];
        let is_theirs = link.dialled_by == link.node && self.me < link.node;
        if is_theirs && entry.proofs[link.road.index()].strong_count() > 0 {
            return Err(Reason::Duplicate);
        }
        if slot.link.as_ref().is_some_and(|held| !displaces(link, held)) {
            return Err(Reason::Duplicate);
        }
        entry.vacate(link.road, Reason::Replaced, &mut self.ending);
        let shown = entry.shown.get_or_insert_with(|| Shown::new(hello, self.limits.calls_max));
        shown.face.edit(|peer| {
            peer.name = hello.name.clone();
            peer.address.clone_from(&hello.address);
            peer.cluster = hello.cluster;
        });
        let is_before = |held: &&Arc<Link>| {
            held.node == link.node && (held.road == link.road || held.boot < link.boot)
        };
        let place = Place {
            face: shown.face.clone(),
            permits: shown.permits[link.road.index()].clone(),
            before: self.ending.iter().filter(is_before).cloned().collect(),
        };
        entry.slots[link.road.index()].link = Some(link.clone());
        Ok(place)
    }

    /// A link that was let in begins to carry, once the inside has been told of this event and all before it.
    /// `None`: it has lost its place since.
    pub(crate) fn raise(&mut self, link: &Arc<Link>) -> Option<u64> {
        let entry = self.entries.get_mut(&link.node)?;
        if !entry.slots[link.road.index()].holds(link) {
            return None;
        }
        let fresh = || Arc::new(Outbox::new(&self.limits));
        let outbox = match link.road {
            Road::Control => fresh(),
            Road::Data => {
                link.police(entry.rule.rates_in, entry.rule.admits);
                let data = entry.data.get_or_insert_with(fresh).clone();
                data.limit(entry.rule.rates_out);
                data
            }
        };
        link.attach(outbox.clone());
        if link.road == Road::Data {
            entry.failures = 0;
            if !entry.reaching.is_under_way() {
                // Else whoever is about it finds out: a second one would open a link beside the first's.
                entry.reaching = Reaching::No;
            }
        }
        entry.slots[link.road.index()].up = true;
        let peer = entry.show()?;
        if let Some(cluster) = self.cluster
            && link.said != Some(cluster)
        {
            outbox.say(|own| own.adopted = Some(cluster));
        }
        Some(self.events.push(Event::Up(peer, link.road)))
    }

    /// A link has ended: nothing of it reaches the inside any more. Gives what is still to be sent, if
    /// nothing of it will be.
    pub(crate) fn leave(&mut self, link: &Arc<Link>, reason: Reason) -> Option<Arc<Outbox>> {
        let outbox = link.outbox().cloned();
        if let Some(entry) = self.entries.get_mut(&link.node)
            && entry.slots[link.road.index()].holds(link)
        {
            entry.vacate(link.road, reason, &mut self.ending);
            if reason == Reason::Unneeded && link.road == Road::Data {
                // What was held back goes over the next link.
                entry.data.take_if(|outbox| outbox.close_if_empty());
            }
        }
        self.ending.retain(|held| !Arc::ptr_eq(held, link));
        if outbox.is_some() {
            self.events.push(Event::Down(link.node, link.road, reason));
        }
        outbox.filter(|_| reason != Reason::Unneeded || link.road == Road::Control)
    }

    /// The link that carries a road now.
    pub(crate) fn link(&self, node: NodeId, road: Road) -> Option<&Arc<Link>> {
        let slot = &self.entries.get(&node)?.slots[road.index()];
        slot.link.as_ref().filter(|_| slot.up)
    }

    /// From now on this may go to a node and come from it. A road that may carry nothing is closed.
    pub(crate) fn rule(&mut self, node: NodeId, rule: Rule) {
        let entry = self.entries.entry(node).or_default();
        entry.rule = rule;
        if rule.is_shut() {
            entry.vacate(Road::Data, Reason::Denied, &mut self.ending);
            entry.drop_data();
            return;
        }
        if let Some(outbox) = &entry.data {
            outbox.limit(rule.rates_out);
        }
        if let Some(link) = &entry.slots[Road::Data.index()].link {
            link.police(rule.rates_in, rule.admits);
        }
    }

    /// Where to put what is to be sent to a node over the data road.
    #[inline]
    pub(crate) fn way_to(&mut self, node: NodeId, lane: Lane, now: Time) -> Result<Way, SendError> {
        if self.closed {
            return Err(SendError::NoLink);
        }
        let entry = self.entries.get_mut(&node).ok_or(SendError::NoLink)?;
        if !entry.rule.lanes[lane.index()] {
            return Err(SendError::Denied);
        }
        if let Some(outbox) = &entry.data {
            let closed = !entry.slots[1].up && !entry.reaching.is_under_way();
            return Ok(Way { outbox: outbox.clone(), closed });
        }
        if matches!(entry.reaching, Reaching::Resting(until) if now < until)
            || entry.address().is_none()
        {
            return Err(SendError::NoLink);
        }
        let outbox = entry.data.insert(Arc::new(Outbox::new(&self.limits))).clone();
        outbox.limit(entry.rule.rates_out);
        Ok(Way { outbox, closed: true })
    }

    /// What waits to be sent to a node over the data road, or would, if there is such a road or will be.
    pub(crate) fn waiting_for(&self, node: NodeId) -> Option<Arc<Outbox>> {
        self.entries.get(&node)?.data.clone()
    }

    /// Takes the right to open the data road to a node, if something waits for it and nobody is about it.
    pub(crate) fn begin_reaching(&mut self, node: NodeId) -> bool {
        let Some(entry) = self.entries.get_mut(&node) else { return false };
        let begins = !self.closed
            && entry.data.is_some()
            && entry.slots[Road::Data.index()].link.is_none()
            && !entry.reaching.is_under_way();
        if begins {
            entry.reaching = Reaching::Now;
        }
        begins
    }

    /// Whether something waits for the data road to a node, and there is none.
    pub(crate) fn is_wanted(&self, node: NodeId) -> bool {
        self.entries.get(&node).is_some_and(|entry| {
            entry.data.is_some() && entry.slots[Road::Data.index()].link.is_none()
        })
    }

    /// Where the data road to a node leads.
    pub(crate) fn address_of(&self, node: NodeId) -> Option<String> {
        self.entries.get(&node)?.address()
    }

    /// The data road has been opened; false when that is to be done again already.
    pub(crate) fn is_reached(&mut self, node: NodeId) -> bool {
        let is_wanted = self.is_wanted(node) && !self.closed;
        if let Some(entry) = self.entries.get_mut(&node) {
            entry.reaching = if is_wanted { Reaching::Now } else { Reaching::No };
        }
        !is_wanted
    }

    /// The data road could not be opened: what waits for it is not sent. Unless it came up meanwhile.
    pub(crate) fn unreached(
        &mut self,
        node: NodeId,
        reason: Reason,
        now: Time,
    ) -> Option<Arc<Outbox>> {
        let (least, most) = (self.limits.redial_min, self.limits.redial_max);
        let entry = self.entries.get_mut(&node)?;
        if entry.slots[Road::Data.index()].link.is_some() {
            entry.reaching = Reaching::No;
            return None;
        }
        entry.failures = entry.failures.saturating_add(1);
        let rest = least.saturating_mul(1 << entry.failures.min(16)).min(most);
        entry.reaching = Reaching::Resting(now + rest);
        let outbox = entry.data.take()?;
        self.events.push(Event::Down(node, Road::Data, reason));
        Some(outbox)
    }

    /// Whether a link that this node opened is there for nobody.
    pub(crate) fn is_spare(&self, link: &Link) -> bool {
        let is_dialled =
            self.entries.get(&link.node).is_some_and(|entry| entry.dial.is_some() || entry.kept);
        self.settled && !is_dialled
    }

    /// Every link that is up.
    pub(crate) fn links(&self) -> Vec<Arc<Link>> {
        let slots = self.entries.values().flat_map(|entry| &entry.slots);
        slots.filter(|slot| slot.up).filter_map(|slot| slot.link.clone()).collect()
    }

    /// Whether this node may open one more data road, now. If not, gives the one that was used the longest
    /// ago of those that it opened and did not ask to end.
    pub(crate) fn begin_opening(&mut self, node: NodeId) -> Result<(), Option<Arc<Link>>> {
        let links = self.entries.values().filter_map(|entry| entry.slots[1].link.as_ref());
        let own = links.filter(|link| link.dialled_by == self.me);
        let is_opening = |(id, entry): &(&NodeId, &Entry)| {
            let has_turn = matches!(entry.reaching, Reaching::Opening);
            has_turn && entry.slots[1].link.is_none() && **id != node
        };
        let opening = self.entries.iter().filter(is_opening).count();
        let leaving = own.clone().filter(|link| link.is_asked_to_leave()).count();
        let count = own.clone().count() + opening;
        if count >= self.limits.data_links_max {
            // As many as are too many, and no more: each that waits would ask another one to end.
            let asked = leaving > count - self.limits.data_links_max;
            let staying = own.filter(|link| !link.is_closing() && !link.is_asked_to_leave());
            return Err(staying.min_by_key(|link| link.used()).filter(|_| !asked).cloned());
        }
        if let Some(entry) = self.entries.get_mut(&node) {
            entry.reaching = Reaching::Opening;
        }
        Ok(())
    }

    /// The link that has a road's place, whether it carries already or not.
    pub(crate) fn occupant(&self, node: NodeId, road: Road) -> Option<Arc<Link>> {
        self.entries.get(&node)?.slots[road.index()].link.clone()
    }

    /// Where a node is, as the hall knows it. When a link to it is to be kept, and this begins it, gives what
    /// its task has to watch.
    pub(crate) fn learn(&mut self, node: NodeId, address: &str) -> Option<watch::Receiver<String>> {
        if self.closed || node == self.me {
            return None;
        }
        let entry = self.entries.entry(node).or_default();
        entry.said = Some(address.to_owned());
        if let Some(dial) = &entry.dial {
            dial.turn_to(address);
            return None;
        }
        entry.kept.then(|| entry.begin_dial(address))
    }

    /// From now on control links are kept to these nodes and to no others. Gives those whose links begin now.
    pub(crate) fn keep(
        &mut self,
        nodes: &BTreeSet<NodeId>,
    ) -> Vec<(NodeId, watch::Receiver<String>)> {
        if self.closed {
            return Vec::new();
        }
        self.settled = true;
        for node in nodes.iter().filter(|node| **node != self.me) {
            self.entries.entry(*node).or_default();
        }
        let mut begun = Vec::new();
        for (node, entry) in &mut self.entries {
            entry.kept = nodes.contains(node);
            if !entry.kept {
                entry.dial = None;
            } else if entry.dial.is_none()
                && let Some(address) = entry.address()
            {
                begun.push((*node, entry.begin_dial(&address)));
            }
        }
        begun
    }

    /// Whether there is no need to ask around: links are kept, and one of them is up.
    pub(crate) fn is_settled(&self) -> bool {
        let is_linked = |entry: &Entry| entry.kept && entry.slots[Road::Control.index()].up;
        self.settled
            && (self.entries.values().any(is_linked)
                || self.entries.values().all(|entry| !entry.kept))
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

    /// An address is asked no more.
    pub(crate) fn ungreet(&mut self, address: &str) {
        self.greets.remove(address);
    }

    /// Who was found at a greeted address.
    pub(crate) fn found(&self, address: &str) -> Option<NodeId> {
        self.greets.get(address)?.found
    }

    /// A node has answered at a greeted address, and is dialled there from now on: whoever answers is there
    /// now, and what the hall knows may be of an earlier life. Who answered there before is dialled where the
    /// hall said that it is, if it did.
    pub(crate) fn find(&mut self, address: &str, node: NodeId) -> Option<watch::Receiver<String>> {
        let before = self.greets.get_mut(address)?.found.replace(node);
        if let Some(before) = before.filter(|before| *before != node)
            && let Some(entry) = self.entries.get_mut(&before)
            && let Some(dial) = &entry.dial
            && *dial.address.borrow() == address
        {
            match &entry.said {
                Some(said) => dial.turn_to(said),
                None => entry.dial = None,
            }
        }
        if self.closed || node == self.me {
            return None;
        }
        let entry = self.entries.entry(node).or_default();
        match &entry.dial {
            Some(dial) => {
                dial.turn_to(address);
                None
            }
            None => Some(entry.begin_dial(address)),
        }
    }

    /// Ends everything with a node: links, dials, and greetings that found it.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.greets.retain(|_, greet| greet.found != Some(node));
        if let Some(mut entry) = self.entries.remove(&node) {
            entry.clear(Reason::Forgotten, &mut self.ending);
            entry.drop_data();
        }
    }

    /// This node belongs to a cluster from now on.
    pub(crate) fn adopt(&mut self, cluster: ClusterId) {
        self.cluster = Some(cluster);
        for entry in self.entries.values_mut() {
            let peer = entry.shown.as_ref().map(|shown| shown.face.peer());
            if peer.and_then(|peer| peer.cluster).is_some_and(|theirs| theirs != cluster) {
                entry.clear(Reason::OtherCluster, &mut self.ending);
            }
            let links = entry.slots.iter().filter_map(|slot| slot.link.as_ref());
            for outbox in links.filter_map(|link| link.outbox()) {
                outbox.say(|own| own.adopted = Some(cluster));
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
        for mut entry in std::mem::take(&mut self.entries).into_values() {
            entry.clear(Reason::Closing, &mut self.ending);
            entry.drop_data();
        }
    }

    pub(crate) fn peers(&self) -> Vec<Peer> {
        let shown = self.entries.values().filter_map(|entry| entry.shown.as_ref());
        shown.map(|shown| Peer::clone(&shown.face.peer())).collect()
    }

    /// Takes the right to announce, if nobody has it and there is something to announce.
    pub(crate) fn begin_announcing(&mut self) -> bool {
        let begins = !self.events.announcing && !self.events.queue.is_empty();
        self.events.announcing |= begins;
        begins
    }

    /// The next event for whoever has the right to announce, and how many have been told with it; `None`
    /// takes the right away.
    pub(crate) fn next_event(&mut self) -> Option<(Event, u64)> {
        let event = self.events.queue.pop_front();
        self.events.announcing = event.is_some();
        event.map(|event| (event, self.events.count - self.events.queue.len() as u64))
    }

    /// Strangers that are neither linked nor dialled are forgotten when there are too many.
    fn make_room_for(&mut self, node: NodeId) -> Result<(), Reason> {
        if self.entries.len() < self.limits.peers_max || self.entries.contains_key(&node) {
            return Ok(());
        }
        let is_idle = |entry: &Entry| {
            let is_known = entry.said.is_some() || entry.dial.is_some() || entry.data.is_some();
            !is_known && entry.slots.iter().all(|slot| slot.link.is_none())
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
    fn clear(&mut self, reason: Reason, ending: &mut Vec<Arc<Link>>) {
        for road in Road::ALL {
            self.vacate(road, reason, ending);
        }
    }

    /// Takes a link's place away. The inside is told when it has ended.
    fn vacate(&mut self, road: Road, reason: Reason, ending: &mut Vec<Arc<Link>>) {
        let Slot { link, up } = std::mem::take(&mut self.slots[road.index()]);
        self.show();
        let Some(link) = link else { return };
        // It may be about to end for another reason already.
        let reason = link.close(reason);
        if up && road == Road::Data && reason != Reason::Unneeded {
            // It goes down with its link, which closes it.
            self.data = None;
        }
        ending.push(link);
    }

    /// Nothing that waits is sent any more.
    fn drop_data(&mut self) {
        if let Some(outbox) = self.data.take() {
            outbox.close();
        }
    }

    /// Where the node can be dialled, as far as it is known.
    fn address(&self) -> Option<String> {
        let dialled = self.dial.as_ref().map(|dial| dial.address.borrow().clone());
        let shown = || self.shown.as_ref().map(|shown| shown.face.peer().address.clone());
        dialled.or_else(|| self.said.clone()).or_else(shown)
    }

    fn begin_dial(&mut self, address: &str) -> watch::Receiver<String> {
        let (address, seen) = watch::channel(address.to_owned());
        self.dial = Some(Dial { address });
        seen
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

#[cfg(test)]
mod tests;
