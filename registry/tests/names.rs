//! Who may take, replace and give back a name.

use crate::common;

use std::collections::BTreeMap;

use common::{World, claim, end, join, name, node, register, release, replace};
use quorate_registry::{
    At, Bond, Claim, Command, Effect, Evidence, Holding, Machine, Once, Op, Refusal, ReleaseCause,
    SessionOwner, Verdict,
};
use quorate_vocab::{Epoch, Index, SessionId};

#[test]
fn a_free_name_is_registered_under_the_epoch_of_its_entry() {
    let (mut world, session) = World::with_node();
    let (verdict, effects) = world.hear(Once::Free, register("till", Some(session)));
    let epoch = Epoch::new(0, Index(world.index)).unwrap();
    assert_eq!(verdict, Verdict::Registered { epoch });

    let held = world.machine.find("till").unwrap();
    assert_eq!((held.epoch, held.session, &held.value[..]), (epoch, Some(session), &b"here"[..]));
    assert_eq!(held.index, Index(world.index));
    assert_eq!(effects, [Effect::Registered(held.clone().into())]);
}

#[test]
fn a_held_name_is_refused_and_the_refusal_says_who_holds_it() {
    let (mut world, session) = World::with_node();
    let epoch = world.register("till", Some(session));
    let before = common::body(&world.machine);
    let holding = Holding { epoch, session: Some(session), holder: claim(None).holder };
    let again = world.hear(Once::Free, register("till", Some(session)));
    assert_eq!(again, (Verdict::Refused(Refusal::Taken(holding)), vec![]));
    assert_eq!(common::body(&world.machine), before);
}

#[test]
fn a_name_is_replaced_only_under_its_present_epoch() {
    let (mut world, session) = World::with_node();
    let client = world.open(SessionOwner::Client);
    let first = world.register("till", Some(session));

    let (verdict, effects) = world.hear(Once::Free, replace("till", Some(client), first));
    let Verdict::Registered { epoch: second } = verdict else { panic!("{verdict:?}") };
    assert!(second > first);
    assert_eq!(effects.len(), 1, "the replaced registration is not released first: {effects:?}");
    assert_eq!(world.machine.held_by(session).count(), 0);
    assert_eq!(world.machine.held_by(client).collect::<Vec<_>>(), [&name("till")]);

    let stale = world.say(replace("till", Some(session), first));
    assert_eq!(stale, Verdict::Refused(Refusal::Stale { present: Some(second) }));
    let free = world.say(replace("other", None, first));
    assert_eq!(free, Verdict::Refused(Refusal::Stale { present: None }));
}

#[test]
fn the_end_of_the_session_that_was_replaced_leaves_the_new_holder_alone() {
    let (mut world, session) = World::with_node();
    let client = world.open(SessionOwner::Client);
    let first = world.register("till", Some(session));
    world.say(replace("till", Some(client), first));
    world.say(end(session, Evidence::Stopped));
    assert_eq!(world.machine.find("till").unwrap().session, Some(client));
}

#[test]
fn a_name_is_released_once_and_only_under_its_epoch() {
    let mut world = World::new();
    let epoch = world.register("till", None);
    let other = Epoch::new(0, Index(900)).unwrap();
    let stale = Refusal::Stale { present: Some(epoch) };
    assert_eq!(world.say(release("till", Some(other))), Verdict::Refused(stale));

    let (verdict, effects) = world.hear(Once::Free, release("till", Some(epoch)));
    assert_eq!(verdict, Verdict::Released { epoch });
    let cause = ReleaseCause::Asked;
    assert_eq!(effects, [Effect::Released { name: name("till"), epoch, cause }]);
    assert_eq!(world.say(release("till", Some(epoch))), Verdict::Refused(Refusal::Free));
}

#[test]
fn a_late_release_does_not_free_the_new_holder() {
    let mut world = World::new();
    let first = world.register("till", None);
    world.say(release("till", Some(first)));
    let second = world.register("till", None);
    let present = Some(second);
    let late = world.say(release("till", Some(first)));
    assert_eq!(late, Verdict::Refused(Refusal::Stale { present }));
    assert_eq!(world.machine.find("till").unwrap().epoch, second);
}

