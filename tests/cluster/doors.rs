//! Faults at the doors of real daemons, injected over HTTP and healed by nobody.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::host::{self, Agent, eventually, get, inject, lookup, register, start_all};

fn status(agent: &Agent) -> Value {
    get(&format!("{}/v1/status", agent.http())).unwrap_or_default()
}

fn faults(agent: &Agent) -> usize {
    let listed = get(&format!("{}/v1/drill/faults", agent.http())).unwrap_or_default();
    listed["faults"].as_array().expect("faults are a list").len()
}

/// Three daemons that let themselves be drilled.
fn drilled(dir: &Path) -> Vec<Agent> {
    let mut agents = host::agents(3, dir);
    agents.iter_mut().for_each(Agent::drilled);
    agents
}

#[test]
fn a_leader_that_falls_silent_is_led_without_and_comes_back_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut agents = drilled(dir.path());
    start_all(&mut agents, &host::cookie(dir.path()));
    let silent = host::leader(&agents);
    let mut screen = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let screen = screen.args(["status", "--agent", &agents[silent].http()]).output().unwrap();
    let screen = String::from_utf8(screen.stdout).unwrap();
    assert!(screen.contains("it lets itself be drilled"), "{screen}");
    // Long enough for an election on a machine that is as busy as one can be.
    let fault = json!({ "fault": "silence", "peer": "*", "way": "both", "lasts_ms": 20_000 });
    inject(&agents[silent].http(), &fault);
    let others: Vec<&Agent> = (0..3).filter(|at| *at != silent).map(|at| &agents[at]).collect();
    eventually("another one leads", || {
        others.iter().all(|other| {
            let status = status(other);
            status["quorate"] == true
                && status["leader"].as_str().is_some_and(|leader| leader != agents[silent].name)
        })
    });
    eventually("the silent one knows that nobody follows it", || {
        status(&agents[silent])["quorate"] == false || faults(&agents[silent]) == 0
    });
    let mut epoch = None;
    eventually("the others go on", || {
        epoch = epoch.or_else(|| register(&others[0].http(), "meanwhile", "said"));
        epoch.is_some()
    });
    eventually("the fault ends by itself", || faults(&agents[silent]) == 0);
    eventually("all follow one leader", || {
        let told: Vec<Value> = agents.iter().map(status).collect();
        told.iter().all(|one| {
            one["quorate"] == true
                && one["leader"].is_string()
                && one["leader"] == told[0]["leader"]
        })
    });
    let held = lookup(&agents[silent].http(), "meanwhile").expect("it is held");
    assert_eq!((held["value"].as_str(), held["epoch"].as_u64()), (Some("said"), epoch));
}

#[test]
fn what_was_acknowledged_outlives_a_kill_of_all_on_disks_that_forget_what_was_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let cookie = host::cookie(dir.path());
    let mut agents = drilled(dir.path());
    start_all(&mut agents, &cookie);
    let http = agents[0].http();
    let mut known = BTreeMap::new();
    let mut nth = 0;
    eventually("names are acknowledged", || {
        // A name whose answer was lost is nobody's business here.
        nth += 1;
        let name = format!("kept/{nth}");
        known.extend(register(&http, &name, "there").map(|epoch| (name, epoch)));
        known.len() == 50
    });
    host::kill_at_once(&agents.iter().map(Agent::pid).collect::<Vec<_>>());
    agents.iter_mut().for_each(Agent::kill);
    start_all(&mut agents, &cookie);
    let held = host::held_under(&agents[1].http(), "kept/");
    for (name, epoch) in known {
        assert_eq!(held.get(&name), Some(&epoch), "{name}");
    }
}
