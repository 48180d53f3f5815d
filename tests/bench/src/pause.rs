//! `quorate-bench pause`: how long anybody waits for a voter that comes to have many names, while snapshots
//! are written and the shelf is kept.
//!
//! One node on a fresh data directory registers names for many callers. Beside them three do one thing after
//! the other and note how long it took at most: one looks names up on a thread of its own, which whoever
//! holds the state keeps waiting; one claims names; and one only asks to be woken after a millisecond, which
//! tells what the machine itself adds.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quorate::{Claiming, Node};
use quorate_env::{blocking, now, sleep, spawn};
use serde_json::json;

use crate::restart::{PATIENCE, name, start};

/// In how many parts the names are registered; each has a line.
const PARTS: u64 = 10;
/// How long one is to sleep who tells what the machine adds.
const NAP: Duration = Duration::from_millis(1);

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// How many names there are in the end
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(10..))]
    names: u64,
    /// How many callers register names at the same time
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..))]
    callers: u64,
    /// Where the data directory is made, if not in the system's folder for what is short-lived
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// The longest waits since somebody looked.
#[derive(Default)]
struct Longest {
    look_up: AtomicU64,
    claim: AtomicU64,
    nap: AtomicU64,
    ends: AtomicBool,
}

/// A part of the names.
struct Part {
    names: u64,
    snapshots: u64,
    seconds: f64,
    /// Milliseconds, at most: of a look-up, a claim, and a nap beyond its time.
    longest: [f64; 3],
}

/// Measures, and prints what was seen.
pub(crate) fn report(args: &Args) -> Result<(), Box<dyn Error>> {
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let fresh = tempfile::tempdir_in(dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let parts = runtime.block_on(live(&fresh.path().join("data"), args))?;
    let mut stdout = io::stdout().lock();
    if args.json {
        let part = |part: &Part| {
            let [look_up, claim, nap] = part.longest;
            json!({
                "names": part.names, "snapshots": part.snapshots, "s": part.seconds,
                "look_up_ms": look_up, "claim_ms": claim, "nap_ms": nap,
            })
        };
        let parts: Vec<_> = parts.iter().map(part).collect();
        writeln!(stdout, "{:#}", json!({ "callers": args.callers, "parts": parts }))?;
        return Ok(());
    }
    writeln!(stdout, "     names  snapshots         s   longest: look-up      claim    a nap")?;
    for part in &parts {
        let Part { names, snapshots, seconds, longest: [look_up, claim, nap] } = part;
        writeln!(
            stdout,
            "{names:>10} {snapshots:>10} {seconds:>9.1} {look_up:>15.1} ms {claim:>7.1} ms {nap:>5.1} ms"
        )?;
    }
    Ok(())
}

async fn live(data: &std::path::Path, args: &Args) -> Result<Vec<Part>, Box<dyn Error>> {
    let node = start(data).await?;
    let longest = Arc::new(Longest::default());
    let next = Arc::new(AtomicU64::new(0));
    let looking = {
        let (node, longest, next) = (node.clone(), longest.clone(), next.clone());
        blocking("look-up", move || look_up(&node, &longest, &next))?
    };
    let claiming = spawn(claim(node.clone(), longest.clone()));
    let napping = spawn(nap(longest.clone()));
    let mut parts = Vec::new();
    for part in 1..=PARTS {
        let began = now();
        let before = node.status().group.snapshot;
        let upto = args.names * part / PARTS;
        let mut snapshots = 0;
        let mut covered = before;
        let registered = register(&node, &next, upto, args.callers);
        tokio::pin!(registered);
        loop {
            tokio::select! {
                done = &mut registered => break done?,
                () = sleep(Duration::from_millis(50)) => {}
            }
            let covers = node.status().group.snapshot;
            snapshots += u64::from(covers != covered);
            covered = covers;
        }
        let take = |span: &AtomicU64| span.swap(0, Ordering::Relaxed) as f64 / 1e6;
        parts.push(Part {
            names: upto,
            snapshots,
            seconds: now().since(began).as_secs_f64(),
            longest: [take(&longest.look_up), take(&longest.claim), take(&longest.nap)],
        });
    }
    longest.ends.store(true, Ordering::Relaxed);
    looking.await?.map_err(|_| "a look-up panicked")??;
    claiming.await??;
    napping.await?;
    node.shutdown().await;
    Ok(parts)
}

/// Registers names up to a number, for many callers.
async fn register(
    node: &Node,
    next: &Arc<AtomicU64>,
    upto: u64,
    callers: u64,
) -> Result<(), String> {
    let callers: Vec<_> = (0..callers)
        .map(|_| {
            let (names, next) = (node.names().within(PATIENCE), next.clone());
            spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= upto {
                        next.fetch_sub(1, Ordering::Relaxed);
                        return Ok::<(), String>(());
                    }
                    let name = name(number).map_err(|error| error.to_string())?;
                    let claimed = names.claim(&name, Claiming::default()).await;
                    claimed.map_err(|error| error.to_string())?;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.map_err(|error| error.to_string())??;
    }
    Ok(())
}

fn look_up(node: &Node, longest: &Longest, next: &AtomicU64) -> Result<(), String> {
    let names = node.names();
    while !longest.ends.load(Ordering::Relaxed) {
        let number = next.load(Ordering::Relaxed) / 2;
        let name = name(number).map_err(|error| error.to_string())?;
        let began = now();
        let found = names.peek(&name);
        note(&longest.look_up, now().since(began));
        drop(found);
        // Readers that never rest would keep writers waiting, and tell of themselves.
        std::thread::yield_now();
    }
    Ok(())
}

async fn claim(node: Node, longest: Arc<Longest>) -> Result<(), String> {
    let names = node.names().within(PATIENCE);
    let mut number = 0;
    while !longest.ends.load(Ordering::Relaxed) {
        number += 1;
        let name = quorate::Name::new(format!("probe/{number}")).map_err(|e| e.to_string())?;
        let began = now();
        let claimed = names.claim(&name, Claiming::default()).await;
        note(&longest.claim, now().since(began));
        claimed.map_err(|error| error.to_string())?;
        sleep(NAP).await;
    }
    Ok(())
}

async fn nap(longest: Arc<Longest>) {
    while !longest.ends.load(Ordering::Relaxed) {
        let began = now();
        sleep(NAP).await;
        note(&longest.nap, now().since(began).saturating_sub(NAP));
    }
}

fn note(longest: &AtomicU64, span: Duration) {
    longest.fetch_max(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}
