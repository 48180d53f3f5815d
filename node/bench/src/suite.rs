//! Many probes, each in an OS process of its own, the sides of a row in turn.

use std::process::{Command, Stdio};
use std::time::Duration;

use quorate_env::timeout;

use crate::error::BenchError;
use crate::machine::Machine;
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
    let mut report = Report { machine: Machine::here(), rows: Vec::new(), failed: Vec::new() };
    for row in &plan.rows {
        tell(row);
        match measure_row(row, plan, &command).await {
            Ok(measured) => report.rows.extend(measured),
            Err(error) => report.failed.push(Failed { row: row.key, why: error.to_string() }),
        }
    }
    report
}

async fn measure_row(
    row: &'static Row,
    plan: &Plan,
    command: impl Fn(&Probe) -> Command,
) -> Result<Option<Measured>, BenchError> {
    let sides = std::iter::once(Side::Ours).chain(row.peers().map(Side::Peer));
    let mut all: Vec<(Side, Vec<f64>)> = sides.map(|side| (side, Vec::new())).collect();
    for _ in 0..plan.runs {
        for (side, runs) in &mut all {
            let mut probe = Probe::new(row, *side);
            probe.n = plan.n.unwrap_or(probe.n);
            runs.push(take_apart(&probe, command(&probe)).await?);
        }
    }
    Ok(measured(row, all))
}

/// Takes a probe in a process of its own.
async fn take_apart(probe: &Probe, command: Command) -> Result<f64, BenchError> {
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(BenchError::system(format!("starting {probe}")))?;
    let late = |_| BenchError::Late { probe: probe.to_string(), limit: PROBE_MAX };
    let ended = timeout(PROBE_MAX, child.wait_with_output()).await.map_err(late)?;
    let ended = ended.map_err(BenchError::system(format!("waiting for {probe}")))?;
    let said = String::from_utf8_lossy(&ended.stdout);
    match said.trim().parse::<f64>() {
        Ok(figure) if ended.status.success() && figure.is_finite() => Ok(figure),
        _ => {
            let why = String::from_utf8_lossy(&ended.stderr);
            // What panicked and why; what led there is seen by whoever takes the probe again.
            let why: Vec<&str> = why.lines().take(2).collect();
            let why = format!("{}; {}{}", ended.status, said.trim(), why.join(" "));
            Err(BenchError::Failed { probe: probe.to_string(), why })
        }
    }
}

fn measured(row: &'static Row, all: Vec<(Side, Vec<f64>)>) -> Option<Measured> {
    let mut figures = all.into_iter().map(|(side, runs)| Some((side, Figure::of(runs)?)));
    let (_, ours) = figures.next()??;
    let peers = figures.filter_map(|figure| match figure? {
        (Side::Peer(name), figure) => Some((name, figure)),
        (Side::Ours, _) => None,
    });
    Some(Measured { row, ours, peers: peers.collect() })
}
