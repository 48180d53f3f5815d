//! `quorate-bench restart`: how long a voter with many names takes from its start to its first answer, and
//! what its storage has of that.
//!
//! One node on a fresh data directory registers the names, is shut down, and starts again, as often as asked.
//! Beside it each part of what was written is read by itself: the shelf, the newest snapshot, the journal.
//! With `--killed` it is a process of its own that registers them and is killed right after, and the first
//! start is the one after that.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate::{Claiming, Config, Cookie, Name, Node};
use quorate_env::{now, spawn};
use quorate_storage::{
    Disk, Home, Log, LogConfig, RealDisk, Shelf, Snapshots, open_or_replace_shelf,
};
use serde_json::json;

/// How many callers register names at the same time.
const CALLERS: u64 = 512;
/// How many names share all of their name but three digits.
const THOUSAND: usize = 1_000;
/// Longer than any machine takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// How many names there are
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    names: u64,
    /// How often the node is started again
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// Kill the node that registers them, rather than shut it down
    #[arg(long)]
    killed: bool,
    /// Register them in this folder, say so, and live on until the end of the input: for `--killed`
    #[arg(long, hide = true)]
    fill: Option<PathBuf>,
    /// Where the data directory is made, if not in the system's folder for what is short-lived
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Measures, and prints what was seen, in seconds.
pub(crate) fn report(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some(data) = &args.fill {
        return fill(data, args.names);
    }
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let fresh = tempfile::tempdir_in(dir)?;
    let data = fresh.path().join("data");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let took = now();
    let mut rows = Vec::new();
    if args.killed {
        fill_and_kill(&data, args.names)?;
        rows.push(("register them all, and be killed", now().since(took)));
    } else {
        runtime.block_on(async {
            let node = register(&data, args.names).await?;
            node.shutdown().await;
            Ok::<_, Box<dyn Error>>(())
        })?;
        rows.push(("register them all, and shut down", now().since(took)));
    }
    for run in 0..args.runs {
        // A look at the parts would mend what the killed one left.
        if run > 0 || !args.killed {
            rows.extend(runtime.block_on(parts(&data))?);
        }
        rows.extend(runtime.block_on(restart(&data, args.names))?);
    }
    let mut stdout = io::stdout().lock();
    let seconds = |span: &Duration| (span.as_secs_f64() * 1000.0).round() / 1000.0;
    if args.json {
        let rows: Vec<_> =
            rows.iter().map(|(what, span)| json!({ "what": what, "s": seconds(span) })).collect();
        writeln!(stdout, "{:#}", json!({ "names": args.names, "rows": rows }))?;
    } else {
        for (what, span) in &rows {
            writeln!(stdout, "{:>8.3} s  {what}", seconds(span))?;
        }
    }
    Ok(())
}

pub(crate) fn name(number: u64) -> Result<Name, quorate::NameError> {
    Name::new(format!("service/{number:012}"))
}

pub(crate) async fn start(data: &Path) -> Result<Node, Box<dyn Error>> {
    let mut config =
        Config::new("restarts".to_owned().try_into()?, Cookie::new("of no use to anybody")?);
    config.listen = "127.0.0.1:0".to_owned();
    config.voters = 1;
    config.expect = 1;
    config.data = data.to_owned();
    let node = Node::start(config).await?;
    match node.quorate_within(PATIENCE).await {
        true => Ok(node),
        false => Err("the node found no quorum".into()),
    }
}

/// Registers them in this process, and waits to be killed.
fn fill(data: &Path, names: u64) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let _node = runtime.block_on(register(data, names))?;
    println!("registered");
    // Whoever kills it may have ended before.
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    Ok(())
}

/// Has another process register them, and kills it as soon as the last one is acknowledged.
fn fill_and_kill(data: &Path, names: u64) -> Result<(), Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["restart", "--names", &names.to_string(), "--fill"]).arg(data);
    let mut filling = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut told = String::new();
    if let Some(stdout) = filling.stdout.take() {
        BufReader::new(stdout).read_line(&mut told)?;
    }
    filling.kill()?;
    filling.wait()?;
    if told.trim() != "registered" {
        return Err("the process that registers the names ended before it had".into());
    }
    Ok(())
}

async fn register(data: &Path, count: u64) -> Result<Node, Box<dyn Error>> {
    let node = start(data).await?;
    let next = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (names, next) = (node.names().within(PATIENCE), Arc::clone(&next));
            spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
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
        caller.await??;
    }
    Ok(node)
}

/// Starts the node, finds the last name by a confirmed read, lists the last thousand, and stops it.
async fn restart(data: &Path, count: u64) -> Result<[(&'static str, Duration); 3], Box<dyn Error>> {
    let began = now();
    let node = start(data).await?;
    let ready = now().since(began);
    let last = name(count - 1)?;
    let found = node.names().within(PATIENCE).find(&last).await?;
    if found.registration.is_none() {
        return Err("the last name is gone".into());
    }
    let answered = now().since(began);
    // All digits but three.
    let prefix = &last.as_str()[..last.as_str().len() - 3];
    let began = now();
    let listed = node.names().list(prefix, None, THOUSAND);
    let listing = now().since(began);
    if listed.registrations.len() as u64 != (count - 1) % THOUSAND as u64 + 1 || listed.more {
        return Err("the last names are not listed as they were registered".into());
    }
    eprintln!("{:?}", node.recovery());
    node.shutdown().await;
    Ok([
        ("start to quorate", ready),
        ("start to the first confirmed answer", answered),
        ("list the last thousand under a prefix", listing),
    ])
}

/// Reads what a stopped node left, part by part.
async fn parts(data: &Path) -> Result<Vec<(&'static str, Duration)>, Box<dyn Error>> {
    let home = Home::open(data)?;
    let mut rows = Vec::new();
    let began = now();
    let (shelf, why) = open_or_replace_shelf(&home.state_dir())?;
    rows.push(("  open the shelf", now().since(began)));
    if let Some(why) = why {
        return Err(why.into());
    }
    let began = now();
    let mut count = 0;
    shelf.scan(&mut |_, _| count += 1)?;
    rows.push(("  scan the shelf", now().since(began)));
    drop(shelf);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(&home.raft_dir())?);
    let began = now();
    let saved = Snapshots::open(disk.clone())?.newest()?;
    rows.push(("  read the newest snapshot", now().since(began)));
    let began = now();
    let config = LogConfig { journal: home.node().0, ..LogConfig::default() };
    let (log, scribe) = Log::open(disk, config).await?;
    rows.push(("  open the journal", now().since(began)));
    let saved = saved.map(|(index, _, body)| (index, body.len()));
    eprintln!("{count} rows; snapshot {saved:?}; {:?}", log.state().report);
    drop((log, scribe));
    Ok(rows)
}
