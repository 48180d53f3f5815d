//! `quorate-fuzz TARGET`: hostile bytes for minutes or hours.
//!
//! Ends with 0 and a report, or with 1 and a finding: what was seen, the one line that repeats it, and the
//! input in a file of its own. When an input brings the whole process down, the line is left in a file: see
//! `watch`.

mod watch;

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use quorate_fuzz::{Finding, Plan, Report, Target, Until, fuzz, judge, targets};
use watch::Watch;

/// Feeds hostile bytes to one of quorate's decoders.
#[derive(Parser)]
struct Args {
    /// frame, snapshot, wire or journal
    target: String,
    /// How long to run
    #[arg(long, default_value_t = 1.0, conflicts_with = "runs")]
    minutes: f64,
    /// How many inputs to run
    #[arg(long)]
    runs: Option<u64>,
    /// What all inputs follow from; another one each time if it is not given
    #[arg(long)]
    seed: Option<u64>,
    /// The number of the first run
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Runs the input in this file, and nothing else
    #[arg(long, conflicts_with_all = ["runs", "minutes", "seed", "from"])]
    input: Option<PathBuf>,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    let mut all = targets::all().into_iter();
    let Some(target) = all.find(|target| target.name() == args.target) else {
        let names: Vec<&str> = targets::all().iter().map(|target| target.name()).collect();
        return Err(format!("{} is no target; there are {}", args.target, names.join(", ")).into());
    };
    if let Some(path) = &args.input {
        return one(&*target, path);
    }
    let until = match args.runs {
        Some(runs) => Until::Runs(runs),
        None => Until::Elapsed(Duration::try_from_secs_f64(args.minutes * 60.0)?),
    };
    // A time is no seed that anything else hangs on; it only differs from the last one.
    let seed = args.seed.unwrap_or_else(|| quorate_env::now().0);
    let plan = Plan { seed, from: args.from, until };
    let watch = Watch::begin(target.name(), plan)?;
    let outcome = fuzz(&*target, plan, &watch.progress);
    watch.end()?;
    match outcome {
        Ok(report) => {
            println!("{}", summary(&*target, plan, &report));
            Ok(ExitCode::SUCCESS)
        }
        Err(finding) => {
            tell(&finding)?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Runs an input that was saved.
fn one(target: &dyn Target, path: &PathBuf) -> Result<ExitCode, Box<dyn Error>> {
    match judge(target, &fs::read(path)?) {
        Ok((accepted, took)) => {
            println!(
                "{}: {} in {took:?}",
                target.name(),
                if accepted { "accepted" } else { "refused" }
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(what) => {
            println!("{}: {what}", target.name());
            Ok(ExitCode::FAILURE)
        }
    }
}

fn summary(target: &dyn Target, plan: Plan, report: &Report) -> String {
    let (name, seed, runs) = (target.name(), plan.seed, report.runs);
    let seconds = report.elapsed.as_secs_f64();
    let rate = runs as f64 / seconds.max(1e-9);
    let accepted = 100.0 * report.accepted as f64 / (runs.max(1)) as f64;
    let (slowest, grown) = (report.slowest, report.grown >> 10);
    format!(
        "{name}: seed {seed}, {runs} runs in {seconds:.1} s, {rate:.0} a second, {accepted:.1} % accepted, \
         slowest {slowest:.1?}, memory +{grown} KiB; nothing found"
    )
}

fn tell(finding: &Finding) -> Result<(), Box<dyn Error>> {
    let Finding { target, seed, run, .. } = finding;
    let path = watch::folder()?.join(format!("{target}-{seed}-{run}.bin"));
    fs::write(&path, &finding.input)?;
    println!("{target}: {}", finding.what);
    println!("seed {seed}, run {run}; the input is in {}", path.display());
    println!("again: {}", finding.line());
    Ok(())
}
