//! Rows and snapshots as bytes: what they look like, and what becomes of bytes that are something else.

use crate::common;

use std::collections::{BTreeMap, BTreeSet};

use common::{World, cases, claim, end, join, log, name, node, register, release};
use proptest::prelude::*;
use proptest::sample::Index as Place;
use quorate_registry::{
    Bearer, Bond, Claim, Company, Ending, Evidence, Exec, Grant, Legacy, Level, Loader, Machine,
    Once, Op, Pin, RowError, SessionOwner, SnapshotError, Spec, Verdict, snapshot,
};
use quorate_vocab::{Boot, NodeId};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A small world with something of every kind in it.
fn world() -> World {
    let mut world = world_of_the_first_release();
    let session = quorate_vocab::SessionId(2);
    world.say(Op::Raise { level: Level::Two });
    for process in [None, Some(common::pid(3))] {
        world.say(common::set("shop", Bearer { session, process }, &[("zone", "a")]));
    }
    world.say(common::count("sold", -300, None));
    world.say(common::lease("lent", 700));
    world.say(common::reserve("kept", Some(session)));
    let epoch = world.machine.find("durable").unwrap().epoch;
    let (value, meta) = (Some(b"else".to_vec()), None);
    world.say(Op::Amend { name: name("durable"), epoch, expected: None, value, meta });
    world
}

/// The same with singletons: one that moved and left something, one that yields, one that was stopped and has
/// failed, and a node that is drained.
fn world_with_singletons() -> World {
    let mut world = world();
    for (node, called) in [(1, "n1"), (2, "n2")] {
        let mut join = join(node, called);
        let Op::Join { labels, .. } = &mut join else { unreachable!("it is a join") };
        Level::Four.announce(labels);
        world.say(join);
    }
    world.say(Op::Raise { level: Level::Four });
    let lives = [1, 2].map(|node| {
        let owner = SessionOwner::Node { node: NodeId(node), boot: Boot(9) };
        (world.open(owner), NodeId(node))
    });
    let pin = Pin { node: "n1".to_owned().try_into().unwrap(), back: true };
    let company = Company { group: "g".to_owned(), apart: true, spread: Some("zone".to_owned()) };
    let exec = Exec {
        argv: vec!["true".to_owned()],
        env: BTreeMap::from([("K".to_owned(), "V".to_owned())]),
        dir: Some("/".to_owned()),
        grace_ms: 300,
    };
    let specs = [
        Spec { exec: Some(exec), ..Spec::default() },
        Spec { company: Some(company), after: [name("s/a")].into(), ..Spec::default() },
        Spec { pin: Some(pin), on: common::labels(&[("zone", "a")]), ..Spec::default() },
    ];
    for (of, spec) in ["s/a", "s/b", "s/c"].into_iter().zip(specs) {
        for (session, node) in lives {
            let spec = Box::new(spec.clone());
            let verdict = world.say(Op::Volunteer { name: name(of), session, node, spec });
            assert_eq!(verdict, Verdict::Done);
        }
    }
    let grant = |world: &World, of| world.machine.singleton(of).unwrap().grant.expect(of);
    let Grant { epoch, node, .. } = grant(&world, "s/a");
    let (to, other) = *lives.iter().find(|(_, other)| *other != node).unwrap();
    let of = || name("s/a");
    world.say(Op::Ready { name: of(), epoch });
    world.say(Op::Checkpoint { name: of(), epoch, state: b"seven".to_vec() });
    world.say(Op::Move { name: of(), to: Some(other), expected: Some(epoch) });
    let ending =
        Ending::Left { to: Some(to), legacy: Legacy { bytes: 70_000, digest: 0xfeed_beef } };
    world.say(Op::EndGrant { name: of(), epoch, ending });
    let epoch = grant(&world, "s/a").epoch;
    world.say(Op::Ready { name: of(), epoch });
    let held = grant(&world, "s/b");
    let other = lives.iter().find(|(_, other)| *other != held.node).unwrap().1;
    world.say(Op::Move { name: name("s/b"), to: Some(other), expected: None });
    let epoch = grant(&world, "s/c").epoch;
    let ending = Ending::Failed { why: "exit 1".to_owned() };
    world.say(Op::EndGrant { name: name("s/c"), epoch, ending });
    world.say(Op::Halt { name: name("s/c") });
    world.say(Op::Drain { node: NodeId(2), why: Some("new disk".to_owned()) });
    world
}

