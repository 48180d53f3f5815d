//! Scripts do what they say to whom they name, and undo it.

use std::time::Duration;

use quorate_drill::nemesis::{Action, WorldView};
use quorate_drill::script::{Deed, Plan, Step, Who, built_in, churn, plan};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use crate::damage::{Damage, view};

/// n2 leads, and n3 owns.
fn world(count: usize) -> WorldView {
    WorldView { owner: Some(2), ..view(count, Some(1)) }
}

fn planned(deed: Deed, who: Who, count: usize) -> Plan {
    let lasts = Duration::from_secs(5);
    let step = Step { deed, who, lasts, rest: Duration::ZERO };
    plan(&step, &world(count), &mut SmallRng::seed_from_u64(7))
}

fn on(who: Who, count: usize) -> Vec<String> {
    planned(Deed::Kill, who, count).on
}

fn cuts(plan: &Plan) -> Damage {
    let lasts = Action::Wait(Duration::from_secs(1));
    Damage::of(&[&plan.inject[..], &[lasts]].concat())
}

#[test]
fn every_drill_does_something_and_undoes_it() {
    for seed in 0..200 {
        let mut dice = SmallRng::seed_from_u64(seed);
        for script in built_in().into_iter().chain([churn(seed, 30)]) {
            for step in &script.steps {
                let Plan { on, inject, heal } = plan(step, &world(script.nodes), &mut dice);
                let what = format!("{} {step:?}", script.name);
                assert!(!inject.is_empty() && !on.is_empty(), "{what}");
                let done = Damage::of(&inject);
                let is_odd = !done.is_mended();
                assert!(is_odd != heal.is_empty(), "{what}: {inject:?}, {heal:?}");
                let both: Vec<Action> = inject.into_iter().chain(heal).collect();
                assert!(Damage::of(&both).is_mended(), "{what}");
            }
        }
    }
}

#[test]
fn the_built_in_drills_have_names_of_their_own() {
    let mut names: Vec<String> = built_in().into_iter().map(|script| script.name).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!((count, names.len()), (24, 24));
    assert!(built_in().iter().all(|script| !script.about.is_empty() && script.nodes >= 3));
}

#[test]
fn whom_a_step_is_done_to_is_found_in_the_world_as_it_is() {
    assert_eq!(on(Who::Leader, 3), ["n2"]);
    assert_eq!(on(Who::Owner, 3), ["n3"]);
    assert_eq!(on(Who::Other, 3), ["n1"]);
    assert_eq!(on(Who::Node("n1".to_owned()), 3), ["n1"]);
    assert_eq!(on(Who::Node("n9".to_owned()), 3), [""; 0]);
    let minority = on(Who::Minority, 5);
    assert!(minority.len() == 2 && minority.contains(&"n3".to_owned()), "{minority:?}");
    assert_eq!(on(Who::Majority, 5).len(), 3);
    assert_eq!(on(Who::All, 5).len(), 5);
}

#[test]
fn one_that_is_cut_off_is_not_heard_and_a_deaf_one_is() {
    let cut = cuts(&planned(Deed::Cut, Who::Leader, 3));
    assert!(!cut.hears("n1", "n2") && !cut.hears("n2", "n1") && cut.hears("n1", "n3"));
    let deaf = cuts(&planned(Deed::Deafen, Who::Leader, 3));
    assert!(deaf.hears("n1", "n2") && !deaf.hears("n2", "n1"));
    let mute = cuts(&planned(Deed::Mute, Who::Leader, 3));
    assert!(!mute.hears("n1", "n2") && mute.hears("n2", "n1"));
    let one_way = planned(Deed::OneWay, Who::Leader, 5);
    assert_eq!(one_way.inject.len(), 1);
    let bridge = planned(Deed::Bridge, Who::Leader, 5);
    let heard = cuts(&bridge);
    for other in ["n1", "n3", "n4", "n5"] {
        assert!(heard.hears("n2", other) && heard.hears(other, "n2"), "{other}");
    }
    assert_eq!(bridge.inject.len(), 8);
}

#[test]
fn it_is_known_whether_a_quorum_is_left() {
    let left = |deed, who, count| planned(deed, who, count).leaves_quorum(&world(count));
    assert!(left(Deed::Cut, Who::Leader, 3) && left(Deed::Halves, Who::Owner, 5));
    assert!(left(Deed::Kill, Who::Minority, 5) && left(Deed::Bridge, Who::Any, 5));
    assert!(left(Deed::Deafen, Who::Leader, 3) && left(Deed::Flap, Who::Leader, 3));
    assert!(!left(Deed::Kill, Who::Majority, 3) && !left(Deed::Kill, Who::All, 5));
    assert!(!left(Deed::Cut, Who::All, 3));
    assert!(!left(Deed::Pause, Who::Majority, 5) && !left(Deed::Restore, Who::All, 3));
}
