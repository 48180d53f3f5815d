//! The rows of a measurement of three nodes: medians of their runs, as a table or as a document.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::etcd;
use super::load::{self, Sample, Taker};
use super::{machine, seconds};
use crate::args::Output;
use crate::fail::{Done, Fail};
use crate::output::{self, Column, Format, column, shown};

/// How often each row is measured.
pub(crate) const RUNS: usize = 3;

/// Ours, as tables call it.
pub(crate) const OURS: &str = "quorate";

/// How three nodes are measured, and how that is shown.
#[derive(clap::Args)]
pub(crate) struct Measuring {
    /// How long each of the three runs of a row counts
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Where the data lies while it is measured [default: ./target if there is one, else /var/tmp]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// One figure of a run: its name, its unit, and which way is better.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: &'static str,
}

/// What a run of [`load`] comes to, in the order of [`figures`].
pub(crate) const LOAD: [Measure; 4] = [
    measure("rate", "1/s", "higher"),
    measure("p50", "ms", "lower"),
    measure("p99", "ms", "lower"),
    measure("max", "ms", "lower"),
];

/// The runs of one row.
pub(crate) struct Row {
    /// What was done.
    pub(crate) what: &'static str,
    pub(crate) face: &'static str,
    pub(crate) by: &'static str,
    pub(crate) clients: usize,
    pub(crate) measures: &'static [Measure],
    /// Of each run a figure for each measure.
    pub(crate) runs: Vec<Vec<f64>>,
}

pub(crate) const fn measure(
    name: &'static str,
    unit: &'static str,
    better: &'static str,
) -> Measure {
    Measure { name, unit, better }
}

pub(crate) fn figures(sample: &Sample) -> Vec<f64> {
    vec![sample.rate, sample.p50, sample.p99, sample.max]
}

/// Puts load on somebody, as often as a row is measured.
pub(crate) async fn under_load<T, F>(
    (what, face, by): (&'static str, &'static str, &'static str),
    clients: usize,
    span: Duration,
    mut takers: impl FnMut() -> F,
) -> Result<Row, Fail>
where
    T: Taker,
    F: Future<Output = Result<Vec<T>, Fail>>,
{
    output::talk(&format!("measuring {by}: {what}, {face}, {}", of_clients(clients)));
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let run = load::run(takers().await?, &format!("{face}/{clients}/{number}"), span).await?;
        if run.errors > 0 {
            output::talk(&format!("  {} requests came to nothing and are not counted", run.errors));
        }
        runs.push(figures(&run));
    }
    Ok(Row { what, face, by, clients, measures: &LOAD, runs })
}

impl Row {
    /// Median, least and most of a measure.
    fn spread(&self, at: usize) -> (f64, f64, f64) {
        let mut all: Vec<f64> = self.runs.iter().map(|run| rounded(run[at])).collect();
        all.sort_unstable_by(f64::total_cmp);
        (all[all.len() / 2], all[0], all[all.len() - 1])
    }

    fn line(&self) -> Value {
        let mut line =
            json!({ "what": self.what, "by": self.by, "face": self.face, "clients": self.clients });
        for (at, Measure { name, unit, .. }) in self.measures.iter().enumerate() {
            let (median, least, most) = self.spread(at);
            line[*name] = match *unit {
                "1/s" | "1" => format!("{median:.0} ({least:.0}..{most:.0})").into(),
                unit => format!("{median:.2} ({least:.2}..{most:.2}) {unit}").into(),
            };
        }
        line
    }
}

/// Prints rows of one kind: as a table with these columns for their measures, or as data.
pub(crate) fn show(format: Format, machine: &Value, rows: &[Row], measures: &[Column]) -> Done {
    if matches!(format, Format::Table | Format::Wide) {
        let lines: Vec<Value> = rows.iter().map(Row::line).collect();
        let mut columns = vec![
            column("WHAT", |line| shown(&line["what"])),
            column("BY", |line| shown(&line["by"])),
            column("FACE", |line| shown(&line["face"])),
            column("CLIENTS", |line| shown(&line["clients"])),
        ];
        columns.extend(measures.iter().map(|one| column(one.head, one.cell)));
        output::talk(&format!("on {machine}"));
        return output::many(format, &Value::Null, &lines, &columns);
    }
    let rows = document(rows);
    let document = json!({ "machine": machine, "rows": rows });
    output::many(format, &document, &rows, &[])
}

/// The columns of what was measured under load.
pub(crate) const LOAD_COLUMNS: [Column; 4] = [
    column("PER SECOND (MIN..MAX)", |line| shown(&line["rate"])),
    column("P50", |line| shown(&line["p50"])),
    column("P99", |line| shown(&line["p99"])),
    column("MAX", |line| shown(&line["max"])),
];

/// The rows as the contract of `bench -o json` has them: ours, and the others beside it.
fn document(rows: &[Row]) -> Vec<Value> {
    let mut shown = Vec::new();
    for row in rows.iter().filter(|row| row.by == OURS) {
        for (at, Measure { name, unit, better }) in row.measures.iter().enumerate() {
            let (ours, least, most) = row.spread(at);
            let (mut peers, mut ranges) = (Map::new(), Map::new());
            let same = |other: &&Row| {
                other.by != OURS
                    && (other.what, other.face, other.clients) == (row.what, row.face, row.clients)
            };
            for peer in rows.iter().filter(same) {
                let (theirs, least, most) = peer.spread(at);
                peers.insert(peer.by.to_owned(), theirs.into());
                ranges.insert(peer.by.to_owned(), json!([least, most]));
            }
            let clients = of_clients(row.clients);
            let title = format!("{}, {clients}, {}: {name}", row.what, row.face);
            shown.push(json!({
                "name": title, "row": title, "unit": unit, "better": better,
                "ours": ours, "ours_range": [least, most],
                "peers": peers, "peers_range": ranges,
            }));
        }
    }
    shown
}

/// A directory for the data, removed when it is dropped, and the machine it is on. Says so if it is no disk.
pub(crate) fn place(asked: Option<&Path>) -> Result<(TempDir, Value), Fail> {
    let root = match asked {
        Some(dir) => dir.to_owned(),
        None if Path::new("target").is_dir() => PathBuf::from("target"),
        None => PathBuf::from("/var/tmp"),
    };
    let root = root.canonicalize().map_err(Fail::io(format!("looking at {}", root.display())))?;
    let dir = tempfile::Builder::new().prefix("quorate-bench-").tempdir_in(&root);
    let dir = dir.map_err(Fail::io(format!("making a directory in {}", root.display())))?;
    if machine::is_tmpfs(dir.path()) {
        output::talk(
            "the data lies in memory (tmpfs): no number here says anything about a disk; use --data-dir",
        );
    }
    let machine = machine::describe(dir.path())?;
    Ok((dir, machine))
}

/// What etcd is called in the rows, and its version, if it is at hand.
pub(crate) async fn etcd_beside(machine: &mut Value) -> Option<&'static str> {
    machine["etcd"] = etcd::version().await?.into();
    Some("etcd (json gateway)")
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn of_clients(count: usize) -> String {
    format!("{count} {}", if count == 1 { "client" } else { "clients" })
}
