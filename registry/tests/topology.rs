//! The rules in force: who may replace them, what is told of it, and what is remembered.

use crate::common;

use std::collections::BTreeMap;

use common::{World, rule};
use quorate_registry::{
    Effect, Lanes, Machine, Once, Op, Rate, Refusal, RowError, Rules, RulesError, Selector,
    Verdict, snapshot,
};
use quorate_vocab::{Index, Lane};

fn set(rules: &[quorate_registry::Rule], replace: Option<u64>) -> Op {
    Op::SetRules { rules: rules.to_vec(), replace: replace.map(Index) }
}

fn version(verdict: &Verdict) -> u64 {
    match verdict {
        Verdict::RulesSet { version } => version.0,
        other => panic!("not set: {other:?}"),
    }
}

#[test]
fn rules_are_replaced_as_a_whole_by_whoever_knows_the_present_ones() {
    let mut world = World::new();
    assert_eq!((world.machine.rules_version(), world.machine.rules().is_empty()), (Index(0), true));
    let first = [rule("deny", "role:edge", "any")];
    let refused = world.say(set(&first, Some(7)));
    assert_eq!(refused, Verdict::Refused(Refusal::RulesChanged { present: Index(0) }));

    let (verdict, effects) = world.hear(Once::Free, set(&first, Some(0)));
    let (one, rules) = (version(&verdict), Rules::new(first.to_vec()).unwrap());
    assert_eq!(effects, [Effect::RulesSet { version: Index(one), rules: rules.clone() }]);
    assert_eq!((world.machine.rules_version().0, world.machine.rules()), (one, &rules));

    // Whoever still believes that there are none is told of the present ones; nothing changes.
    let (late, effects) = world.hear(Once::Free, set(&[], Some(0)));
    assert_eq!(late, Verdict::Refused(Refusal::RulesChanged { present: Index(one) }));
    assert_eq!((effects.len(), world.machine.rules()), (0, &rules));

    // Back to none: that is a version, too.
    let two = version(&world.say(set(&[], Some(one))));
    assert!(two > one && world.machine.rules().is_empty());
    let three = version(&world.say(set(&first, None)));
    assert!(three > two);
}

#[test]
fn rules_that_cannot_be_are_refused_when_they_are_applied() {
    let mut world = World::new();
    let before = version(&world.say(set(&[rule("deny", "any", "node:n1")], None)));
    let mut nowhere = rule("allow", "any", "any");
    nowhere.lanes = Lanes::NONE;
    let mut wrong = rule("allow", "any", "any");
    wrong.from = Selector::Group("a,b".to_owned());
    for (rules, error) in [
        (vec![nowhere], RulesError::NoLanes { rule: 1 }),
        (vec![rule("deny", "any", "any"), wrong], RulesError::Selector { rule: 2 }),
        (vec![rule("deny", "any", "any"); 257], RulesError::TooMany { rules: 257, rules_max: 256 }),
    ] {
        let verdict = world.say(set(&rules, None));
        assert_eq!(verdict, Verdict::Refused(Refusal::BadRules(error)));
    }
    assert_eq!(world.machine.rules_version(), Index(before));
}

#[test]
fn a_change_of_rules_that_is_sent_again_is_made_once() {
    let mut world = World::new();
    let mine = set(&[rule("deny", "any", "node:n1")], Some(0));
    let first = world.hear(Once::Key(5), mine.clone());
    let other = version(&world.say(set(&[], None)));
    assert_eq!(world.hear(Once::Key(5), mine), (first.0, vec![]));
    assert_eq!(world.machine.rules_version(), Index(other));
}

/// The bytes of the row in which rules lie. When they change, a new version of the row must be written, and
/// this one still be read.
const GOLDEN: &str = "01fb00010200010100010101000000010102017a0162010100000001fb0004fc0000020000";

#[test]
fn the_row_of_rules_is_fixed_and_can_be_read_back() {
    let mut world = World::new();
    world.index = 255;
    let mut slow = rule("deny", "role:member", "label:z=b");
    slow.lanes = Lanes::NONE.with(Lane::High);
    slow.rates[1] = Some(Rate { bytes_per_second: 1024, burst_bytes: 1 << 17 });
    world.say(set(&[rule("allow", "any", "role:member"), slow], None));
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let rows: BTreeMap<_, _> = world.machine.rows().collect();
    assert_eq!(hex(&rows[&vec![0x70]]), GOLDEN, "the format changed");
    assert_eq!(Machine::from_rows(&rows).unwrap(), world.machine);
    assert_eq!(snapshot::decode(&snapshot::encode(&world.machine)).unwrap(), world.machine);
}

#[test]
fn a_row_of_rules_that_nobody_can_have_set_is_no_machine() {
    let refuse = |value: &[u8]| {
        let rows = [(vec![0x10], vec![1, 0, 9]), (vec![0x70], value.to_vec())];
        Machine::from_rows(rows.iter().map(|(key, value)| (key, value)))
    };
    assert!(refuse(&[1, 9, 0]).is_ok());
    for entry in [0, 10] {
        assert!(matches!(refuse(&[1, entry, 0]), Err(RowError::Broken(_))), "{entry}");
    }
    // One rule, from any to any, without a lane.
    let idle = refuse(&[1, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(idle, Err(RowError::Value { kind: 0x70 }));
    assert_eq!(refuse(&[2, 9, 0]), Err(RowError::Version { kind: 0x70, version: 2 }));
    let twice = [(vec![0x10], vec![1, 0, 9]), (vec![0x70, 0], vec![1, 9, 0])];
    assert_eq!(
        Machine::from_rows(twice.iter().map(|(k, v)| (k, v))),
        Err(RowError::Key { kind: 0x70 })
    );
}

#[test]
fn the_heaviest_rules_can_be_read_back() {
    let mut world = World::new();
    let mut heavy = rule("deny", "any", "any");
    let half = Rules::BYTES_MAX / Rules::MAX / 2;
    heavy.from = Selector::Label { key: "k".repeat(half - 1), value: "v".to_owned() };
    heavy.to = Selector::Group("g".repeat(half));
    heavy.rates = [Some(Rate::new(Rate::BYTES_MAX)); 3];
    version(&world.say(set(&vec![heavy; Rules::MAX], None)));
    assert_eq!(snapshot::decode(&snapshot::encode(&world.machine)).unwrap(), world.machine);
}
