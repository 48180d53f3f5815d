//! `quorate-bench journal`: how fast entries of 72 bytes become durable, beside a plain loop of write and
//! fdatasync, the same into a file that has its blocks already, and sled as the log.
//!
//! All sides do the same in turn, again and again, in one process: append a batch, wait until it is durable.
//! A disk's mood changes by the minute, so only what was measured side by side is compared, as a ratio.
//!
//! Not here: what several callers share (the journal gathers for them; the last line shows it), and any
//! verdict of a test.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use bytes::Bytes;
use quorate_env::{aside, now};
use quorate_storage::{Log, LogConfig, RealDisk, Shelf, SledShelf};
use serde_json::{Value, json};

const DATA: [u8; 72] = [7; 72];
/// An entry and its index.
const PLAIN_BYTES: usize = 80;
/// The length of a segment, so that the preallocated file has the size that ours have.
const FILE_BYTES: u64 = 8 << 20;
/// How many of our batches are under way at once, in the line that shows what gathering gives.
const GATHERED: u64 = 8;

/// What is measured, and how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// How often each side is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// How long one run of one side is, in milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    span: u64,
    /// Where to write, if not in the system's folder for what is short-lived
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// Who makes entries durable.
#[derive(Clone, Copy)]
enum Side {
    Journal,
    Gathering,
    Plain,
    Allocated,
    Sled,
}

/// What one run saw.
struct Run {
    entries_per_second: f64,
    p50: Duration,
    p99: Duration,
}

const SIDES: [Side; 5] = [Side::Journal, Side::Gathering, Side::Plain, Side::Allocated, Side::Sled];

impl Side {
    fn title(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Gathering => "journal, 8 callers",
            Self::Plain => "plain file, growing",
            Self::Allocated => "plain file, in place",
            Self::Sled => "sled as the log",
        }
    }

    fn run(self, dir: &Path, batch: u64, span: Duration) -> Result<Run, Box<dyn Error>> {
        let fresh = tempfile::tempdir_in(dir)?;
        match self {
            Self::Journal => journal(fresh.path(), batch, 1, span),
            Self::Gathering => journal(fresh.path(), batch, GATHERED, span),
            Self::Plain => plain(fresh.path(), batch, 0, span),
            Self::Allocated => plain(fresh.path(), batch, FILE_BYTES, span),
            Self::Sled => sled_log(fresh.path(), batch, span),
        }
    }
}

/// Measures, and prints what was seen.
pub(crate) fn report(args: &Args) -> Result<(), Box<dyn Error>> {
    let dir = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let span = Duration::from_millis(args.span);
    let (mut table, mut rows) = (String::new(), Vec::new());
    for batch in [1, 64, 256] {
        let mut runs: Vec<Vec<Run>> = SIDES.iter().map(|_| Vec::new()).collect();
        for _ in 0..args.runs {
            for (side, runs) in SIDES.iter().zip(&mut runs) {
                runs.push(side.run(&dir, batch, span)?);
            }
        }
        for (side, seen) in SIDES.iter().zip(&runs) {
            let row = row(*side, batch, seen, &runs);
            let _ = writeln!(
                table,
                "{:>5}  {:22} {:>10.0} {:>10.0} {:>10.0}  {:>8} {:>8}  {:>6}",
                batch,
                side.title(),
                row["min"].as_f64().unwrap_or(0.0),
                row["median"].as_f64().unwrap_or(0.0),
                row["max"].as_f64().unwrap_or(0.0),
                row["p50_us"],
                row["p99_us"],
                row["of_plain"].as_f64().map_or(String::new(), |share| format!("{share:.2}")),
            );
            rows.push(row);
        }
    }
    if args.json {
        writeln!(io::stdout(), "{:#}", json!({ "rows": rows }))?;
    } else {
        writeln!(
            io::stdout(),
            "BATCH  {:22} {:>10} {:>10} {:>10}  {:>8} {:>8}  OF PLAIN\n{table}",
            "ENTRIES/S",
            "MIN",
            "MEDIAN",
            "MAX",
            "p50 us",
            "p99 us"
        )?;
    }
    Ok(())
}

