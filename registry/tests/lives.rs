//! How nodes come and go, and how their lives and those of clients begin and end.

use crate::common;

use std::collections::BTreeMap;

use common::{World, end, join, name, node};
use quorate_registry::{
    Effect, Evidence, Node, Once, Op, Refusal, ReleaseCause, SessionOwner, Verdict,
};
use quorate_vocab::{Boot, NodeId, NodeName, SessionId};

fn open(owner: SessionOwner) -> Op {
    Op::Open { owner, ttl_ms: 2000 }
}

#[test]
fn a_node_that_joins_again_alters_its_entry_or_nothing() {
    let mut world = World::new();
    let (verdict, effects) = world.hear(Once::Free, join(1, "n1"));
    assert_eq!(verdict, Verdict::Joined);
    let entry = world.machine.node(NodeId(1)).unwrap().clone();
    assert_eq!(effects, [Effect::NodeJoined(entry)]);
    assert_eq!(world.hear(Once::Free, join(1, "n1")), (Verdict::Joined, vec![]));

    let (_, effects) = world.hear(Once::Free, join(1, "renamed"));
    assert!(matches!(&effects[..], [Effect::NodeJoined(node)] if node.name.as_str() == "renamed"));
    // The former name is free again.
    assert_eq!(world.say(join(2, "n1")), Verdict::Joined);
    assert_eq!(world.machine.nodes().count(), 2);
}

#[test]
fn a_node_s_name_is_refused_while_another_node_of_that_name_lives() {
    let (mut world, _) = World::with_node();
    let refused = Verdict::Refused(Refusal::NodeNameTaken);
    assert_eq!(world.hear(Once::Free, join(2, "n1")), (refused, vec![]));
    assert!(world.machine.node(NodeId(2)).is_none());
}

#[test]
fn a_silent_node_of_the_same_name_is_replaced_and_cannot_come_back_unnoticed() {
    let (mut world, session) = World::with_node();
    world.say(end(session, Evidence::Stopped));
    let (verdict, effects) = world.hear(Once::Free, join(2, "n1"));
    assert_eq!(verdict, Verdict::Joined);
    assert!(matches!(
        &effects[..],
        [Effect::NodeLeft(NodeId(1)), Effect::NodeJoined(Node { id: NodeId(2), .. })]
    ));
    assert_eq!(world.say(open(node(1, 2))), Verdict::Refused(Refusal::NoNode));
    world.open(node(2, 1));
    assert_eq!(world.say(join(1, "n1")), Verdict::Refused(Refusal::NodeNameTaken));
}

#[test]
fn addresses_and_labels_have_bounds() {
    let mut world = World::new();
    let mut ask = |address: usize, label: usize| {
        world.say(Op::Join {
            node: NodeId(1),
            name: NodeName::try_from("n1").unwrap(),
            address: "x".repeat(address),
            labels: BTreeMap::from([("zone".to_owned(), "x".repeat(label))]),
        })
    };
    let (address, label) = (Node::ADDRESS_BYTES_MAX, Node::LABELS_BYTES_MAX - 4);
    assert_eq!(ask(address, label), Verdict::Joined);
    for (address, label) in [(address + 1, label), (address, label + 1)] {
        let verdict = ask(address, label);
        assert!(matches!(verdict, Verdict::Refused(Refusal::TooLarge { .. })), "{verdict:?}");
    }
}

#[test]
fn a_node_that_leaves_takes_its_session_and_its_names_along() {
    let (mut world, session) = World::with_node();
    let epoch = world.register("till", Some(session));
    let (verdict, effects) = world.hear(Once::Free, Op::Leave { node: NodeId(1) });
    assert_eq!(verdict, Verdict::Left);
    let cause = ReleaseCause::SessionEnded(session);
    assert_eq!(
        effects,
        [
            Effect::SessionEnded { session, evidence: Evidence::NodeLeft },
            Effect::Released { name: name("till"), epoch, cause },
            Effect::NodeLeft(NodeId(1)),
        ]
    );
    assert_eq!(world.say(Op::Leave { node: NodeId(1) }), Verdict::Refused(Refusal::NoNode));
}

