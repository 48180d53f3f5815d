//! Many probes, each in an OS process of its own, the sides of a row in turn.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::Duration;

use quorate_env::timeout;

use crate::error::BenchError;
use crate::line::Line;
use crate::probe::{Probe, Side};
use crate::report::{Failed, Figure, Measured, Report};
use crate::row::Row;

/// A probe that takes longer has lost something. The slowest takes seconds.
const PROBE_MAX: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which rows.
    pub rows: Vec<&'static Row>,
    /// How often each side of each.
    pub runs: usize,
    /// How much is done in one run, if not what the row says.
    pub n: Option<u64>,
}

/// Measures. `command` says how this program is started so that it takes one probe and prints its figure, and
/// nothing else, to stdout; `tell` hears of each row before it is measured. A row that fails is told in the
/// report and keeps no other from being measured.
///
/// Dropped before it has ended, it kills the probe that is under way.
pub async fn measure(
    plan: &Plan,
    command: impl Fn(&Probe) -> Command,
    mut tell: impl FnMut(&Row),
) -> Report {
    let mut report = Report::begin(["ACTORS", "TOKIO"]);
    let rows = plan.rows.iter().map(|row| (row.key, *row));
    row_by_row(&mut report, rows, async |row| {
        tell(row);
        measure_row(row, plan, &command).await
    })
    .await;
    report
}

/// Measures rows, each of which may have several lines. One that fails is told in the report, and keeps no
/// other from being measured.
pub(crate) async fn row_by_row<R, L: IntoIterator<Item = Measured>>(
    report: &mut Report,
    rows: impl Iterator<Item = (&'static str, R)>,
    mut measure: impl AsyncFnMut(R) -> Result<L, BenchError>,
) {
    for (key, row) in rows {
        match measure(row).await {
            Ok(measured) => report.rows.extend(measured),
            Err(error) => report.failed.push(Failed { row: key, why: error.to_string() }),
        }
    }
}

async fn measure_row(
    row: &'static Row,
    plan: &Plan,
    command: impl Fn(&Probe) -> Command,
) -> Result<Option<Measured>, BenchError> {
    let sides = std::iter::once(Side::Ours).chain(row.peers().map(Side::Peer));
    let probes: Vec<Probe> = sides
        .map(|side| {
            let probe = Probe::new(row, side);
            Probe { n: plan.n.unwrap_or(probe.n), ..probe }
        })
        .collect();
    let all = in_turn(&probes, (plan.runs, 1), PROBE_MAX, command).await?;
    Ok(measured(row.line(), row.peers(), all.into_iter().map(|runs| first_figures(&runs))))
}

/// Takes every probe so many times, each time in a process of its own, and the probes in turn. What each of
/// them said, run by run: so many figures each time.
pub(crate) async fn in_turn<P: fmt::Display>(
    probes: &[P],
    (runs, figures): (usize, usize),
    limit: Duration,
    command: impl Fn(&P) -> Command,
) -> Result<Vec<Vec<Vec<f64>>>, BenchError> {
    let mut all: Vec<Vec<Vec<f64>>> = probes.iter().map(|_| Vec::new()).collect();
    for _ in 0..runs {
        for (probe, said) in probes.iter().zip(&mut all) {
            said.push(take_apart(&probe.to_string(), figures, limit, command(probe)).await?);
        }
    }
    Ok(all)
}

/// One line of the report: ours first, then the peers in the order of their names.
pub(crate) fn measured(
    line: Line,
    peers: impl Iterator<Item = &'static str>,
    mut all: impl Iterator<Item = Vec<f64>>,
) -> Option<Measured> {
    let ours = Figure::of(all.next()?)?;
    let figures = peers.zip(all).filter_map(|(name, runs)| Some((name, Figure::of(runs)?)));
    Some(Measured { line, ours, peers: figures.collect() })
}

fn first_figures(runs: &[Vec<f64>]) -> Vec<f64> {
    runs.iter().filter_map(|figures| figures.first().copied()).collect()
}

/// Takes a probe in a process of its own, which says so many figures, one a line.
async fn take_apart(
    probe: &str,
    count: usize,
    limit: Duration,
    command: Command,
) -> Result<Vec<f64>, BenchError> {
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(BenchError::system(format!("starting {probe}")))?;
    let late = |_| BenchError::Late { probe: probe.to_owned(), limit };
    let ended = timeout(limit, child.wait_with_output()).await.map_err(late)?;
    let ended = ended.map_err(BenchError::system(format!("waiting for {probe}")))?;
    let said = String::from_utf8_lossy(&ended.stdout);
    let figures: Vec<f64> = said.lines().filter_map(|line| line.trim().parse().ok()).collect();
    let are_whole = figures.len() == count && said.lines().count() == count;
    match ended.status.success() && are_whole && figures.iter().all(|figure| figure.is_finite()) {
        true => Ok(figures),
        false => {
            let why = String::from_utf8_lossy(&ended.stderr);
            // What panicked and why; what led there is seen by whoever takes the probe again.
            let why: Vec<&str> = why.lines().take(2).collect();
            let why = format!("{}; {}{}", ended.status, said.trim(), why.join(" "));
            Err(BenchError::Failed { probe: probe.to_owned(), why })
        }
    }
}
