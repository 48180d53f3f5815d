//! `quorate-bench actors`: what processes cost, beside plain tokio in the same run.
//!
//! The same figures as `quorate bench actors`, from a program that has nothing else in it, and one word more:
//! `--callgrind N` does exactly N of one row in this process, to be counted from outside.
//!
//! `quorate-bench journal`: what it costs to make entries durable, beside a plain file and sled.
//! `quorate-bench restart`: how long the start of a voter takes that has many names.
//! `quorate-bench pause`: how long anybody waits for it while snapshots are written.

mod journal;
mod pause;
mod restart;

use std::error::Error;
use std::io::{self, Write};
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};
use quorate_bench::{Plan, Probe, ROWS, Row, measure};

/// As the command has it, whose figures these are.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures what quorate is made of.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    command: Measure,
}

#[derive(Subcommand)]
enum Measure {
    /// Processes, beside plain tokio
    Actors(Actors),
    /// The journal, beside a plain file and sled
    Journal(journal::Args),
    /// The start of a voter that has many names
    Restart(restart::Args),
    /// The longest waits while a voter comes to have many names
    Pause(pause::Args),
}

#[derive(clap::Args)]
struct Actors {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    /// Measure only this row; repeatable
    #[arg(long = "row", value_name = "NAME")]
    rows: Vec<String>,
    /// Print the names of the rows
    #[arg(long, conflicts_with = "rows")]
    list: bool,
    /// How much is done in one run [default: what the row says]
    #[arg(long)]
    n: Option<u64>,
    /// How often each side of each row is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    runs: u8,
    /// Do exactly N of one probe in this thread, and print nothing: `spawn`, `spawn/tokio`
    #[arg(long, value_name = "PROBE", requires = "n", conflicts_with_all = ["rows", "json"])]
    callgrind: Option<String>,
    /// Take one probe in this process, and print its figure
    #[arg(long, value_name = "PROBE", hide = true)]
    probe: Option<String>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = match Args::parse().command {
        Measure::Actors(args) => args,
        Measure::Journal(args) => {
            journal::report(&args)?;
            return Ok(ExitCode::SUCCESS);
        }
        Measure::Restart(args) => {
            restart::report(&args)?;
            return Ok(ExitCode::SUCCESS);
        }
        Measure::Pause(args) => {
            pause::report(&args)?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    if args.list {
        for row in &ROWS {
            println!("{:18} {}", row.key, row.title);
        }
    } else if let Some(probe) = &args.callgrind {
        let mut probe = Probe::parse(probe)?;
        // One thread: callgrind does not count those that live on at the end.
        probe.workers = 0;
        take(probe, args.n)?;
    } else if let Some(probe) = &args.probe {
        println!("{}", take(Probe::parse(probe)?, args.n)?);
    } else {
        return report(&args);
    }
    Ok(ExitCode::SUCCESS)
}

fn take(mut probe: Probe, n: Option<u64>) -> Result<f64, Box<dyn Error>> {
    probe.n = n.unwrap_or(probe.n);
    Ok(probe.take()?)
}

fn report(args: &Actors) -> Result<ExitCode, Box<dyn Error>> {
    let named = args.rows.iter().map(|key| Row::named(key)).collect::<Result<Vec<_>, _>>()?;
    let rows = if named.is_empty() { ROWS.iter().collect() } else { named };
    let plan = Plan { rows, runs: usize::from(args.runs), n: args.n };
    let program = std::env::current_exe()?;
    let command = |probe: &Probe| {
        let mut command = Command::new(&program);
        command.args(["actors", "--probe", &probe.to_string(), "--n", &probe.n.to_string()]);
        command
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tell = |row: &Row| eprintln!("measuring {}", row.title);
    let report = runtime.block_on(measure(&plan, command, tell));
    let mut stdout = io::stdout().lock();
    if args.json {
        writeln!(stdout, "{:#}", serde_json::to_value(&report)?)?;
    } else {
        eprintln!("on {}", serde_json::to_value(&report.machine)?);
        write!(stdout, "{report}")?;
    }
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
