//! The load of two nodes of the mesh: bulk over the data road, small calls over the control road meanwhile.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use quorate_env::{BoxFuture, Tcp, now, sleep, spawn, timeout};
use quorate_mesh::pulse::Verdict;
use quorate_mesh::{Channel, Cookie, Inbound, Limits, Me, Mesh, MeshConfig, Peer, Reason, Road};
use quorate_vocab::{Boot, Lane, NodeId};

/// Where the far side listens.
pub const PORT: u16 = 4747;

/// How many bytes a message of the bulk has.
pub const BULK_BYTES: usize = 60_000;
/// How many flows the bulk has.
const FLOWS: u64 = 8;
/// How far apart heartbeats are, whether or not they are answered.
pub const BEAT: Duration = Duration::from_millis(20);
/// How long anything may take that is not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(60);

const FAR: NodeId = NodeId(2);

/// How long the bulk runs before a span of it counts.
pub(crate) fn warm_up(span: Duration) -> Duration {
    span * 3 / 10
}

/// What was seen from the near side.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// Bulk that arrived.
    pub bytes_per_second: f64,
    /// How many heartbeats were sent.
    pub beats: u64,
    /// How many of them were answered before the end.
    pub answered: u64,
    /// Their median, in milliseconds.
    pub p50: f64,
    /// Their 99th percentile.
    pub p99: f64,
    /// The longest.
    pub max: f64,
    /// How often somebody was suspected, or a link was lost.
    pub alarms: u64,
}

impl Seen {
    /// From what arrived in a span, and how long each answered heartbeat took.
    pub fn of(bytes: u64, span: Duration, beats: u64, mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |percent: usize| {
            let last = took.len().saturating_sub(1);
            took.get(last * percent / 100).map_or(f64::NAN, |beat| beat.as_secs_f64() * 1e3)
        };
        Self {
            bytes_per_second: bytes as f64 / span.as_secs_f64(),
            beats,
            answered: took.len() as u64,
            p50: at(50),
            p99: at(99),
            max: at(100),
            alarms: 0,
        }
    }
}

/// As one line, which is how a shore tells it.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes_per_second, beats, answered, p50, p99, max, alarms } = self;
        write!(f, "{bytes_per_second} {beats} {answered} {p50} {p99} {max} {alarms}")
    }
}

impl FromStr for Seen {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let [bytes_per_second, beats, answered, p50, p99, max, alarms] = words[..] else {
            bail!("`{line}` is not what was seen");
        };
        Ok(Self {
            bytes_per_second: bytes_per_second.parse()?,
            beats: beats.parse()?,
            answered: answered.parse()?,
            p50: p50.parse()?,
            p99: p99.parse()?,
            max: max.parse()?,
            alarms: alarms.parse()?,
        })
    }
}

/// Counts what comes, and says how much when it is asked.
#[derive(Default)]
struct Inside {
    bytes: Arc<AtomicU64>,
    alarms: AtomicU64,
}

impl Inbound for Inside {
    fn mail(&self, _: NodeId, body: &[u8]) {
        self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    }

    fn call(&self, _: &Peer, _: Bytes) -> BoxFuture<'static, Bytes> {
        let count = self.bytes.load(Ordering::Relaxed).to_le_bytes();
        Box::pin(std::future::ready(Bytes::copy_from_slice(&count)))
    }

    fn up(&self, _: &Peer, _: Road) {}

    fn down(&self, _: NodeId, _: Road, _: Reason) {
        self.alarms.fetch_add(1, Ordering::Relaxed);
    }

    fn pulse(&self, _: NodeId, verdict: Verdict) {
        if verdict != Verdict::Up {
            self.alarms.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn needs(&self, _: NodeId) -> bool {
        true
    }
}

async fn node(id: u64, listen: String) -> Result<(Mesh, Arc<Inside>)> {
    let config = MeshConfig {
        me: Me { id: NodeId(id), name: format!("n{id}").try_into()?, boot: Boot(1) },
        cluster: None,
        listen,
        advertise: None,
        cookies: Cookie::new("a secret of this strait only")?.into(),
        channel: Channel::Plain,
        limits: Limits::wan(),
    };
    let inside = Arc::new(Inside::default());
    Ok((Mesh::start(config, Arc::new(Tcp), inside.clone()).await?, inside))
}

/// The far side, until `over`. Calls `ready` when it listens.
pub async fn far(
    address: &str,
    ready: impl FnOnce() -> Result<()>,
    over: impl Future<Output = ()>,
) -> Result<()> {
    let (mesh, _) = node(FAR.0, format!("{address}:{PORT}")).await?;
    ready()?;
    over.await;
    mesh.close().await;
    Ok(())
}

/// The near side: pours for a span, and tells what it saw.
pub async fn near(addresses: [&str; 2], span: Duration) -> Result<Seen> {
    let (mesh, inside) = node(1, format!("{}:{PORT}", addresses[0])).await?;
    mesh.learn(FAR, &format!("{}:{PORT}", addresses[1]));
    mesh.keep(&[FAR].into());
    let linked = async {
        while !mesh.peers().iter().any(|peer| peer.control_up) {
            sleep(BEAT).await;
        }
    };
    timeout(PATIENCE, linked).await.map_err(|_| anyhow::anyhow!("the far node was not met"))?;
    let is_over = Arc::new(AtomicBool::new(false));
    let pouring = spawn(pour(mesh.clone(), is_over.clone()));
    sleep(warm_up(span)).await;
    let (began, before) = (now(), count(&mesh).await?);
    let took = Arc::new(Mutex::new(Vec::new()));
    let (mut beats, mut bytes) = (0, before);
    // Something at least has to come, however slow this machine is.
    while now().since(began) < span || bytes == before {
        ensure!(now().since(began) < span + PATIENCE, "nothing arrived");
        let (mesh, took) = (mesh.clone(), took.clone());
        let beat = spawn(async move {
            let asked = now();
            let counted = count(&mesh).await;
            took.lock().expect("nothing panics while it holds it").push(now().since(asked));
            counted
        });
        beats += 1;
        sleep(BEAT).await;
        if now().since(began) >= span {
            bytes = beat.await.context("a heartbeat")??;
        }
    }
    let lasted = now().since(began);
    is_over.store(true, Ordering::Relaxed);
    pouring.await.context("the bulk")?;
    let took = std::mem::take(&mut *took.lock().expect("nothing panics while it holds it"));
    let alarms = inside.alarms.load(Ordering::Relaxed);
    Ok(Seen { alarms, ..Seen::of(bytes - before, lasted, beats, took) })
}

/// Sends as much as there is room for.
async fn pour(mesh: Mesh, is_over: Arc<AtomicBool>) {
    for number in 0.. {
        let mut body = vec![7; BULK_BYTES];
        while mesh.send(FAR, Lane::Bulk, number % FLOWS, &mut body).is_err() {
            if is_over.load(Ordering::Relaxed) {
                return;
            }
            // However long room is in coming, the end is seen.
            let _ = timeout(BEAT, mesh.room(FAR)).await;
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// A heartbeat: how many bytes of the bulk have come.
async fn count(mesh: &Mesh) -> Result<u64> {
    let asked = mesh.call(FAR, Lane::High, 1, Bytes::new(), PATIENCE).await;
    let answer = asked.context("a heartbeat")?;
    Ok(u64::from_le_bytes(answer[..].try_into().context("an answer of 8 bytes")?))
}
