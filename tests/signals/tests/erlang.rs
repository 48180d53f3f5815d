//! What the scenarios say here is what they say on a real Erlang, but for what is meant to differ.

use std::collections::BTreeMap;
use std::process::Command;

use quorate_signals::{DIFFERENCES, Scenario, World, kept, kept_release, scenarios};

/// Runs of each scenario in virtual time, each with tasks in another order.
const SEEDS: u64 = 200;
/// Real time is a guess. A line that is wrong at this pace is wrong.
const SLOWEST: u32 = 16;

/// What a scenario has to say here.
fn due(scenario: &Scenario) -> String {
    let name = scenario.name;
    if let Some(difference) = DIFFERENCES.iter().find(|one| one.scenario == name) {
        return format!("{name}: {}", difference.ours);
    }
    let erlang = kept().into_iter().find(|line| line.split(": ").next() == Some(name));
    erlang.unwrap_or_else(|| panic!("{name} is not in erlang/expected.txt")).to_owned()
}

fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "{} differ:\n{}\n", findings.len(), findings.join("\n"));
}

#[test]
fn every_scenario_says_what_erlang_says_whatever_the_order_of_tasks() {
    let mut wrong = BTreeMap::new();
    for scenario in scenarios() {
        let due = due(&scenario);
        for seed in 0..SEEDS {
            let line = scenario.play(World::Simulated { seed });
            if line != due {
                wrong.entry(line).or_insert(format!("  here, seed {seed}; due:\n{due}"));
            }
        }
    }
    assert_none(&wrong.into_iter().map(|(line, due)| format!("{line}\n{due}")).collect::<Vec<_>>());
}

#[test]
fn every_scenario_says_what_erlang_says_on_two_workers_in_real_time() {
    let wrong = scenarios().into_iter().filter_map(|scenario| {
        let due = due(&scenario);
        let mut pace = 1;
        loop {
            let line = scenario.play(World::Threads { pace });
            if line == due {
                return None;
            }
            if pace == SLOWEST {
                return Some(format!("{line}\n  here; due:\n{due}"));
            }
            pace *= 4;
        }
    });
    assert_none(&wrong.collect::<Vec<_>>());
}

#[test]
fn both_halves_have_the_same_scenarios_in_the_same_order() {
    let ours: Vec<&str> = scenarios().iter().map(|scenario| scenario.name).collect();
    let kept = kept();
    let erlang: Vec<&str> = kept.iter().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(ours, erlang);
}

#[test]
fn a_difference_is_one_and_says_why() {
    let kept = kept();
    for difference in DIFFERENCES {
        let line = format!("{}: {}", difference.scenario, difference.ours);
        assert!(!kept.contains(&&*line), "{} differs no more", difference.scenario);
        let named = kept.iter().any(|line| line.split(": ").next() == Some(difference.scenario));
        assert!(named, "{} is no scenario", difference.scenario);
        assert!(difference.why.len() > 20, "{} does not say why", difference.scenario);
    }
}

#[test]
fn the_kept_lines_are_what_the_erlang_at_hand_says() {
    if Command::new("erl").arg("-version").output().is_err() {
        println!("skipped: there is no `erl` on the PATH");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/erlang/run.sh");
    let mut pace = 1;
    loop {
        let ran = Command::new("bash").args([script, &pace.to_string()]).output();
        let said = ran.expect("bash runs a script");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let said = String::from_utf8(said.stdout).expect("Erlang's half writes plain words");
        let (version, lines) =
            said.split_once('\n').expect("its first line says which Erlang it is");
        let lines: Vec<&str> = lines.lines().collect();
        let differ = lines.iter().zip(kept()).filter(|(said, kept)| *said != kept);
        let differ: Vec<String> =
            differ.map(|(said, kept)| format!("{said}\n  on {version}; kept:\n{kept}")).collect();
        if differ.is_empty() && lines.len() == kept().len() {
            return;
        }
        if !version.starts_with(&format!("{},", kept_release())) {
            // Rules change from release to release; whoever keeps the next one decides what that means.
            println!("{version} is not {}:\n{}", kept_release(), differ.join("\n"));
            return;
        }
        if pace >= SLOWEST {
            assert_none(&differ);
            assert_eq!(lines.len(), kept().len(), "scenarios were added or removed");
        }
        pace *= 4;
    }
}
