//! Topology rules: what they say of two nodes, how they read, and what cannot be one.

use crate::common;

use std::collections::BTreeMap;

use common::{cases, rule, rules};
use proptest::prelude::*;
use quorate_registry::{
    Judgement, Lanes, Node, NodeFacts, NodeRole, Rate, Rule, Rules, RulesError, Selector, Stance,
    check_labels,
};
use quorate_vocab::{Lane, NodeId, NodeName};

fn a_node(name: &str, labels: &[(&str, &str)]) -> Node {
    Node {
        id: NodeId(1),
        name: NodeName::try_from(name).unwrap(),
        address: "10.0.0.1:4747".to_owned(),
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

fn votes(node: &Node) -> NodeFacts<'_> {
    NodeFacts { node, votes: true }
}

fn facts(node: &Node) -> NodeFacts<'_> {
    NodeFacts { node, votes: false }
}

fn list(rules: impl IntoIterator<Item = Rule>) -> Rules {
    Rules::new(rules.into_iter().collect()).unwrap()
}

#[test]
fn without_a_rule_that_fits_everything_is_open() {
    let (one, two) = (a_node("n1", &[]), a_node("n2", &[]));
    assert_eq!(Rules::NONE.judge(facts(&one), votes(&two)), Judgement::OPEN);
    let others = list([rule("deny", "node:n3", "any"), rule("deny", "any", "role:edge")]);
    assert_eq!(others.judge(facts(&one), votes(&two)), Judgement::OPEN);
    assert_eq!(others.explain(facts(&one), facts(&two)).passed.len(), 2);
}

#[test]
fn the_first_rule_that_fits_decides_and_each_one_before_it_says_why_it_does_not() {
    let (till, shop) = (
        a_node("till", &[("zone", "a"), ("role", "edge")]),
        a_node("shop", &[("group", "front, back")]),
    );
    let rules = list([
        rule("deny", "role:member", "any"),
        rule("deny", "label:zone=b", "any"),
        rule("deny", "label:rack=1", "any"),
        rule("deny", "node:n9", "any"),
        rule("deny", "any", "group:cellar"),
        rule("deny", "group:front", "any"),
        rule("allow", "role:edge", "group:back"),
        rule("deny", "any", "any"),
    ]);
    let told = rules.explain(facts(&till), votes(&shop));
    assert_eq!(told.judgement, rules.judge(facts(&till), votes(&shop)));
    assert_eq!((told.judgement.rule, told.judgement.is_allowed()), (Some(7), true));
    let whys: Vec<&str> = told.passed.iter().map(|passed| passed.why.as_str()).collect();
    assert_eq!(
        whys,
        [
            "from: till is an edge",
            "from: till has zone=a",
            "from: till has no label rack",
            "from: the node is till",
            "to: shop is in front, back",
            "from: till is in no group",
        ]
    );
    assert_eq!(
        told.passed.iter().map(|passed| passed.rule).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6]
    );
    // The other way is another question.
    assert_eq!(rules.judge(facts(&shop), facts(&till)).rule, Some(1));
    assert_eq!(rules.judge(votes(&shop), facts(&till)).rule, Some(6));
}

#[test]
fn each_node_has_one_role_and_a_voter_is_one_whatever_it_calls_itself() {
    for (label, votes, role) in [
        (None, false, NodeRole::Member),
        (Some("edge"), false, NodeRole::Edge),
        (Some("edge"), true, NodeRole::Voter),
        (Some("voter"), false, NodeRole::Member),
        (Some("what else"), false, NodeRole::Member),
    ] {
        let labels: Vec<_> = label.map(|label| ("role", label)).into_iter().collect();
        let node = a_node("n1", &labels);
        assert_eq!(NodeFacts { node: &node, votes }.role(), role, "{label:?}");
    }
    let label = |value: &str| BTreeMap::from([("role".to_owned(), value.to_owned())]);
    assert!(check_labels(&label("edge")).is_ok() && check_labels(&BTreeMap::new()).is_ok());
    assert!(check_labels(&label("egde")).unwrap_err().to_string().contains("role=egde"));
    assert!(check_labels(&label("voter")).is_err());
}

