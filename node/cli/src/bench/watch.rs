//! `bench watch`: many watchers of one voter while names change at a rate.
//!
//! Every change says in its value when it was asked for, by the clock that all share, and which of its
//! writer's changes it is. So a watcher knows how late it heard, the way through the log included, and a
//! number that is missing is a gap. A watcher that falls behind is told so, and that is counted, too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate::{Change, Claiming, Effect, Name, NameWatch, Names, Time};
use quorate_env::{now, sleep_until, spawn};
use tokio::runtime::Builder;

use super::load;
use super::rows::{self, Measure, Measuring, OURS, RUNS, Row, measure};
use super::{because, ours};
use crate::fail::{Done, Fail};
use crate::output::{self, Column, column, shown};

const PREFIX: &str = "bench-watch/";
/// How many ask for changes at the same time; each waits for its answer before it asks again.
const WRITERS: u64 = 64;
/// Of so many changes that a watcher hears of, the delay of one is kept.
const KEPT: u64 = 16;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many watch, all of them the same voter
    #[arg(long, value_name = "N", default_value_t = 1_000,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    watchers: u32,
    /// How many changes are asked for in a second, at most
    #[arg(long, value_name = "N", default_value_t = 5_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,
    #[command(flatten)]
    measuring: Measuring,
}

const MEASURES: [Measure; 7] = [
    measure("changes", "1/s", "higher"),
    measure("heard", "1/s", "higher"),
    measure("p50", "ms", "lower"),
    measure("p99", "ms", "lower"),
    measure("max", "ms", "lower"),
    measure("gaps", "1", "lower"),
    measure("memory", "B", "lower"),
];

const COLUMNS: [Column; 7] = [
    column("CHANGES/S", |line| shown(&line["changes"])),
    column("HEARD/S", |line| shown(&line["heard"])),
    column("P50", |line| shown(&line["p50"])),
    column("P99", |line| shown(&line["p99"])),
    column("MAX", |line| shown(&line["max"])),
    column("GAPS", |line| shown(&line["gaps"])),
    column("A WATCHER", |line| shown(&line["memory"])),
];

/// One who watches, and what it has heard.
struct Watcher {
    watch: NameWatch,
    counts: Time,
    /// How many changes of each writer it has heard of.
    heard_of: BTreeMap<u64, u64>,
    heard: u64,
    gaps: u64,
    delays: Vec<u32>,
}

pub(crate) fn run(args: &Args) -> Done {
    super::until_signalled(Builder::new_multi_thread(), measure_all(args))
}

async fn measure_all(args: &Args) -> Done {
    let (dir, machine) = rows::place(args.measuring.data_dir.as_deref())?;
    let nodes = ours::Nodes::start(&dir.path().join("rust")).await?;
    output::talk(&format!("measuring {OURS}: {} watchers of one voter", args.watchers));
    let mut runs = Vec::new();
    for number in 0..RUNS {
        runs.push(once(&nodes, args, number).await?);
    }
    nodes.stop().await;
    let clients = args.watchers as usize;
    let rows = [Row { what: "watch", face: "rust", by: OURS, clients, measures: &MEASURES, runs }];
    rows::show(args.measuring.output.format, &machine, &rows, &COLUMNS)
}