#[test]
fn a_session_is_known_by_the_index_of_its_entry() {
    let mut world = World::new();
    let owner = SessionOwner::Client;
    let (verdict, effects) = world.hear(Once::Free, open(owner));
    let session = SessionId(world.index);
    assert_eq!(verdict, Verdict::Opened { session });
    assert_eq!(effects, [Effect::SessionOpened { session, owner, ttl_ms: 2000 }]);
    assert_eq!(world.machine.session(session).unwrap().ttl_ms, 2000);
}

#[test]
fn only_a_node_that_takes_part_opens_a_session() {
    let mut world = World::new();
    assert_eq!(world.say(open(node(1, 1))), Verdict::Refused(Refusal::NoNode));
    world.say(join(1, "n1"));
    world.open(node(1, 1));
}

#[test]
fn a_later_boot_ends_the_session_of_the_earlier_one() {
    let (mut world, first) = World::with_node();
    let epoch = world.register("till", Some(first));
    let (verdict, effects) = world.hear(Once::Free, open(node(1, 2)));
    let session = SessionId(world.index);
    assert_eq!(verdict, Verdict::Opened { session });
    assert_eq!(
        effects,
        [
            Effect::SessionEnded { session: first, evidence: Evidence::Superseded { by: Boot(2) } },
            Effect::Released {
                name: name("till"),
                epoch,
                cause: ReleaseCause::SessionEnded(first)
            },
            Effect::SessionOpened { session, owner: node(1, 2), ttl_ms: 2000 },
        ]
    );
    assert_eq!(world.machine.session_of(NodeId(1)).unwrap().id, session);
    assert!(world.machine.session(first).is_none());
}

#[test]
fn an_earlier_boot_is_refused_while_a_later_one_lives() {
    let mut world = World::new();
    world.say(join(1, "n1"));
    let living = world.open(node(1, 5));
    assert_eq!(world.say(open(node(1, 4))), Verdict::Refused(Refusal::BootOver));
    assert!(world.machine.session(living).is_some());
}

#[test]
fn the_same_boot_again_is_answered_with_the_session_that_it_has() {
    let (mut world, session) = World::with_node();
    let again = world.hear(Once::Free, Op::Open { owner: node(1, 1), ttl_ms: 9 });
    assert_eq!(again, (Verdict::Opened { session }, vec![]));
    assert_eq!(world.machine.session(session).unwrap().ttl_ms, 2000);

    world.say(end(session, Evidence::Stopped));
    assert_ne!(world.open(node(1, 1)), session);
}

#[test]
fn clients_have_as_many_sessions_as_they_open() {
    let mut world = World::new();
    let (one, two) = (world.open(SessionOwner::Client), world.open(SessionOwner::Client));
    assert_ne!(one, two);
    assert_eq!(world.machine.sessions().count(), 2);
}

#[test]
fn the_end_of_a_session_releases_all_its_names_in_their_order() {
    let (mut world, session) = World::with_node();
    let other = world.open(SessionOwner::Client);
    for text in ["c", "a", "b/2", "b"] {
        world.register(text, Some(session));
    }
    world.register("d", Some(other));
    let (verdict, effects) = world.hear(Once::Free, end(session, Evidence::Stopped));
    assert_eq!(verdict, Verdict::Ended);
    assert_eq!(effects[0], Effect::SessionEnded { session, evidence: Evidence::Stopped });
    let released = |effect: &Effect| match effect {
        Effect::Released { name, .. } => name.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(effects[1..].iter().map(released).collect::<Vec<_>>(), ["a", "b", "b/2", "c"]);
    assert_eq!(world.names(), ["d"]);
}

#[test]
fn an_expiry_of_another_term_is_void() {
    let (mut world, session) = World::with_node();
    world.term = 7;
    for term in [6, 8] {
        let verdict = world.say(end(session, Evidence::Expired { term }));
        assert_eq!(verdict, Verdict::Refused(Refusal::TermOver));
    }
    assert!(world.machine.session(session).is_some());
    assert_eq!(world.say(end(session, Evidence::Expired { term: 7 })), Verdict::Ended);
    assert!(world.machine.session(session).is_none());
}

#[test]
fn a_session_that_is_unknown_has_ended() {
    let mut world = World::new();
    let ended = (Verdict::Ended, vec![]);
    assert_eq!(world.hear(Once::Free, end(SessionId(77), Evidence::Stopped)), ended);
    let expired = Evidence::Expired { term: 900 };
    assert_eq!(world.hear(Once::Free, end(SessionId(77), expired)), ended);
}
