//! Many nodes behind three voters, over real sockets and real disks in one process: what each of them costs,
//! and how far behind it is.
//!
//! ```console
//! $ ulimit -n 65536
//! $ cargo run --release -p quorate --example followers -- 100 10 500 # followers, seconds, changes/s
//! ```

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::prelude::*;
use quorate::{Cookie, Index, NodeName};
use quorate_env::{now, sleep, spawn};
use quorate_vocab::Time;

type Failure = Box<dyn StdError>;

const PATIENCE: Duration = Duration::from_secs(120);

/// When each change was applied where it was first.
type Applied = Arc<Mutex<BTreeMap<Index, Time>>>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut args = std::env::args().skip(1);
    let mut number = |or: u64| args.next().map_or(Ok(or), |text| text.parse::<u64>());
    let (count, seconds, rate) = (number(100)?, number(10)?, number(500)?);
    let span = Duration::from_secs(seconds);
    let dir = tempfile::tempdir()?;

    let mut voters = vec![start(dir.path(), "v1", &[], 3).await?];
    let join = [voters[0].address().to_owned()];
    for name in ["v2", "v3"] {
        voters.push(start(dir.path(), name, &join, 3).await?);
    }
    all_quorate(&voters).await?;
    let begun = now();
    let mut followers = Vec::new();
    for nth in 0..count {
        followers.push(start(dir.path(), &format!("f{nth}"), &join, 0).await?);
    }
    all_quorate(&followers).await?;
    println!("{count} followers took part after {:?}", now().since(begun));
    // What the beginning leaves to be done is done meanwhile.
    sleep(Duration::from_secs(3)).await;

    let everybody = || voters.iter().chain(&followers);
    let sent = || -> u64 { everybody().map(|node| node.counters().control.bytes_out).sum() };
    let (cpu, bytes) = (busy()?, sent());
    sleep(span).await;
    report("at rest", span, everybody().count(), busy()? - cpu, sent() - bytes);

    let applied = Applied::default();
    let first = voters.iter().find(|voter| voter.status().group.leader == Some(voter.id()));
    let first = first.ok_or("nobody leads")?.clone();
    let from = first.inspect(|_, index| index);
    note(&first, from, applied.clone());
    let delays: Vec<_> = followers.iter().map(|node| follow(node, from)).collect();
    let (cpu, bytes) = (busy()?, sent());
    let begun = now();
    let mut made = 0_u64;
    while now().since(begun) < span {
        for _ in 0..rate.div_ceil(100) {
            let (names, name) = (first.names(), Name::new(format!("n/{}", made % 10_000))?);
            let replace = Duration::from_secs(5);
            spawn(async move {
                // Every other one frees the name again; only that something changes matters.
                if names.claim(&name, Default::default()).await.is_err() {
                    drop(quorate_env::timeout(replace, names.release(&name, None, None)).await);
                }
            });
            made += 1;
        }
        sleep(Duration::from_millis(10)).await;
    }
    report("under load", now().since(begun), everybody().count(), busy()? - cpu, sent() - bytes);
    sleep(Duration::from_secs(2)).await;

    let applied = applied.lock().expect("nobody panics").clone();
    let (mut spans, mut missed) = (Vec::new(), 0);
    for seen in delays {
        let seen = seen.lock().expect("nobody panics").clone();
        missed += applied.keys().filter(|index| !seen.contains_key(index)).count();
        spans.extend(seen.iter().filter_map(|(index, at)| Some(at.since(*applied.get(index)?))));
    }
    spans.sort();
    let at = |share: f64| spans.get(((spans.len().max(1) - 1) as f64 * share) as usize).copied();
    println!("{} changes, each seen by every follower but for {missed}", applied.len());
    println!("  behind the leader   p50 {:?}  p99 {:?}  max {:?}", at(0.5), at(0.99), at(1.0));
    let links: Vec<usize> = followers.iter().map(|node| node.links().list().len()).collect();
    let most = links.iter().max().copied().unwrap_or_default();
    println!("  links               {most} at most for a follower");
    let leader = first.status().group;
    println!("  the leader sends its log to {} nodes", leader.matched.len());
    for node in followers.iter().chain(&voters) {
        node.shutdown().await;
    }
    Ok(())
}

async fn start(
    dir: &std::path::Path,
    name: &str,
    join: &[String],
    expect: usize,
) -> Result<Node, Failure> {
    let cookie = Cookie::new("a secret of this example only")?;
    let mut config = Config::new(NodeName::try_from(name)?, cookie);
    config.listen = "127.0.0.1:0".to_owned();
    config.data = dir.join(name);
    config.join = join.to_vec();
    config.expect = expect;
    config.lease = Duration::from_secs(5);
    Ok(Node::start(config).await?)
}

async fn all_quorate(nodes: &[Node]) -> Result<(), Failure> {
    for node in nodes {
        if !node.quorate_within(PATIENCE).await {
            return Err(format!("{} does not take part", node.name()).into());
        }
    }
    Ok(())
}

/// Notes when a node applies what.
fn note(node: &Node, from: Index, seen: Applied) {
    let mut watch = node.changes(from);
    spawn(async move {
        while let Ok(change) = watch.next().await {
            seen.lock().expect("nobody panics").insert(change.index, now());
        }
    });
}

fn follow(node: &Node, from: Index) -> Applied {
    let seen = Applied::default();
    note(node, from, seen.clone());
    seen
}

fn report(when: &str, span: Duration, nodes: usize, cpu: Duration, bytes: u64) {
    let (share, each) = (cpu.as_secs_f64() / span.as_secs_f64(), nodes as f64);
    println!(
        "{when}: {:.1} % of one processor in all, {:.3} % and {:.0} B/s a node",
        share * 100.0,
        share * 100.0 / each,
        bytes as f64 / span.as_secs_f64() / each,
    );
}

/// How long this process was on a processor.
fn busy() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after = stat.rsplit(')').next().ok_or("no process")?;
    let mut ticks = after.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let (user, system) = (ticks.next().ok_or("no user")??, ticks.next().ok_or("no system")??);
    Ok(Duration::from_millis((user + system) * 10))
}
