//! The table of peers: who is linked, who is to be dialled, and which of two links of a road stays.
//!
//! A core: it waits for nothing and calls nobody. What the inside has to be told is queued in order, and
//! announced by whoever holds no lock.
//!
//! Of two links in one road to the same life of a peer, the one that was dialled by the smaller node id
//! stays, so both sides choose the same one without a word; of two that were dialled by the same side, the
//! later one, since a side dials only when it has none. For that reason one that was dialled by the greater
//! node stays as well when the other has been there for longer than any handshake takes: who has just dialled
//! has lost that one, and this side has not noticed. When both dial at once the smaller one settles it
//! before either link carries anything: it refuses the other's while its own proof is under way, and keeps
//! its own proof to itself once it has let the other's in. A later life ends every link of an earlier one,
//! and an earlier life is refused.
//!
//! What is to be sent over a data road lies in an outbox that may be there before its link, and after one
//! that ended because nobody needed it; it brings about the next link.
//!
//! A data road may have several strands, each a connection with an outbox of its own; a flow goes over one of
//! them. They open and close one by one, as they are needed, but they break together: the inside knows one
//! road, which is up from its first strand to its last.
//!
//! Invariants: I12, as far as "the break is told" goes: between two `Up` of a road there is a `Down`, which
//! is told only when nothing of the link can reach the inside any more; a link is raised only after those
//! before it have ended, forgotten ones as well, and carries only once the inside has been told of all that
//! was before.

mod entry;
mod events;
mod face;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorate_vocab::{ClusterId, Lane, NodeId, Time};
use tokio::sync::{Semaphore, watch};

use crate::hello::Hello;
use crate::link::Link;
use crate::outbox::Outbox;
use crate::{Limits, Peer, Reason, Road, Rule, SendError};
pub(crate) use entry::place;
use entry::{Entry, Reaching};
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
    /// This node is one of those.
    keeps_itself: bool,
    entries: BTreeMap<NodeId, Entry>,
    /// Links that have lost their place, and may still hand something to the inside.
    ending: Vec<Arc<Link>>,
    /// Why the data road to a node broke, while some of its strands have yet to end.
    broken: BTreeMap<NodeId, Reason>,
    greets: BTreeMap<String, Greet>,
    events: Events,
}

