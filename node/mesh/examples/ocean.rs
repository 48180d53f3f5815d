//! Two nodes with an ocean between them: how much goes over it, and how long something small takes meanwhile.
//!
//! ```console
//! $ cargo run --release -p quorate-mesh --example ocean -- 40 0.01    # milliseconds there and back, loss
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_env::{BoxFuture, Tcp, now, sleep, spawn};
use quorate_mesh::pulse::Verdict;
use quorate_mesh::{
    Channel, Climate, Conditions, Cookie, Inbound, Limits, Me, Mesh, MeshConfig, Peer, Reason,
    Road, Weather,
};
use quorate_vocab::{Boot, Lane, NodeId};

const MEASURE: Duration = Duration::from_secs(10);

/// Counts what comes.
#[derive(Default)]
struct Shore {
    bytes: AtomicU64,
    suspicions: AtomicU64,
}

impl Inbound for Shore {
    fn mail(&self, _: NodeId, body: &[u8]) {
        self.bytes.fetch_add(body.len() as u64, Ordering::Relaxed);
    }

    fn call(&self, _: &Peer, body: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(std::future::ready(body))
    }

    fn up(&self, _: &Peer, _: Road) {}

    fn down(&self, _: NodeId, _: Road, _: Reason) {}

    fn pulse(&self, _: NodeId, verdict: Verdict) {
        if verdict != Verdict::Up {
            self.suspicions.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn needs(&self, _: NodeId) -> bool {
        true
    }
}

async fn node(
    id: u64,
    climate: &Climate,
) -> Result<(Mesh, Arc<Shore>), Box<dyn std::error::Error>> {
    let name = format!("n{id}").try_into()?;
    let config = MeshConfig {
        me: Me { id: NodeId(id), name, boot: Boot(1) },
        cluster: None,
        listen: "127.0.0.1:0".into(),
        advertise: None,
        cookies: Cookie::new("a secret for this example only")?.into(),
        channel: Channel::Loopback,
        limits: Limits::wan(),
    };
    let shore = Arc::new(Shore::default());
    let net = Arc::new(Weather::over(Arc::new(Tcp), climate.clone()));
    Ok((Mesh::start(config, net, shore.clone()).await?, shore))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let millis: u64 = args.next().unwrap_or_else(|| "40".into()).parse()?;
    let loss: f64 = args.next().unwrap_or_else(|| "0.01".into()).parse()?;
    let ocean = Conditions { loss, ..Conditions::half_of(Duration::from_millis(millis)) };
    let climate = Climate::new(ocean);
    let (here, _) = node(1, &climate).await?;
    let (there, shore) = node(2, &climate).await?;
    here.learn(NodeId(2), there.address());
    here.keep(&[NodeId(2)].into());
    while !here.peers().iter().any(|peer| peer.control_up) {
        sleep(Duration::from_millis(10)).await;
    }
    let until = now() + MEASURE;
    let sender = here.clone();
    let sending = spawn(async move {
        while now() < until {
            let sent = sender.send(NodeId(2), Lane::Bulk, 1, &mut vec![7; 60_000]);
            if sent.is_err() {
                sender.room(NodeId(2)).await;
            }
        }
    });
    let mut trips = Vec::new();
    while now() < until {
        let asked = now();
        let body = Bytes::from_static(b"beat");
        here.call(NodeId(2), Lane::High, 1, body, Duration::from_secs(10)).await?;
        trips.push(now().since(asked));
        sleep(Duration::from_millis(20)).await;
    }
    sending.await?;
    trips.sort_unstable();
    let at = |percent: usize| trips[(trips.len() - 1) * percent / 100];
    let rate = shore.bytes.load(Ordering::Relaxed) as f64 / MEASURE.as_secs_f64() / 1e6;
    println!("{millis} ms there and back, {} % lost on the way", loss * 100.0);
    println!("  bulk over the data road    {rate:.1} MB/s");
    println!("  small over the control road {:?} p50, {:?} p99, {:?} max", at(50), at(99), at(100));
    println!("  suspicions                 {}", shore.suspicions.load(Ordering::Relaxed));
    Ok(())
}
