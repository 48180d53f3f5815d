//! What a cluster may ask for that has not agreed on everything that this release understands.

use crate::common;

use common::{World, count, join, lease, name, register, reserve, set};
use quorate_registry::{Bearer, Effect, Level, Machine, Once, Op, Refusal, RowError, Verdict};
use quorate_vocab::{NodeId, SessionId};

/// A world whose header is this.
fn headed(header: &[u8]) -> World {
    let rows = [(vec![0x10], header.to_vec())];
    World { machine: Machine::from_rows(rows).unwrap(), index: 0, term: 1 }
}

/// A node of a build that understands so much; none announces nothing, as builds from before levels did.
fn comes(number: u64, understands: Option<Level>) -> Op {
    let mut op = join(number, &format!("n{number}"));
    if let (Op::Join { labels, .. }, Some(level)) = (&mut op, understands) {
        level.announce(labels);
    }
    op
}

#[test]
fn a_state_from_before_levels_is_what_its_log_replayed_would_be() {
    let mut replayed = World::new();
    let mut restored = headed(&[1, 0, 0]);
    assert_eq!(restored.machine.level(), Level::FIRST);
    for world in [&mut replayed, &mut restored] {
        world.say(count("sold", 1, None));
    }
    assert_eq!(replayed.machine, restored.machine);
}

#[test]
fn the_level_rises_once_every_node_has_announced_one_that_is_higher() {
    let mut world = World::new();
    let raised = |level| (Verdict::Raised { level }, vec![]);
    let [two, three] = [Level::Two, Level::Three];
    world.say(comes(1, Some(three)));
    assert_eq!(world.machine.attainable(), Some(three));
    // Two old ones came before the leader was heard.
    world.say(comes(2, None));
    world.say(comes(3, Some(two)));
    assert_eq!(world.machine.attainable(), None);
    assert_eq!(world.hear(Once::Free, Op::Raise { level: three }), raised(two));

    // One is brought to a newer build, which announces a level that is unknown here; the other is taken out.
    let mut newer = comes(2, None);
    if let Op::Join { labels, .. } = &mut newer {
        labels.insert("quorate.level".to_owned(), "9".to_owned());
    }
    world.say(newer);
    assert_eq!(world.machine.attainable(), None);
    world.say(Op::Leave { node: NodeId(3) });
    assert_eq!(world.machine.attainable(), Some(three));
    let (verdict, effects) = world.hear(Once::Free, Op::Raise { level: three });
    assert_eq!((verdict, effects), (Verdict::Raised { level: three }, vec![Effect::Raised(three)]));
    assert_eq!(world.machine.attainable(), None);
}

#[test]
fn a_node_that_is_too_old_for_what_is_agreed_does_not_get_in() {
    let mut world = World::new();
    let [two, three] = [Level::Two, Level::Three];
    world.say(comes(1, Some(three)));
    world.say(Op::Raise { level: three });
    for (understands, number) in [(None, 2), (Some(two), 2), (None, 1)] {
        let refused = Verdict::Refused(Refusal::TooOld { understands: 2, agreed: three });
        assert_eq!(world.hear(Once::Free, comes(number, understands)), (refused, vec![]));
    }
    assert_eq!(world.say(comes(2, Some(three))), Verdict::Joined);
}

#[test]
fn what_old_members_do_not_understand_is_refused_until_the_level_is_raised() {
    let mut world = headed(&[2, 0, 0, 1]);
    assert_eq!(world.machine.level(), Level::One);
    let bearer = Bearer { session: SessionId(1), process: None };
    let epoch = world.register("till", None);
    let new = || {
        [
            lease("a", 5),
            reserve("b", Some(SessionId(1))),
            Op::Confirm { name: name("till"), epoch, claim: common::claim(None) },
            Op::Amend { name: name("till"), epoch, expected: None, value: None, meta: None },
            set("c", bearer, &[]),
            Op::DropProperty { key: name("c"), bearer },
            count("d", 1, None),
            Op::DropCounter { name: name("d"), expected: None },
        ]
    };
    let refused = Verdict::Refused(Refusal::TooNew { needs: Level::Two, agreed: Level::One });
    for op in new() {
        assert_eq!(world.hear(Once::Free, op), (refused.clone(), vec![]));
    }
    let (verdict, effects) = world.hear(Once::Free, Op::Raise { level: Level::Two });
    assert_eq!(verdict, Verdict::Raised { level: Level::Two });
    assert_eq!(effects, [Effect::Raised(Level::Two)]);
    for op in new() {
        assert_ne!(world.say(op), refused);
    }
    assert!(matches!(world.say(register("e", None)), Verdict::Registered { .. }));
}

#[test]
fn a_level_is_never_lowered_and_survives_in_the_header() {
    let mut world = World::new();
    world.say(Op::Raise { level: Level::NEWEST });
    assert_eq!(world.machine.level(), Level::NEWEST);
    let lower = world.hear(Once::Free, Op::Raise { level: Level::One });
    assert_eq!(lower, (Verdict::Raised { level: Level::NEWEST }, vec![]));
    let read = Machine::from_rows(world.machine.rows()).unwrap();
    assert_eq!(read.level(), Level::NEWEST);
}

#[test]
fn a_state_of_a_level_that_is_unknown_is_refused_by_its_number() {
    let rows = [(vec![0x10], vec![2, 0, 9, 7])];
    assert_eq!(Machine::from_rows(rows), Err(RowError::Level { level: 7 }));
    assert_eq!(Level::from_number(7), None);
    for level in [Level::One, Level::Two, Level::Three, Level::Four] {
        assert_eq!(Level::from_number(level.number()), Some(level));
    }
}
