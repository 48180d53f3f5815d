//! The drills that are played on real processes, played here: one script, two worlds.

use quorate_drill::script::built_in;
use quorate_sim::sweep::Case;
use quorate_sim::world::{Builds, Plan, Settings};

use crate::world::hold;

#[test]
fn every_drill_holds_that_keeps_to_one_log() {
    let scripts: Vec<_> = built_in().into_iter().filter(|script| script.keeps_the_log()).collect();
    assert_eq!(scripts.len(), 23, "all but the one that begins anew");
    let nodes: usize = scripts.iter().map(|script| script.nodes).sum();
    let nodes = nodes as u64;
    let cases = scripts.into_iter().zip(0..).map(|(script, seed)| {
        let settings = Settings::new(seed, script.nodes, Plan::Everything);
        Case { settings: Settings { script: Some(script), ..settings } }
    });
    let total = hold(cases.collect());
    assert!(total.lives > nodes + 10, "hosts were killed and started: {total}");
}

#[test]
fn a_cluster_of_different_builds_holds_and_agrees_in_the_end() {
    let cases = (0..4).map(|seed| {
        let settings = Settings::new(seed, 5, Plan::Everything);
        Case { settings: Settings { builds: Builds::Mixed, seconds: 30, ..settings } }
    });
    let total = hold(cases.collect());
    assert!(total.singletons.grants > 0, "they agree on what singletons need: {total}");
}

#[test]
fn tasks_that_are_held_break_no_promise() {
    let cases = (0..4).map(|seed| {
        let settings = Settings::new(seed, 3, Plan::Everything);
        Case { settings: Settings { holds_per_million: 500, seconds: 30, ..settings } }
    });
    hold(cases.collect());
}

#[test]
fn a_crowd_with_five_voters_holds() {
    // All fifty begin in one moment, and most of whom a newcomer can ask are newcomers, too.
    let settings = Settings { seconds: 5, ..Settings::new(1, 50, Plan::Crowd) };
    let total = hold(vec![Case { settings }]);
    assert!(total.lives >= 50, "{total}");
}
