//! What has no single holder: properties under keys, and counters. And how both are looked for.

use crate::common;

use common::{World, count, end, labels, lease, name, pid, set};
use quorate_registry::{
    Bearer, Claim, Effect, Evidence, Keys, LabelTest, Once, Op, Query, Refusal, ReleaseCause,
    SessionOwner, Verdict,
};
use quorate_vocab::{Index, SessionId};

fn of(session: SessionId, process: u64) -> Bearer {
    Bearer { session, process: (process != 0).then(|| pid(process)) }
}

fn query(keys: &str, tests: &[&str]) -> Query {
    let tests = tests.iter().map(|test| test.parse::<LabelTest>().unwrap());
    tests.fold(Query::under(keys), Query::with)
}

#[test]
fn many_bear_a_key_and_each_changes_only_what_it_said() {
    let (mut world, session) = World::with_node();
    for process in [0, 1, 2] {
        world.say(set("worker", of(session, process), &[("zone", "a")]));
    }
    let (verdict, effects) = world.hear(Once::Free, set("worker", of(session, 1), &[]));
    let property = world.machine.property(&name("worker"), of(session, 1)).unwrap().clone();
    assert_eq!(verdict, Verdict::Amended { version: property.version });
    assert_eq!((property.version.0, property.meta.len()), (world.index, 0));
    assert_eq!(effects, [Effect::PropertySet(property)]);
    let everything = Query::default();
    let borne: Vec<_> = world.machine.properties(&everything, None).map(|one| one.bearer).collect();
    assert_eq!(borne, [of(session, 0), of(session, 1), of(session, 2)]);
}

#[test]
fn a_property_is_set_only_as_it_was_seen() {
    let (mut world, session) = World::with_node();
    let ask = |expected| Op::SetProperty {
        key: name("worker"),
        bearer: of(session, 1),
        value: vec![],
        meta: labels(&[]),
        expected: Some(Index(expected)),
    };
    let absent = Verdict::Refused(Refusal::Changed { present: Index(0) });
    assert_eq!(world.say(ask(9)), absent);
    let Verdict::Amended { version } = world.say(ask(0)) else { panic!("not set") };
    assert_eq!(world.say(ask(0)), Verdict::Refused(Refusal::Changed { present: version }));
    assert!(matches!(world.say(ask(version.0)), Verdict::Amended { .. }));
}

#[test]
fn properties_go_with_the_life_of_their_bearer() {
    let (mut world, node) = World::with_node();
    let client = world.open(SessionOwner::Client);
    world.say(set("b", of(node, 2), &[]));
    world.say(set("a", of(node, 2), &[]));
    world.say(set("a", of(node, 0), &[]));
    world.say(set("a", of(client, 0), &[]));
    let keys = |world: &World, bearer| -> Vec<String> {
        world.machine.borne_by(bearer).map(|one| one.key.to_string()).collect()
    };
    assert_eq!(keys(&world, of(node, 2)), ["a", "b"]);
    assert_eq!(keys(&world, of(node, 0)), ["a"]);

    let (_, effects) = world.hear(Once::Free, end(node, Evidence::Stopped));
    let cause = ReleaseCause::SessionEnded(node);
    let gone =
        |key, process| Effect::PropertyDropped { key: name(key), bearer: of(node, process), cause };
    assert_eq!(effects[1..], [gone("a", 0), gone("a", 2), gone("b", 2)]);
    assert_eq!(keys(&world, of(client, 0)), ["a"]);
    assert_eq!(world.say(set("a", of(node, 0), &[])), Verdict::Refused(Refusal::NoSession(node)));
}

#[test]
fn the_life_of_a_name_bears_no_properties() {
    let mut world = World::new();
    let Verdict::Leased { session, .. } = world.say(lease("till", 9)) else { panic!("not leased") };
    let refused = Verdict::Refused(Refusal::NoSession(session));
    assert_eq!(world.say(set("a", of(session, 0), &[])), refused);
}

#[test]
fn a_property_is_dropped_once_and_has_a_bound() {
    let (mut world, session) = World::with_node();
    world.say(set("a", of(session, 1), &[]));
    let gone = || Op::DropProperty { key: name("a"), bearer: of(session, 1) };
    assert_eq!(world.say(gone()), Verdict::Dropped);
    assert_eq!(world.say(gone()), Verdict::Refused(Refusal::Absent));
    let heavy = "v".repeat(Claim::BYTES_MAX);
    let verdict = world.say(set("a", of(session, 1), &[("k", &heavy)]));
    assert!(matches!(verdict, Verdict::Refused(Refusal::TooLarge { .. })));
}

