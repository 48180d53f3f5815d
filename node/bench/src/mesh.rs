//! What lies between two nodes, measured: two OS processes on loopback, ours, plain TCP and a real Erlang.
//!
//! A [`MeshRow`] is one [`Game`] that each side plays: `ours` with whole nodes, of which the near one is the
//! cluster's only voter and the far one a member; `tcp` with tokio's sockets and frames that have a length in
//! front; `erl` with two Erlang nodes. A [`MeshProbe`] is one game of one side. Its process is the near one,
//! and starts the far one, which ends when its stdin closes: whatever kills the near one, the far one goes.
//!
//! All sides play the same way: they warm up for a fifth of the span, and what is sent one way counts when
//! the far side has said that it received it.
//!
//! Not here: faults, which belong to tests, and networks that are slower than loopback.

mod erl;
mod far;
mod game;
mod latencies;
mod ours;
mod row;
mod tcp;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::error::BenchError;
use crate::probe::runtime;
use crate::report::{Measured, Report};
use crate::suite::{in_turn, measured, row_by_row};
use game::Terms;

pub use erl::is_installed as erlang_is_installed;
pub use far::serve;
pub use ours::large_bytes_max;
pub use row::{MESH_ROWS, MeshRow};

/// The workers of each side of each process.
const WORKERS: usize = 2;

/// How long a probe may take besides its span: two nodes start, and find each other.
const START_MAX: Duration = Duration::from_secs(120);

/// Who plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// Two nodes of ours.
    Ours,
    /// Sockets of tokio and frames; control and data in one connection, first in, first out.
    Tcp,
    /// The same, with what is urgent on a connection of its own.
    TcpApart,
    /// Two nodes of the Erlang that is in PATH.
    Erl,
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct MeshPlan {
    /// Which rows.
    pub rows: Vec<&'static MeshRow>,
    /// How often each side of each.
    pub runs: usize,
    /// How long each run counts.
    pub span: Duration,
    /// How many bytes a large message has.
    pub large: usize,
    /// Whether Erlang plays, too.
    pub erlang: bool,
}

/// One game of one side.
#[derive(Clone, Copy, Debug)]
pub struct MeshProbe {
    /// Which row.
    pub row: &'static MeshRow,
    /// Who plays it.
    pub player: Player,
    /// How long it counts.
    pub span: Duration,
    /// How many bytes a large message has.
    pub large: usize,
}

impl MeshProbe {
    /// Understands how a probe is written: `ping-pong`, or `ping-pong/tcp` for another's.
    pub fn parse(text: &str, span: Duration, large: usize) -> Result<Self, BenchError> {
        let (key, name) =
            text.split_once('/').map_or((text, None), |(key, name)| (key, Some(name)));
        let row = MeshRow::named(key)?;
        let peer = |name: &str| row.peers.iter().copied().find(|peer| peer.name() == name);
        let player = match name {
            None => Player::Ours,
            Some(name) => peer(name).ok_or_else(|| {
                let there: Vec<&str> = row.peers.iter().map(|peer| peer.name()).collect();
                let there = there.join(", ");
                BenchError::NoSuchSide { row: row.key, asked: name.to_owned(), there }
            })?,
        };
        Ok(Self { row, player, span, large })
    }

    /// Plays here and now, against a far side that `far` starts; `dir` is empty, and may be filled. One
    /// figure for each line of the row.
    pub fn take(&self, far: Command, dir: PathBuf) -> Result<Vec<f64>, BenchError> {
        let runtime = runtime(WORKERS)?;
        let MeshRow { game, is_secured, .. } = *self.row;
        let terms = Terms { game, is_secured, span: self.span, large: self.large, dir };
        let figures = runtime.block_on(async {
            match self.player {
                Player::Ours => ours::play(terms, far).await,
                Player::Tcp => tcp::play(terms, far, tcp::Roads::One).await,
                Player::TcpApart => tcp::play(terms, far, tcp::Roads::Two).await,
                Player::Erl => erl::play(terms).await,
            }
        });
        runtime.shutdown_background();
        let figures = figures?;
        if figures.len() == self.row.lines.len() { Ok(figures) } else { Err(BenchError::NoFigure) }
    }
}

impl fmt::Display for MeshProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row.key)?;
        match self.player {
            Player::Ours => Ok(()),
            peer => write!(f, "/{}", peer.name()),
        }
    }
}

impl Player {
    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "quorate",
            Self::Tcp => "tcp",
            Self::TcpApart => "tcp, control apart",
            Self::Erl => "erl",
        }
    }
}

/// Measures the mesh. `command` says how this program is started so that it takes one probe and prints its
/// figures, one a line, and nothing else, to stdout; `tell` hears of each row before it is measured.
///
/// Dropped before it has ended, it kills the probe that is under way.
pub async fn measure_mesh(
    plan: &MeshPlan,
    command: impl Fn(&MeshProbe) -> Command,
    mut tell: impl FnMut(&MeshRow),
) -> Report {
    let mut report = Report::begin(["MESH", "TCP"]);
    let rows = plan.rows.iter().map(|row| (row.key, *row));
    row_by_row(&mut report, rows, async |row| {
        tell(row);
        measure_row(row, plan, &command).await
    })
    .await;
    report
}

async fn measure_row(
    row: &'static MeshRow,
    plan: &MeshPlan,
    command: impl Fn(&MeshProbe) -> Command,
) -> Result<Vec<Measured>, BenchError> {
    let plays = |player: &Player| plan.erlang || *player != Player::Erl;
    let players: Vec<Player> = row.peers.iter().copied().filter(plays).collect();
    let probe = |player| MeshProbe { row, player, span: plan.span, large: plan.large };
    let probes: Vec<MeshProbe> =
        std::iter::once(Player::Ours).chain(players.iter().copied()).map(probe).collect();
    let (turns, limit) = ((plan.runs, row.lines.len()), START_MAX + plan.span * 4);
    let all = in_turn(&probes, turns, limit, command).await?;
    let lines = row.lines.iter().enumerate().filter_map(|(at, line)| {
        let names = players.iter().map(|player| player.name());
        let runs = all.iter().map(|runs| runs.iter().map(|figures| figures[at]).collect());
        measured(*line, names, runs)
    });
    Ok(lines.collect())
}
