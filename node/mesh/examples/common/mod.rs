//! What the examples share: a node whose inside counts what comes, and figures of many spans.
#![allow(dead_code, reason = "each example uses a part of it")]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_env::{BoxFuture, Net, now, sleep};
use quorate_mesh::pulse::Verdict;
use quorate_mesh::{
    CallError, Channel, Cookie, Inbound, Limits, Me, Mesh, MeshConfig, Peer, Reason, Road,
};
use quorate_vocab::{Boot, Lane, NodeId};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Counts what comes, and answers calls with how many bytes of mail have come.
#[derive(Default)]
pub(crate) struct Shore {
    pub(crate) bytes: Arc<AtomicU64>,
    pub(crate) suspicions: AtomicU64,
    pub(crate) downs: AtomicU64,
}

impl Inbound for Shore {
    fn mail(&self, _: NodeId, body: &[u8]) {
        self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    }

    fn call(&self, _: &Peer, _: Bytes) -> BoxFuture<'static, Bytes> {
        let bytes = self.bytes.load(Ordering::Relaxed).to_le_bytes();
        Box::pin(std::future::ready(Bytes::copy_from_slice(&bytes)))
    }

    fn up(&self, _: &Peer, _: Road) {}

    fn down(&self, _: NodeId, _: Road, _: Reason) {
        self.downs.fetch_add(1, Ordering::Relaxed);
    }

    fn pulse(&self, _: NodeId, verdict: Verdict) {
        if verdict != Verdict::Up {
            self.suspicions.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn needs(&self, _: NodeId) -> bool {
        true
    }
}

/// A node on loopback.
pub(crate) async fn node(
    id: u64,
    limits: Limits,
    net: Arc<dyn Net>,
) -> Result<(Mesh, Arc<Shore>), Failure> {
    let name = format!("n{id}").try_into()?;
    let config = MeshConfig {
        me: Me { id: NodeId(id), name, boot: Boot(1) },
        cluster: None,
        listen: "127.0.0.1:0".into(),
        advertise: None,
        cookies: Cookie::new("a secret for these examples only")?.into(),
        channel: Channel::Loopback,
        limits,
    };
    let shore = Arc::new(Shore::default());
    Ok((Mesh::start(config, net, shore.clone()).await?, shore))
}

/// Waits until a node has so many control links.
pub(crate) async fn linked(mesh: &Mesh, links: usize) {
    while mesh.peers().iter().filter(|peer| peer.control_up).count() < links {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Asks a node for how much mail has come to it, over the data road or the control road.
pub(crate) async fn ask(mesh: &Mesh, to: u64, lane: Lane) -> Result<u64, Failure> {
    let asked = mesh.call(NodeId(to), lane, 1, Bytes::new(), Duration::from_secs(60)).await;
    let answer = asked.map_err(|error: CallError| error.to_string())?;
    Ok(u64::from_le_bytes(answer[..].try_into()?))
}

/// How long things took.
pub(crate) struct Spans(Vec<Duration>);

impl Spans {
    pub(crate) fn of(mut spans: Vec<Duration>) -> Self {
        spans.sort_unstable();
        Self(spans)
    }

    pub(crate) fn percent(&self, percent: usize) -> Duration {
        self.0.get(self.0.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default()
    }
}

impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, max] = [50, 99, 100].map(|percent| self.percent(percent));
        write!(f, "{p50:?} p50, {p99:?} p99, {max:?} max")
    }
}

/// How long each of many calls to a node takes, one after the other.
pub(crate) async fn round_trips(mesh: &Mesh, to: u64, span: Duration) -> Result<Spans, Failure> {
    let (until, mut spans) = (now() + span, Vec::new());
    while now() < until {
        let asked = now();
        ask(mesh, to, Lane::Normal).await?;
        spans.push(now().since(asked));
    }
    Ok(Spans::of(spans))
}

/// The bytes that a process really has in memory.
pub(crate) fn resident(pid: u32) -> Result<u64, Failure> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}

/// The time that this process has had of the processors.
pub(crate) fn busy() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no name")?.1;
    let ticks = after_name.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    // Of these Linux shows a hundred a second, whatever its own clock does.
    Ok(Duration::from_millis(ticks * 10))
}
