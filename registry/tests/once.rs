//! How a repeated command is known.

use crate::common;

use std::collections::BTreeMap;

use common::{World, body, end, name, node, register, release};
use quorate_registry::{At, Command, Evidence, Machine, Once, Op, Refusal, SessionOwner, Verdict};
use quorate_vocab::{Index, NodeId, SessionId};

const FORGOTTEN: Verdict = Verdict::Refused(Refusal::Forgotten);

fn seq(session: SessionId, seq: u64) -> Once {
    Once::Seq { session, seq }
}

#[test]
fn a_repeated_command_is_answered_as_before_and_changes_nothing() {
    let (mut world, session) = World::with_node();
    for (once, text) in [(seq(session, 1), "till"), (Once::Key(9), "desk")] {
        let (first, effects) = world.hear(once, register(text, None));
        assert_eq!(effects.len(), 1);
        world.say(release(text, None));
        let before = body(&world.machine);
        assert_eq!(world.hear(once, register(text, None)), (first, vec![]));
        assert_eq!(body(&world.machine), before);
        assert!(world.machine.find(text).is_none());
    }
}

#[test]
fn a_refused_command_does_not_succeed_later() {
    let (mut world, session) = World::with_node();
    let epoch = world.register("till", None);
    for once in [seq(session, 1), Once::Key(9)] {
        let refused = world.hear(once, register("till", None)).0;
        assert!(matches!(refused, Verdict::Refused(Refusal::Taken(holding))
            if holding.epoch == epoch));
    }
    world.say(release("till", None));
    for once in [seq(session, 1), Once::Key(9)] {
        let again = world.hear(once, register("till", None)).0;
        assert!(matches!(again, Verdict::Refused(Refusal::Taken(_))), "{again:?}");
    }
    assert!(world.machine.find("till").is_none());
}

#[test]
fn every_copy_of_an_unmarked_command_is_applied() {
    let mut world = World::new();
    world.register("till", None);
    assert!(matches!(world.say(release("till", None)), Verdict::Released { .. }));
    assert_eq!(world.say(release("till", None)), Verdict::Refused(Refusal::Free));
}

#[test]
fn commands_of_a_session_may_overtake_each_other_within_the_window() {
    let (mut world, session) = World::with_node();
    let newest = Once::WINDOW as u64 + 4;
    for number in [newest, 5, newest - 1] {
        let (verdict, _) = world.hear(seq(session, number), register(&format!("n{number}"), None));
        assert!(matches!(verdict, Verdict::Registered { .. }), "{number}: {verdict:?}");
    }
    assert_eq!(world.hear(seq(session, 4), register("late", None)), (FORGOTTEN, vec![]));
}

#[test]
fn below_the_window_a_command_is_forgotten_and_not_applied_again() {
    let (mut world, session) = World::with_node();
    let width = Once::WINDOW as u64;
    for number in 1..=width + 1 {
        world.hear(seq(session, number), register("till", None));
        world.hear(Once::Free, release("till", None));
    }
    assert_eq!(world.hear(seq(session, 1), register("till", None)), (FORGOTTEN, vec![]));
    let known = world.hear(seq(session, 2), register("till", None)).0;
    assert!(matches!(known, Verdict::Registered { .. }), "{known:?}");
    assert!(world.machine.find("till").is_none());
    // One row for each number of the window, and no more.
    assert_eq!(world.machine.rows().filter(|(key, _)| key[0] == 0x50).count(), Once::WINDOW);
}

#[test]
fn the_greatest_number_leaves_no_room_and_breaks_nothing() {
    let (mut world, session) = World::with_node();
    let op = || register("till", None);
    assert!(matches!(world.hear(seq(session, u64::MAX), op()).0, Verdict::Registered { .. }));
    assert_eq!(world.hear(seq(session, 0), op()).0, FORGOTTEN);
}

#[test]
fn two_sessions_number_for_themselves() {
    let (mut world, one) = World::with_node();
    let two = world.open(SessionOwner::Client);
    world.hear(seq(one, 1), register("a", None));
    world.hear(seq(two, 1), register("b", None));
    assert_eq!(world.names(), ["a", "b"]);
}

#[test]
fn a_command_of_a_session_that_does_not_live_is_refused() {
    let (mut world, session) = World::with_node();
    world.hear(seq(session, 1), register("till", None));
    world.say(end(session, Evidence::Stopped));
    for session in [session, SessionId(900)] {
        let refused = Verdict::Refused(Refusal::NoSession(session));
        assert_eq!(world.hear(seq(session, 1), register("a", None)), (refused.clone(), vec![]));
        assert_eq!(world.hear(seq(session, 2), register("a", None)), (refused, vec![]));
    }
}

#[test]
fn a_session_that_ends_itself_is_answered_again_though_it_lives_no_more() {
    let ops: [fn(SessionId) -> Op; 3] = [
        |session| end(session, Evidence::Stopped),
        |_| Op::Leave { node: NodeId(1) },
        |_| Op::Open { owner: node(1, 2), ttl_ms: 2000 },
    ];
    for op in ops {
        let (mut world, session) = World::with_node();
        let (verdict, effects) = world.hear(seq(session, 3), op(session));
        assert!(!effects.is_empty());
        assert!(world.machine.session(session).is_none());
        assert_eq!(world.hear(seq(session, 3), op(session)), (verdict, vec![]));
        let other = world.hear(seq(session, 4), op(session)).0;
        assert_eq!(other, Verdict::Refused(Refusal::NoSession(session)));
    }
}

#[test]
fn the_oldest_keys_are_forgotten_first() {
    let mut machine = Machine::new(0);
    let mut index = 0;
    let mut say = |key| {
        index += 1;
        let at = At { index: Index(index), term: 1 };
        let command = Command { once: Once::Key(key), op: register("till", None) };
        let verdict = machine.apply(at, command, &mut Vec::new());
        machine.check();
        verdict
    };
    let most = Once::KEYS_MAX as u128;
    let first = say(0);
    for key in 1..most {
        say(key);
    }
    // The first key is the oldest of as many as are remembered.
    assert_eq!(say(0), first);
    say(most);
    // Now it is forgotten, and what comes under it is a new command.
    let again = say(0);
    assert!(matches!(again, Verdict::Refused(Refusal::Taken(_))), "{again:?}");
    assert_eq!(machine.rows().filter(|(key, _)| key[0] == 0x60).count(), Once::KEYS_MAX);
    machine.check_all();

    // A shelf hears of what is forgotten, as of all else.
    let mut shelf: BTreeMap<_, _> = machine.rows().collect();
    machine.take_changes();
    let at = At { index: machine.applied().next(), term: 1 };
    let command = Command { once: Once::Key(most + 1), op: register("till", None) };
    machine.apply(at, command, &mut Vec::new());
    for (key, value) in machine.take_changes() {
        match value {
            Some(value) => drop(shelf.insert(key, value)),
            None => drop(shelf.remove(&key)),
        }
    }
    assert!(machine.rows().eq(shelf));
}

#[test]
fn an_entry_that_was_applied_is_not_applied_again() {
    let mut world = World::new();
    world.register("till", None);
    let before = world.machine.clone();
    for index in [0, 1] {
        let at = At { index: Index(index), term: 9 };
        let command = Command { once: Once::Free, op: release("till", None) };
        let mut effects = Vec::new();
        assert_eq!(world.machine.apply(at, command, &mut effects), FORGOTTEN);
        assert_eq!((effects, &world.machine), (vec![], &before));
        assert_eq!(body(&world.machine), body(&before));
    }
    assert_eq!(world.machine.find("till").unwrap().name, name("till"));
}