fn row(side: Side, batch: u64, seen: &[Run], all: &[Vec<Run>]) -> Value {
    let mut rates: Vec<f64> = seen.iter().map(|run| run.entries_per_second).collect();
    rates.sort_by(f64::total_cmp);
    // Run by run, since the disk's mood is the same within one only.
    let plain = SIDES.iter().zip(all).find(|(side, _)| matches!(side, Side::Plain));
    let mut shares: Vec<f64> = plain
        .iter()
        .flat_map(|(_, plain)| seen.iter().zip(plain.iter()))
        .map(|(ours, plain)| ours.entries_per_second / plain.entries_per_second)
        .collect();
    shares.sort_by(f64::total_cmp);
    let middle = |spans: fn(&Run) -> Duration| {
        let mut spans: Vec<Duration> = seen.iter().map(spans).collect();
        spans.sort_unstable();
        spans.get(spans.len() / 2).map_or(0, Duration::as_micros) as u64
    };
    json!({
        "side": side.title(), "batch": batch,
        "min": rates.first(), "median": rates.get(rates.len() / 2), "max": rates.last(),
        "p50_us": middle(|run| run.p50), "p99_us": middle(|run| run.p99),
        "of_plain": shares.get(shares.len() / 2),
    })
}

/// Our journal, with so many batches under way.
fn journal(dir: &Path, batch: u64, under_way: u64, span: Duration) -> Result<Run, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let disk = Arc::new(RealDisk::open(dir)?);
    let (log, scribe) = runtime.block_on(Log::open(disk, LogConfig::default()))?;
    let ended = aside("quorate-scribe", scribe.run())?;
    let (tell, told) = sync_channel(under_way as usize);
    let (mut next, mut waiting) = (1, 0);
    let run = timed(span, batch, |is_over| {
        while !is_over && waiting < under_way {
            let entries = (next..next + batch).map(|index| (index, Bytes::from_static(&DATA)));
            let (tell, asked) = (tell.clone(), now());
            let done = move |outcome: io::Result<()>| {
                // As many answers fit as are under way.
                let _ = tell.try_send(outcome.map(|()| now().since(asked)));
            };
            log.append(entries.collect(), Box::new(done));
            next += batch;
            waiting += 1;
            if next % 100_000 < batch {
                log.purge(next.saturating_sub(10_000), Bytes::new());
            }
        }
        if waiting == 0 {
            return Ok(None);
        }
        waiting -= 1;
        Ok(Some(told.recv().map_err(io::Error::other)??))
    });
    drop(log);
    runtime.block_on(ended)?;
    run
}

/// A loop of write and fdatasync, into a file that has so many bytes from the start and begins anew at its
/// end, or one that grows.
fn plain(dir: &Path, batch: u64, length: u64, span: Duration) -> Result<Run, Box<dyn Error>> {
    let path = dir.join("plain");
    fs::write(&path, vec![0; length as usize])?;
    let file = fs::OpenOptions::new().read(true).write(true).open(&path)?;
    file.sync_all()?;
    let (mut at, mut next) = (0, 1_u64);
    timed(span, batch, |is_over| {
        if is_over {
            return Ok(None);
        }
        let asked = now();
        let mut bytes = Vec::with_capacity(batch as usize * PLAIN_BYTES);
        for index in next..next + batch {
            bytes.extend_from_slice(&index.to_le_bytes());
            bytes.extend_from_slice(&DATA);
        }
        if length > 0 && at + bytes.len() as u64 > length {
            at = 0;
        }
        file.write_all_at(&bytes, at)?;
        file.sync_data()?;
        at += bytes.len() as u64;
        next += batch;
        Ok(Some(now().since(asked)))
    })
}

/// sled with an entry a row and a flush a batch. Its door has a thread's turn in it, as ours has.
fn sled_log(dir: &Path, batch: u64, span: Duration) -> Result<Run, Box<dyn Error>> {
    let shelf = SledShelf::open(&dir.join("rows"))?;
    let mut next = 1_u64;
    timed(span, batch, |is_over| {
        if is_over {
            return Ok(None);
        }
        let asked = now();
        let row = |index: u64| (index.to_be_bytes().to_vec(), Some(DATA.to_vec()));
        shelf.commit((next..next + batch).map(row).collect())?;
        shelf.flush()?;
        next += batch;
        Ok(Some(now().since(asked)))
    })
}

/// Asks for one batch after the other, until the span is over and none is left.
fn timed(
    span: Duration,
    batch: u64,
    mut one: impl FnMut(bool) -> io::Result<Option<Duration>>,
) -> Result<Run, Box<dyn Error>> {
    let start = now();
    let mut spans = Vec::new();
    while let Some(taken) = one(now().since(start) >= span && !spans.is_empty())? {
        spans.push(taken);
    }
    let seconds = now().since(start).as_secs_f64();
    let entries_per_second = (spans.len() as u64 * batch) as f64 / seconds;
    spans.sort_unstable();
    let at = |share: f64| spans[((spans.len() - 1) as f64 * share) as usize];
    Ok(Run { entries_per_second, p50: at(0.5), p99: at(0.99) })
}
