//! How fast the journal makes entries durable: `cargo run --release --example append [DIR]`.
//!
//! Each line is one second of appending entries of 72 bytes, so many at once, each batch waited for. The
//! last lines do not wait, and let the scribe gather what comes: what group commit gives to many callers.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_env::now;
use quorate_storage::{Log, LogConfig, RealDisk};
use tokio::sync::mpsc;

const SPAN: Duration = Duration::from_secs(2);
const DATA: Bytes = Bytes::from_static(&[7; 72]);

fn main() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let kept = std::env::args().nth(1).map(PathBuf::from);
    for batch in [1, 16, 64, 256] {
        runtime.block_on(measure(kept.as_deref(), batch, 1))?;
    }
    for at_once in [16, 256] {
        runtime.block_on(measure(kept.as_deref(), 1, at_once))?;
    }
    Ok(())
}

/// Appends batches for a while, and keeps so many of them under way.
async fn measure(kept: Option<&Path>, batch: u64, at_once: usize) -> io::Result<()> {
    let fresh = tempfile::tempdir_in(kept.unwrap_or(&std::env::temp_dir()))?;
    let disk = Arc::new(RealDisk::open(fresh.path())?);
    let opened = Log::open(disk, LogConfig::default()).await;
    let (log, scribe) = opened.map_err(io::Error::other)?;
    let scribe = quorate_env::aside("scribe", scribe.run())?;
    let (sender, mut answers) = mpsc::channel(at_once);
    let mut next = 1;
    let mut under_way = 0;
    let mut spans = Vec::new();
    let start = now();
    while now().since(start) < SPAN || under_way > 0 {
        if now().since(start) < SPAN && under_way < at_once {
            let entries = (next..next + batch).map(|index| (index, DATA)).collect();
            let (sender, asked) = (sender.clone(), now());
            let done = move |outcome: io::Result<()>| {
                // As many answers fit as are under way.
                let _ = sender.try_send(outcome.map(|()| now().since(asked)));
            };
            log.append(entries, Box::new(done));
            next += batch;
            under_way += 1;
            continue;
        }
        spans.push(answers.recv().await.ok_or(io::ErrorKind::BrokenPipe)??);
        under_way -= 1;
        if next % 100_000 < batch {
            log.purge(next.saturating_sub(10_000), Bytes::new());
        }
    }
    let rate = next as f64 / now().since(start).as_secs_f64();
    spans.sort_unstable();
    let at = |share: f64| spans[((spans.len() - 1) as f64 * share) as usize].as_micros();
    let (half, most) = (at(0.5), at(0.99));
    writeln!(
        io::stdout(),
        "batch {batch:>3}, {at_once:>3} at once: {rate:>9.0} entries/s, p50 {half} us, p99 {most} us"
    )?;
    drop(log);
    scribe.await.map_err(|_| io::Error::other("the scribe ended before its work"))
}
