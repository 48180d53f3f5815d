//! The picture for a terminal: a row for each node and for each that ran on it, a column for a span of time.

use std::fmt::Write as _;

use crate::story::{End, Story};

/// How many columns of time there are.
const COLUMNS: usize = 64;
const MARGIN: usize = 16;
/// A time is written above every so many columns.
const TICK: usize = 16;

/// Draws it.
pub fn strip(story: &Story) -> String {
    let span = (story.took_ms / COLUMNS as f64).max(1.0);
    let mut out = String::new();
    let mut ticks = " ".repeat(MARGIN);
    for column in (0..COLUMNS).step_by(TICK) {
        let at = format!("{:.1}s", column as f64 * span / 1000.0);
        let _ = write!(ticks, "{at:<TICK$}");
    }
    let _ = writeln!(out, "{}", ticks.trim_end());
    let mut row = |head: &str, sign: &dyn Fn(f64, f64) -> char| {
        let signs = (0..COLUMNS).map(|column| {
            let from = column as f64 * span;
            sign(from, from + span)
        });
        let signs: String = signs.collect();
        let _ = writeln!(out, "{head:<MARGIN$}{}", signs.trim_end());
    };
    let within = |a: f64, b: f64, from: f64, until: f64| a < until && b >= from;
    for node in &story.nodes {
        row(node, &|from, until| {
            let hurt = |done: &&crate::story::Done| {
                done.on.contains(node) && within(done.from, done.until, from, until)
            };
            let leads = |reign: &crate::story::Reign| {
                reign.node == *node && within(reign.from, reign.until, from, until)
            };
            match story.done.iter().find(hurt) {
                Some(_) => '╳',
                None if story.reigns.iter().any(leads) => '★',
                None => '─',
            }
        });
    }
    for name in story.singletons() {
        let mut head = name;
        for node in &story.nodes {
            let runs = |from, until| {
                story.turns.iter().any(|turn| {
                    turn.name == name
                        && turn.node == *node
                        && within(turn.from, turn.until, from, until)
                })
            };
            let head = format!("{:<12.12} {node}", std::mem::take(&mut head));
            row(&head, &|from, until| if runs(from, until) { '█' } else { ' ' });
        }
    }
    row("calls", &|from, until| {
        let mut ends =
            story.calls.iter().filter(|call| within(call.until, call.until, from, until));
        match ends.next() {
            None => ' ',
            Some(first) if first.end == End::Done && ends.all(|call| call.end == End::Done) => '✔',
            Some(_) => '✖',
        }
    });
    out
}

/// Says what came of it, a line for each check.
pub fn verdict(story: &Story) -> String {
    let mut out = String::new();
    for check in &story.checks {
        let sign = if check.passed { "✔" } else { "✖" };
        let _ = writeln!(out, "{sign} {:<22} {}", check.what, check.seen);
    }
    let _ = write!(out, "{}", if story.passed() { "PASS" } else { "FAIL" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Call, Done, Reign, Turn};

    #[test]
    fn a_handover_is_seen_in_rows_and_columns() {
        let turn = |node: &str, from, until| Turn {
            name: "billing".to_owned(),
            epoch: 1,
            node: node.to_owned(),
            from,
            until,
        };
        let story = Story {
            nodes: vec!["n1".to_owned(), "n2".to_owned()],
            took_ms: 6_400.0,
            done: vec![Done {
                deed: "cut".to_owned(),
                what: "cut n1".to_owned(),
                on: vec!["n1".to_owned()],
                from: 1_000.0,
                until: 1_950.0,
                calm: None,
                quorum: true,
            }],
            reigns: vec![Reign { node: "n2".to_owned(), from: 0.0, until: 6_400.0 }],
            turns: vec![turn("n1", 0.0, 1_450.0), turn("n2", 3_200.0, 6_400.0)],
            calls: vec![Call {
                client: "c".to_owned(),
                node: "n1".to_owned(),
                what: String::new(),
                answer: String::new(),
                end: End::Unknown,
                from: 0.0,
                until: 250.0,
            }],
            ..Story::default()
        };
        let drawn = strip(&story);
        let rows: Vec<&str> = drawn.lines().collect();
        assert!(rows[0].starts_with("                0.0s"), "{drawn}");
        let row = |at: usize| rows[at].chars().skip(MARGIN).collect::<String>();
        assert_eq!(row(1), format!("{}{}{}", "─".repeat(10), "╳".repeat(10), "─".repeat(44)));
        assert_eq!(row(2), "★".repeat(64));
        assert!(rows[3].starts_with("billing      n1 ") && row(3) == "█".repeat(15), "{drawn}");
        assert_eq!(row(4), format!("{}{}", " ".repeat(32), "█".repeat(32)));
        assert_eq!(row(5), "  ✖");
    }
}
