//! Whole nodes through seeded faults: every seed repeats itself, and every promise holds.

use quorate_sim::sweep::{Case, Total, sweep};
use quorate_sim::trace::Keep;
use quorate_sim::world::{Outcome, Plan, Rare, Settings, run};

const JOBS: usize = 2;

/// What went wrong, and how to see it again.
fn story(total: &Total) -> String {
    let mut text = String::new();
    for (case, outcome) in &total.failed {
        text += &format!("\nseed {} failed\n", case.settings.seed);
        for violation in &outcome.violations {
            text += &format!("  {violation}\n");
        }
        text += &case.repeat();
    }
    text
}

pub(crate) fn hold(cases: Vec<Case>) -> Total {
    let total = sweep(cases, JOBS, |_, _| ());
    println!("{total}");
    assert!(total.failed.is_empty(), "{}", story(&total));
    total
}

fn short(seed: u64, nodes: usize) -> Settings {
    Settings { seconds: 20, ..Settings::new(seed, nodes, Plan::Everything) }
}

/// The first lines that differ, to find what leaks.
fn difference(settings: &Settings) -> String {
    let kept = || run(Settings { keep: Keep::All, ..settings.clone() }).lines;
    let (one, other) = (kept(), kept());
    let at = one.iter().zip(&other).position(|(one, other)| one != other);
    let at = at.unwrap_or(one.len().min(other.len()));
    let around = |lines: &[String]| lines[at.saturating_sub(5)..lines.len().min(at + 3)].join("\n");
    format!("{}\n---- and ----\n{}", around(&one), around(&other))
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let settings = |seed: u64| Settings {
        drifts: seed.is_multiple_of(2),
        deferrals_per_mille: [0, 10, 100][seed as usize % 3],
        ..short(seed, if seed.is_multiple_of(4) { 5 } else { 3 })
    };
    // Twice each, and two worlds at a time: nothing that they share may show.
    let cases =
        (1_000..1_008).flat_map(|seed| [seed, seed]).map(|seed| Case { settings: settings(seed) });
    let outcomes = std::sync::Mutex::new(Vec::<(u64, u64, u64)>::new());
    sweep(cases, JOBS, |case, Outcome { hash, events, .. }| {
        let mut outcomes = outcomes.lock().unwrap();
        outcomes.push((case.settings.seed, *hash, *events));
    });
    let mut outcomes = outcomes.into_inner().unwrap();
    outcomes.sort_unstable();
    let mut hashes = Vec::new();
    for pair in outcomes.chunks(2) {
        let (seed, hash, events) = pair[0];
        assert!(events > 1_000, "seed {seed} tells of {events} events only");
        assert!(pair[0] == pair[1], "{}", difference(&settings(seed)));
        hashes.push(hash);
    }
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 8, "two seeds gave the same trace");
}

#[test]
fn seeds_that_once_failed_hold() {
    let kept = Case::kept();
    assert!(!kept.is_empty());
    hold(kept);
}

#[test]
fn one_node_alone_serves_and_survives_its_power_cuts() {
    let alone = |seed| Case { settings: short(seed, 1) };
    let total = hold((0..4).map(alone).collect());
    assert!(total.operations.answered > 1_000, "{total}");
}

/// What a release build is for: `cargo test --release -p quorate-sim`.
#[cfg(not(debug_assertions))]
#[test]
fn a_hundred_and_fifty_seeds_hold_all_invariants() {
    let total = hold((0..150).map(|seed| Case::of_seed(seed, None, None)).collect());
    assert_eq!(total.faults.len(), quorate_drill::nemesis::Fault::ALL.len());
    let never = |rare: &&Rare| !total.rare.contains_key(rare);
    assert_eq!(Rare::ALL.iter().find(never), None, "it came never: {total}");
    assert!(total.operations.answered > 200_000 && total.ages.0 > 50_000, "{total}");
}

#[cfg(debug_assertions)]
#[test]
fn a_few_short_seeds_hold_all_invariants() {
    let case =
        |seed: u64| Case { settings: short(seed, if seed.is_multiple_of(3) { 5 } else { 3 }) };
    hold((0..8).map(case).collect());
}