/// As it was before there were levels.
fn world_of_the_first_release() -> World {
    let header = [(vec![0x10], vec![1, 0, 0])];
    let mut world = World { machine: Machine::from_rows(header).unwrap(), index: 0, term: 1 };
    world.say(join(1, "n1"));
    let session = world.open(node(1, 1));
    world.say(join(2, "n2"));
    world.open(SessionOwner::Client);
    let mut rich = claim(Some(session));
    rich.meta = BTreeMap::from([("role".to_owned(), "main".to_owned())]);
    let op = Op::Register { name: name("shop/till"), claim: rich, replace: None };
    world.hear(Once::Seq { session, seq: 1 }, op);
    world.hear(Once::Seq { session, seq: 2 }, register("shop/till", Some(session)));
    world.hear(Once::Key(77), release("nobody", None));
    world.register("durable", None);
    world
}

/// The world above as this release writes it. When this changes, so does the format: then a new version must
/// be written, and the old one still be read.
const GOLDEN: &str = include_str!("golden/snapshot-2.hex");
/// The same with what came with singletons.
const GOLDEN_3: &str = include_str!("golden/snapshot-3.hex");
/// That of the first release, as it was written then.
const GOLDEN_1: &str = include_str!("golden/snapshot-1.hex");

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    bytes.chunks(32).map(|chunk| line(chunk) + "\n").collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|d| d as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn rows(machine: &Machine) -> Rows {
    machine.rows().collect()
}

fn refuse(rows: &Rows) -> RowError {
    match Machine::from_rows(rows) {
        Ok(machine) => panic!("accepted: {machine:?}"),
        Err(error) => error,
    }
}

#[test]
fn the_bytes_of_a_snapshot_are_fixed() {
    for (world, golden) in [(world(), GOLDEN), (world_with_singletons(), GOLDEN_3)] {
        let written = hex(&snapshot::encode(&world.machine));
        assert_eq!(written, golden, "the format changed:\n{written}");
    }
}

#[test]
fn a_snapshot_of_this_format_can_still_be_read() {
    assert_eq!(snapshot::decode(&unhex(GOLDEN)).unwrap(), world().machine);
    let machine = world_with_singletons().machine;
    let kinds: BTreeSet<u8> = machine.rows().map(|(key, _)| key[0]).collect();
    assert!([0xa0, 0xb0, 0xc0, 0xd0].iter().all(|kind| kinds.contains(kind)), "{kinds:x?}");
    assert_eq!(snapshot::decode(&unhex(GOLDEN_3)).unwrap(), machine);
    let first = world_of_the_first_release().machine;
    assert_eq!(snapshot::decode(&unhex(GOLDEN_1)).unwrap(), first);
}

#[test]
fn an_empty_machine_is_one_row() {
    let mut machine = Machine::new(5);
    let changes = machine.take_changes();
    assert_eq!(changes, [(vec![0x10], Some(vec![2, 5, 0, 2]))]);
    let read = snapshot::decode(&snapshot::encode(&machine)).unwrap();
    assert_eq!((read.generation(), read.applied().0), (5, 0));
}

