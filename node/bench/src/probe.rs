//! One measurement of one side of a row, in this OS process.

use std::fmt;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::error::BenchError;
use crate::row::Row;

/// How large a workload is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// How much is done.
    pub(crate) n: u64,
    /// On how many workers of tokio.
    pub(crate) workers: usize,
}

/// Whose figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Our processes'.
    Ours,
    /// Somebody else's, by name.
    Peer(&'static str),
}

/// One measurement of one side of a row.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Which row.
    pub row: &'static Row,
    /// Whose.
    pub side: Side,
    /// How much is done.
    pub n: u64,
    /// On how many workers of tokio; none is the thread that takes it.
    pub workers: usize,
}

impl Probe {
    /// A probe of a row as it is meant.
    pub fn new(row: &'static Row, side: Side) -> Self {
        Self { row, side, n: row.n, workers: row.workers }
    }

    /// Understands how a probe is written: `spawn`, or `spawn/tokio` for a peer's.
    pub fn parse(text: &str) -> Result<Self, BenchError> {
        let (key, side) =
            text.split_once('/').map_or((text, None), |(key, side)| (key, Some(side)));
        let row = Row::named(key)?;
        let side = match side {
            None => Side::Ours,
            Some(name) => Side::Peer(row.peers().find(|peer| *peer == name).ok_or_else(|| {
                let there: Vec<&str> = row.peers().collect();
                let there = there.join(", ");
                BenchError::NoSuchSide { row: row.key, asked: name.to_owned(), there }
            })?),
        };
        Ok(Self::new(row, side))
    }

    /// Takes it here and now: the figure in the row's unit.
    pub fn take(&self) -> Result<f64, BenchError> {
        let peer = |name| self.row.peers.iter().find(|(peer, _)| *peer == name);
        let workload = match self.side {
            Side::Ours => self.row.ours,
            Side::Peer(name) => peer(name).ok_or(BenchError::NoFigure)?.1,
        };
        workload(Size { n: self.n, workers: self.workers })
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row.key)?;
        match self.side {
            Side::Ours => Ok(()),
            Side::Peer(name) => write!(f, "/{name}"),
        }
    }
}

/// How often whoever works in a loop lets others in. Fewer than a receiver takes in a turn, on either
/// side, so that no queue grows where both share a worker.
pub(crate) const BATCH: u64 = 64;

/// A fresh runtime; without a worker, all is done by the thread that waits for the figure.
pub(crate) fn runtime(workers: usize) -> Result<Runtime, BenchError> {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    let built = builder.worker_threads(workers.max(1)).enable_all().build();
    built.map_err(BenchError::system("starting a runtime"))
}

/// So many in such a time, by the second.
pub(crate) fn rate(n: u64, took: Duration) -> f64 {
    n as f64 / took.as_secs_f64()
}

/// A span in milliseconds.
pub(crate) fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// `n` things in `parts` parts that differ by one at most.
pub(crate) fn split(n: u64, parts: u64) -> impl Iterator<Item = u64> {
    (0..parts).map(move |part| n / parts + u64::from(part < n % parts))
}
