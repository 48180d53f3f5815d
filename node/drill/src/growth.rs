//! Whether nodes take more and more: memory, open files, room on their disks.
//!
//! What a node takes rises and falls with what it does, and its first minutes are spent on filling buffers,
//! so a later part of a drill is compared with an earlier one, by what is in the middle of each. A process
//! that is started again begins anew; so where nodes are killed often, it is what outlives them that shows.

use crate::story::{Size, Story};
use crate::verdict::{Check, check};

/// A shorter drill says nothing of growth.
const LEAST_MS: f64 = 15.0 * 60_000.0;
/// The parts that are compared, as shares of a drill.
const EARLY: (f64, f64) = (0.2, 0.4);
const LATE: (f64, f64) = (0.8, 1.0);

/// One thing that must not grow.
struct Measure {
    of: fn(&Size) -> u64,
    /// What it may grow by, beside a half of what it was.
    slack: u64,
    unit: u64,
    told: &'static str,
}

const MEASURES: [Measure; 3] = [
    Measure { of: |size| size.memory_kb, slack: 16 << 10, unit: 1 << 10, told: "MiB of memory" },
    Measure { of: |size| size.files, slack: 64, unit: 1, told: "open files" },
    Measure { of: |size| size.disk_kb, slack: 32 << 10, unit: 1 << 10, told: "MiB on disk" },
];

/// Judges it; none of a drill whose nodes could not be measured.
pub(crate) fn judge(story: &Story) -> Option<Check> {
    if story.sizes.is_empty() {
        return None;
    }
    let is_long = story.took_ms >= LEAST_MS;
    let grown = story.nodes.iter().filter(|_| is_long).find_map(|node| {
        MEASURES.iter().find_map(|measure| match measure.ends(story, node) {
            Some(ends) => measure.grown(node, ends),
            None => Some(format!("{node} was not measured both early and late")),
        })
    });
    if let Some(seen) = grown {
        return Some(check("growth", false, seen));
    }
    let most = |measure: &Measure| {
        let most = story.sizes.iter().map(measure.of).max().unwrap_or_default();
        format!("{} {}", most.div_ceil(measure.unit), measure.told)
    };
    let [memory, files, disk] = MEASURES.each_ref().map(most);
    let apart = if is_long { "" } else { "; too short to tell whether they grow" };
    Some(check("growth", true, format!("{memory}, {files}, {disk} at most{apart}")))
}

impl Measure {
    /// What is in the middle of the early part and of the late one; none if one of them was not seen.
    fn ends(&self, story: &Story, node: &str) -> Option<(u64, u64)> {
        let middle = |part: (f64, f64)| {
            let (from, until) = (part.0 * story.took_ms, part.1 * story.took_ms);
            let within = |size: &&Size| size.node == node && (from..=until).contains(&size.at);
            let mut all: Vec<u64> = story.sizes.iter().filter(within).map(self.of).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied()
        };
        Some((middle(EARLY)?, middle(LATE)?))
    }

    fn grown(&self, node: &str, (early, late): (u64, u64)) -> Option<String> {
        (late > early + early / 2 + self.slack).then(|| {
            let (early, late) = (early.div_ceil(self.unit), late.div_ceil(self.unit));
            format!("{node} came from {early} to {late} {}", self.told)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: f64 = 60_000.0;

    /// Half an hour of a node, by what it took in each minute.
    fn judged(took_ms: f64, of_minute: impl Fn(u64) -> (u64, u64, u64)) -> Check {
        let sizes = (0..(took_ms / MINUTE) as u64).map(|minute| {
            let (memory_kb, files, disk_kb) = of_minute(minute);
            let at = minute as f64 * MINUTE;
            Size { node: "n1".to_owned(), at, memory_kb, files, disk_kb }
        });
        let nodes = vec!["n1".to_owned()];
        judge(&Story { took_ms, nodes, sizes: sizes.collect(), ..Story::default() }).unwrap()
    }

    #[test]
    fn what_rises_and_falls_again_is_no_growth() {
        let check = judged(30.0 * MINUTE, |minute| {
            let peak = if minute % 5 == 0 { 100_000 } else { 0 };
            (50_000 + peak, 100 + peak / 1_000, 8_000 + peak)
        });
        assert!(check.passed, "{check:?}");
        assert_eq!(check.seen, "147 MiB of memory, 200 open files, 106 MiB on disk at most");
    }

    #[test]
    fn each_that_grows_and_grows_is_found() {
        for (grown, told) in [
            (judged(30.0 * MINUTE, |m| (50_000 + m * 4_000, 100, 8_000)), "84 to 155 MiB of m"),
            (judged(30.0 * MINUTE, |m| (50_000, 100 + m * 10, 8_000)), "190 to 370 open files"),
            (judged(30.0 * MINUTE, |m| (50_000, 100, 8_000 + m * 4_000)), "MiB on disk"),
        ] {
            assert!(!grown.passed && grown.seen.contains(told), "{grown:?}");
        }
    }

    #[test]
    fn a_node_of_which_half_was_not_seen_does_not_pass() {
        let sizes = |minute: u64| Size {
            node: "n1".to_owned(),
            at: minute as f64 * MINUTE,
            memory_kb: 1,
            files: 1,
            disk_kb: 1,
        };
        let (took_ms, nodes) = (30.0 * MINUTE, vec!["n1".to_owned()]);
        let sizes = (0..15).map(sizes).collect();
        assert!(!judge(&Story { took_ms, nodes, sizes, ..Story::default() }).unwrap().passed);
    }

    #[test]
    fn a_short_drill_says_that_it_says_nothing() {
        let check = judged(3.0 * MINUTE, |minute| (50_000 << minute, 100, 8_000));
        assert!(check.passed && check.seen.contains("too short"), "{check:?}");
    }
}