#[test]
fn the_heaviest_claims_and_entries_can_be_read_back() {
    let mut world = World::new();
    // As many labels as fit: short keys, no values.
    let mut meta = BTreeMap::new();
    let mut left = Claim::BYTES_MAX;
    for number in 0.. {
        let key = format!("{number:x}");
        let Some(rest) = left.checked_sub(key.len()) else {
            break;
        };
        left = rest;
        meta.insert(key, String::new());
    }
    let heavy = Claim { bond: Bond::Durable, holder: None, value: vec![9; left], meta };
    let op = Op::Register { name: name(&"x".repeat(512)), claim: heavy, replace: None };
    assert!(matches!(world.say(op), Verdict::Registered { .. }));
    let mut flat = claim(None);
    flat.value = vec![0xff; Claim::BYTES_MAX];
    let op = Op::Register { name: name("flat"), claim: flat, replace: None };
    assert!(matches!(world.say(op), Verdict::Registered { .. }));
    world.say(Op::Join {
        node: NodeId(u64::MAX),
        name: "n".repeat(64).try_into().unwrap(),
        address: "a".repeat(512),
        labels: BTreeMap::from([("l".to_owned(), "v".repeat(4095))]),
    });
    assert_eq!(world.machine.nodes().count(), 1);

    let bytes = snapshot::encode(&world.machine);
    assert_eq!(snapshot::decode(&bytes).unwrap(), world.machine);
}

#[test]
fn rows_without_a_header_are_no_machine() {
    assert_eq!(refuse(&Rows::new()), RowError::NoHeader);
    let mut rows = rows(&world().machine);
    rows.pop_first();
    assert_eq!(refuse(&rows), RowError::NoHeader);
}

#[test]
fn unknown_keys_and_versions_and_values_are_told_apart() {
    let whole = rows(&world().machine);
    let with = |key: &[u8], value: &[u8]| {
        let mut rows = whole.clone();
        rows.insert(key.to_vec(), value.to_vec());
        refuse(&rows)
    };
    assert_eq!(with(&[], &[1]), RowError::Key { kind: 0 });
    assert_eq!(with(&[0x07], &[1]), RowError::Key { kind: 7 });
    assert_eq!(with(&[0x20, 1], &[1]), RowError::Key { kind: 0x20 });
    assert_eq!(with(b"\x40a b", &[1]), RowError::Key { kind: 0x40 });
    assert_eq!(with(&[0x10], &[3, 0, 0]), RowError::Version { kind: 0x10, version: 3 });
    assert_eq!(with(b"\x80a\0", &[1]), RowError::Key { kind: 0x80 });
    assert_eq!(with(b"\x80a\0\0\0\0\0\0\0\0", &[1]), RowError::Key { kind: 0x80 });
    assert_eq!(with(b"\x80a", &[1]), RowError::Key { kind: 0x80 });
    assert_eq!(with(b"\x90a b", &[1]), RowError::Key { kind: 0x90 });
    assert_eq!(with(&[0x10], &[]), RowError::Value { kind: 0x10 });
    assert_eq!(with(&[0x10], &[1, 0, 9, 0]), RowError::Value { kind: 0x10 });
    // A length of 2^40 where a text should be.
    let mut promise = vec![1, 253];
    promise.extend((1_u64 << 40).to_le_bytes());
    assert_eq!(with(&[0x20, 0, 0, 0, 0, 0, 0, 0, 9], &promise), RowError::Value { kind: 0x20 });
}

#[test]
fn rows_come_in_order_and_each_once() {
    for keys in [[vec![0x10], vec![0x10]], [vec![0x60; 9], vec![0x10]]] {
        let mut loader = Loader::default();
        let _ = loader.take(&keys[0], &[1, 0, 0]);
        assert_eq!(loader.take(&keys[1], &[1, 0, 0]), Err(RowError::Order));
    }
}

/// Builds a state, takes rows of another one into it, and says which invariant that breaks.
fn broken(change: impl FnOnce(&mut Rows, &Rows)) -> &'static str {
    let mut world = world();
    let before = rows(&world.machine);
    for op in [
        Op::Open { owner: node(2, 1), ttl_ms: 1 },
        end(quorate_vocab::SessionId(2), Evidence::Stopped),
        Op::Open { owner: node(1, 1), ttl_ms: 1 },
        release("durable", None),
        join(3, "n3"),
    ] {
        world.say(op);
    }
    let mut mixed = rows(&world.machine);
    change(&mut mixed, &before);
    match refuse(&mixed) {
        RowError::Broken(broken) => broken.invariant,
        other => panic!("{other:?}"),
    }
}

