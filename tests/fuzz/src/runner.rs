//! The loop: draws an input, hands it over, and holds it to its bounds.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_env::now;

use crate::memory::Peak;
use crate::{Dice, Target};

/// No input may take longer. One that did is tried twice more: a busy machine is no finding.
const INPUT_TIME_MAX: Duration = Duration::from_secs(1);
/// How much the memory that is really there may grow.
const RESIDENT_BYTES_MAX: u64 = 64 << 20;
/// How much the memory that is only reserved may grow. Wide, as each new thread reserves an arena.
const RESERVED_BYTES_MAX: u64 = 1 << 30;
/// So many runs, then a look at the memory.
const RUNS_A_LOOK: u64 = 256;

/// What is to be run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What all inputs follow from.
    pub seed: u64,
    /// The number of the first run.
    pub from: u64,
    /// When to end.
    pub until: Until,
}

/// When to end.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many runs.
    Runs(u64),
    /// After so long.
    Elapsed(Duration),
}

/// What came of a run without a finding.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    /// How many inputs were taken.
    pub runs: u64,
    /// How many of them were valid in spite of all.
    pub accepted: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// How long the slowest input took.
    pub slowest: Duration,
    /// By how many bytes the peak of memory grew.
    pub grown: u64,
}

/// Something that must not be.
#[derive(Debug)]
pub struct Finding {
    /// Whose.
    pub target: &'static str,
    /// Under which seed.
    pub seed: u64,
    /// In which run.
    pub run: u64,
    /// In how many runs up to that one, when it cannot be told more closely.
    pub among: u64,
    /// What was seen.
    pub what: String,
    /// The input.
    pub input: Vec<u8>,
}

impl Finding {
    /// The line that repeats it.
    pub fn line(&self) -> String {
        let from = (self.run + 1).saturating_sub(self.among);
        Self::line_of(self.target, self.seed, from, self.among)
    }

    /// The line that repeats so many runs.
    pub fn line_of(target: &str, seed: u64, from: u64, runs: u64) -> String {
        format!("cargo run -p quorate-fuzz -- {target} --seed {seed} --from {from} --runs {runs}")
    }
}

/// The input of one run.
pub fn input_of(target: &dyn Target, seed: u64, run: u64) -> Vec<u8> {
    target.draw(&mut Dice::new(seed, run))
}

/// Hands one input over: whether it was accepted, and how long that took; or what must not be.
pub fn judge(target: &dyn Target, input: &[u8]) -> Result<(bool, Duration), String> {
    let once = || -> Result<(bool, Duration), String> {
        let begun = now();
        let accepted = catch_unwind(AssertUnwindSafe(|| target.run(input)));
        let accepted = accepted.map_err(|panic| format!("it panicked: {}", words(&*panic)))?;
        Ok((accepted, now().since(begun)))
    };
    let mut tries = 0;
    loop {
        let (accepted, took) = once()?;
        tries += 1;
        if took <= INPUT_TIME_MAX {
            return Ok((accepted, took));
        }
        if tries == 3 {
            return Err(format!("it took {took:?}, the third time as well as before"));
        }
    }
}

/// Runs a plan until it ends or something is found. `progress` tells others which run is under way.
pub fn fuzz(target: &dyn Target, plan: Plan, progress: &AtomicU64) -> Result<Report, Finding> {
    // What is made once and kept does not count.
    for valid in target.corpus() {
        target.run(valid);
    }
    let (begun, before) = (now(), Peak::now());
    let mut report = Report::default();
    let finding = |run, among, what| Finding {
        target: target.name(),
        seed: plan.seed,
        run,
        among,
        what,
        input: input_of(target, plan.seed, run),
    };
    for run in plan.from.. {
        let is_over = match plan.until {
            Until::Runs(runs) => report.runs >= runs,
            // The clock is asked anyway, for every input.
            Until::Elapsed(span) => report.elapsed >= span,
        };
        if is_over || (report.runs > 0 && report.runs.is_multiple_of(RUNS_A_LOOK)) {
            let grown = growth(before, Peak::now());
            report.grown =
                grown.map_err(|what| finding(run - 1, report.runs.min(RUNS_A_LOOK), what))?;
        }
        if is_over {
            break;
        }
        progress.store(run, Ordering::Relaxed);
        let input = input_of(target, plan.seed, run);
        let (accepted, took) = judge(target, &input).map_err(|what| finding(run, 1, what))?;
        report.runs += 1;
        report.accepted += u64::from(accepted);
        report.slowest = report.slowest.max(took);
        report.elapsed = now().since(begun);
    }
    Ok(report)
}

/// By how much the peak grew, or that this is too much.
fn growth(before: Option<Peak>, after: Option<Peak>) -> Result<u64, String> {
    let Some((before, after)) = before.zip(after) else {
        return Ok(0);
    };
    let resident = after.resident.saturating_sub(before.resident);
    let reserved = after.reserved.saturating_sub(before.reserved);
    if resident > RESIDENT_BYTES_MAX || reserved > RESERVED_BYTES_MAX {
        return Err(format!("memory grew by {resident} bytes, and {reserved} were reserved"));
    }
    Ok(resident)
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
