//! Measurements that anyone can repeat: ours, and the same load on others that are installed here.
//!
//! Everything that a measurement starts is stopped and removed at its end, whatever that is.

mod actors;
mod etcd;
mod load;
mod machine;
mod ours;
mod register;

use std::future::Future;
use std::time::Duration;

use clap::Subcommand;
use quorate_http::code;
use tokio::runtime::Builder;

use crate::agent::Signals;
use crate::fail::{Done, Fail};

/// What can be measured.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Processes, their mail, calls and deaths, beside plain tokio in the same run
    Actors(actors::Args),
    /// Registrations of fresh names on three nodes: from Rust, over HTTP, and on etcd if it is in PATH
    Register(register::Args),
}

pub(crate) fn run(command: &Command) -> Done {
    match command {
        Command::Actors(args) => actors::run(args),
        Command::Register(args) => register::run(args),
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