fn put_old(rows: &mut Rows, old: &Rows, key: &[u8]) {
    rows.insert(key.to_vec(), old[key].clone());
}

#[test]
fn rows_that_contradict_each_other_are_no_machine() {
    let session = |id: u8| [&[0x30, 0, 0, 0, 0, 0, 0, 0][..], &[id]].concat();
    let a_node = |id: u8| [&[0x20, 0, 0, 0, 0, 0, 0, 0][..], &[id]].concat();
    let answer = [&session(2)[1..], &[0, 0, 0, 0, 0, 0, 0, 1]].concat();
    let answer = [&[0x50][..], &answer].concat();

    // A name whose session has ended, and a name under an epoch that is yet to come.
    assert_eq!(broken(|rows, old| put_old(rows, old, b"\x40shop/till")), "I2");
    assert_eq!(
        broken(|rows, old| {
            put_old(rows, old, b"\x40durable");
            rows.insert(vec![0x10], vec![1, 0, 4]);
            rows.retain(|key, _| key[0] != 0x60 && key[0] != 0x30);
        }),
        "I1"
    );
    // Two names under one epoch.
    assert_eq!(
        broken(|rows, old| {
            rows.insert(b"\x40one".to_vec(), old[&b"\x40durable"[..]].clone());
            rows.insert(b"\x40two".to_vec(), old[&b"\x40durable"[..]].clone());
        }),
        "I1"
    );
    // Two sessions of one node, a session of no node, a session of an entry that is yet to come.
    assert_eq!(broken(|rows, old| put_old(rows, old, &session(2))), "I2");
    assert_eq!(broken(|rows, _| drop(rows.remove(&a_node(2)))), "I2");
    assert_eq!(broken(|rows, old| drop(rows.insert(session(200), old[&session(4)].clone()))), "I2");
    // Two nodes of one name, and the memory of a session that has ended.
    assert_eq!(broken(|rows, old| drop(rows.insert(a_node(9), old[&a_node(1)].clone()))), "state");
    assert_eq!(broken(|rows, old| put_old(rows, old, &answer)), "I11");
    // One key at two places of the queue.
    assert_eq!(
        broken(|rows, _| {
            let (mut key, value) = rows
                .iter()
                .find(|(key, _)| key[0] == 0x60)
                .map(|(k, v)| (k.clone(), v.clone()))
                .unwrap();
            *key.last_mut().unwrap() -= 1;
            rows.insert(key, value);
        }),
        "I11"
    );
}

#[test]
fn a_window_that_is_too_wide_is_no_machine() {
    let (mut world, session) = World::with_node();
    for seq in [1, 2] {
        world.hear(Once::Seq { session, seq }, register("till", None));
    }
    let mut rows = rows(&world.machine);
    let (mut key, value) = rows.last_key_value().map(|(k, v)| (k.clone(), v.clone())).unwrap();
    key[15] = 1;
    rows.insert(key, value);
    assert!(matches!(refuse(&rows), RowError::Broken(broken) if broken.invariant == "I11"));
}

