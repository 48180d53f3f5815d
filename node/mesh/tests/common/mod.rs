//! What the tests of whole meshes share: an inside that writes down what it is told, and a net of streams in
//! memory that can be slow, cut or broken.

#![allow(dead_code, unreachable_pub, reason = "each test file uses another part")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quorate_env::{BoxFuture, Life, LifeConfig, Listener, Net, Stream, sleep, spawn, timeout};
pub use quorate_mesh::MeshConfig;
use quorate_mesh::pulse::Verdict;
use quorate_mesh::{Channel, Cookie, Inbound, Limits, Me, Mesh, Peer, Reason, Road, SendError};
use quorate_vocab::{Boot, ClusterId, NodeId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, mpsc, watch};

/// Longer than anything here takes, even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// For virtual time, where nothing stands still unless the test says so.
pub fn config(id: u64, boot: u64) -> MeshConfig {
    MeshConfig {
        me: Me { id: NodeId(id), name: format!("node-{id}").try_into().unwrap(), boot: Boot(boot) },
        cluster: Some(ClusterId(1)),
        listen: "127.0.0.1:0".into(),
        advertise: None,
        cookies: Cookie::new("the secret of these tests").unwrap().into(),
        channel: Channel::Plain,
        limits: Limits::test(),
    }
}

/// For real time: a machine that stands still for a while must not look like a peer that does.
pub fn patient(id: u64, boot: u64) -> MeshConfig {
    let mut config = config(id, boot);
    let limits = &mut config.limits;
    (limits.handshake, limits.silence, limits.write_stall) = (PATIENCE, PATIENCE, PATIENCE);
    limits.suspect = PATIENCE / 3;
    config
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Up(NodeId, Boot, Road),
    Down(NodeId, Road, Reason),
    Mail(NodeId, Bytes),
    Call(NodeId, Bytes),
    /// How long it was, and why.
    Returned(NodeId, usize, SendError),
}

/// An inside. It answers a call by what its body says: `never`, `gate` (when the gate opens), `panic`, `big`,
/// else with `echo ` and the body. Mail that says `panic` panics.
pub struct Tap {
    seen: watch::Sender<Vec<Seen>>,
    /// Whether the data roads are to stay though nothing goes over them.
    pub needs: AtomicBool,
    /// How often a peer was suspected.
    pub suspicions: AtomicUsize,
    pub gate: Arc<Semaphore>,
    pub under_way: watch::Sender<usize>,
}

impl Tap {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            seen: watch::Sender::new(Vec::new()),
            needs: AtomicBool::new(false),
            suspicions: AtomicUsize::new(0),
            gate: Arc::new(Semaphore::new(0)),
            under_way: watch::Sender::new(0),
        })
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.borrow().clone()
    }

    /// Waits until what was seen satisfies a test.
    pub async fn until(&self, what: &str, test: impl Fn(&[Seen]) -> bool) {
        let mut seen = self.seen.subscribe();
        let waits = seen.wait_for(|seen| test(seen));
        let Ok(found) = timeout(PATIENCE, waits).await.map(|found| found.is_ok()) else {
            let seen: Vec<String> = self
                .seen()
                .iter()
                .map(|seen| format!("{seen:?}").chars().take(80).collect())
                .collect();
            panic!("waited in vain for {what}; seen {}: {:?}", seen.len(), seen.iter().take(50));
        };
        assert!(found);
    }

    /// Waits until a road to a peer was opened for the `times`-th time.
    pub async fn up(&self, node: u64, road: Road, times: usize) {
        let is_up =
            |seen: &&Seen| matches!(seen, Seen::Up(id, _, on) if id.0 == node && *on == road);
        let what = format!("{road} up to {node} ({times})");
        self.until(&what, |seen| seen.iter().filter(is_up).count() >= times).await;
    }

    /// Waits until a road to a peer has ended for the `times`-th time.
    pub async fn down(&self, node: u64, road: Road, times: usize) {
        let is_down =
            |seen: &&Seen| matches!(seen, Seen::Down(id, on, _) if id.0 == node && *on == road);
        let what = format!("{road} down to {node} ({times})");
        self.until(&what, |seen| seen.iter().filter(is_down).count() >= times).await;
    }

    /// Waits until a control link to a peer was up for the `times`-th time.
    pub async fn met(&self, node: u64, times: usize) {
        self.up(node, Road::Control, times).await;
    }

    pub async fn parted(&self, node: u64, times: usize) {
        self.down(node, Road::Control, times).await;
    }

    pub fn times_parted(&self) -> usize {
        self.seen().iter().filter(|seen| matches!(seen, Seen::Down(..))).count()
    }

    /// Waits until so many mails have come.
    pub async fn mails(&self, count: usize) {
        let is_mail = |seen: &&Seen| matches!(seen, Seen::Mail(..));
        let what = format!("{count} mails");
        self.until(&what, |seen| seen.iter().filter(is_mail).count() >= count).await;
    }

    pub fn mail(&self) -> Vec<Bytes> {
        let mail = |seen: Seen| match seen {
            Seen::Mail(_, body) => Some(body),
            _ => None,
        };
        self.seen().into_iter().filter_map(mail).collect()
    }

    fn note(&self, seen: Seen) {
        self.seen.send_modify(|all| all.push(seen));
    }
}

