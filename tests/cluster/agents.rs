//! Daemons that are killed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::host::{self, Agent, eventually, lookup, register, start_all};

/// After this an agent has given up on whoever did not answer.
const LONGER_THAN_A_HANDSHAKE: Duration = Duration::from_secs(8);

#[test]
fn five_agents_killed_at_once_under_load_remember_every_acknowledged_name() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = host::cookie(dir.path());
    let mut agents = host::agents(5, dir.path());
    let acknowledged = Arc::new(Mutex::new(BTreeMap::<String, u64>::new()));
    // Twice, so that the second round also kills what a recovery left behind.
    for round in 0..2 {
        start_all(&mut agents, &cookie);
        let known = acknowledged.lock().unwrap().clone();
        all_are_held(&agents, &known);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = agents
            .iter()
            .map(|agent| {
                let (http, by) = (agent.http(), agent.name.clone());
                let (stop, acknowledged) = (stop.clone(), acknowledged.clone());
                std::thread::Builder::new().spawn(move || {
                    for n in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let name = format!("load/{round}/{by}/{n}");
                        if let Some(epoch) = register(&http, &name, "v") {
                            acknowledged.lock().unwrap().insert(name, epoch);
                        }
                    }
                })
            })
            .collect::<Result<_, _>>()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1_500));
        eventually("there is a load", || acknowledged.lock().unwrap().len() > known.len() + 100);
        let pids: Vec<u32> = agents.iter().map(Agent::pid).collect();
        host::kill_at_once(&pids);
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
        for agent in &mut agents {
            agent.kill();
        }
    }
    start_all(&mut agents, &cookie);
    let known = acknowledged.lock().unwrap().clone();
    all_are_held(&agents, &known);
    println!("{} acknowledged names, all there with their epochs", known.len());
}

#[test]
fn voters_with_new_addresses_find_each_other_though_who_answers_first_is_behind() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = host::cookie(dir.path());
    let mut agents = host::agents(5, dir.path());
    start_all(&mut agents, &cookie);
    agents[0].kill();
    let http = agents[1].http();
    let mut known = BTreeMap::new();
    let mut n = 0;
    eventually("a majority decides", || {
        // Another one each time: what was not answered may have been done.
        n += 1;
        let name = format!("load/{n}");
        known.extend(register(&http, &name, "v").map(|epoch| (name, epoch)));
        known.len() >= 20
    });
    host::kill_at_once(&agents[1..].iter().map(Agent::pid).collect::<Vec<_>>());
    agents.iter_mut().for_each(Agent::kill);

    // Three know only where the first is, who can lead nobody. The last knows where all are, but for long
    // only the first answers it.
    agents[0].start(&cookie, 5, &[]);
    let first = [agents[0].mesh()];
    for agent in &mut agents[1..4] {
        agent.start(&cookie, 5, &first);
        agent.pause();
    }
    let all: Vec<String> = agents[..4].iter().map(Agent::mesh).collect();
    agents[4].start(&cookie, 5, &all);
    std::thread::sleep(LONGER_THAN_A_HANDSHAKE);
    agents[1..4].iter().for_each(Agent::resume);
    agents.iter().for_each(host::becomes_quorate);
    all_are_held(&agents, &known);
}

fn all_are_held(agents: &[Agent], known: &BTreeMap<String, u64>) {
    for (n, (name, epoch)) in known.iter().enumerate() {
        let http = agents[n % agents.len()].http();
        let found = lookup(&http, name);
        let found = found.unwrap_or_else(|| panic!("{name} is lost, it had epoch {epoch}"));
        assert_eq!(found["epoch"].as_u64(), Some(*epoch), "{name}");
    }
}
