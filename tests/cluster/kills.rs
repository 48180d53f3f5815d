//! The leader goes under load, killed or on purpose, again and again: nothing that was acknowledged is lost,
//! and how long nobody was served is told.
//!
//! `QUORATE_DRILL_KILLS=50` makes a drill of it; with `--nocapture` it prints figures. Nothing asserts on
//! them: time belongs to the machine.

use std::time::Instant;

use crate::host::{agents, cookie, leader, rounds, start_again, start_all, step_down};
use crate::load::{Gaps, Load};

/// How much is to be acknowledged after each change, so that its gap is seen whole.
const AFTERWARDS: usize = 300;

#[test]
#[expect(clippy::disallowed_methods, reason = "a drill of processes lives in real time")]
fn a_leader_that_is_killed_under_load_again_and_again_takes_nothing_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = cookie(dir.path());
    let mut agents = agents(3, dir.path());
    start_all(&mut agents, &cookie);
    let load = Load::begin(&agents);
    let mut gaps = Vec::new();
    for round in 0..rounds() {
        load.goes_on(AFTERWARDS);
        let killed = leader(&agents);
        let begun = Instant::now();
        agents[killed].kill();
        load.goes_on(AFTERWARDS);
        gaps.push(load.longest_gap(begun));
        println!("kill {round} of {}: {:.0?} without an answer", agents[killed].name, gaps[round]);
        start_again(&mut agents, killed, &cookie);
        load.moved(killed, &agents[killed]);
    }
    let lasting = load.ends_with_nothing_lost(&agents[0]);
    println!("killed: {}; {lasting} acknowledged names, none lost", Gaps(gaps));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a drill of processes lives in real time")]
fn a_leader_that_steps_down_or_is_shut_down_under_load_takes_nothing_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = cookie(dir.path());
    let mut agents = agents(3, dir.path());
    start_all(&mut agents, &cookie);
    let load = Load::begin(&agents);
    let (mut stepped, mut stopped) = (Vec::new(), Vec::new());
    for _ in 0..rounds() {
        load.goes_on(AFTERWARDS);
        let old = leader(&agents);
        let new = (old + 1) % agents.len();
        let begun = Instant::now();
        // A refusal is possible where the other has just lost its session; the next round is another.
        if step_down(&agents[old].http(), &agents[new].name) {
            load.goes_on(AFTERWARDS);
            stepped.push(load.longest_gap(begun));
        }
        let old = leader(&agents);
        let begun = Instant::now();
        agents[old].stop();
        load.goes_on(AFTERWARDS);
        stopped.push(load.longest_gap(begun));
        start_again(&mut agents, old, &cookie);
        load.moved(old, &agents[old]);
    }
    let lasting = load.ends_with_nothing_lost(&agents[0]);
    println!("stepped down: {}", Gaps(stepped));
    println!("shut down: {}; {lasting} acknowledged names, none lost", Gaps(stopped));
}