impl Inbound for Tap {
    fn mail(&self, from: NodeId, body: &[u8]) {
        assert_ne!(body, b"panic", "as the test wanted");
        self.note(Seen::Mail(from, Bytes::copy_from_slice(body)));
    }

    fn returned(&self, to: NodeId, body: &[u8], error: SendError) {
        self.note(Seen::Returned(to, body.len(), error));
    }

    fn call(&self, from: &Peer, body: Bytes) -> BoxFuture<'static, Bytes> {
        self.note(Seen::Call(from.id, body.clone()));
        let (gate, under_way) = (self.gate.clone(), self.under_way.clone());
        Box::pin(async move {
            under_way.send_modify(|count| *count += 1);
            let answer = match &body[..] {
                b"never" => std::future::pending().await,
                b"gate" => {
                    gate.acquire().await.unwrap().forget();
                    Bytes::from_static(b"through")
                }
                b"panic" => panic!("as the test wanted"),
                b"big" => vec![0; Limits::test().body_bytes_max + 1].into(),
                _ => [b"echo ", &body[..]].concat().into(),
            };
            under_way.send_modify(|count| *count -= 1);
            answer
        })
    }

    fn up(&self, peer: &Peer, road: Road) {
        assert!(peer.is_up(road));
        self.note(Seen::Up(peer.id, peer.boot, road));
    }

    fn down(&self, peer: NodeId, road: Road, reason: Reason) {
        self.note(Seen::Down(peer, road, reason));
    }

    fn pulse(&self, _: NodeId, verdict: Verdict) {
        if verdict == Verdict::Suspect {
            self.suspicions.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn needs(&self, _: NodeId) -> bool {
        self.needs.load(Ordering::Relaxed)
    }
}

pub async fn start(config: MeshConfig, net: Arc<dyn Net>) -> (Mesh, Arc<Tap>) {
    let tap = Tap::new();
    let mesh = Mesh::start(config, net, tap.clone()).await.unwrap();
    (mesh, tap)
}

/// Waits until something that tells nobody when it changes is so.
pub async fn eventually(what: &str, mut test: impl FnMut() -> bool) {
    let holds = async {
        while !test() {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// Has one node keep a control link to others.
pub fn keep(mesh: &Mesh, others: &[&Mesh]) {
    let nodes = others.iter().map(|other| {
        let id = other.me();
        mesh.learn(id, other.address());
        id
    });
    mesh.keep(&nodes.collect());
}

/// Each road was up and down in turns, beginning with up; a data road that could not be opened was only down.
pub fn takes_turns(seen: &[Seen]) -> bool {
    let mut up = BTreeSet::new();
    seen.iter().all(|seen| match seen {
        Seen::Up(node, _, road) => up.insert((*node, *road)),
        Seen::Down(node, Road::Data, _) => {
            up.remove(&(*node, Road::Data));
            true
        }
        Seen::Down(node, road, _) => up.remove(&(*node, *road)),
        Seen::Mail(..) | Seen::Call(..) | Seen::Returned(..) => true,
    })
}

/// Runs a story in virtual time, on clocks that go with it: what takes minutes in it takes none.
pub fn world<F: Future>(seed: u64, story: impl FnOnce() -> F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .unwrap();
    runtime.block_on(async {
        let life = Life::begin(LifeConfig {
            seed,
            clock_rate: 1.0,
            deferrals_per_mille: 0,
            origin: tokio_now(),
            wall_skew_nanos: 0,
        });
        life.scope(async { story().await }).await
    })
}

#[expect(clippy::disallowed_methods, reason = "what the clocks of a world count from")]
pub fn tokio_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// A net in memory. An address is a name; every byte takes `latency`; a cut holds bytes back, silently,
/// until it heals; a drip lets one byte through at a time.
#[derive(Clone)]
pub struct Lab {
    inner: Arc<LabInner>,
    /// Where those who dial come from.
    host: String,
}

struct LabInner {
    doors: Mutex<BTreeMap<String, mpsc::Sender<(Stream, String)>>>,
    cut: watch::Sender<bool>,
    /// Connections to these addresses are cut, too.
    cut_doors: watch::Sender<BTreeSet<String>>,
    /// How long each single byte takes while the net drips.
    drip: watch::Sender<Option<Duration>>,
    broken: watch::Sender<u64>,
    latency: Duration,
    opened: watch::Sender<u64>,
}

impl Lab {
    pub fn new(latency: Duration) -> Self {
        let inner = LabInner {
            doors: Mutex::default(),
            cut: watch::Sender::new(false),
            cut_doors: watch::Sender::default(),
            drip: watch::Sender::new(None),
            broken: watch::Sender::new(0),
            latency,
            opened: watch::Sender::new(0),
        };
        Self { inner: Arc::new(inner), host: "lab".to_owned() }
    }

    /// The same net, as a host of its own has it.
    pub fn from(&self, host: String) -> Self {
        Self { host, ..self.clone() }
    }

    pub fn cut(&self, is_cut: bool) {
        self.inner.cut.send_replace(is_cut);
    }

    /// Cuts all connections that were dialled to an address, both ways.
    pub fn cut_door(&self, address: &str, is_cut: bool) {
        self.inner.cut_doors.send_modify(|doors| {
            if is_cut {
                doors.insert(address.to_owned());
            } else {
                doors.remove(address);
            }
        });
    }

    /// From now on every single byte takes so long.
    pub fn drip(&self, each: Option<Duration>) {
        self.inner.drip.send_replace(each);
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> u64 {
        *self.inner.opened.borrow()
    }

    async fn passes(&self, door: &str) {
        let _ = self.inner.cut.subscribe().wait_for(|is_cut| !is_cut).await;
        let _ = self.inner.cut_doors.subscribe().wait_for(|doors| !doors.contains(door)).await;
    }

    /// Breaks every connection that is open.
    pub fn reset(&self) {
        self.inner.broken.send_modify(|times| *times += 1);
    }

    fn wire(&self, door: &str) -> (Stream, Stream) {
        let (near, near_end) = tokio::io::duplex(64 * 1024);
        let (far, far_end) = tokio::io::duplex(64 * 1024);
        let (near_out, near_in) = tokio::io::split(near_end);
        let (far_out, far_in) = tokio::io::split(far_end);
        spawn(self.clone().carry(door.to_owned(), near_out, far_in));
        spawn(self.clone().carry(door.to_owned(), far_out, near_in));
        (stream(near), stream(far))
    }

    async fn carry(
        self,
        door: String,
        mut from: ReadHalf<DuplexStream>,
        mut to: WriteHalf<DuplexStream>,
    ) {
        let mut broken = self.inner.broken.subscribe();
        broken.mark_unchanged();
        let carries = async {
            let mut bytes = vec![0; 64 * 1024];
            loop {
                let drip = *self.inner.drip.borrow();
                let most = if drip.is_some() { 1 } else { bytes.len() };
                let Ok(read @ 1..) = from.read(&mut bytes[..most]).await else { break };
                sleep(drip.unwrap_or(self.inner.latency)).await;
                self.passes(&door).await;
                if to.write_all(&bytes[..read]).await.is_err() {
                    return;
                }
            }
            // An end is news as well, and a cut lets no news through.
            self.passes(&door).await;
        };
        tokio::select! {
            biased;
            _ = broken.changed() => {}
            () = carries => {}
        }
        let _ = to.shutdown().await;
    }
}

fn stream(end: DuplexStream) -> Stream {
    let (reader, writer) = tokio::io::split(end);
    Stream::plain(reader, writer)
}

impl Net for Lab {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (door, inside) = mpsc::channel(64);
            self.inner.doors.lock().unwrap().insert(address.to_owned(), door);
            Ok(Box::new(LabDoor(inside, address.to_owned())) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let door = self.inner.doors.lock().unwrap().get(address).cloned();
            let door = door.ok_or(io::ErrorKind::ConnectionRefused)?;
            self.passes(address).await;
            let (near, far) = self.wire(address);
            self.inner.opened.send_modify(|opened| *opened += 1);
            let refused = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
            door.send((far, format!("{}:1", self.host))).await.map_err(refused)?;
            Ok(near)
        })
    }
}

struct LabDoor(mpsc::Receiver<(Stream, String)>, String);

impl Listener for LabDoor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, String)>> {
        Box::pin(
            async move { self.0.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into()) },
        )
    }

    fn address(&self) -> String {
        self.1.clone()
    }
}
