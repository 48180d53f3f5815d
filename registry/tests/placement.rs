//! Where singletons go: labels, company, room, weights; and why not to the others.

use crate::common;

use std::collections::{BTreeMap, BTreeSet};

use common::stage::{Stage, granted};
use common::{cases, labels, name};
use proptest::prelude::*;
use quorate_registry::{Blocked, Company, Effect, Op, Pin, Spec, Standing};
use quorate_vocab::{NodeId, NodeName};

fn plain() -> Spec {
    Spec::default()
}

fn company(apart: bool, spread: Option<&str>) -> Spec {
    let (group, spread) = ("crew".to_owned(), spread.map(str::to_owned));
    Spec { company: Some(Company { group, apart, spread }), ..plain() }
}

fn drain(number: u64, why: Option<&str>) -> Op {
    Op::Drain { node: NodeId(number), why: why.map(str::to_owned) }
}

/// Offers it on all these nodes at once as far as a choice goes: it is halted until all have offered.
fn offer_then_start(stage: &mut Stage, last: u64, of: &str, spec: &Spec) {
    stage.offer(1, of, spec);
    stage.done(Op::Halt { name: name(of) });
    if stage.grant(of).is_some() {
        stage.stops(of);
    }
    stage.offer_all(last, of, spec);
    stage.done(Op::Resume { name: name(of) });
}

#[test]
fn it_runs_only_where_the_labels_are_that_it_asks_for_and_not_where_those_are_that_it_shuns() {
    let mut stage =
        Stage::of(&[&[("disk", "ssd"), ("rack", "7")], &[("disk", "hdd")], &[("disk", "ssd")]]);
    let spec = Spec { on: labels(&[("disk", "ssd")]), not: labels(&[("rack", "7")]), ..plain() };
    stage.offer_all(2, "till", &spec);
    assert_eq!(stage.blocked("till"), Some(Blocked::Unfit));
    stage.offer(3, "till", &spec);
    assert_eq!(stage.owner("till"), Some(3));
    let (key, value) = ("rack".to_owned(), "7".to_owned());
    assert_eq!(stage.standing("till", 1), Standing::Excluded { key, value });
    let (key, value) = ("disk".to_owned(), "ssd".to_owned());
    assert_eq!(stage.standing("till", 2), Standing::Lacks { key, value });
    // A label that comes lets it in by the entry that brings it.
    stage.expires(3);
    assert_eq!(stage.owner("till"), None);
    stage.labelled(2, &[("disk", "ssd")]);
    assert_eq!(stage.owner("till"), Some(2));
    // And one that goes takes nothing away.
    stage.labelled(2, &[]);
    assert_eq!(stage.owner("till"), Some(2));
}

#[test]
fn the_key_node_stands_for_the_name_of_a_node() {
    let mut stage = Stage::three();
    let on = Spec { on: labels(&[("node", "n3")]), ..plain() };
    stage.offer_all(3, "on", &on);
    assert_eq!(stage.owner("on"), Some(3));
    let not = labels(&[("node", "n1")]);
    stage.offer_all(2, "not", &Spec { not, ..plain() });
    assert_eq!(stage.owner("not"), Some(2));
}

#[test]
fn of_those_that_may_the_one_with_more_of_the_preferred_labels_has_it() {
    let mut stage = Stage::of(&[&[("a", "1")], &[("a", "1"), ("b", "1")], &[("b", "1")]]);
    let spec = Spec { prefer: labels(&[("a", "1"), ("b", "1")]), ..plain() };
    for of in ["x", "y", "z"] {
        offer_then_start(&mut stage, 3, of, &spec);
        assert_eq!(stage.owner(of), Some(2));
    }
    stage.expires(2);
    assert!(["x", "y", "z"].iter().all(|of| stage.owner(of).is_some()));
}

#[test]
fn a_pin_is_followed_where_it_can_be_and_goes_before_what_is_preferred() {
    let mut stage = Stage::of(&[&[("fast", "1")], &[], &[]]);
    let pin = Some(Pin { node: NodeName::try_from("n3").unwrap(), back: true });
    let spec = Spec { pin, prefer: labels(&[("fast", "1")]), ..plain() };
    offer_then_start(&mut stage, 3, "till", &spec);
    assert_eq!(stage.owner("till"), Some(3));
    stage.expires(3);
    assert_eq!(stage.owner("till"), Some(1));
    // It comes back, and nothing moves by itself.
    stage.comes(3, &[]);
    stage.offer(3, "till", &spec);
    assert_eq!(stage.owner("till"), Some(1));
    let move_it = stage.moves("till", None);
    stage.done(move_it);
    stage.stops("till");
    assert_eq!(stage.owner("till"), Some(3));
}