/// The way to send something to a node.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) outbox: Arc<Outbox>,
    /// Which strand of the road it is for.
    pub(crate) strand: usize,
    /// The strand has to be opened, by whoever sees this.
    pub(crate) closed: bool,
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
            keeps_itself: false,
            entries: BTreeMap::new(),
            ending: Vec::new(),
            broken: BTreeMap::new(),
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
        let at = place(road, claimed.strand.into());
        let entry = self.entries.get_mut(&claimed.node).ok_or(Reason::Forgotten)?;
        match &entry.shown {
            Some(shown) if claimed.boot < shown.face.peer().boot => return Err(Reason::OldBoot),
            Some(shown) if claimed.boot > shown.face.peer().boot => {}
            _ if entry.slots[at].link.is_some() => return Err(Reason::Duplicate),
            _ => {}
        }
        let proving = Arc::new(Proving);
        entry.proofs[at] = Arc::downgrade(&proving);
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
        let at = link.place();
        let slot = &entry.slots[at];
        let is_theirs = link.dialled_by == link.node && self.me < link.node;
        if is_theirs && entry.proofs[at].strong_count() > 0 {
            return Err(Reason::Duplicate);
        }
        let handshake = self.limits.handshake;
        if slot.link.as_ref().is_some_and(|held| !displaces(link, held, handshake)) {
            return Err(Reason::Duplicate);
        }
        entry.vacate(at, Reason::Replaced, &mut self.ending);
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
        entry.slots[at].link = Some(link.clone());
        Ok(place)
    }

    /// A link that was let in begins to carry, once the inside has been told of this event and all before it.
    /// `None`: it has lost its place since.
    pub(crate) fn raise(&mut self, link: &Arc<Link>) -> Option<u64> {
        let was_up = self.carries(link.node, link.road);
        let entry = self.entries.get_mut(&link.node)?;
        if !entry.slots[link.place()].holds(link) {
            return None;
        }
        let fresh = || Arc::new(Outbox::new(&self.limits));
        let outbox = match link.road {
            Road::Control => fresh(),
            Road::Data => {
                link.police(entry.rule.rates_in, entry.rule.admits);
                let strand = &mut entry.strands[link.strand];
                strand.opened();
                let outbox = strand.outbox.get_or_insert_with(fresh).clone();
                outbox.limit(entry.rule.rates_out);
                outbox
            }
        };
        link.attach(outbox.clone());
        entry.slots[link.place()].up = true;
        let peer = entry.show()?;
        let is_kept = entry.kept && link.road == Road::Control;
        if let Some(cluster) = self.cluster
            && link.said != Some(cluster)
        {
            outbox.say(|own| own.adopted = Some(cluster));
        }
        if is_kept && self.is_settled() {
            // Who was only asked the way is not needed any more.
            let asked = self.entries.values_mut().filter(|entry| !entry.kept);
            asked.for_each(|entry| entry.dial = None);
        }
        Some(match was_up {
            true => self.events.count,
            false => self.events.push(Event::Up(peer, link.road)),
        })
    }

    /// A link has ended: nothing of it reaches the inside any more. Gives what is still to be sent, if
    /// nothing of it will be.
    pub(crate) fn leave(&mut self, link: &Arc<Link>, reason: Reason) -> Option<Arc<Outbox>> {
        let outbox = link.outbox().cloned();
        if let Some(entry) = self.entries.get_mut(&link.node)
            && entry.slots[link.place()].holds(link)
        {
            entry.vacate(link.place(), reason, &mut self.ending);
            if reason == Reason::Unneeded && link.road == Road::Data {
                // What was held back goes over the next link.
                entry.strands[link.strand].outbox.take_if(|outbox| outbox.close_if_empty());
            }
        }
        self.ending.retain(|held| !Arc::ptr_eq(held, link));
        if outbox.is_some() {
            self.part(link.node, link.road, reason);
        }
        outbox.filter(|_| reason != Reason::Unneeded || link.road == Road::Control)
    }

    /// Whether anything may still come over a road.
    fn carries(&self, node: NodeId, road: Road) -> bool {
        let is_ending =
            |link: &Arc<Link>| link.node == node && link.road == road && link.outbox().is_some();
        self.entries.get(&node).is_some_and(|entry| entry.is_up(road))
            || self.ending.iter().any(is_ending)
    }

    /// A road has lost a link that carried. When that was its last, the inside is to be told, and of a break
    /// rather than of an end that was agreed upon.
    fn part(&mut self, node: NodeId, road: Road, reason: Reason) {
        let is_last = !self.carries(node, road);
        let broken = match road {
            Road::Control => None,
            Road::Data if is_last => self.broken.remove(&node),
            Road::Data if reason == Reason::Unneeded => None,
            Road::Data => Some(*self.broken.entry(node).or_insert(reason)),
        };
        if is_last {
            self.events.push(Event::Down(node, road, broken.unwrap_or(reason)));
        }
    }

    /// The link that carries a road now.
    pub(crate) fn link(&self, node: NodeId, road: Road) -> Option<&Arc<Link>> {
        let slots = self.entries.get(&node)?.slots_of(road);
        slots.iter().filter(|slot| slot.up).find_map(|slot| slot.link.as_ref())
    }

    /// From now on this may go to a node and come from it. A road that may carry nothing is closed.
    pub(crate) fn rule(&mut self, node: NodeId, rule: Rule) {
        let entry = self.entries.entry(node).or_default();
        entry.rule = rule;
        if rule.is_shut() {
            entry.vacate_road(Road::Data, Reason::Denied, &mut self.ending);
            entry.drop_data();
            return;
        }
        for outbox in entry.strands.iter().filter_map(|strand| strand.outbox.as_ref()) {
            outbox.limit(rule.rates_out);
        }
        for link in entry.slots_of(Road::Data).iter().filter_map(|slot| slot.link.as_ref()) {
            link.police(rule.rates_in, rule.admits);
        }
    }

    /// Where to put what is to be sent to a node over the data road, in a flow.
    #[inline]
    pub(crate) fn way_to(
        &mut self,
        node: NodeId,
        lane: Lane,
        flow: u64,
        now: Time,
    ) -> Result<Way, SendError> {
        if self.closed {
            return Err(SendError::NoLink);
        }
        let at = entry::strand_of(flow, self.limits.data_connections);
        let entry = self.entries.get_mut(&node).ok_or(SendError::NoLink)?;
        if !entry.rule.lanes[lane.index()] {
            return Err(SendError::Denied);
        }
        let strand = &entry.strands[at];
        if let Some(outbox) = &strand.outbox {
            let closed = !entry.slots[1 + at].up && !strand.reaching.is_under_way();
            return Ok(Way { outbox: outbox.clone(), strand: at, closed });
        }
        // As long as the road is up, whoever sends counts on it: what cannot go breaks it, and that is told.
        let rests = matches!(strand.reaching, Reaching::Resting(until) if now < until);
        if rests && !entry.is_up(Road::Data) || entry.address().is_none() {
            return Err(SendError::NoLink);
        }
        let outbox = Arc::new(Outbox::new(&self.limits));
        outbox.limit(entry.rule.rates_out);
        entry.strands[at].outbox = Some(outbox.clone());
        Ok(Way { outbox, strand: at, closed: true })
    }

    /// What waits to be sent to a node over the data road, or would, if there is such a road or will be.
    pub(crate) fn waiting_for(&self, node: NodeId) -> Vec<Arc<Outbox>> {
        let strands = self.entries.get(&node).map(|entry| &entry.strands);
        strands.into_iter().flatten().filter_map(|strand| strand.outbox.clone()).collect()
    }

    /// Takes the right to open a strand of the data road to a node, if something waits for it and nobody is
    /// about it.
    pub(crate) fn begin_reaching(&mut self, node: NodeId, strand: usize) -> bool {
        let is_wanted = self.is_wanted(node, strand) && !self.closed;
        let Some(entry) = self.entries.get_mut(&node) else { return false };
        let begins = is_wanted && !entry.strands[strand].reaching.is_under_way();
        if begins {
            entry.strands[strand].reaching = Reaching::Now;
        }
        begins
    }

    /// Whether something waits for a strand of the data road to a node, and there is none.
    pub(crate) fn is_wanted(&self, node: NodeId, strand: usize) -> bool {
        self.entries.get(&node).is_some_and(|entry| {
            entry.strands[strand].outbox.is_some() && entry.slots[1 + strand].link.is_none()
        })
    }

    /// Where the data road to a node leads.
    pub(crate) fn address_of(&self, node: NodeId) -> Option<String> {
        self.entries.get(&node)?.address()
    }

    /// A strand has been opened; false when that is to be done again already.
    pub(crate) fn is_reached(&mut self, node: NodeId, strand: usize) -> bool {
        let is_wanted = self.is_wanted(node, strand) && !self.closed;
        if let Some(entry) = self.entries.get_mut(&node) {
            let reaching = if is_wanted { Reaching::Now } else { Reaching::No };
            entry.strands[strand].reaching = reaching;
        }
        !is_wanted
    }

    /// A strand could not be opened: what waits for it is not sent, and so the road breaks. Unless it came up
    /// meanwhile.
    pub(crate) fn unreached(
        &mut self,
        node: NodeId,
        strand: usize,
        reason: Reason,
        now: Time,
    ) -> Option<Arc<Outbox>> {
        let entry = self.entries.get_mut(&node)?;
        if entry.slots[1 + strand].link.is_some() {
            entry.strands[strand].reaching = Reaching::No;
            return None;
        }
        let outbox = entry.strands[strand].rest(now, &self.limits)?;
        entry.vacate_road(Road::Data, reason, &mut self.ending);
        entry.drop_data();
        self.part(node, Road::Data, reason);
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

    /// Whether this node may open one more strand of a data road, now. If not, gives the one that was used
    /// the longest ago of those that it opened and did not ask to end.
    pub(crate) fn begin_opening(
        &mut self,
        node: NodeId,
        strand: usize,
    ) -> Result<(), Option<Arc<Link>>> {
        let slots = self.entries.values().flat_map(|entry| entry.slots_of(Road::Data));
        let links = slots.filter_map(|slot| slot.link.as_ref());
        let own = links.filter(|link| link.dialled_by == self.me);
        let opening = |(id, entry): (&NodeId, &Entry)| {
            entry.openings(|opening| *id != node || opening != strand)
        };
        let opening: usize = self.entries.iter().map(opening).sum();
        let leaving = own.clone().filter(|link| link.is_asked_to_leave()).count();
        let count = own.clone().count() + opening;
        if count >= self.limits.data_links_max {
            // As many as are too many, and no more: each that waits would ask another one to end.
            let asked = leaving > count - self.limits.data_links_max;
            let staying = own.filter(|link| !link.is_closing() && !link.is_asked_to_leave());
            return Err(staying.min_by_key(|link| link.used()).filter(|_| !asked).cloned());
        }
        if let Some(entry) = self.entries.get_mut(&node) {
            entry.strands[strand].reaching = Reaching::Opening;
        }
        Ok(())
    }

    /// The link that has a road's place, whether it carries already or not.
    pub(crate) fn occupant(&self, node: NodeId, road: Road) -> Option<Arc<Link>> {
        let slots = self.entries.get(&node)?.slots_of(road);
        // One that is up speaks for the road.
        let mut held = slots.iter().filter(|slot| slot.link.is_some());
        let first = held.clone().next();
        held.find(|slot| slot.up).or(first)?.link.clone()
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
        self.keeps_itself = nodes.contains(&self.me);
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

    /// Whether there is no need to ask around: of those to whom links are kept a majority is linked, this
    /// node counted in if it is one of them. Where all have new addresses, fewer could elect nobody, and then
    /// nobody could tell where the others are.
    pub(crate) fn is_settled(&self) -> bool {
        let kept = || self.entries.values().filter(|entry| entry.kept);
        let linked = kept().filter(|entry| entry.is_up(Road::Control)).count();
        let own = usize::from(self.keeps_itself);
        self.settled && (kept().next().is_none() || linked + own > (kept().count() + own) / 2)
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
            && entry.slots[link.place()].holds(link)
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
            let waits = entry.strands.iter().any(|strand| strand.outbox.is_some());
            let is_known = entry.said.is_some() || entry.dial.is_some() || waits;
            !is_known && entry.slots.iter().all(|slot| slot.link.is_none())
        };
        let idle = self.entries.iter().find(|(_, entry)| is_idle(entry)).map(|(node, _)| *node);
        idle.and_then(|node| self.entries.remove(&node)).map(|_| ()).ok_or(Reason::TooManyPeers)
    }
}

/// Whether a new link takes the place of the one that has it.
fn displaces(new: &Link, held: &Link, handshake: Duration) -> bool {
    let was_lost = || new.tally.since.since(held.tally.since) > handshake;
    held.is_closing() || new.dialled_by <= held.dialled_by || was_lost()
}

#[cfg(test)]
mod tests;