#[test]
fn a_query_finds_properties_by_key_and_labels_and_goes_on_after_one() {
    let (mut world, session) = World::with_node();
    for (key, process, meta) in [
        ("a", 1, &[("zone", "x")][..]),
        ("a", 2, &[("zone", "y"), ("new", "")]),
        ("a/b", 1, &[("zone", "x"), ("new", "")]),
        ("a-b", 1, &[]),
        ("b", 1, &[("zone", "x")]),
    ] {
        world.say(set(key, of(session, process), meta));
    }
    let found = |query: &Query, after: Option<&str>| -> Vec<String> {
        let after = after.map(|key| (name(key), of(session, 1)));
        let all = world.machine.properties(query, after.as_ref());
        all.map(|one| format!("{}:{}", one.key, one.bearer.process.unwrap().serial)).collect()
    };
    assert_eq!(found(&query("a", &[]), None), ["a:1", "a:2", "a-b:1", "a/b:1"]);
    assert_eq!(found(&query("a", &["zone=x"]), None), ["a:1", "a/b:1"]);
    assert_eq!(found(&query("", &["zone=x", "!new"]), None), ["a:1", "b:1"]);
    assert_eq!(found(&query("a", &["new"]), None), ["a:2", "a/b:1"]);
    let exactly = Query { keys: Keys::Exactly(name("a")), ..Query::default() };
    assert_eq!(found(&exactly, None), ["a:1", "a:2"]);
    assert_eq!(found(&query("a", &[]), Some("a")), ["a:2", "a-b:1", "a/b:1"]);
    assert_eq!(found(&query("b", &[]), Some("a")), ["b:1"]);
    assert_eq!(found(&query("a", &[]), Some("b")), [""; 0]);
}

#[test]
fn the_same_query_finds_names() {
    let mut world = World::new();
    for (text, zone) in [("a", "x"), ("a/1", "y"), ("a/2", "x"), ("b", "x")] {
        let claim = Claim { meta: labels(&[("zone", zone)]), ..common::claim(None) };
        world.say(Op::Register { name: name(text), claim, replace: None });
    }
    let found = |query: &Query, after| -> Vec<String> {
        world.machine.select(query, after).map(|held| held.name.to_string()).collect()
    };
    assert_eq!(found(&query("a", &["zone=x"]), None), ["a", "a/2"]);
    assert_eq!(found(&query("a", &["zone=x"]), Some("a")), ["a/2"]);
    let exactly = Query { keys: Keys::Exactly(name("a")), ..Query::default() };
    assert_eq!(found(&exactly, None), ["a"]);
}

#[test]
fn a_question_to_labels_is_read_as_it_is_written() {
    for text in ["zone=a", "zone=", "zone", "!zone", "zone=a=b"] {
        assert_eq!(text.parse::<LabelTest>().unwrap().to_string(), text);
    }
    for text in ["", "!", "=a", "!a=b", "!!a"] {
        assert_eq!(text.parse::<LabelTest>().unwrap_err().text, text);
    }
}

#[test]
fn a_counter_counts_from_nothing_and_tells_what_is_in_it() {
    let mut world = World::new();
    let (verdict, effects) = world.hear(Once::Free, count("hits", 5, None));
    assert_eq!(verdict, Verdict::Counted { value: 5 });
    assert_eq!(effects, [Effect::Counted { name: name("hits"), value: 5 }]);
    assert_eq!(world.say(count("hits", -7, Some(5))), Verdict::Counted { value: -2 });
    assert_eq!(
        world.say(count("hits", 1, Some(5))),
        Verdict::Refused(Refusal::Miscounted { present: -2 })
    );
    world.say(count("other", 0, Some(0)));
    world.say(count("hits/1", 1, None));
    let list = |prefix, after| -> Vec<_> {
        world.machine.counters(prefix, after).map(|(n, v)| (n.to_string(), v)).collect()
    };
    assert_eq!(list("hits", None), [("hits".into(), -2), ("hits/1".into(), 1)]);
    assert_eq!(list("", Some("hits")), [("hits/1".into(), 1), ("other".into(), 0)]);
}

#[test]
fn a_counter_that_is_full_stays_as_it_is() {
    let mut world = World::new();
    for (full, more) in [(i64::MAX, 1), (i64::MIN, -1)] {
        world.say(count("hits", full, None));
        let over = world.hear(Once::Free, count("hits", more, None));
        assert_eq!(over, (Verdict::Refused(Refusal::Overflow { present: full }), vec![]));
        assert_eq!(world.machine.counter("hits"), Some(full));
        let drop = |expected| Op::DropCounter { name: name("hits"), expected };
        assert_eq!(
            world.say(drop(Some(3))),
            Verdict::Refused(Refusal::Miscounted { present: full })
        );
        assert_eq!(world.say(drop(Some(full))), Verdict::Dropped);
        assert_eq!(world.say(drop(None)), Verdict::Refused(Refusal::Absent));
    }
}
