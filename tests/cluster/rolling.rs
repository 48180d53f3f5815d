//! A rolling upgrade, and back: one daemon after the other is shut down and started with another build, under
//! load, while the builds are mixed. Nothing that was acknowledged is lost, and each serves in each mixture.
//!
//! `QUORATE_OLD=/path/to/quorate` names the build before, and `QUORATE_NEW` the other one when it is not the
//! one under test. Without an old one the same build is rolled onto itself, which shows that the roll itself
//! loses nothing.
//!
//! Back is safe for as long as one daemon of the old build is left, since the level that the cluster has
//! agreed on is one that it knows. So two go there and back, and then all three go there for good.

use std::path::PathBuf;

use crate::host::{Agent, agents, cookie, leader, lookup, register, start_again, start_all};
use crate::load::Load;

/// How much is to be acknowledged in each mixture.
const IN_EACH: usize = 200;

fn build(variable: &str) -> PathBuf {
    let under_test = || env!("CARGO_BIN_EXE_quorate").into();
    let binary = std::env::var_os(variable).map_or_else(under_test, PathBuf::from);
    assert!(binary.is_file(), "{variable} names {}, which is no file", binary.display());
    binary
}

#[test]
fn a_cluster_is_rolled_to_another_build_and_back_under_load() {
    let (old, new) = (build("QUORATE_OLD"), build("QUORATE_NEW"));
    let dir = tempfile::tempdir().unwrap();
    let cookie = cookie(dir.path());
    let mut agents = agents(3, dir.path());
    for agent in &mut agents {
        agent.install(&old);
    }
    start_all(&mut agents, &cookie);
    let load = Load::begin(&agents);
    load.goes_on(IN_EACH);
    let mut rolled = Vec::new();
    // What the new build wrote the old one reads.
    for (way, binary, count) in [("there", &new, 2), ("back", &old, 2), ("for-good", &new, 3)] {
        let order = match way {
            "back" => rolled,
            _ => followers_first(&agents),
        };
        rolled = order[..count].to_vec();
        for nth in rolled.clone() {
            agents[nth].stop();
            load.goes_on(IN_EACH);
            agents[nth].install(binary);
            start_again(&mut agents, nth, &cookie);
            load.moved(nth, &agents[nth]);
            load.goes_on(IN_EACH);
            everybody_serves(&agents, &format!("{way}/{nth}"));
        }
        println!("{way}: {count} of them run {}", binary.display());
    }
    println!("{} acknowledged names, none lost", load.ends_with_nothing_lost(&agents[0]));
}

/// The order that is recommended: whoever leads comes last, and hands over once.
fn followers_first(agents: &[Agent]) -> Vec<usize> {
    let leader = leader(agents);
    let mut order: Vec<usize> = (0..agents.len()).collect();
    order.sort_by_key(|nth| *nth == leader);
    order
}

/// Whatever each daemon registers is seen by each.
fn everybody_serves(agents: &[Agent], when: &str) {
    for by in agents {
        let name = format!("mixed/{when}/{}", by.name);
        crate::host::eventually("each daemon registers", || {
            register(&by.http(), &name, "v").is_some() || lookup(&by.http(), &name).is_some()
        });
        for other in agents {
            assert!(lookup(&other.http(), &name).is_some(), "{} does not see {name}", other.name);
        }
    }
}
