//! `bench register`: how many fresh names three nodes give out, and how long each takes.
//!
//! Every name is bound to a session (in etcd: a lease), so that all do the same work. Every number is the
//! median of three runs, with the least and the most beside it.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::load::{self, Sample, Taker};
use super::{etcd, machine, ours, seconds};
use crate::args::Output;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, column, shown};

/// How often each row is measured.
const RUNS: usize = 3;

const ETCD: &str = "etcd (json gateway)";

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many clients ask at the same time, one row each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,64,256",
          value_parser = clap::value_parser!(u16).range(1..=2000))]
    clients: Vec<u16>,
    /// How long each of the three runs of a row counts
    #[arg(long, value_name = "S", default_value = "3", value_parser = seconds)]
    seconds: Duration,
    /// Where the data lies while it is measured [default: ./target if there is one, else /var/tmp]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

/// The three runs of one row.
struct Row {
    face: &'static str,
    by: &'static str,
    clients: usize,
    runs: Vec<Sample>,
}

/// What of a sample is looked at, in which unit, and which way is better.
type Measure = (&'static str, &'static str, &'static str, fn(&Sample) -> f64);

const MEASURES: [Measure; 4] = [
    ("rate", "1/s", "higher", |sample| sample.rate),
    ("p50", "ms", "lower", |sample| sample.p50),
    ("p99", "ms", "lower", |sample| sample.p99),
    ("max", "ms", "lower", |sample| sample.max),
];

pub(crate) fn run(args: &Args) -> Done {
    super::until_signalled(Builder::new_multi_thread(), measure(args))
}

async fn measure(args: &Args) -> Done {
    let dir = place(args.data_dir.as_deref())?;
    if machine::is_tmpfs(dir.path()) {
        output::talk(
            "the data lies in memory (tmpfs): no number here says anything about a disk; use --data-dir",
        );
    }
    let mut machine = machine::describe(dir.path())?;
    let clients: Vec<usize> = args.clients.iter().copied().map(usize::from).collect();
    let mut rows = Vec::new();

    let nodes = ours::Nodes::start(&dir.path().join("rust")).await?;
    for count in &clients {
        rows.push(row(("rust", "quorate"), *count, args.seconds, || nodes.takers(*count)).await?);
    }
    nodes.stop().await;

    let agents = ours::agents(dir.path()).await?;
    for count in &clients {
        let takers = || ours::http_takers(&agents, *count);
        rows.push(row(("http", "quorate"), *count, args.seconds, takers).await?);
    }
    agents.end().await;

    if let Some(version) = etcd::version().await {
        machine["etcd"] = version.into();
        let etcd = etcd::Etcd::start(&dir.path().join("etcd")).await?;
        for count in &clients {
            rows.push(row(("http", ETCD), *count, args.seconds, || etcd.takers(*count)).await?);
        }
        etcd.stop().await;
    }
    show(args.output.format, &machine, &rows)
}

async fn row<T, F>(
    (face, by): (&'static str, &'static str),
    clients: usize,
    span: Duration,
    mut takers: impl FnMut() -> F,
) -> Result<Row, Fail>
where
    T: Taker,
    F: Future<Output = Result<Vec<T>, Fail>>,
{
    output::talk(&format!("measuring {by}, {face}, {}", of_clients(clients)));
    let mut runs = Vec::new();
    for number in 0..RUNS {
        let run = load::run(takers().await?, &format!("{face}/{clients}/{number}"), span).await?;
        if run.errors > 0 {
            output::talk(&format!("  {} requests came to nothing and are not counted", run.errors));
        }
        runs.push(run);
    }
    Ok(Row { face, by, clients, runs })
}

impl Row {
    /// Median, least and most of a measure.
    fn spread(&self, of: fn(&Sample) -> f64) -> (f64, f64, f64) {
        let mut all: Vec<f64> = self.runs.iter().map(|run| rounded(of(run))).collect();
        all.sort_unstable_by(f64::total_cmp);
        (all[all.len() / 2], all[0], all[all.len() - 1])
    }
}

fn show(format: Format, machine: &Value, rows: &[Row]) -> Done {
    if matches!(format, Format::Table | Format::Wide) {
        let lines: Vec<Value> = rows.iter().map(line).collect();
        let columns = [
            column("REGISTER", |line| shown(&line["by"])),
            column("FACE", |line| shown(&line["face"])),
            column("CLIENTS", |line| shown(&line["clients"])),
            column("PER SECOND (MIN..MAX)", |line| shown(&line["rate"])),
            column("P50 MS", |line| shown(&line["p50"])),
            column("P99 MS", |line| shown(&line["p99"])),
            column("MAX MS", |line| shown(&line["max"])),
        ];
        output::talk(&format!("on {machine}"));
        return output::many(format, &Value::Null, &lines, &columns);
    }
    let rows = document(rows);
    let document = json!({ "machine": machine, "rows": rows });
    output::many(format, &document, &rows, &[])
}

fn line(row: &Row) -> Value {
    let mut line = json!({ "by": row.by, "face": row.face, "clients": row.clients });
    for (name, unit, _, of) in MEASURES {
        let (median, least, most) = row.spread(of);
        line[name] = match unit {
            "1/s" => format!("{median:.0} ({least:.0}..{most:.0})").into(),
            _ => format!("{median:.2} ({least:.2}..{most:.2})").into(),
        };
    }
    line
}

/// The rows as the contract of `bench -o json` has them: ours, and the others beside it.
fn document(rows: &[Row]) -> Vec<Value> {
    let mut shown = Vec::new();
    for row in rows.iter().filter(|row| row.by != ETCD) {
        for (name, unit, better, of) in MEASURES {
            let (ours, least, most) = row.spread(of);
            let (mut peers, mut ranges) = (Map::new(), Map::new());
            let same = |other: &&Row| {
                other.by == ETCD && other.face == row.face && other.clients == row.clients
            };
            for peer in rows.iter().filter(same) {
                let (theirs, least, most) = peer.spread(of);
                peers.insert(peer.by.to_owned(), theirs.into());
                ranges.insert(peer.by.to_owned(), json!([least, most]));
            }
            let title = format!("register, {}, {}: {name}", of_clients(row.clients), row.face);
            shown.push(json!({
                "name": title, "row": title, "unit": unit, "better": better,
                "ours": ours, "ours_range": [least, most],
                "peers": peers, "peers_range": ranges,
            }));
        }
    }
    shown
}

/// A directory on a disk, removed when it is dropped.
fn place(asked: Option<&Path>) -> Result<TempDir, Fail> {
    let root = match asked {
        Some(dir) => dir.to_owned(),
        None if Path::new("target").is_dir() => PathBuf::from("target"),
        None => PathBuf::from("/var/tmp"),
    };
    let root = root.canonicalize().map_err(Fail::io(format!("looking at {}", root.display())))?;
    let made = tempfile::Builder::new().prefix("quorate-bench-").tempdir_in(&root);
    made.map_err(Fail::io(format!("making a directory in {}", root.display())))
}

fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

fn of_clients(count: usize) -> String {
    format!("{count} {}", if count == 1 { "client" } else { "clients" })
}