#[test]
fn those_that_keep_apart_are_never_on_one_node_and_the_next_comes_when_one_goes() {
    let mut stage = Stage::three();
    for of in ["a", "b", "c", "d"] {
        stage.offer_all(3, of, &company(true, None));
    }
    let nodes: BTreeSet<_> = ["a", "b", "c"].iter().map(|of| stage.owner(of)).collect();
    assert_eq!(nodes, BTreeSet::from([Some(1), Some(2), Some(3)]));
    assert_eq!(stage.blocked("d"), Some(Blocked::NoRoom));
    assert_eq!(stage.standing("d", 1), Standing::Apart { group: "crew".to_owned() });
    let free = stage.owner("b").unwrap();
    let halt = Op::Halt { name: name("b") };
    stage.done(halt);
    assert_eq!(granted(&stage.stops("b")), [("d".to_owned(), free)]);
    // One that leaves the group makes room where it is.
    let free = stage.owner("c").unwrap();
    stage.done(Op::Resume { name: name("b") });
    assert_eq!(stage.blocked("b"), Some(Blocked::NoRoom));
    stage.offer(free, "c", &plain());
    assert_eq!(stage.owner("b"), Some(free));
}

#[test]
fn a_group_is_spread_over_the_values_of_a_label_as_evenly_as_it_goes() {
    let zones: [&[(&str, &str)]; 5] =
        [&[("zone", "a")], &[("zone", "a")], &[("zone", "a")], &[("zone", "b")], &[("zone", "c")]];
    let mut stage = Stage::of(&zones);
    for number in 0..9 {
        let of = format!("w/{number}");
        offer_then_start(&mut stage, 5, &of, &company(false, Some("zone")));
    }
    let mut of_zone = BTreeMap::<_, u32>::new();
    for (number, zone) in (1..).zip(zones) {
        *of_zone.entry(zone[0].1).or_default() += stage.machine().load_of(NodeId(number));
    }
    assert_eq!(of_zone, BTreeMap::from([("a", 3), ("b", 3), ("c", 3)]));
}

#[test]
fn a_node_takes_no_more_than_its_capacity_and_the_next_when_one_goes() {
    let mut stage = Stage::of(&[&[("capacity", "2")], &[("capacity", "0")]]);
    for of in ["a", "b", "c", "d"] {
        stage.offer_all(2, of, &plain());
    }
    assert_eq!((stage.owner("b"), stage.owner("c")), (Some(1), None));
    assert_eq!(stage.blocked("c"), Some(Blocked::NoRoom));
    assert_eq!(stage.standing("c", 1), Standing::Full { most: 2 });
    let session = stage.life(1);
    let effects = stage.done(Op::Withdraw { name: name("a"), session });
    // Only node 2 still offers it, which takes none.
    assert_eq!(granted(&effects), [("c".to_owned(), 1)]);
    stage.labelled(1, &[("capacity", "3")]);
    assert_eq!(stage.owner("d"), Some(1));
    // Less room than what is there takes nothing away, and is not made worse.
    stage.labelled(1, &[("capacity", "1")]);
    assert_eq!(stage.machine().load_of(NodeId(1)), 3);
    stage.done(Op::Halt { name: name("d") });
    assert_eq!(granted(&stage.stops("d")), []);
}

#[test]
fn a_node_that_is_drained_gets_nothing_until_that_ends() {
    let mut stage = Stage::of(&[&[], &[]]);
    stage.offer_all(2, "till", &plain());
    let effects = stage.done(drain(1, Some("new kernel")));
    assert_eq!(effects, [Effect::Drained { node: NodeId(1), draining: true }]);
    assert_eq!(stage.owner("till"), Some(1), "it is moved by whoever drains, in good order");
    assert_eq!(stage.machine().drained(NodeId(1)), Some("new kernel"));
    let move_it = stage.moves("till", None);
    stage.done(move_it);
    stage.stops("till");
    assert_eq!(stage.owner("till"), Some(2));
    assert_eq!(stage.standing("till", 1), Standing::Draining("new kernel".to_owned()));
    stage.expires(2);
    assert_eq!(stage.blocked("till"), Some(Blocked::Unfit));
    let effects = stage.done(drain(1, None));
    assert_eq!(granted(&effects), [("till".to_owned(), 1)]);
    // Whoever was drained and left is not drained when it comes back.
    stage.done(drain(1, Some("")));
    stage.say(Op::Leave { node: NodeId(1) });
    stage.comes(1, &[]);
    assert_eq!(stage.machine().drained(NodeId(1)), None);
}

