//! The games that each side plays, and what a game needs to know.

use std::path::PathBuf;
use std::time::Duration;

use quorate_env::now;
use quorate_vocab::Time;

use super::latencies::Latencies;
use crate::error::BenchError;

/// How long anybody waits for an answer before something has been lost.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What is played between the near side and the far one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Game {
    /// One small message there and back, again and again. Figures: a second, the median.
    PingPong,
    /// The same with a pause after each, in which everything falls asleep. Figure: the median.
    PingIdle,
    /// Questions, each of so many clients waiting for its answer. Figure: a second.
    Call(u64),
    /// Messages of so many bytes from so many senders to one receiver. Figure: a second.
    OneWay { senders: u8, bytes: usize },
    /// Large messages, as many as fit. Figure: GiB a second.
    Stream,
    /// A small ping-pong while the stream runs. Figures: its median, 99th percentile and maximum; GiB a
    /// second of the stream.
    PingUnderStream,
    /// What keeps the cluster together while the stream runs: linearizable reads by the member, which go
    /// where heartbeats and renewals go. Figures: median, 99th percentile, maximum; links and sessions lost.
    ControlUnderStream,
    /// Nothing. Figure: bytes a second, both ways together.
    Idle,
}

/// How it is played.
pub(crate) struct Terms {
    pub(crate) game: Game,
    /// Whether our nodes speak TLS.
    pub(crate) is_secured: bool,
    /// How long it counts.
    pub(crate) span: Duration,
    /// How many bytes a large message has.
    pub(crate) large: usize,
    /// An empty directory for whoever needs one.
    pub(crate) dir: PathBuf,
}

/// The pause of [`Game::PingIdle`].
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// When a game begins to count, and when it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Match {
    pub(crate) counted: Time,
    pub(crate) until: Time,
}

impl Match {
    /// One that begins now, with a fifth of its span to warm up.
    pub(crate) fn begin(span: Duration) -> Self {
        let counted = now() + span / 5;
        Self { counted, until: counted + span }
    }

    /// Whether balls are played no more. One is waited for however long it takes, so that there is a figure
    /// on a machine that stands still, too.
    pub(crate) fn is_over(&self, now: Time, waits: &Latencies) -> bool {
        now >= self.until && waits.count() > 0
    }
}

/// The far side has ended, or does not answer.
pub(crate) fn lost(what: &'static str) -> BenchError {
    BenchError::Lost { what }
}