#[test]
fn a_name_cannot_be_bound_to_a_session_that_does_not_live() {
    let (mut world, session) = World::with_node();
    world.say(end(session, Evidence::Stopped));
    for gone in [session, SessionId(900)] {
        let refusal = Refusal::NoSession(gone);
        assert_eq!(world.say(register("till", Some(gone))), Verdict::Refused(refusal));
    }
    assert!(world.machine.find("till").is_none());
}

#[test]
fn a_durable_name_outlives_every_session() {
    let (mut world, session) = World::with_node();
    world.register("durable", None);
    world.register("bound", Some(session));
    world.say(end(session, Evidence::Stopped));
    assert_eq!(world.names(), ["durable"]);
}

#[test]
fn a_claim_of_64_kib_fits_and_one_byte_more_does_not() {
    let mut world = World::new();
    let mut ask = |value: usize, key: usize, label: usize| {
        let meta = BTreeMap::from([("k".repeat(key), "v".repeat(label))]);
        let claim = Claim { bond: Bond::Durable, holder: None, value: vec![1; value], meta };
        let index = world.index;
        world.say(Op::Register { name: name(&format!("n{index}")), claim, replace: None })
    };
    let most = Claim::BYTES_MAX;
    assert!(matches!(ask(most - 20, 10, 10), Verdict::Registered { .. }));
    for (value, key, label) in [(most - 20, 11, 10), (most - 20, 10, 11), (most + 1, 0, 0)] {
        let verdict = ask(value, key, label);
        let Verdict::Refused(Refusal::TooLarge { bytes, bytes_max, .. }) = verdict else {
            panic!("{verdict:?}")
        };
        assert_eq!((bytes, bytes_max), (most as u64 + 1, most as u64));
    }
}

#[test]
fn a_list_is_the_names_of_a_prefix_after_a_name() {
    let mut world = World::new();
    for text in ["b", "a", "a/1", "a/2", "a-", "c", "a/1/x"] {
        world.register(text, None);
    }
    let list = |prefix: &'static str, after| -> Vec<&str> {
        world.machine.list(prefix, after).map(|held| held.name.as_str()).collect()
    };
    assert_eq!(list("", None), ["a", "a-", "a/1", "a/1/x", "a/2", "b", "c"]);
    assert_eq!(list("a/", None), ["a/1", "a/1/x", "a/2"]);
    assert_eq!(list("a/", Some("a/1")), ["a/1/x", "a/2"]);
    assert_eq!(list("a/", Some("a/1/")), ["a/1/x", "a/2"]);
    assert_eq!(list("a/", Some("")), ["a/1", "a/1/x", "a/2"]);
    assert_eq!(list("a/", Some("b")), [""; 0]);
    assert_eq!(list("", Some("b")), ["c"]);
    assert_eq!(list("zz", None), [""; 0]);
}

#[test]
fn a_later_generation_hands_out_greater_epochs_at_smaller_indexes() {
    let at = At { index: Index(1), term: 1 };
    let ask = |generation| {
        let command = Command { once: Once::Free, op: register("till", None) };
        match Machine::new(generation).apply(at, command, &mut Vec::new()) {
            Verdict::Registered { epoch } => epoch,
            other => panic!("{other:?}"),
        }
    };
    assert!(ask(1) > ask(0));
    assert!(ask(1) > Epoch::new(0, Index(1 << 40)).unwrap());
}

#[test]
fn when_epochs_run_out_registrations_are_refused_and_nothing_else_is() {
    let mut machine = Machine::new(0);
    let mut say = |index, op| {
        let verdict = machine.apply(
            At { index: Index(index), term: 1 },
            Command { once: Once::Free, op },
            &mut Vec::new(),
        );
        machine.check_all();
        verdict
    };
    let last = (1 << 41) - 1;
    assert!(matches!(say(last, register("last", None)), Verdict::Registered { .. }));
    let spent = Verdict::Refused(Refusal::EpochsSpent);
    assert_eq!(say(last + 1, register("more", None)), spent);
    assert_eq!(say(last + 2, join(1, "n1")), Verdict::Joined);
    assert!(matches!(
        say(u64::MAX - 1, Op::Open { owner: node(1, 1), ttl_ms: 0 }),
        Verdict::Opened { .. }
    ));
    assert!(matches!(say(u64::MAX, release("last", None)), Verdict::Released { .. }));
}

#[test]
fn a_verdict_stays_small_as_many_are_remembered() {
    assert!(size_of::<Verdict>() <= 72, "{}", size_of::<Verdict>());
}
