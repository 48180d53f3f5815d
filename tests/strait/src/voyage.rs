//! The command: opens a strait for each load, lets it cross, and prints what was seen.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use quorate_strait::load::{self, Seen};
use quorate_strait::path::Conditions;
use quorate_strait::raw::{self, Roads};
use quorate_strait::shore::{ADDRESSES, HERE, Strait, obstacle};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Sends bulk and heartbeats over a link that is long and loses packets.
#[derive(Parser)]
struct Args {
    /// Milliseconds there and back
    #[arg(long, default_value_t = 40)]
    rtt: u64,
    /// How often a packet is lost, in each direction
    #[arg(long, default_value_t = 0.01)]
    loss: f64,
    /// How wide the link is
    #[arg(long, value_name = "MBIT_PER_SECOND", default_value_t = 100)]
    rate: u64,
    /// How long each load is watched
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Decides which packets are lost
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Which congestion control; repeatable [default: all that the kernel lets anybody choose]
    #[arg(long)]
    congestion: Vec<String>,
    /// Which load; repeatable [default: all]
    #[arg(long)]
    load: Vec<Load>,
    /// Be the process on one shore
    #[arg(long, hide = true)]
    shore: Option<Side>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Load {
    /// Two nodes: control and data apart
    Mesh,
    /// Bare TCP, heartbeats behind the bulk
    TcpOne,
    /// Bare TCP, heartbeats on a connection of their own
    TcpTwo,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Side {
    Near,
    Far,
}

impl Load {
    fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Measures, or is a shore of somebody who does.
pub(crate) fn main() -> Result<()> {
    let args = Args::parse();
    match (args.shore, &args.load[..]) {
        (None, _) => measure(&args),
        (Some(side), [load]) => shore(side, *load, Duration::from_secs(args.seconds)),
        (Some(_), _) => bail!("a shore has one load"),
    }
}

fn measure(args: &Args) -> Result<()> {
    if let Some(obstacle) = obstacle() {
        bail!("{obstacle}; this needs the rights of root");
    }
    let one_way = Duration::from_millis(args.rtt) / 2;
    let conditions = Conditions {
        one_way,
        loss: args.loss,
        bytes_per_second: args.rate * 1_000_000 / 8,
        // A router that holds as much as is under way, as the rule of thumb has it.
        wait_max: one_way * 2,
    };
    let congestions = match &args.congestion[..] {
        [] => allowed()?,
        asked => asked.to_vec(),
    };
    let loads = if args.load.is_empty() { Load::value_variants() } else { &args.load };
    println!("{} ms, {} % lost, {} Mbit/s", args.rtt, args.loss * 100.0, args.rate);
    println!(
        "{:10} {:8} {:>8} {:>8} {:>8} {:>8} {:>9} {:>7} {:>8}",
        "congestion", "load", "MB/s", "p50 ms", "p99 ms", "max ms", "answered", "alarms", "lost"
    );
    for congestion in congestions {
        for load in loads {
            let (seen, lost) = cross(args, *load, conditions, &congestion)?;
            println!(
                "{:10} {:8} {:8.2} {:8.1} {:8.1} {:8.1} {:>9} {:7} {:7.2}%",
                congestion,
                load.word(),
                seen.bytes_per_second / 1e6,
                seen.p50,
                seen.p99,
                seen.max,
                format!("{}/{}", seen.answered, seen.beats),
                seen.alarms,
                lost * 100.0
            );
        }
    }
    Ok(())
}

/// The congestion controls that the kernel lets anybody choose.
fn allowed() -> Result<Vec<String>> {
    let at = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
    let names = std::fs::read_to_string(at).with_context(|| format!("reading {at}"))?;
    Ok(names.split_whitespace().map(str::to_owned).collect())
}

/// Lets one load cross. Gives also how many of the packets toward the far shore were lost or dropped.
fn cross(args: &Args, load: Load, conditions: Conditions, with: &str) -> Result<(Seen, f64)> {
    let program = std::env::current_exe()?;
    let process = |side: &str| {
        let mut process = Command::new(&program);
        process.args(["--shore", side, "--load", &load.word()]);
        process.args(["--seconds", &args.seconds.to_string()]);
        process
    };
    let Strait { shores: [mut near, mut far], counts } =
        Strait::open([&process("near"), &process("far")], conditions, args.seed, Some(with))?;
    far.tell("go")?;
    far.hear()?;
    near.tell("go")?;
    let seen = near.hear()?.parse()?;
    near.end()?;
    far.end()?;
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed) as f64;
    let [there, _] = counts;
    let gone = count(&there.lost) + count(&there.dropped);
    Ok((seen, gone / (gone + count(&there.arrived)).max(1.0)))
}

/// The process on one shore: says that it is there, waits for a word, and carries its load.
#[tokio::main]
async fn shore(side: Side, load: Load, span: Duration) -> Result<()> {
    say(HERE)?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    if lines.next_line().await?.is_none() {
        return Ok(());
    }
    // Whatever ends who started this, ends this.
    let over = async { while matches!(lines.next_line().await, Ok(Some(_))) {} };
    let ready = || say("listening");
    let [near, far] = ADDRESSES;
    match (side, load) {
        (Side::Far, Load::Mesh) => load::far(far, ready, over).await,
        (Side::Far, Load::TcpOne | Load::TcpTwo) => raw::far(far, ready, over).await,
        (Side::Near, load) => {
            let seen = async {
                match load {
                    Load::Mesh => load::near([near, far], span).await,
                    Load::TcpOne => raw::near(far, Roads::One, span).await,
                    Load::TcpTwo => raw::near(far, Roads::Two, span).await,
                }
            };
            tokio::select! {
                seen = seen => say(&seen?.to_string()),
                () = over => bail!("nobody wants to know any more"),
            }
        }
    }
}

fn say(line: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}")?;
    Ok(stdout.flush()?)
}