#[test]
fn allow_opens_the_lanes_that_it_names_and_deny_shuts_them() {
    let node = a_node("n1", &[]);
    let mut allow = rule("allow", "any", "any");
    allow.lanes = Lanes::NONE.with(Lane::High).with(Lane::Bulk);
    allow.rates = [None, Some(Rate::new(1)), Some(Rate::new(2))];
    let told = list([allow.clone()]).judge(facts(&node), facts(&node));
    assert_eq!(told.lanes.flags(), [true, false, true]);
    assert_eq!(told.rates, [None, None, Some(Rate::new(2))], "what is shut has no rate");

    let deny = Rule { stance: Stance::Deny, ..allow };
    let told = list([deny]).judge(facts(&node), facts(&node));
    assert_eq!((told.lanes.flags(), told.is_allowed()), ([false, true, false], true));
    assert_eq!(told.rates, [None, Some(Rate::new(1)), None]);

    let told = list([rule("deny", "any", "any")]).judge(facts(&node), facts(&node));
    assert_eq!((told.lanes, told.is_allowed()), (Lanes::NONE, false));
}

#[test]
fn what_cannot_be_a_rule_is_named_with_its_number() {
    let fine = || rule("deny", "any", "any");
    let second = |change: fn(&mut Rule)| {
        let mut wrong = fine();
        change(&mut wrong);
        Rules::new(vec![fine(), wrong]).unwrap_err()
    };
    assert_eq!(second(|rule| rule.lanes = Lanes::NONE), RulesError::NoLanes { rule: 2 });
    for (bytes_per_second, burst_bytes) in
        [(0, Rate::BURST_MIN), (1, Rate::BURST_MIN - 1), (u64::MAX, Rate::BURST_MIN), (1, u64::MAX)]
    {
        let mut wrong = fine();
        wrong.rates[2] = Some(Rate { bytes_per_second, burst_bytes });
        let error = Rules::new(vec![wrong]).unwrap_err();
        assert!(matches!(error, RulesError::Rate { rule: 1, lane: Lane::Bulk }), "{error}");
    }
    for wrong in [
        |rule: &mut Rule| rule.to = Selector::Group(String::new()),
        |rule: &mut Rule| rule.to = Selector::Group("a,b".to_owned()),
        |rule: &mut Rule| rule.from = Selector::Group(" a".to_owned()),
        |rule: &mut Rule| rule.to = Selector::Label { key: String::new(), value: "b".to_owned() },
        |rule: &mut Rule| rule.to = Selector::Label { key: "a=".to_owned(), value: String::new() },
    ] {
        let error = second(wrong);
        assert!(matches!(error, RulesError::Selector { rule: 2 }), "{error}");
    }
    assert!(Rules::new(vec![fine(); Rules::MAX]).is_ok());
    let many = Rules::new(vec![fine(); Rules::MAX + 1]).unwrap_err();
    assert!(matches!(many, RulesError::TooMany { rules: 257, rules_max: 256 }), "{many}");
    let wide = |bytes: usize| {
        let mut wide = fine();
        wide.from = Selector::Group("g".repeat(Rules::BYTES_MAX / 2));
        wide.to = Selector::Label { key: "k".repeat(bytes), value: String::new() };
        Rules::new(vec![wide])
    };
    assert!(wide(Rules::BYTES_MAX / 2).is_ok());
    let large = wide(Rules::BYTES_MAX / 2 + 1).unwrap_err();
    assert!(matches!(large, RulesError::TooLarge { bytes: 65537, bytes_max: 65536 }), "{large}");
}

#[test]
fn texts_that_mean_nothing_are_refused_with_what_could_stand_there() {
    for wrong in [
        "",
        "all",
        "role:",
        "role:king",
        "label:zone",
        "label:=b",
        "group:",
        "group:a,b",
        "node:",
        "node:a b",
        "zone=b",
        "role:edge ",
    ] {
        assert!(wrong.parse::<Selector>().is_err(), "{wrong:?}");
    }
    for wrong in [
        "",
        "10",
        "10MiB",
        "MiB/s",
        "-1B/s",
        "1.5MiB/s",
        "0B/s",
        "1B/s burst 127KiB",
        "1TiB/s",
        "99999999999999999999B/s",
        "2000000GiB/s",
        "1B/s burst",
        "1B/s burst 1MiB/s",
    ] {
        assert!(wrong.parse::<Rate>().is_err(), "{wrong:?}");
    }
    let error = "role:king".parse::<Selector>().unwrap_err().to_string();
    assert!(error.contains("`king`") && error.contains("voter, member or edge"), "{error}");
    let long = format!("role:{}", "x".repeat(100_000)).parse::<Selector>().unwrap_err();
    assert!(long.to_string().len() < 300);
    assert!("permit".parse::<Stance>().is_err() && Lanes::named("urgent").is_err());
}

