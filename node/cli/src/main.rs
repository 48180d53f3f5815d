//! The command `quorate`: a node of a cluster, a throw-away cluster, and a client of either.
//!
//! Data goes to stdout, talk to stderr. Every failure has a code, says what happened to the state, and ends
//! with what to do next. A pipe that is closed ends a command quietly.
//!
//! Deliberately not here: anything that a node decides, and any word of the API that `quorate-http` does not
//! speak. What is not built yet is not listed.

mod agent;
mod args;
mod backup;
mod bench;
mod ca;
mod charge;
mod check;
mod claims;
mod client;
mod context;
mod counters;
mod dev;
mod doctor;
mod drill;
mod elect;
mod explain;
mod fail;
mod group;
mod guard;
mod last_word;
mod links;
mod lock;
mod names;
mod output;
mod property;
mod recover;
mod runner;
mod secrets;
mod session;
mod singletons;
mod span;
mod status;
mod wan;
mod watch;
mod wire;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Cli, Command, LeaderCommand, NodeCommand};
use crate::fail::{Done, Fail};

/// A name is many small objects, made on one thread and dropped on another (docs/adr/0016).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == quorate_fencer::CALL) {
        // This is the small second process, and has no time for anything else.
        return quorate_fencer::main(arguments);
    }
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) | Err(Fail::PipeClosed) => ExitCode::SUCCESS,
        Err(Fail::Exit(code)) => ExitCode::from(code),
        Err(Fail::Told(told)) => {
            output::talk(&told.to_string());
            ExitCode::from(told.exit())
        }
    }
}

fn run(cli: Cli) -> Done {
    match cli.command {
        Command::Dev(args) => dev::run(&args),
        Command::Agent(args) => agent::run(*args),
        Command::Status(view) => status::status(&view),
        Command::Members(view) => status::members(&view),
        Command::Leader { view, command } => match command {
            Some(LeaderCommand::StepDown { to }) => group::step_down(&view, to.as_deref()),
            Some(LeaderCommand::Show) | None => status::leader(&view),
        },
        Command::Node { view, command } => match command {
            NodeCommand::List => status::members(&view),
            NodeCommand::Drain(wish) => singletons::drain(&view, &wish),
            NodeCommand::Undrain { node } => singletons::undrain(&view, &node),
            NodeCommand::Remove { node } => group::remove(&view, &node),
        },
        Command::Name { view, command } => names::run(&view, command),
        Command::Counter { view, command } => counters::run(&view, command),
        Command::Property { view, command } => property::run(&view, command),
        Command::Singleton { view, command } => singletons::run(&view, command),
        Command::LastWord(word) => last_word::run(&word),
        Command::Lock(wish) => lock::lock(&wish),
        Command::Elect(wish) => elect::elect(&wish),
        Command::Guard { command } => guard::run(&command),
        Command::Links { view, command } => links::run(&view, command),
        Command::Backup { view, command } => backup::run(&view, command),
        Command::Recover(args) => recover::run(&args),
        Command::Check(view) => check::check(&view),
        Command::Doctor { command } => doctor::run(&command),
        Command::Drill { command } => drill::run(command),
        Command::Bench { command } => bench::run(&command),
        Command::Ca { command, output } => ca::run(&command, output.format),
        Command::Explain { code, output } => explain::explain(code.as_deref(), output.format),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "quorate", &mut script);
            output::bytes(&script)
        }
    }
}
