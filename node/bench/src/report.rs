//! What was measured, for people as a table and for programs as data.

use std::collections::BTreeMap;
use std::fmt;

use serde::ser::{Serialize, SerializeStruct, Serializer};

use crate::line::{Line, Unit};
use crate::machine::Machine;

/// Several runs in three numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The one in the middle.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
}

/// One line, measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Which.
    pub line: Line,
    /// Ours.
    pub ours: Figure,
    /// The others, in the order of their row.
    pub peers: Vec<(&'static str, Figure)>,
}

/// All that was measured.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Report {
    /// What was measured and what stands beside it, as the heads of the table say it.
    #[serde(skip)]
    pub heads: [&'static str; 2],
    /// Where.
    pub machine: Machine,
    /// The rows.
    pub rows: Vec<Measured>,
    /// What could not be measured.
    pub failed: Vec<Failed>,
}

/// A row without a figure. That is a defect of what is measured, unless the machine stood still.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Failed {
    /// Which row.
    pub row: &'static str,
    /// What was seen.
    pub why: String,
}

impl Figure {
    /// Of these runs; nothing if there are none.
    pub fn of(mut runs: Vec<f64>) -> Option<Self> {
        runs.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*runs.first()?, *runs.last()?);
        Some(Self { median: runs[runs.len() / 2], min, max })
    }

    fn shown(&self, unit: Unit) -> String {
        let (mark, scale, decimals) = unit.scale(self.median);
        let one = |figure: f64| format!("{:.decimals$}", figure / scale);
        let median = format!("{} {mark}", one(self.median));
        let median = median.trim_end();
        if self.min == self.max {
            return median.to_owned();
        }
        format!("{median} ({}..{})", one(self.min), one(self.max))
    }
}

impl Report {
    /// One of this machine, in which nothing stands yet.
    pub(crate) fn begin(heads: [&'static str; 2]) -> Self {
        Self { heads, machine: Machine::here(), rows: Vec::new(), failed: Vec::new() }
    }
}

impl Measured {
    /// How many times better we are than the first peer.
    pub fn ratio(&self) -> Option<f64> {
        let (_, peer) = self.peers.first()?;
        let (ours, theirs) = (self.ours.median, peer.median);
        Some(if self.line.unit.more_is_better() { ours / theirs } else { theirs / ours })
    }

    /// Whether the goal is reached, if there is one.
    pub fn is_met(&self) -> Option<bool> {
        let goal = self.line.goal?;
        let more = self.line.unit.more_is_better();
        Some(if more { self.ours.median >= goal } else { self.ours.median <= goal })
    }

    fn cells(&self) -> [String; 6] {
        let unit = self.line.unit;
        let first = self.peers.first().map_or("", |(name, _)| name);
        let peer = |(name, figure): &(&'static str, Figure)| match name.strip_prefix(first) {
            Some("") => figure.shown(unit),
            how => {
                format!("{} {}", how.unwrap_or(name).trim_start_matches(", "), figure.shown(unit))
            }
        };
        let peers: Vec<String> = self.peers.iter().map(peer).collect();
        let goal = self.line.goal.map(|goal| Figure { median: goal, min: goal, max: goal });
        let goal = goal.map(|goal| match unit.more_is_better() {
            true => format!(">= {}", goal.shown(unit)),
            false => format!("<= {}", goal.shown(unit)),
        });
        let met = self.is_met().map(|met| if met { "yes" } else { "NO" });
        [
            self.line.title.to_owned(),
            self.ours.shown(unit),
            if peers.is_empty() { "-".to_owned() } else { peers.join(", ") },
            self.ratio().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            goal.unwrap_or_else(|| "-".to_owned()),
            met.unwrap_or("-").to_owned(),
        ]
    }
}

/// The shape that all of quorate's measurements have as data.
impl Serialize for Measured {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { line, ours, peers } = self;
        let better = if line.unit.more_is_better() { "higher" } else { "lower" };
        let medians: BTreeMap<&str, f64> =
            peers.iter().map(|(name, figure)| (*name, figure.median)).collect();
        let ranges: BTreeMap<&str, [f64; 2]> =
            peers.iter().map(|(name, figure)| (*name, [figure.min, figure.max])).collect();
        let mut shown = serializer.serialize_struct("Measured", 9)?;
        shown.serialize_field("name", line.key)?;
        shown.serialize_field("row", line.title)?;
        shown.serialize_field("unit", line.unit.symbol())?;
        shown.serialize_field("better", better)?;
        shown.serialize_field("ours", &ours.median)?;
        shown.serialize_field("ours_range", &[ours.min, ours.max])?;
        shown.serialize_field("peers", &medians)?;
        shown.serialize_field("peers_range", &ranges)?;
        shown.serialize_field("goal", &line.goal)?;
        shown.end()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [subject, beside] = self.heads;
        let beside = format!("{beside} (MIN..MAX)");
        let head = [subject, "QUORATE (MIN..MAX)", &beside, "RATIO", "GOAL", "MET"];
        let mut lines = vec![head.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Measured::cells));
        let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max();
        let widths: Vec<usize> = (0..head.len()).map(|at| width(at).unwrap_or(0)).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        for Failed { row, why } in &self.failed {
            writeln!(f, "{row} FAILED: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::Row;

    #[test]
    fn the_figure_of_runs_is_their_middle_with_both_ends() {
        let figure = Figure::of(vec![3.0, 1.0, 9.0, 2.0, 4.0]);
        assert_eq!(figure, Some(Figure { median: 3.0, min: 1.0, max: 9.0 }));
        assert_eq!(Figure::of(Vec::new()), None);
    }

    #[test]
    fn better_is_more_in_a_second_and_less_of_time_and_memory() {
        let measured = |key: &str, ours: f64, theirs: f64| Measured {
            line: Row::named(key).unwrap().line(),
            ours: Figure::of(vec![ours]).unwrap(),
            peers: vec![("tokio", Figure::of(vec![theirs]).unwrap())],
        };
        let faster = measured("spawn", 6e6, 1e6);
        assert_eq!((faster.ratio(), faster.is_met()), (Some(6.0), Some(true)));
        let larger = measured("idle-bytes", 512.0, 256.0);
        assert_eq!((larger.ratio(), larger.is_met()), (Some(0.5), Some(false)));
    }

    #[test]
    fn a_row_of_the_table_names_the_goal_and_whether_it_is_met() {
        let line = Row::named("spawn").unwrap().line();
        let ours = Figure::of(vec![6e6, 7e6, 8e6]).unwrap();
        let peers = vec![("tokio", Figure::of(vec![1e6]).unwrap())];
        let rows = vec![Measured { line, ours, peers }];
        let heads = ["ACTORS", "TOKIO"];
        let shown =
            Report { heads, machine: Machine::here(), rows, failed: Vec::new() }.to_string();
        let told = shown.lines().nth(1).unwrap();
        let words: Vec<&str> = told.split("  ").map(str::trim).filter(|w| !w.is_empty()).collect();
        let cells = [line.title, "7.00 M/s (6.00..8.00)", "1.00 M/s", "7.00", ">= 5.00 M/s", "yes"];
        assert_eq!(words, cells);
    }
}