#[test]
fn rates_say_what_they_hold_in_the_unit_that_fits() {
    for (text, rate, burst) in [
        ("10MiB/s", 10 << 20, 10 << 17),
        ("500kB/s", 500_000, 128 << 10),
        ("1GiB/s burst 256KiB", 1 << 30, 256 << 10),
        ("1B/s", 1, 128 << 10),
    ] {
        let read: Rate = text.parse().unwrap();
        assert_eq!(read, Rate { bytes_per_second: rate, burst_bytes: burst });
        assert_eq!(read.to_string(), text);
    }
    assert_eq!("1024 KiB/s burst 2 MiB".parse::<Rate>().unwrap().to_string(), "1MiB/s burst 2MiB");
}

#[test]
fn a_rule_is_shown_in_one_line() {
    assert_eq!(
        rule("deny", "role:edge", "label:zone=b").to_string(),
        "deny role:edge -> label:zone=b"
    );
    let mut rich = rule("allow", "group:a", "node:n1");
    rich.lanes = Lanes::NONE.with(Lane::High).with(Lane::Bulk);
    rich.rates = [Some(Rate::new(1)), None, Some(Rate::new(10 << 20))];
    assert_eq!(
        rich.to_string(),
        "allow group:a -> node:n1 on high,bulk; high at 1B/s, bulk at 10MiB/s"
    );
}

fn any_node() -> impl Strategy<Value = (Node, bool)> {
    let role = prop_oneof![Just(None), Just(Some("edge")), Just(Some("member"))];
    let group = prop_oneof![Just(None), Just(Some("a")), Just(Some("b,a")), Just(Some(" b "))];
    let zone = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
    let name = prop_oneof![Just("n1"), Just("n2"), Just("n3")];
    (name, role, group, zone, any::<bool>()).prop_map(|(name, role, group, zone, votes)| {
        let labels: Vec<(&str, &str)> = [("role", role), ("group", group), ("zone", zone)]
            .into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect();
        (a_node(name, &labels), votes)
    })
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn the_first_rule_that_fits_wins(rules in rules(0..12), one in any_node(), two in any_node()) {
        let rules = Rules::new(rules).unwrap();
        let (from, to) = (
            NodeFacts { node: &one.0, votes: one.1 },
            NodeFacts { node: &two.0, votes: two.1 },
        );
        let told = rules.judge(from, to);
        let fits = |rule: &Rule| rule.from.fits(from) && rule.to.fits(to);
        prop_assert_eq!(told.rule, rules.list().iter().position(fits).map(|at| at + 1));
        match told.rule {
            None => prop_assert_eq!(told, Judgement::OPEN),
            Some(number) => {
                // Alone it says the same, and what comes after it does not matter.
                let alone = list([rules.list()[number - 1].clone()]).judge(from, to);
                prop_assert_eq!((alone.lanes, alone.rates), (told.lanes, told.rates));
                let until = list(rules.list()[..number].to_vec());
                prop_assert_eq!(until.judge(from, to), told);
            }
        }
        for lane in Lane::ALL {
            prop_assert!(told.lanes.has(lane) || told.rates[lane.index()].is_none());
        }
        let explained = rules.explain(from, to);
        prop_assert_eq!(explained.judgement, told);
        let before = told.rule.map_or(rules.list().len(), |number| number - 1);
        prop_assert_eq!(explained.passed.len(), before);
    }

    #[test]
    fn what_is_printed_reads_back(rules in rules(1..4)) {
        for rule in rules {
            for selector in [&rule.from, &rule.to] {
                prop_assert_eq!(&selector.to_string().parse::<Selector>().unwrap(), selector);
            }
            for rate in rule.rates.into_iter().flatten() {
                prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
            }
            prop_assert_eq!(rule.stance.to_string().parse::<Stance>().unwrap(), rule.stance);
        }
    }

    #[test]
    fn no_text_does_harm(text in ".{0,40}") {
        if let Ok(selector) = text.parse::<Selector>() {
            prop_assert_eq!(selector.to_string(), text.clone());
        }
        let _ = text.parse::<Rate>();
    }
}