#[test]
fn an_outlook_names_every_node_and_says_why() {
    let mut stage = Stage::of(&[&[], &[], &[], &[("zone", "b")], &[("capacity", "0")]]);
    let spec = Spec { not: labels(&[("zone", "b")]), ..plain() };
    for number in [1, 2, 4, 5] {
        stage.offer(number, "till", &spec);
    }
    stage.fails("till");
    let told: Vec<_> = (1..=5).map(|number| stage.standing("till", number).to_string()).collect();
    let expected = [
        "it failed there: exit 1",
        "it has it",
        "nobody there offers to run it",
        "the node has zone=b",
        "the node has 0 singletons and takes no more",
    ];
    assert_eq!(told, expected);
}

/// How many each node has after so many singletons, which all offer to run.
fn loads_of(weights: &[u32], many: u32) -> Vec<u32> {
    let texts: Vec<String> = weights.iter().map(u32::to_string).collect();
    let of: Vec<[(&str, &str); 1]> = texts.iter().map(|text| [("weight", &text[..])]).collect();
    let of: Vec<&[(&str, &str)]> = of.iter().map(|labels| &labels[..]).collect();
    let mut stage = Stage::of(&of);
    let count = weights.len() as u64;
    for number in 0..many {
        let of = name(&format!("n/{number}"));
        // Whoever offers first would have it, so the first of them says that it waits for another.
        for offers in (1..=count).rev() {
            let after = if offers > 1 { BTreeSet::from([name("gate")]) } else { BTreeSet::new() };
            let (session, node) = (stage.life(offers), NodeId(offers));
            let spec = Spec { after, ..plain() };
            stage.quickly(Op::Volunteer { name: of.clone(), session, node, spec: Box::new(spec) });
        }
    }
    stage.machine().check_all();
    (1..=count).map(|number| stage.machine().load_of(NodeId(number))).collect()
}

/// No node that has weight has more than its share and a quarter, and one.
fn within_bounds(weights: &[u32], loads: &[u32]) -> bool {
    let all: u64 = loads.iter().map(|load| u64::from(*load)).sum();
    let weight: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    weights
        .iter()
        .zip(loads)
        .all(|(own, load)| u64::from(*load) * 4 * weight <= 5 * all * u64::from(*own) + 4 * weight)
}

#[test]
fn ten_thousand_on_ten_nodes_are_no_more_than_a_quarter_above_the_share_of_any() {
    let loads = loads_of(&[1; 10], 10_000);
    assert_eq!(loads.iter().sum::<u32>(), 10_000);
    assert!(within_bounds(&[1; 10], &loads), "{loads:?}");
}

#[test]
fn what_a_node_loses_goes_to_the_others_within_their_bounds() {
    let mut stage = Stage::of(&[&[], &[], &[], &[], &[]]);
    for number in 0..500 {
        for offers in 1..=5 {
            let (session, node) = (stage.life(offers), NodeId(offers));
            let of = name(&format!("n/{number}"));
            stage.quickly(Op::Volunteer { name: of, session, node, spec: Box::new(plain()) });
        }
    }
    assert_eq!(stage.machine().load_of(NodeId(1)), 500);
    assert_eq!(granted(&stage.expires(1)).len(), 500);
    let loads: Vec<_> = (2..=5).map(|number| stage.machine().load_of(NodeId(number))).collect();
    assert!(within_bounds(&[1; 4], &loads), "{loads:?}");
}

#[test]
fn nodes_without_weight_are_the_last_to_be_asked_but_are_asked() {
    let mut stage = Stage::of(&[&[("weight", "0")], &[]]);
    for number in 0..20 {
        offer_then_start(&mut stage, 2, &format!("n/{number}"), &plain());
    }
    assert_eq!(stage.machine().load_of(NodeId(2)), 20);
    stage.expires(2);
    assert_eq!(stage.machine().load_of(NodeId(1)), 20);
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn nodes_of_any_weights_are_loaded_within_their_bounds(
        weights in proptest::collection::vec(0..20_u32, 1..8), many in 1..300_u32
    ) {
        let loads = loads_of(&weights, many);
        prop_assert_eq!(loads.iter().sum::<u32>(), many);
        // A greater weight counts as the greatest.
        let weights: Vec<u32> = weights.iter().map(|weight| (*weight).min(16)).collect();
        if weights.iter().any(|weight| *weight > 0) {
            prop_assert!(within_bounds(&weights, &loads), "{:?} {:?}", weights, loads);
        }
    }
}
