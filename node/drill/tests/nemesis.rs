//! The nemesis leaves every world whole, and does to it what it says.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_drill::nemesis::{Action, Fault, Nemesis, Tempo};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::damage::{Damage, view};

fn first_damage(fault: Fault, count: usize, seed: u64) -> Damage {
    let mut nemesis = Nemesis::new([fault], Tempo::default());
    Damage::of(&nemesis.next(&mut SmallRng::seed_from_u64(seed), &view(count, Some(1))))
}

fn hosts(count: usize) -> Vec<String> {
    (1..=count).map(|nth| format!("n{nth}")).collect()
}

#[test]
fn every_plan_leaves_the_world_whole_and_names_what_it_does() {
    let mut nemesis = Nemesis::new(Fault::ALL, Tempo::default());
    let mut joined = 0;
    for seed in 0..3000 {
        let count = 1 + seed as usize % 7;
        let leader = (seed % 3 > 0).then_some(seed as usize % count);
        let plan = nemesis.next(&mut SmallRng::seed_from_u64(seed), &view(count, leader));
        let damage = Damage::of(&plan);
        assert!(damage.is_mended());
        assert!(damage.said.len() >= 2 && damage.said.last().unwrap() == "whole");
        assert!(damage.took >= Duration::from_millis(800) && damage.took < Duration::from_secs(36));
        joined += usize::from(damage.said.len() > 2);
    }
    assert!((500..1000).contains(&joined), "{joined} of 3000 plans joined two faults");
    for fault in Fault::ALL {
        assert!(nemesis.told()[&fault] > 100, "{fault} came {} times", nemesis.told()[&fault]);
    }
}

#[test]
fn a_seed_repeats_a_schedule() {
    let plans = |seed| {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut nemesis = Nemesis::new(Fault::ALL, Tempo::default());
        (0..50).map(|_| nemesis.next(&mut rng, &view(5, Some(2)))).collect::<Vec<_>>()
    };
    assert_eq!(plans(1), plans(1));
    assert_ne!(plans(1), plans(2));
}

#[test]
fn halves_are_two_groups_without_a_bridge() {
    for seed in 0..100 {
        let damage = first_damage(Fault::Halves, 5, seed);
        let hosts = hosts(5);
        let with_first: Vec<_> =
            hosts.iter().filter(|host| damage.hears(&hosts[0], host)).collect();
        assert!((1..5).contains(&with_first.len()));
        for a in &hosts {
            for b in &hosts {
                let together = with_first.contains(&a) == with_first.contains(&b);
                assert_eq!(damage.hears(a, b), together);
            }
        }
    }
}

#[test]
fn a_leader_is_cut_off_both_ways_or_one() {
    let directions = [
        (Fault::LeaderAlone, false, false),
        (Fault::LeaderDeaf, false, true),
        (Fault::LeaderMute, true, false),
    ];
    for (fault, hears, is_heard) in directions {
        let damage = first_damage(fault, 3, 7);
        for other in ["n1", "n3"] {
            assert_eq!(damage.hears("n2", other), hears, "{fault}");
            assert_eq!(damage.hears(other, "n2"), is_heard, "{fault}");
        }
        assert!(damage.hears("n1", "n3") && damage.hears("n3", "n1"));
    }
}

#[test]
fn a_bridge_is_heard_by_two_groups_that_do_not_hear_each_other() {
    for (count, seed) in (0..50).flat_map(|seed| [(3, seed), (5, seed)]) {
        let damage = first_damage(Fault::Bridge, count, seed);
        let hosts = hosts(count);
        let heard = |a: &String| hosts.iter().filter(|b| damage.hears(a, b)).count();
        let bridges: Vec<_> = hosts.iter().filter(|host| heard(host) == count).collect();
        assert_eq!(bridges.len(), 1);
        assert!(hosts.iter().all(|host| host == bridges[0] || heard(host) == count / 2 + 1));
    }
}

#[test]
fn on_a_ring_everybody_hears_a_majority_and_no_two_the_same() {
    for (count, seed) in (0..20).flat_map(|seed| [(5, seed), (7, seed)]) {
        let damage = first_damage(Fault::MajoritiesRing, count, seed);
        let hosts = hosts(count);
        let mut majorities = BTreeSet::new();
        for a in &hosts {
            let heard: Vec<_> = hosts.iter().filter(|b| damage.hears(a, b)).collect();
            assert!(heard.len() > count / 2);
            assert!(heard.len() < count);
            assert!(heard.iter().all(|b| damage.hears(b, a)));
            majorities.insert(heard);
        }
        assert_eq!(majorities.len(), count);
    }
}

#[test]
fn all_nodes_lose_their_power_and_a_node_that_is_down_does_not() {
    let mut view = view(3, None);
    view.nodes[1].up = false;
    let mut nemesis = Nemesis::new([Fault::PowerLossOfAll], Tempo::default());
    let plan = nemesis.next(&mut SmallRng::seed_from_u64(1), &view);
    let lost: BTreeSet<_> = plan
        .iter()
        .filter_map(|action| match action {
            Action::PowerLoss { host, .. } => Some(host.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(lost, BTreeSet::from(["n1", "n3"]));
}

#[test]
fn a_nemesis_that_knows_no_fault_lets_time_pass() {
    let mut nemesis = Nemesis::new([], Tempo::default());
    let plan = nemesis.next(&mut SmallRng::seed_from_u64(1), &view(3, None));
    assert!(matches!(plan[..], [Action::Wait(_)]));
}
