//! The mesh as the hall holds it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use quorate_env::{Net, dice, spawn, timeout};
use quorate_vocab::{ClusterId, NodeId};
use rand::Rng;
use tokio::sync::watch;

use crate::counters::Tally;
use crate::door;
use crate::frame::Frame;
use crate::hello::{self, Hello};
use crate::latch::Latch;
use crate::link::Link;
use crate::porch::Porch;
use crate::table::{Event, Table};
use crate::{CallError, Counters, Inbound, MeshConfig, MeshError, Peer, Road, SendError, dialer};

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
    pub(crate) porch: Porch,
    pub(crate) closing: Latch<()>,
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
            porch: Porch::new(&config.limits),
            closing: Latch::new(),
            running: watch::Sender::new(0),
            config,
            net,
            inbound,
            address,
        });
        spawn(door::serve(shared.clone(), listener, Running::begin(&shared)));
        Ok(Self(shared))
    }

    /// Where others dial: the advertised address, else the one that was bound.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Keeps asking at an address who is there, and keeps links to the node that answers. For seeds. It goes
    /// on asking whenever that node is not linked, as another one may be there by then. Asking the same
    /// address twice is asking once; this node's own address is not asked.
    pub fn greet(&self, address: &str) {
        if address == self.0.address {
            return;
        }
        let greet = self.0.table().greet(address);
        if let Some(alive) = greet {
            dialer::greet(&self.0, address, alive);
        }
    }

    /// Where a node can be dialled; from now on a link in each road is kept to it. A changed address replaces
    /// the old one, and is dialled when the present link ends; so does a greeted address at which the node
    /// answers later than this, as what the hall knows may be of an earlier life.
    pub fn learn(&self, node: NodeId, address: &str) {
        let learned = self.0.table().learn(node, address, false);
        if let Some(learned) = learned {
            dialer::keep(&self.0, node, &learned);
        }
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

    /// Sends a body, at most once, in the order of its road. Never waits. `Ok` means that it is queued: if
    /// the link breaks it is lost, and [`Inbound::parted`] tells.
    pub fn send(&self, to: NodeId, road: Road, body: Bytes) -> Result<(), SendError> {
        self.link(to, road, &body)?.outbox.push(Frame::Mail(body))
    }

    /// Asks, and waits for the answer for no longer than `within`. To drop the future is to give up the call.
    pub async fn call(
        &self,
        to: NodeId,
        road: Road,
        body: Bytes,
        within: Duration,
    ) -> Result<Bytes, CallError> {
        let link = self.link(to, road, &body)?;
        let (call, mut end) = link.calls.begin()?;
        let _given_up = GiveUp { link: &link, call };
        link.outbox.push(Frame::Call { call, body })?;
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
        self.0.tally.counters()
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

    fn link(&self, to: NodeId, road: Road, body: &Bytes) -> Result<Arc<Link>, SendError> {
        let bytes_max = self.0.config.limits.body_bytes_max();
        if body.len() > bytes_max {
            return Err(SendError::TooLong { bytes: body.len(), bytes_max });
        }
        self.0.table().link(to, road).cloned().ok_or(SendError::NoLink)
    }
}

impl Shared {
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics while it holds the table")
    }

    /// What this node says of itself on a new connection.
    pub(crate) fn hello(&self, road: Option<Road>) -> Hello {
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
            let event = self.table().next_event();
            let told = catch_unwind(AssertUnwindSafe(|| match &event {
                Some(Event::Met(peer)) => self.inbound.met(peer),
                Some(Event::Parted(node)) => self.inbound.parted(*node),
                None => {}
            }));
            if told.is_err() {
                tracing::error!("what was told of a peer has panicked");
            }
            if event.is_none() {
                return;
            }
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
