//! Two nodes with an ocean between them: how much goes over it, and how long something small takes meanwhile.
//!
//! ```console
//! $ cargo run --release -p quorate-mesh --example ocean -- 40 0.01    # milliseconds there and back, loss
//! ```

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Failure, Spans, ask, linked, node};
use quorate_env::{Tcp, now, sleep, spawn};
use quorate_mesh::{Climate, Conditions, Limits, Weather};
use quorate_vocab::{Lane, NodeId};

const MEASURE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let millis: u64 = args.next().unwrap_or_else(|| "40".into()).parse()?;
    let loss: f64 = args.next().unwrap_or_else(|| "0.01".into()).parse()?;
    let ocean = Conditions { loss, ..Conditions::half_of(Duration::from_millis(millis)) };
    let climate = Climate::new(ocean);
    let net = || Arc::new(Weather::over(Arc::new(Tcp), climate.clone()));
    let (here, _) = node(1, Limits::wan(), net()).await?;
    let (there, shore) = node(2, Limits::wan(), net()).await?;
    here.learn(NodeId(2), there.address());
    here.keep(&[NodeId(2)].into());
    linked(&here, 1).await;
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
        ask(&here, 2, Lane::High).await?;
        trips.push(now().since(asked));
        sleep(Duration::from_millis(20)).await;
    }
    sending.await?;
    let rate = shore.bytes.load(Ordering::Relaxed) as f64 / MEASURE.as_secs_f64() / 1e6;
    println!("{millis} ms there and back, {} % lost on the way", loss * 100.0);
    println!("  bulk over the data road    {rate:.1} MB/s");
    println!("  small over the control road {}", Spans::of(trips));
    println!("  suspicions                 {}", shore.suspicions.load(Ordering::Relaxed));
    Ok(())
}
