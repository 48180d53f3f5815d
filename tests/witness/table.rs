//! What a drill prints: for each fault how often, how long nobody lived, and whether two ever did.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::faults::Fault;

/// One row for each fault that was drawn.
#[derive(Debug, Default)]
pub(crate) struct Table(BTreeMap<Fault, Row>);

#[derive(Debug, Default)]
struct Row {
    rounds: usize,
    /// For how long nobody lived, of any name that got another owner.
    gaps: Vec<Duration>,
    /// How long after the fault the next one lived, of the name that was drawn.
    waits: Vec<Duration>,
    wrongs: usize,
}

impl Table {
    pub(crate) fn add(
        &mut self,
        fault: Fault,
        gaps: &[Duration],
        waits: Option<Duration>,
        wrongs: usize,
    ) {
        let row = self.0.entry(fault).or_default();
        row.rounds += 1;
        row.gaps.extend(gaps);
        row.gaps.sort_unstable();
        row.waits.extend(waits);
        row.waits.sort_unstable();
        row.wrongs += wrongs;
    }
}

/// Median, the 99th of a hundred and the longest.
fn spread(sorted: &[Duration]) -> String {
    let of = |hundredth: usize| {
        let at = (sorted.len() * hundredth).div_ceil(100).max(1) - 1;
        sorted.get(at).map_or("–".to_owned(), |span| format!("{:.3}", span.as_secs_f64()))
    };
    format!("{} / {} / {}", of(50), of(99), of(100))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = "new turns | nobody lived for, s: p50 / p99 / longest | until the next one, s";
        writeln!(f, "| Fault | rounds | {heads} | wrong |")?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|")?;
        let (mut all, mut wrong) = (0, 0);
        for (fault, Row { rounds, gaps, waits, wrongs }) in &self.0 {
            (all, wrong) = (all + rounds, wrong + wrongs);
            let (name, turns) = (fault.name(), gaps.len());
            let (gaps, waits) = (spread(gaps), spread(waits));
            writeln!(f, "| {name} | {rounds} | {turns} | {gaps} | {waits} | {wrongs} |")?;
        }
        write!(f, "| all | {all} | | | | {wrong} |")
    }
}
