//! The mesh as the hall holds it.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use quorate_env::{Net, dice, now, spawn, timeout, wall};
use quorate_vocab::{ClusterId, Lane, NodeId};
use rand::Rng;
use tokio::sync::watch;

use crate::bucket::Bucket;
use crate::counters::Tally;
use crate::door;
use crate::hello::{self, Hello};
use crate::hlc::Hlc;
use crate::latch::Latch;
use crate::link::Link;
use crate::outbox::Outbox;
use crate::porch::Porch;
use crate::table::{Event, Table, Way};
use crate::wire::{FRAGMENT_BYTES_MAX, What};
use crate::{
    CallError, Counters, Inbound, LinkState, MeshConfig, MeshError, Peer, Reason, Road, Rule,
    SendError, dialer,
};

/// How long [`Mesh::close`] waits for links to end. They end at once; this is for what nobody thought of.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Longer waits are cut to this, so that no sum of times overflows.
const WAIT_MAX: Duration = Duration::from_secs(30 * 86_400);

/// A node's links to other nodes. Clones are the same mesh; it lives until it is [closed](Mesh::close).
#[derive(Clone)]
pub struct Mesh(Arc<Shared>);

/// What all tasks of a mesh share.
pub(crate) struct Shared {
    pub(crate) config: MeshConfig,
    pub(crate) net: Arc<dyn Net>,
    pub(crate) inbound: Arc<dyn Inbound>,
    pub(crate) tally: Tally,
    pub(crate) hlc: Hlc,
    dials: Mutex<Bucket>,
    pub(crate) porch: Porch,
    pub(crate) closing: Latch<()>,
    /// How many of the table's events the inside has been told.
    told: watch::Sender<u64>,
    table: Mutex<Table>,
    address: String,
    running: watch::Sender<usize>,
}

impl Mesh {
    /// Begins to listen. Dials nobody before it is told to.
    pub async fn start(
        config: MeshConfig,
        net: Arc<dyn Net>,
        inbound: Arc<dyn Inbound>,
    ) -> Result<Self, MeshError> {
        config.validate()?;
        let listener = net
            .listen(&config.listen)
            .await
            .map_err(|source| MeshError::Listen { address: config.listen.clone(), source })?;
        let address = config.advertise.clone().unwrap_or_else(|| listener.address());
        let shared = Arc::new(Shared {
            table: Mutex::new(Table::new(config.me.id, config.cluster, &config.limits)),
            tally: Tally::default(),
            hlc: Hlc::new(Hlc::BOUND),
            dials: Mutex::new(Bucket::new(config.limits.dials(), now())),
            porch: Porch::new(&config.limits),
            closing: Latch::new(),
            told: watch::Sender::new(0),
            running: watch::Sender::new(0),
            config,
            net,
            inbound,
            address,
        });
        spawn(door::serve(shared.clone(), listener, Running::begin(&shared)));
        Ok(Self(shared))
    }

    /// Which node this is.
    pub fn me(&self) -> NodeId {
        self.0.config.me.id
    }

    /// Where others dial: the advertised address, else the one that was bound.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Keeps asking at an address who is there, and keeps a control link to the node that answers, until
    /// [`keep`](Self::keep) says to whom links are kept. For seeds. It goes on asking whenever that node is
    /// not linked, as another one may be there by then, but rests while most links are up that are to be
    /// kept. Asking the same address twice is asking once; this node's own address is not asked.
    pub fn greet(&self, address: &str) {
        if address == self.0.address {
            return;
        }
        let greet = self.0.table().greet(address);
        if let Some(alive) = greet {
            dialer::greet(&self.0, address, alive);
        }
    }

    /// Asks at an address no more. A link that came of it stays.
    pub fn ungreet(&self, address: &str) {
        self.0.table().ungreet(address);
    }

    /// Whether the node that answered at a greeted address is linked.
    pub fn is_linked_at(&self, address: &str) -> bool {
        let table = self.0.table();
        let found = table.found(address);
        found.is_some_and(|node| Road::ALL.iter().any(|road| table.link(node, *road).is_some()))
    }

    /// Where a node can be dialled, when there is a reason to. A changed address replaces the old one, and is
    /// dialled when the present link ends; so does a greeted address at which the node answers later than
    /// this, as what the hall knows may be of an earlier life.
    pub fn learn(&self, node: NodeId, address: &str) {
        let learned = self.0.table().learn(node, address);
        if let Some(learned) = learned {
            dialer::keep(&self.0, node, &learned);
        }
    }

    /// From now on control links are kept to these nodes, as soon as it is known where they are, and to no
    /// others. Links that others keep to this node are theirs to end.
    pub fn keep(&self, nodes: &BTreeSet<NodeId>) {
        let begun = self.0.table().keep(nodes);
        for (node, address) in begun {
            dialer::keep(&self.0, node, &address);
        }
    }

    /// What may go over the data road to a node, and come over it, from now on. All may, until this is said.
    pub fn rule(&self, node: NodeId, rule: Rule) {
        self.0.table().rule(node, rule);
        self.0.announce();
    }

