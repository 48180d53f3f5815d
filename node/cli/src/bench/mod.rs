//! Measurements that anyone can repeat: ours, and the same load on others that are installed here.
//!
//! Everything that a measurement starts is stopped and removed at its end, whatever that is.

mod actors;
mod etcd;
mod failover;
mod load;
mod lookup;
mod machine;
mod mesh;
mod ours;
mod register;
mod rows;
mod watch;

use std::future::Future;
use std::time::Duration;

use clap::Subcommand;
use quorate_bench::{BenchError, Report};
use quorate_http::code;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::agent::Signals;
use crate::fail::{Done, Fail};
use crate::output::{self, Format, column};
use crate::span;

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Processes, their mail, calls and deaths, beside plain tokio in the same run
    Actors(actors::Args),
    /// Mail, calls and streams between two nodes, beside plain TCP and Erlang in the same run
    Mesh(mesh::Args),
    /// The far process of a measurement of the mesh
    #[command(hide = true)]
    MeshFar,
    /// Registrations of fresh names on three nodes: from Rust, over HTTP, and on etcd if it is in PATH
    Register(register::Args),
    /// Lookups on three nodes: by what a node knows, and linearizably: from Rust, over HTTP, and on etcd
    Lookup(lookup::Args),
    /// Many watchers of one voter while names change: how late they hear, and that they miss nothing
    Watch(watch::Args),
    /// Singletons in code on three nodes: one is moved, a node is drained, a node is killed
    Failover(failover::Args),
}

/// From where three nodes are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Face {
    /// In the process of the nodes
    Rust,
    /// Over HTTP; etcd, too
    Http,
}

impl Face {
    /// Without a wish, all are.
    fn is_asked_for(self, faces: &[Self]) -> bool {
        faces.is_empty() || faces.contains(&self)
    }
}

pub(crate) fn run(command: &Command) -> Done {
    match command {
        Command::Actors(args) => actors::run(args),
        Command::Mesh(args) => mesh::run(args),
        Command::MeshFar => mesh::far(),
        Command::Register(args) => register::run(args),
        Command::Lookup(args) => lookup::run(args),
        Command::Watch(args) => watch::run(args),
        Command::Failover(args) => failover::run(args),
    }
}

/// Runs a measurement until it is done or a signal comes. What it started is killed as it is dropped.
fn until_signalled(mut builder: Builder, measuring: impl Future<Output = Done>) -> Done {
    let runtime = builder.enable_all().build().map_err(Fail::io("starting the runtime"))?;
    let done = runtime.block_on(async {
        let mut signals = Signals::new()?;
        tokio::select! {
            biased;
            name = signals.next() => Err(Fail::new(code::BENCH_FAILED, format!("{name} came"))),
            done = measuring => done,
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    done
}

/// Prints what was measured; a row that has failed fails the command, after the others were shown.
fn shown(format: Format, report: &Report) -> Done {
    if matches!(format, Format::Table | Format::Wide) {
        output::talk(&format!("on {}", json!(report.machine)));
        output::bytes(report.to_string().as_bytes())?;
    } else {
        let rows: Vec<Value> = report.rows.iter().map(|row| json!(row)).collect();
        output::many(format, &json!(report), &rows, &[])?;
    }
    match report.failed.first() {
        None => Ok(()),
        Some(failed) => {
            Err(Fail::new(code::BENCH_FAILED, format!("{}: {}", failed.row, failed.why)))
        }
    }
}

/// Prints which rows there are, by the word that asks for each.
fn listed(format: Format, rows: impl Iterator<Item = (&'static str, &'static str)>) -> Done {
    let rows: Vec<Value> = rows.map(|(name, row)| json!({ "name": name, "row": row })).collect();
    let columns = [
        column("NAME", |row| output::shown(&row["name"])),
        column("ROW", |row| output::shown(&row["row"])),
    ];
    output::many(format, &json!({ "rows": rows }), &rows, &columns)
}

#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by value")]
fn failed(error: BenchError) -> Fail {
    Fail::new(code::BENCH_FAILED, error.to_string())
}

/// Why a measurement came to nothing.
#[expect(clippy::needless_pass_by_value, reason = "errors are mapped by value")]
fn because(why: impl ToString) -> Fail {
    Fail::new(code::BENCH_FAILED, why.to_string())
}

/// Understands how long a run counts: a plain number is seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        Ok(_) => Err("it must be 0.1 to 600".to_owned()),
        Err(_) => span::parse(text),
    }
}