async fn once(nodes: &ours::Nodes, args: &Args, number: usize) -> Result<Vec<f64>, Fail> {
    let all: Vec<Names> = nodes.names().collect();
    let prefix = format!("{PREFIX}{number}/");
    let before = resident()?;
    let from = all[0].list(&prefix, None, 0).index;
    let counts = now() + args.measuring.seconds / 5;
    let ends = counts + args.measuring.seconds;
    let asked: Vec<Arc<AtomicU64>> = (0..WRITERS).map(|_| Arc::default()).collect();

    let mut watchers = Vec::new();
    for _ in 0..args.watchers {
        let watcher = Watcher {
            watch: all[0].watch(&prefix, from),
            counts,
            heard_of: BTreeMap::new(),
            heard: 0,
            gaps: 0,
            delays: Vec::new(),
        };
        watchers.push(spawn(watcher.hear()));
    }
    let pace = Duration::from_secs(1).mul_f64(WRITERS as f64 / f64::from(args.rate));
    let mut writers = Vec::new();
    for (writer, (names, asked)) in (0..).zip(all.iter().cycle().zip(&asked)) {
        let (names, asked) = (names.clone(), asked.clone());
        writers.push(spawn(write(names, prefix.clone(), writer, pace, ends, asked)));
    }
    let mut made = 0;
    for writer in writers {
        made += writer.await.map_err(because)?.map_err(because)?;
    }
    // The last change of all, which everybody ends at.
    let last = Name::new(format!("{prefix}last")).map_err(because)?;
    all[0].claim(&last, Claiming::default()).await.map_err(because)?;

    let (mut heard, mut gaps, mut delays) = (0, 0, Vec::new());
    let mut grown = 0;
    for watcher in watchers {
        let watcher = watcher.await.map_err(because)?;
        grown = grown.max(resident()?.saturating_sub(before));
        heard += watcher.heard;
        gaps += watcher.gaps;
        for (writer, asked) in (0..).zip(&asked) {
            let of = watcher.heard_of.get(&writer).copied().unwrap_or(0);
            gaps += asked.load(Ordering::Relaxed).saturating_sub(of);
        }
        delays.extend(watcher.delays);
    }
    let span = args.measuring.seconds.as_secs_f64();
    let delays = load::sample(delays, args.measuring.seconds, 0)
        .ok_or_else(|| because("nothing was heard"))?;
    let memory = grown as f64 / f64::from(args.watchers);
    let made = made as f64 / (span * 1.2);
    Ok(vec![made, heard as f64 / span, delays.p50, delays.p99, delays.max, gaps as f64, memory])
}

/// Asks for changes at a pace, each of a fresh name, until the time is over. How many were made.
async fn write(
    names: Names,
    prefix: String,
    writer: u64,
    pace: Duration,
    ends: Time,
    asked: Arc<AtomicU64>,
) -> Result<u64, String> {
    let mut next = now() + pace.mul_f64(writer as f64 / WRITERS as f64);
    for number in 1.. {
        sleep_until(next).await;
        // Who is late does not hurry afterwards.
        next = now().max(next) + pace;
        let at = now();
        if at >= ends {
            return Ok(number - 1);
        }
        let name = Name::new(format!("{prefix}{writer}/{number}")).map_err(|e| e.to_string())?;
        let value = [at.0, writer, number].map(u64::to_le_bytes).concat();
        let claiming = Claiming { value, ..Claiming::default() };
        names.claim(&name, claiming).await.map_err(|e| e.to_string())?;
        asked.store(number, Ordering::Relaxed);
    }
    Ok(0)
}

impl Watcher {
    async fn hear(mut self) -> Self {
        loop {
            match self.watch.next().await {
                Ok(change) if self.take(&change) => return self,
                Ok(_) => {}
                // It fell behind what is kept, and there is a hole.
                Err(_) => {
                    self.gaps += 1;
                    return self;
                }
            }
        }
    }

    /// Takes a change; true for the last one.
    fn take(&mut self, change: &Change) -> bool {
        let at = now();
        for effect in &change.effects {
            let Effect::Registered(held) = effect else { continue };
            let number = |place: usize| {
                let bytes = held.value.get(place * 8..place * 8 + 8)?;
                bytes.try_into().ok().map(u64::from_le_bytes)
            };
            let (Some(asked), Some(writer), Some(number)) = (number(0), number(1), number(2))
            else {
                return true;
            };
            let before = self.heard_of.insert(writer, number).unwrap_or(0);
            self.gaps += u64::from(number != before + 1);
            if Time(asked) >= self.counts {
                self.heard += 1;
                if self.heard.is_multiple_of(KEPT) {
                    let micros = at.since(Time(asked)).as_micros();
                    self.delays.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
            }
        }
        false
    }
}

fn resident() -> Result<u64, Fail> {
    quorate_bench::resident().map_err(super::failed)
}