    /// Closes the links to a node and stops to dial it, also at addresses that were greeted and led to it. A
    /// node that dials by itself, and proves itself, is let in again: who belongs is not the mesh's business.
    pub fn forget(&self, node: NodeId) {
        self.0.table().forget(node);
        self.0.announce();
    }

    /// From now on peers of another cluster are refused, and the links to those that are up are closed.
    pub fn adopt(&self, cluster: ClusterId) {
        self.0.table().adopt(cluster);
        self.0.announce();
    }

    /// Sends a body over the data road, at most once, in the order of its flow. Never waits; a road that is
    /// not open is opened. `Ok` means that it is queued: if the road breaks, or cannot be opened, it is lost,
    /// and [`Inbound::down`] tells. A short body is copied, a long one is taken.
    #[inline]
    pub fn send(
        &self,
        to: NodeId,
        lane: Lane,
        flow: u64,
        body: &mut Vec<u8>,
    ) -> Result<(), SendError> {
        self.check_length(body.len())?;
        self.over_data_road(to, lane, flow, |outbox| match body.len() {
            0..=FRAGMENT_BYTES_MAX => outbox.push(lane, flow, What::Mail, body),
            _ => outbox.push_long(lane, flow, body),
        })
    }

    /// The same as [`send`](Self::send) with a body that lies in pieces, of which no long one is copied.
    pub fn send_pieces(
        &self,
        to: NodeId,
        lane: Lane,
        flow: u64,
        pieces: &[Bytes],
    ) -> Result<(), SendError> {
        self.check_length(pieces.iter().map(Bytes::len).sum())?;
        let push = |outbox: &Outbox| outbox.push_pieces(lane, flow, pieces.to_vec());
        self.over_data_road(to, lane, flow, push)
    }

    fn check_length(&self, bytes: usize) -> Result<(), SendError> {
        let bytes_max = self.0.config.limits.body_bytes_max;
        if bytes > bytes_max { Err(SendError::TooLong { bytes, bytes_max }) } else { Ok(()) }
    }

    /// Puts something into the outbox of a data road, which is opened if it is not open.
    #[inline]
    fn over_data_road(
        &self,
        to: NodeId,
        lane: Lane,
        flow: u64,
        mut push: impl FnMut(&Outbox) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let mut send = || {
            let Way { outbox, strand, closed } = self.0.table().way_to(to, lane, flow, now())?;
            let sent = push(&outbox);
            if closed {
                dialer::reach(&self.0, to, strand);
            }
            sent
        };
        match send() {
            // The road was closed between the look and the push; there is another one now.
            Err(SendError::NoLink) => send(),
            sent => sent,
        }
    }

    /// Waits until there may be room for more over the data road to a node, or there is no such road.
    pub async fn room(&self, to: NodeId) {
        let outboxes = self.0.table().waiting_for(to);
        // Which of them its caller found full is not known here; one that is not full says nothing of it.
        let full: Vec<_> = outboxes.into_iter().filter(|outbox| !outbox.has_room()).collect();
        let mut rooms: Vec<_> = full.iter().map(|outbox| Box::pin(outbox.room())).collect();
        if !rooms.is_empty() {
            let any = |cx: &mut Context<'_>| {
                let is_any = rooms.iter_mut().any(|room| room.as_mut().poll(cx).is_ready());
                if is_any { Poll::Ready(()) } else { Poll::Pending }
            };
            poll_fn(any).await;
        }
    }

    /// Opens the data road to a node, if it is not open.
    pub fn connect(&self, to: NodeId) -> Result<(), SendError> {
        let way = self.0.table().way_to(to, Lane::Normal, 0, now())?;
        if way.closed {
            dialer::reach(&self.0, to, way.strand);
        }
        Ok(())
    }

    /// Closes the data road to a node, if it is open. What was sent over it may be lost.
    pub fn disconnect(&self, node: NodeId) -> bool {
        let link = self.0.table().occupant(node, Road::Data);
        link.map(|link| link.close(Reason::Disconnected)).is_some()
    }

    /// Asks over the control road, and waits for the answer for no longer than `within`. To drop the future
    /// is to give up the call. Calls of one flow are sent in order.
    pub async fn call(
        &self,
        to: NodeId,
        lane: Lane,
        flow: u64,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        self.check_length(body.len())?;
        let link = self.0.table().link(to, Road::Control).cloned().ok_or(SendError::NoLink)?;
        let outbox = link.outbox().ok_or(SendError::NoLink)?;
        let (call, mut end) = link.calls.begin()?;
        let _given_up = GiveUp { link: &link, call };
        outbox.push_bytes(lane, flow, What::Call(call), body)?;
        if let Ok(told) = timeout(within.min(WAIT_MAX), &mut end).await {
            return told.unwrap_or(Err(CallError::Unknown));
        }
        match link.calls.withdraw(call) {
            Some(error) => Err(error),
            // It was answered between the end of the wait and here.
            None => end.try_recv().unwrap_or(Err(CallError::Unknown)),
        }
    }

    /// Every node that has shown itself and was not forgotten, linked or not.
    pub fn peers(&self) -> Vec<Peer> {
        self.0.table().peers()
    }

    /// What has happened so far.
    pub fn counters(&self) -> Counters {
        let links = self.0.table().links();
        self.0.tally.counters(links.iter().map(|link| (link.road, &link.tally)))
    }

    /// Every link that is up.
    pub fn links(&self) -> Vec<LinkState> {
        let (links, now, wall) = (self.0.table().links(), now(), wall());
        let state = |link: Arc<Link>| LinkState {
            node: link.node,
            road: link.road,
            connections: 1,
            is_ours: link.dialled_by == self.0.config.me.id,
            lasting: now.since(link.tally.since),
            idle: now.since(link.used()),
            is_suspect: link.tally.is_suspect(),
            waiting: link.outbox().map_or(0, |outbox| outbox.waiting()),
            traffic: link.tally.traffic(),
            round_trips: link.tally.span(|span| span.round_trips()),
            late: link.tally.span(|span| span.late()),
            offset: link.tally.span(|span| span.offset(now, wall)),
        };
        links.into_iter().map(state).collect()
    }

    /// The hybrid logical clock, which every body that comes or goes moves on.
    pub fn clock(&self) -> &Hlc {
        &self.0.hlc
    }

    /// Ends everything: the listener, dials and links. What is queued is lost. When it returns, the address
    /// is free again.
    pub async fn close(&self) {
        self.0.closing.set(());
        self.0.table().close();
        self.0.announce();
        let mut running = self.0.running.subscribe();
        if timeout(CLOSE_WITHIN, running.wait_for(|running| *running == 0)).await.is_err() {
            tracing::warn!("some links of the mesh do not end");
        }
    }
}

