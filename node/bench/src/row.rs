//! The rows: what is measured, in which unit, how much of it, and what must be reached.

use crate::error::BenchError;
use crate::line::{Line, Unit};
use crate::probe::Size;
use crate::{processes, tasks};

/// One workload, done once.
pub(crate) type Workload = fn(Size) -> Result<f64, BenchError>;

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The word that asks for it.
    pub key: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// What its figures count.
    pub unit: Unit,
    /// How much is done in one run: messages, calls, processes.
    pub n: u64,
    /// On how many workers, if the workload does not start its own threads.
    pub workers: usize,
    /// What must be reached.
    pub goal: Option<f64>,
    pub(crate) ours: Workload,
    pub(crate) peers: &'static [(&'static str, Workload)],
}

/// tokio's tasks with mpsc and oneshot channels.
pub(crate) const TOKIO: &str = "tokio";
/// The same, where each answer is waited for under a timeout, as ours always is.
const TOKIO_TIMED: &str = "tokio, timed";

/// All rows, in the order of the report.
pub static ROWS: [Row; 16] = [
    Row {
        key: "spawn",
        title: "spawn, one message, end",
        unit: Unit::PerSecond,
        n: 1_000_000,
        workers: 2,
        goal: Some(5e6),
        ours: processes::spawn,
        peers: &[(TOKIO, tasks::spawn)],
    },
    Row {
        key: "spawn-crowded",
        title: "the same, with 1,000,000 alive",
        unit: Unit::PerSecond,
        n: 1_000_000,
        workers: 2,
        goal: Some(3e6),
        ours: processes::spawn_crowded,
        peers: &[(TOKIO, tasks::spawn_crowded)],
    },
    Row {
        key: "idle-bytes",
        title: "an idle process with 64 B of state",
        unit: Unit::Bytes,
        n: 1_000_000,
        workers: 2,
        goal: Some(256.0),
        ours: processes::idle_bytes,
        peers: &[(TOKIO, tasks::idle_bytes)],
    },
    Row {
        key: "linked-bytes",
        title: "the same, linked to two others",
        unit: Unit::Bytes,
        n: 1_000_000,
        workers: 2,
        goal: None,
        ours: processes::linked_bytes,
        peers: &[],
    },
    Row {
        key: "ping-pong",
        title: "ping-pong, one worker",
        unit: Unit::PerSecond,
        n: 1_000_000,
        workers: 1,
        goal: Some(8e6),
        ours: processes::ping_pong,
        peers: &[(TOKIO, tasks::ping_pong)],
    },
    Row {
        key: "ping-pong-free",
        title: "ping-pong, two workers, wherever they run",
        unit: Unit::PerSecond,
        n: 1_000_000,
        workers: 2,
        goal: Some(2.5e6),
        ours: processes::ping_pong,
        peers: &[(TOKIO, tasks::ping_pong)],
    },
    Row {
        key: "ping-pong-across",
        title: "ping-pong, each on a thread of its own",
        unit: Unit::PerSecond,
        n: 100_000,
        workers: 1,
        goal: Some(2.5e6),
        ours: processes::ping_pong_across,
        peers: &[(TOKIO, tasks::ping_pong_across)],
    },
    Row {
        key: "one-way",
        title: "one way, 1 to 1",
        unit: Unit::PerSecond,
        n: 4_000_000,
        workers: 2,
        goal: Some(25e6),
        ours: |size| processes::one_way(size, 1),
        peers: &[(TOKIO, |size| tasks::one_way(size, 1))],
    },
    Row {
        key: "one-way-8",
        title: "one way, 8 to 1",
        unit: Unit::PerSecond,
        n: 4_000_000,
        workers: 2,
        goal: Some(25e6),
        ours: |size| processes::one_way(size, 8),
        peers: &[(TOKIO, |size| tasks::one_way(size, 8))],
    },
    Row {
        key: "call",
        title: "call with a timeout, 1 client",
        unit: Unit::PerSecond,
        n: 1_000_000,
        workers: 2,
        goal: Some(5e6),
        ours: |size| processes::call(size, 1),
        peers: &[
            (TOKIO, |size| tasks::call(size, 1)),
            (TOKIO_TIMED, |size| tasks::call_timed(size, 1)),
        ],
    },
    Row {
        key: "call-100",
        title: "call with a timeout, 100 clients",
        unit: Unit::PerSecond,
        n: 1_000_000,
        workers: 2,
        goal: Some(5e6),
        ours: |size| processes::call(size, 100),
        peers: &[
            (TOKIO, |size| tasks::call(size, 100)),
            (TOKIO_TIMED, |size| tasks::call_timed(size, 100)),
        ],
    },
    Row {
        key: "monitors",
        title: "100,000 monitors of one that dies, all told",
        unit: Unit::Milliseconds,
        n: 100_000,
        workers: 2,
        goal: Some(25.0),
        ours: processes::monitors,
        peers: &[(TOKIO, tasks::monitors)],
    },
    Row {
        key: "links",
        title: "100,000 links to one that dies, all gone",
        unit: Unit::Milliseconds,
        n: 100_000,
        workers: 2,
        goal: Some(40.0),
        ours: processes::links,
        peers: &[(TOKIO, tasks::links)],
    },
    Row {
        key: "chain",
        title: "1,000,000 linked in a chain, the first killed, all gone",
        unit: Unit::Milliseconds,
        n: 1_000_000,
        workers: 2,
        goal: None,
        ours: processes::chain,
        peers: &[(TOKIO, tasks::chain)],
    },
    Row {
        key: "restarts",
        title: "restarts by a supervisor",
        unit: Unit::PerSecond,
        n: 100_000,
        workers: 2,
        goal: None,
        ours: processes::restarts,
        peers: &[(TOKIO, tasks::restarts)],
    },
    Row {
        key: "ring",
        title: "a ring of 1,000, hops",
        unit: Unit::PerSecond,
        n: 1_000_000,
        workers: 2,
        goal: Some(15e6),
        ours: processes::ring,
        peers: &[(TOKIO, tasks::ring)],
    },
];

impl Row {
    /// The row that a word asks for.
    pub fn named(key: &str) -> Result<&'static Self, BenchError> {
        ROWS.iter().find(|row| row.key == key).ok_or_else(|| {
            let there: Vec<&str> = ROWS.iter().map(|row| row.key).collect();
            BenchError::NoSuchRow { asked: key.to_owned(), there: there.join(", ") }
        })
    }

    /// What its figures are.
    pub fn line(&self) -> Line {
        Line { key: self.key, title: self.title, unit: self.unit, goal: self.goal }
    }

    /// Who stands beside us in this row.
    pub fn peers(&self) -> impl Iterator<Item = &'static str> {
        self.peers.iter().map(|(name, _)| *name)
    }
}
