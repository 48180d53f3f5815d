//! Measurements that anyone can repeat: ours, and the same load on others that are installed here.
//!
//! Everything that a measurement starts is stopped and removed at its end, whatever that is.

mod actors;
mod etcd;
mod load;
mod machine;
mod ours;
mod register;

use clap::Subcommand;

use crate::fail::Done;

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
