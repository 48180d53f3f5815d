//! An agent that is killed is known to be dead at once: its guard saw it, and nobody waits for its lease.
//!
//! `QUORATE_DRILL_KILLS=20` makes a drill of it; with `--nocapture` it prints figures. Nothing asserts on
//! them.

use std::time::{Duration, Instant};

use crate::host::{agents, cookie, get, rounds, start_again, start_all};

/// Longer than any test waits: what ends before was not ended by this.
const LEASE: &str = "600s";

#[test]
#[expect(clippy::disallowed_methods, reason = "a drill of processes lives in real time")]
fn the_session_of_an_agent_that_was_killed_ends_without_a_wait_for_its_lease() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = cookie(dir.path());
    let mut agents = agents(3, dir.path());
    agents.iter_mut().for_each(|agent| agent.lease(LEASE));
    start_all(&mut agents, &cookie);
    let mut took = Vec::new();
    for round in 0..rounds() {
        let killed = round % agents.len();
        let (name, other) = (agents[killed].name.clone(), (killed + 1) % agents.len());
        let status = format!("{}/v1/status", agents[other].http());
        let sessions = || get(&status).and_then(|status| status["sessions"].as_u64());
        crate::host::eventually("all have a session", || sessions() == Some(3));
        // What the guard knows of the others is a second old, and they listen elsewhere after each start.
        let others = agents.iter().filter(|agent| agent.name != name);
        let others: Vec<String> = others.map(|agent| agent.mesh()).collect();
        crate::host::eventually("the others are noted", || agents[killed].knows(&others));
        let begun = Instant::now();
        agents[killed].kill();
        while sessions() != Some(2) {
            assert!(begun.elapsed() < crate::host::PATIENCE, "{name} is not taken for dead");
            std::thread::sleep(Duration::from_millis(2));
        }
        took.push(begun.elapsed());
        start_again(&mut agents, killed, &cookie);
    }
    took.sort_unstable();
    println!("killed, and known to be dead: {took:.0?}");
}