#[test]
fn a_snapshot_is_read_to_its_end_and_no_further() {
    let bytes = snapshot::encode(&world().machine);
    for cut in 8..bytes.len() {
        let error = snapshot::decode(&bytes[..cut]).unwrap_err();
        assert_eq!(error, SnapshotError::Short, "cut at {cut}");
    }
    let longer = [&bytes[..], b"xy"].concat();
    assert_eq!(snapshot::decode(&longer), Err(SnapshotError::Trailing { bytes: 2 }));
    assert_eq!(snapshot::decode(b"quorsnaq"), Err(SnapshotError::Magic));
    let mut later = bytes.clone();
    later[8] = 2;
    assert_eq!(snapshot::decode(&later), Err(SnapshotError::Format { format: 2 }));
    // A count of rows that are not there.
    let mut more = bytes;
    more[12..20].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(snapshot::decode(&more), Err(SnapshotError::Short));
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn a_snapshot_that_was_damaged_is_refused_or_whole(
        log in log(1..60),
        damage in proptest::collection::vec((any::<Place>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut machine = Machine::new(3);
        for (at, command) in log {
            machine.apply(at, command, &mut Vec::new());
        }
        let mut bytes = snapshot::encode(&machine);
        for (place, byte, kind) in damage {
            let place = place.index(bytes.len());
            match kind {
                0 => bytes[place] ^= byte.max(1),
                1 => bytes.insert(place, byte),
                _ => drop(bytes.remove(place)),
            }
        }
        if let Ok(machine) = snapshot::decode(&bytes) {
            machine.check_all();
        }
    }

    #[test]
    fn bytes_that_begin_like_a_snapshot_do_no_harm(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [&b"quorsnap\x01\0\0\0"[..], &body].concat();
        let _ = snapshot::decode(&bytes);
    }

    /// Values of the right kind under the right keys, with any bytes in them.
    #[test]
    fn no_value_of_a_row_does_harm(
        kind in prop_oneof![
            Just(0x20_u8), Just(0x30), Just(0x50), Just(0x60), Just(0x40), Just(0x70), Just(0x80), Just(0x90),
            Just(0xa0), Just(0xb0), Just(0xc0), Just(0xd0)
        ],
        mut value in proptest::collection::vec(any::<u8>(), 0..80),
        is_newer in any::<bool>(),
    ) {
        let key = match kind {
            0x40 | 0x90 | 0xa0 | 0xc0 => [&[kind][..], b"till"].concat(),
            0xb0 => b"\xb0till\0\0\0\0\0\0\0\0\x01".to_vec(),
            0x80 => b"\x80till\0\0\0\0\0\0\0\0\x01".to_vec(),
            0x70 => vec![kind],
            0x50 => [&[kind][..], &[0; 15], &[1]].concat(),
            _ => [&[kind][..], &[0; 7], &[1]].concat(),
        };
        value.insert(0, if is_newer { 2 } else { 1 });
        let rows = Rows::from([(vec![0x10], vec![1, 0, 200]), (key, value)]);
        if let Ok(machine) = Machine::from_rows(&rows) {
            machine.check_all();
        }
    }
}

/// A world with something of every kind that singletons leave.
fn with_singletons() -> Rows {
    let mut stage = common::stage::Stage::three();
    stage.offer(1, "till", &Default::default());
    let (name, epoch) = (name("till"), stage.epoch("till"));
    stage.say(Op::Checkpoint { name, epoch, state: b"seven".to_vec() });
    stage.stops("till");
    stage.offer(2, "till", &Default::default());
    stage.done(Op::Drain { node: NodeId(3), why: Some("new disk".to_owned()) });
    stage.offer(1, "second", &Default::default());
    stage.offer(2, "third", &Default::default());
    rows(stage.machine())
}

/// What rows are refused for, after this change.
fn refused_for(change: impl FnOnce(&mut Rows)) -> (&'static str, &'static str) {
    let mut rows = with_singletons();
    change(&mut rows);
    match refuse(&rows) {
        RowError::Broken(broken) => (broken.invariant, broken.what),
        other => panic!("{other:?}"),
    }
}

fn candidate_of(number: u8) -> Vec<u8> {
    let session = with_singletons().into_keys().filter(|key| key[0] == 0x30).nth(number.into());
    [b"\xb0till\0", &session.expect("it has a life")[1..]].concat()
}

#[test]
fn rows_of_singletons_that_contradict_each_other_are_no_machine() {
    assert!(Machine::from_rows(with_singletons()).is_ok());
    let not_there = ("state", "something is said of a singleton that is not there");
    let unoffered = ("I2", "a singleton is held by a life that does not offer to run it there");
    let till = || b"\xa0till".to_vec();
    // It is held by the first of its two candidates.
    assert_eq!(refused_for(|rows| drop(rows.remove(&candidate_of(0)))), unoffered);
    assert_eq!(refused_for(|rows| drop(rows.remove(&till()))), not_there);
    // The life of one node speaks for another node, or for none.
    for number in [0, 3] {
        let row = [1, number, 1, 0].to_vec();
        let (invariant, _) = refused_for(|rows| drop(rows.insert(candidate_of(0), row)));
        assert_eq!(invariant, "I2");
        let row = [1, number, 1, 0].to_vec();
        let (_, what) = refused_for(|rows| drop(rows.insert(candidate_of(1), row)));
        assert_eq!(what, "a node's life offers to run a singleton on another node");
    }
    // A life that is none, an entry that is yet to come, a node that takes no part.
    let nobody = [b"\xb0till\0".to_vec(), vec![0, 0, 0, 0, 0, 0, 0, 1]].concat();
    let (_, what) = refused_for(|rows| drop(rows.insert(nobody, vec![1, 1, 1, 0])));
    assert_eq!(what, "a life that has ended, or may not, offers to run a singleton");
    let row = [1, 2, 250, 0].to_vec();
    let (_, what) = refused_for(|rows| drop(rows.insert(candidate_of(1), row)));
    assert_eq!(what, "a singleton was offered to be run by no applied entry");
    let drained = [&[0xd0][..], &9_u64.to_be_bytes()].concat();
    let (_, what) = refused_for(|rows| drop(rows.insert(drained, vec![1, 0])));
    assert_eq!(what, "a node is drained that takes no part");
    // An epoch that is yet to come.
    let header = |rows: &mut Rows| drop(rows.insert(vec![0x10], vec![2, 0, 1, 4]));
    assert!(matches!(refused_for(header).0, "I1" | "I2" | "state"));
}

#[test]
fn a_checkpoint_that_nobody_can_have_made_is_no_machine() {
    let key = || b"\xc0till".to_vec();
    let state = vec![0_u8; 65 * 1024];
    let length = (state.len() as u32).to_le_bytes();
    let large = [&[1, 1, 1, 252][..], &length, &state].concat();
    let (_, what) = refused_for(|rows| drop(rows.insert(key(), large)));
    assert_eq!(what, "a checkpoint is larger than any may be");
    let (invariant, _) = refused_for(|rows| drop(rows.insert(key(), vec![1, 250, 1, 0])));
    assert_eq!(invariant, "I6");
    let other = b"\xc0other".to_vec();
    let (_, what) = refused_for(|rows| drop(rows.insert(other, vec![1, 1, 1, 0])));
    assert_eq!(what, "something is said of a singleton that is not there");
}

#[test]
fn rows_in_which_singletons_wait_for_each_other_are_no_machine() {
    let mut stage = common::stage::Stage::three();
    let after =
        |of: &str| quorate_registry::Spec { after: [name(of)].into(), ..Default::default() };
    // Two chains that are none of them a circle; together, as rows, they are.
    stage.offer(1, "a", &after("b"));
    stage.offer(1, "b", &after("c"));
    stage.offer(1, "c", &Default::default());
    let mut mixed = rows(stage.machine());
    let mut other = common::stage::Stage::three();
    other.offer(1, "b", &Default::default());
    other.offer(1, "c", &after("a"));
    let theirs = rows(other.machine());
    mixed.insert(b"\xa0c".to_vec(), theirs[&b"\xa0c"[..]].clone());
    let RowError::Broken(broken) = refuse(&mixed) else { panic!("it is a circle") };
    assert_eq!(broken.what, "singletons wait for each other");
}
