//! The verdict: what must hold of every drill, whatever was done in it, and whether it did.
//!
//! Each check says what it looked at, so that one that looked at nothing is no comfort: it fails.

use serde::{Deserialize, Serialize};

use crate::check::linear;
use crate::growth;
use crate::history::{Outcome, Record};
use crate::story::{End, Letters, Replicas, Story};

/// How many steps the search for an order may take for each name.
const STEPS_MAX: u64 = 5_000_000;

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What, in a few words.
    pub what: String,
    /// Whether it held.
    pub passed: bool,
    /// What was seen.
    pub seen: String,
}

/// Speaks it. The records are what the calls of the story were, in a form that a judge can read.
pub fn judge(story: &Story, records: &[Record]) -> Vec<Check> {
    let mut checks = vec![
        one_owner(story),
        gaps(story),
        calm(story),
        names(records),
        stale(story),
        answered(story),
    ];
    checks.extend(story.letters.as_ref().map(letters));
    checks.extend(story.replicas.as_ref().map(replicas));
    checks.extend(growth::judge(story));
    checks
}

pub(crate) fn check(what: &str, passed: bool, seen: String) -> Check {
    Check { what: what.to_owned(), passed, seen }
}

fn count_of(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// I1 and I3: by what witnesses wrote, whatever the nodes say.
fn one_owner(story: &Story) -> Check {
    let turns = story.turns.len();
    let seen = match story.wrongs.first() {
        None => format!("{}, one at a time, under rising epochs", count_of(turns, "turn")),
        Some(first) => format!("{} times wrong; {first}", story.wrongs.len()),
    };
    check("one owner at a time", turns > 0 && story.wrongs.is_empty(), seen)
}

/// L1: what ran runs again within the bound, not counting what no protocol can do without a majority.
fn gaps(story: &Story) -> Check {
    let counted =
        |gap: &crate::story::Gap<'_>| gap.ms() - story.without_quorum(gap.from, gap.until);
    let gaps = story.gaps();
    let longest = gaps.iter().max_by(|a, b| counted(a).total_cmp(&counted(b)));
    let bound = story.bound_ms as f64;
    let bound_told = format!("{:.1} s", bound / 1000.0);
    match longest {
        None => check("gap", true, "nothing had to move".to_owned()),
        Some(gap) => {
            let (whole, counts) = (gap.ms() / 1000.0, counted(gap));
            let apart = if counts < gap.ms() - 0.5 {
                format!(", {:.1} s of it with a majority", counts / 1000.0)
            } else {
                String::new()
            };
            let seen = format!(
                "{whole:.1} s at most, of {} ({}){apart}; bound {bound_told}",
                count_of(gaps.len(), "change"),
                gap.name
            );
            check("gap", counts <= bound, seen)
        }
    }
}

/// After each step all serve and run within the bound.
fn calm(story: &Story) -> Check {
    let bound = story.bound_ms as f64;
    let late = |done: &&crate::story::Done| done.calm.is_none_or(|calm| calm - done.until > bound);
    match story.done.iter().find(late) {
        Some(done) => {
            let after = done.calm.map_or("never".to_owned(), |calm| {
                format!("after {:.1} s", (calm - done.until) / 1000.0)
            });
            check("calm afterwards", false, format!("after `{}`: {after}", done.what))
        }
        None => {
            let longest = story.done.iter().filter_map(|done| Some(done.calm? - done.until));
            let longest = longest.fold(0.0_f64, f64::max) / 1000.0;
            let steps = story.done.len();
            let seen = format!("{longest:.1} s at most, after {}", count_of(steps, "step"));
            check("calm afterwards", steps > 0, seen)
        }
    }
}

/// I2, I8 and I10, as clients see them: the whole history of each name has a legal order.
fn names(records: &[Record]) -> Check {
    let report = linear::check(records, &[], &linear::Hints::new(), STEPS_MAX);
    let answered =
        records.iter().filter(|record| matches!(record.outcome, Outcome::Done(_))).count();
    let seen = match (report.violations.first(), report.undecided.first()) {
        (Some(violation), _) => violation.to_string(),
        (None, Some((name, why))) => format!("{name} could not be decided: {why}"),
        (None, None) => format!(
            "{answered} answers about {} names, none lost, none stale",
            report.by_order + report.by_search
        ),
    };
    let passed = answered > 0 && report.violations.is_empty() && report.undecided.is_empty();
    check("names", passed, seen)
}

/// I12: by what a process of each node got from those of the others. Letters may be missing, but not all of
/// them from some time on.
fn letters(Letters { arrived, wrongs, silent }: &Letters) -> Check {
    let seen = match (wrongs.first(), silent.first()) {
        (Some(first), _) => format!("{} times wrong; {first}", wrongs.len()),
        (None, Some(first)) => format!("{} pairs silent in the end; {first}", silent.len()),
        (None, None) => {
            format!("{arrived} arrived, each once and in order, in the end between all")
        }
    };
    check("letters", *arrived > 0 && wrongs.is_empty() && silent.is_empty(), seen)
}

/// I11: whoever has applied as much of the log has the same state.
fn replicas(Replicas { index, parties }: &Replicas) -> Check {
    let seen = match (index, &parties[..]) {
        (None, _) => "the nodes were never seen at one index".to_owned(),
        (Some(index), [_]) => format!("all had the same state at index {index}"),
        (Some(index), _) => {
            let parties: Vec<_> = parties.iter().map(|party| party.join(", ")).collect();
            format!("at index {index} not the same state: {}", parties.join(" against "))
        }
    };
    check("replicas", index.is_some() && parties.len() == 1, seen)
}

/// I6: what a former owner writes is refused.
fn stale(story: &Story) -> Check {
    let refused = story.stale.iter().filter(|stale| stale.refused == Some(true)).count();
    let taken = story.stale.iter().filter(|stale| stale.refused == Some(false)).count();
    let seen = match taken {
        0 => format!("{refused} of {} refused", story.stale.len()),
        _ => format!("{taken} were taken"),
    };
    check("late writes", taken == 0, seen)
}

/// Some calls must have been answered, or nothing was looked at; how many ends are unknown is said.
fn answered(story: &Story) -> Check {
    let count = |end: End| story.calls.iter().filter(|call| call.end == end).count();
    let (done, not_done, unknown) = (count(End::Done), count(End::NotDone), count(End::Unknown));
    let longest = story.calls.iter().map(|call| call.until - call.from).fold(0.0_f64, f64::max);
    let seen = format!(
        "{done} answered, {not_done} not done, {unknown} unknown; {:.1} s at most",
        longest / 1000.0
    );
    check("calls", done > 0, seen)
}
