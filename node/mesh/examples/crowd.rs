//! Many nodes at rest, over real sockets and in one process: what each of them costs while nobody speaks.
//!
//! ```console
//! $ ulimit -n 8192
//! $ cargo run --release -p quorate-mesh --example crowd -- 200 5 20     # nodes, voters, seconds
//! ```

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Failure, busy, linked, node, resident};
use quorate_env::{Tcp, sleep};
use quorate_mesh::{Limits, Mesh};
use quorate_vocab::NodeId;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let mut number = |or: u64| args.next().map_or(Ok(or), |text| text.parse::<u64>());
    let (count, voters, seconds) = (number(200)?, number(5)?, number(20)?);
    let before = resident(std::process::id())?;
    let mut nodes = Vec::new();
    for id in 1..=count {
        nodes.push(node(id, Limits::lan(), Arc::new(Tcp)).await?);
    }
    let hub: Vec<(NodeId, String)> = nodes[..voters as usize]
        .iter()
        .map(|(mesh, _)| (mesh.me(), mesh.address().to_owned()))
        .collect();
    for (mesh, _) in &nodes {
        let others = hub.iter().filter(|(id, _)| *id != mesh.me());
        others.clone().for_each(|(id, address)| mesh.learn(*id, address));
        mesh.keep(&others.map(|(id, _)| *id).collect());
    }
    for (mesh, _) in &nodes {
        let is_voter = mesh.me().0 <= voters;
        linked(mesh, if is_voter { count - 1 } else { voters } as usize).await;
    }
    // What the beginning leaves to be done is done meanwhile.
    sleep(Duration::from_secs(3)).await;
    let sent = |nodes: &[(Mesh, _)]| -> u64 {
        nodes.iter().map(|(mesh, _)| mesh.counters().control.bytes_out).sum()
    };
    let (cpu, bytes) = (busy()?, sent(&nodes));
    let span = Duration::from_secs(seconds);
    sleep(span).await;
    let (cpu, bytes) = (busy()? - cpu, sent(&nodes) - bytes);
    let memory = resident(std::process::id())? - before;
    let links: usize = nodes.iter().map(|(mesh, _)| mesh.links().len()).sum();
    let alarms = nodes.iter().map(|(_, shore)| {
        shore.suspicions.load(Ordering::Relaxed) + shore.downs.load(Ordering::Relaxed)
    });
    let each = |sum: f64| sum / count as f64;
    println!("{count} nodes at rest, {voters} of them voters, for {span:?}");
    println!("  connections        {} ({} at most: voters x nodes)", links / 2, voters * count);
    println!(
        "  processor          {:.3} % of one, for each node",
        each(cpu.as_secs_f64()) / span.as_secs_f64() * 100.0
    );
    println!(
        "  bytes in frames    {:.0} B/s in all, {:.1} B/s a node",
        bytes as f64 / span.as_secs_f64(),
        each(bytes as f64) / span.as_secs_f64()
    );
    println!(
        "  memory             {:.1} MiB in all, {:.0} KiB a node",
        memory as f64 / 1048576.0,
        each(memory as f64) / 1024.0
    );
    println!("  alarms             {}", alarms.sum::<u64>());
    Ok(())
}
