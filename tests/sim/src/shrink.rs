//! Shrinks the trouble of a world that went wrong to what it takes to go wrong in the same way.
//!
//! The plans of the nemesis are taken out, many at a time and then one by one, for as long as what is left
//! still breaks the same invariant. A plan leaves the world whole, so any of them may go. Each try is a whole
//! life of the world under the same seed; that it went another way otherwise does not matter.

use std::fmt;
use std::time::Duration;

use quorate_drill::nemesis::{Action, Planned};

use crate::world::{Outcome, Settings, run};

/// How long a world is left alone after the last plan that is left, so that what comes of it is seen.
const REST: Duration = Duration::from_secs(5);

/// What is left.
#[derive(Debug)]
pub struct Shrunk {
    /// The settings that have it.
    pub settings: Settings,
    /// What came of them.
    pub outcome: Outcome,
    /// How many plans there were before.
    pub before: usize,
    /// How many worlds were lived through.
    pub tries: usize,
}

/// Shrinks it; none if nothing goes wrong, or nothing does when the same is told instead of drawn.
pub fn shrink(settings: &Settings) -> Option<Shrunk> {
    let first = run(settings.clone());
    let broken = first.violations.first()?.invariant;
    let before = first.plans.len();
    let mut settings = settings.clone();
    let mut tries = 1;
    let mut fails = |plans: &[Planned], seconds: u64| {
        let told = Settings { plans: Some(plans.to_vec()), seconds, ..settings.clone() };
        tries += 1;
        let outcome = run(told);
        let breaks = outcome.violations.iter().any(|violation| violation.invariant == broken);
        breaks.then_some(outcome)
    };
    let mut seconds = settings.seconds;
    let mut outcome = fails(&first.plans, seconds)?;
    let mut plans = first.plans;
    let mut size = plans.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < plans.len() {
            let end = (at + size).min(plans.len());
            let left = [&plans[..at], &plans[end..]].concat();
            match fails(&left, seconds) {
                Some(failed) => (plans, outcome) = (left, failed),
                None => at = end,
            }
        }
        size /= 2;
    }
    let last = plans.last().map_or(Duration::ZERO, |last| last.at + length(last));
    let short = (last + REST).as_secs();
    if short < seconds
        && let Some(failed) = fails(&plans, short)
    {
        (seconds, outcome) = (short, failed);
    }
    (settings.plans, settings.seconds) = (Some(plans), seconds);
    Some(Shrunk { settings, outcome, before, tries })
}

/// How long a plan takes.
fn length(planned: &Planned) -> Duration {
    let waits = planned.actions.iter().filter_map(|action| match action {
        Action::Wait(span) => Some(*span),
        _ => None,
    });
    waits.sum()
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, outcome, before, tries } = self;
        let plans = settings.plans.as_deref().unwrap_or_default();
        writeln!(
            f,
            "of {before} plans {} are left, in {} s of trouble, after {tries} tries:",
            plans.len(),
            settings.seconds
        )?;
        for planned in plans {
            let mut at = planned.at;
            for action in &planned.actions {
                match action {
                    Action::Wait(span) => at += *span,
                    action => writeln!(f, "{:9.3}s  {action:?}", at.as_secs_f64())?,
                }
            }
        }
        for violation in &outcome.violations {
            writeln!(f, "  {violation}")?;
        }
        Ok(())
    }
}
