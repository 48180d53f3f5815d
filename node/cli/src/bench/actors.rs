//! `bench actors`: what processes cost, beside plain tokio in the same run.
//!
//! What is measured and how stands in `quorate-bench`. Every run of every side has an OS process of its
//! own, which is this command again under a flag that nobody needs to see.

use std::process;

use quorate_bench::{Plan, Probe, ROWS, Row};
use tokio::runtime::Builder;

use super::{failed, listed, shown};
use crate::args::Output;
use crate::fail::{Done, Fail};
use crate::output;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only this row; repeatable
    #[arg(long = "row", value_name = "NAME", value_parser = row)]
    rows: Vec<&'static Row>,
    /// List the rows, and measure nothing
    #[arg(long, conflicts_with = "rows")]
    list: bool,
    /// How often each side of each row is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(3..))]
    runs: u8,
    /// Take one probe in this process, and print its figure
    #[arg(long, value_name = "PROBE", hide = true)]
    probe: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> Done {
    if let Some(probe) = &args.probe {
        let figure = Probe::parse(probe).and_then(|probe| probe.take()).map_err(failed)?;
        return output::line(&figure.to_string());
    }
    if args.list {
        return listed(args.output.format, ROWS.iter().map(|row| (row.key, row.title)));
    }
    super::until_signalled(Builder::new_current_thread(), measure(args))
}

async fn measure(args: &Args) -> Done {
    let rows = if args.rows.is_empty() { ROWS.iter().collect() } else { args.rows.clone() };
    let plan = Plan { rows, runs: usize::from(args.runs), n: None };
    let program = std::env::current_exe().map_err(Fail::io("looking for this program"))?;
    let command = |probe: &Probe| {
        let mut command = process::Command::new(&program);
        command.args(["bench", "actors", "--probe", &probe.to_string()]);
        command
    };
    let tell = |row: &Row| output::talk(&format!("measuring {}", row.title));
    let report = quorate_bench::measure(&plan, command, tell).await;
    shown(args.output.format, &report)
}

fn row(key: &str) -> Result<&'static Row, String> {
    Row::named(key).map_err(|e| e.to_string())
}
