//! `quorate-model`: explores all states within the given bounds, and prints what it found.
//!
//! Ends with 0 when every law held and everything happened that should at some time, else with 1.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use quorate_model::{Bounds, Protocol};
use stateright::{Checker, Expectation, HasDiscoveries, Model};

/// Explores what sessions, leases and grants can do.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    bounds: Bounds,
    /// How many threads explore
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Ends after so many minutes, whatever is left
    #[arg(long)]
    minutes: Option<f64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let is_to_fail = args.bounds.mutant.is_some();
    let protocol = Protocol { bounds: args.bounds };
    let begun = quorate_env::now();
    let mut checker = protocol.checker().threads(args.threads);
    if let Some(minutes) = args.minutes {
        checker = checker.timeout(Duration::from_secs_f64(minutes * 60.0));
    }
    if is_to_fail {
        checker = checker.finish_when(HasDiscoveries::AnyFailures);
    }
    let checker = checker.spawn_bfs().join();
    let seconds = quorate_env::now().since(begun).as_secs_f64();

    println!("{:?}", checker.model().bounds);
    println!(
        "{} states, {} of them unique, depth {}, {seconds:.1} s{}",
        checker.state_count(),
        checker.unique_state_count(),
        checker.max_depth(),
        if checker.is_done() { "" } else { ", not all" },
    );
    let mut found = checker.discoveries();
    let mut is_sound = true;
    for law in checker.model().properties() {
        let path = found.remove(law.name);
        let (is_met, what) = match (&law.expectation, &path) {
            (Expectation::Sometimes, Some(_)) => (true, "happens"),
            (Expectation::Sometimes, None) => (false, "NEVER HAPPENS"),
            (_, None) => (true, "holds"),
            (_, Some(_)) => (false, "BROKEN"),
        };
        is_sound &= is_met;
        let Some(path) = path else {
            println!("  {what}: {}", law.name);
            continue;
        };
        if is_met {
            println!("  {what}: {}", law.name);
            continue;
        }
        let steps = path.into_actions();
        println!("  {what}: {}, by {} steps:", law.name, steps.len());
        steps.iter().for_each(|step| println!("    {step:?}"));
    }
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
