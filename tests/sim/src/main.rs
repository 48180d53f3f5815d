//! The simulator as a command: sweeps seeds, or repeats one and tells what happened.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use quorate_drill::script::Script;
use quorate_sim::clock::Stamp;
use quorate_sim::shrink::shrink;
use quorate_sim::sweep::{Case, sweep};
use quorate_sim::trace::Keep;
use quorate_sim::world::{Mutant, Outcome, Plan};

/// Lives whole quorate clusters through seeded faults, and checks what they promise.
#[derive(Debug, Parser)]
#[command(name = "quorate-sim")]
struct Arguments {
    /// How many seeds.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only this seed.
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// How many nodes; else every third world has five and the others three, and one of a swarm up to seven.
    /// All vote, but where the trouble is spares three do, and of a swarm five, or all of seven.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=50))]
    nodes: Option<u8>,
    /// Which trouble: everything, power-cuts, spares, swarm or crowd; else every fifth world has power cuts,
    /// every fifth has spares, every fifth is of a swarm, and the others have everything.
    #[arg(long, value_parser = Plan::from_word)]
    plan: Option<Plan>,
    /// Play this drill in every world, as `quorate drill` writes it in JSON, instead of drawing trouble.
    #[arg(long, value_parser = script)]
    script: Option<Script>,
    /// For how long there are faults, in simulated seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// How many worlds at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Print everything that happened; for one seed.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Find out how little of the trouble it takes to go wrong in the same way; for one seed that fails.
    #[arg(long, requires = "seed", conflicts_with = "script")]
    shrink: bool,
    /// Build this bug in: ack-before-sync, leader-restore, forgets-marks, amends-blindly, expires-early,
    /// ignores-guard, forgets-renewals, counts-from-receipt, never-fences, begins-without-lease,
    /// forgets-state, repeats-calls or young-by-append. Needs the feature `mutants`.
    #[arg(long, value_parser = Mutant::from_word)]
    mutant: Option<Mutant>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What dead nodes log while they are dropped concerns nobody, so nothing is told unless it is asked for.
    let asked_for = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::OFF.into())
        .from_env_lossy();
    let to_people =
        tracing_subscriber::fmt().with_env_filter(asked_for).with_writer(std::io::stderr);
    to_people.with_timer(Stamp).init();
    let seeds = match arguments.seed {
        Some(seed) => seed..seed + 1,
        None => arguments.from..arguments.from.saturating_add(arguments.seeds),
    };
    let nodes = arguments.nodes.map(usize::from);
    let nodes = arguments.script.as_ref().map(|script| script.nodes).or(nodes);
    let mut cases = seeds.map(|seed| {
        let mut case = Case::of_seed(seed, nodes, arguments.plan);
        case.settings.seconds = arguments.seconds;
        case.settings.mutant = arguments.mutant;
        case.settings.script = arguments.script.clone();
        if arguments.trace {
            case.settings.keep = Keep::All;
        }
        case
    });
    if arguments.shrink {
        return match cases.next().and_then(|case| shrink(&case.settings)) {
            Some(shrunk) => {
                print!("{shrunk}");
                ExitCode::FAILURE
            }
            None => {
                println!(
                    "nothing goes wrong, or nothing does when the same is told instead of drawn"
                );
                ExitCode::SUCCESS
            }
        };
    }
    #[expect(clippy::disallowed_methods, reason = "people want to know how fast it is")]
    let begun = Instant::now();
    let total = sweep(cases, arguments.jobs.max(1), tell);
    let minutes = begun.elapsed().as_secs_f64() / 60.0;
    println!("{total}");
    println!("{:.0} seeds per minute", total.worlds as f64 / minutes);
    if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn script(text: &str) -> Result<Script, String> {
    let script: Script = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if script.keeps_the_log() {
        return Ok(script);
    }
    Err("what begins a cluster anew cannot be played here".to_owned())
}

/// Tells of a world as soon as it has ended: its trace, if it was kept, and what was wrong.
fn tell(case: &Case, outcome: &Outcome) {
    for line in &outcome.lines {
        println!("{line}");
    }
    if outcome.violations.is_empty() {
        return;
    }
    // In one piece, as other threads tell of other worlds.
    let mut text = format!("seed {} failed\n", case.settings.seed);
    for violation in &outcome.violations {
        text += &format!("  {violation}\n");
    }
    println!("{text}{}", case.repeat());
}
