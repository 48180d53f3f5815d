//! What a cluster may ask for that has not agreed on everything that this release understands.

use crate::common;

use common::{World, count, lease, name, register, reserve, set};
use quorate_registry::{Bearer, Effect, Level, Machine, Once, Op, Refusal, RowError, Verdict};
use quorate_vocab::SessionId;

/// A cluster of the first release: its header says nothing of levels.
fn old_world() -> World {
    let header = [(vec![0x10], vec![1, 0, 0])];
    World { machine: Machine::from_rows(header).unwrap(), index: 0, term: 1 }
}

#[test]
fn what_old_members_do_not_understand_is_refused_until_the_level_is_raised() {
    let mut world = old_world();
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
    for level in [Level::One, Level::Two] {
        assert_eq!(Level::from_number(level.number()), Some(level));
    }
}