impl Shared {
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics while it holds the table")
    }

    /// What this node says of itself on a new connection.
    pub(crate) fn hello(&self, road: Option<Road>, strand: usize) -> Hello {
        let mut nonce = [0; 32];
        dice().fill_bytes(&mut nonce);
        let me = &self.config.me;
        Hello {
            version_min: hello::VERSIONS.0,
            version_max: hello::VERSIONS.1,
            features: hello::FEATURES,
            cluster: self.table().cluster(),
            node: me.id,
            name: me.name.clone(),
            boot: me.boot,
            address: self.address.clone(),
            road,
            strand: strand as u8,
            nonce,
        }
    }

    /// Tells the inside what has changed, in order, from one task at a time, and without a lock: the inside
    /// may call the mesh.
    pub(crate) fn announce(&self) {
        if !self.table().begin_announcing() {
            return;
        }
        loop {
            let next = self.table().next_event();
            let Some((event, count)) = next else { return };
            let told = catch_unwind(AssertUnwindSafe(|| match &event {
                Event::Up(peer, road) => self.inbound.up(peer, *road),
                Event::Down(node, road, reason) => self.inbound.down(*node, *road, *reason),
            }));
            if told.is_err() {
                tracing::error!("what was told of a peer has panicked");
            }
            self.told.send_replace(count);
        }
    }

    /// Waits until the inside has been told of so many events.
    pub(crate) async fn announced(&self, count: u64) {
        // The sender is `self`, so it lives for as long as anyone waits.
        let _ = self.told.subscribe().wait_for(|told| *told >= count).await;
    }

    /// Whether a link that this node opened is there for nobody.
    pub(crate) fn is_spare(&self, link: &Link) -> bool {
        match link.road {
            Road::Control => self.table().is_spare(link),
            Road::Data => {
                let is_idle = now().since(link.used()) >= self.config.limits.idle_close;
                (is_idle || link.is_asked_to_leave()) && !self.inbound.needs(link.node)
            }
        }
    }

    /// Takes the right to open one more road, or says how long to wait before asking again.
    pub(crate) fn take_dial(&self) -> Result<(), Duration> {
        self.dials.lock().expect("nothing panics while it counts").take(now(), 1)
    }

    /// Opens a strand of the data road to a node if something waits for it.
    pub(crate) fn reach_if_wanted(self: &Arc<Self>, node: NodeId, strand: usize) {
        if self.table().is_wanted(node, strand) {
            dialer::reach(self, node, strand);
        }
    }
}

/// Counts a task that [`Mesh::close`] waits for.
pub(crate) struct Running(Arc<Shared>);

impl Running {
    pub(crate) fn begin(shared: &Arc<Shared>) -> Self {
        shared.running.send_modify(|running| *running += 1);
        Self(shared.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.send_modify(|running| *running -= 1);
    }
}

/// A call whose caller goes away is not sent any more, if it was not yet.
struct GiveUp<'a> {
    link: &'a Link,
    call: u64,
}

impl Drop for GiveUp<'_> {
    fn drop(&mut self) {
        self.link.calls.withdraw(self.call);
    }
}
