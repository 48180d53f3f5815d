//! Nothing is quadratic. The bounds are far above what an unoptimised build on a busy machine takes, and far
//! below what a scan for each name would.

mod common;

use std::time::{Duration, Instant};

use common::{end, register};
use quorate_registry::{
    At, Command, Company, Ending, Evidence, Level, Machine, Once, Op, SessionOwner, Spec, Verdict,
    snapshot,
};
use quorate_vocab::{Index, NodeId, SessionId};

#[expect(clippy::disallowed_methods, reason = "a test may look at the clock on the wall")]
fn now() -> Instant {
    Instant::now()
}

fn apply(machine: &mut Machine, once: Once, op: Op) -> (Verdict, usize) {
    let at = At { index: machine.applied().next(), term: 1 };
    let mut effects = Vec::new();
    let verdict = machine.apply(at, Command { once, op }, &mut effects);
    machine.check();
    (verdict, effects.len())
}

/// Whether something is ever done within its bound. A machine that stands still may spoil one try, but not
/// five in a row.
fn once(mut is_in_time: impl FnMut() -> bool) -> bool {
    (0..5).any(|_| is_in_time())
}

#[test]
fn ten_thousand_names_of_one_session_end_at_once() {
    assert!(once(ten_thousand_names));
}

fn ten_thousand_names() -> bool {
    const NAMES: u64 = 10_000;
    let mut machine = Machine::new(0);
    apply(&mut machine, Once::Free, Op::Open { owner: SessionOwner::Client, ttl_ms: 0 });
    let session = SessionId(1);

    let start = now();
    for seq in 1..=NAMES {
        let op = register(&format!("n/{}", seq.wrapping_mul(7919) % NAMES), Some(session));
        apply(&mut machine, Once::Seq { session, seq }, op);
    }
    let registered = start.elapsed();
    let (verdict, effects) = apply(&mut machine, Once::Free, end(session, Evidence::Stopped));
    let ended = start.elapsed() - registered;
    println!("registered in {registered:?}, ended in {ended:?}");

    assert_eq!((verdict, effects as u64), (Verdict::Ended, NAMES + 1));
    assert_eq!(machine.list("", None).count(), 0);
    // What nobody took and nobody would see leaves nothing behind.
    assert_eq!(machine.take_changes().len(), 1);
    machine.check_all();
    registered < Duration::from_secs(5) && ended < Duration::from_secs(1)
}

#[test]
fn a_hundred_thousand_names_are_stored_and_loaded() {
    assert!(once(a_hundred_thousand_names));
}

fn a_hundred_thousand_names() -> bool {
    let mut machine = Machine::new(0);
    for number in 0..100_000 {
        apply(&mut machine, Once::Free, register(&format!("name/{number}"), None));
    }
    let start = now();
    let bytes = snapshot::encode(&machine);
    let written = start.elapsed();
    let read = snapshot::decode(&bytes).unwrap();
    let both = start.elapsed();
    println!("{} bytes, written in {written:?}, read in {:?}", bytes.len(), both - written);
    assert_eq!(read, machine);
    assert_eq!(read.applied(), Index(100_000));
    both < Duration::from_secs(20)
}

/// So many nodes with their lives, all of which offer to run all singletons; the first one holds them.
fn stage(nodes: u64, names: u64) -> Machine {
    let mut machine = Machine::new(0);
    apply(&mut machine, Once::Free, Op::Raise { level: Level::NEWEST });
    for number in 1..=nodes {
        let mut join = common::join(number, &format!("n{number}"));
        if let Op::Join { labels, .. } = &mut join {
            Level::NEWEST.announce(labels);
        }
        apply(&mut machine, Once::Free, join);
        let owner = common::node(number, 1);
        apply(&mut machine, Once::Free, Op::Open { owner, ttl_ms: 2000 });
    }
    for number in 0..names {
        for node in 1..=nodes {
            volunteer(&mut machine, node, &format!("n/{number}"), Spec::default());
        }
    }
    // As on a node, where the shelf takes them.
    machine.take_changed();
    machine
}

fn volunteer(machine: &mut Machine, node: u64, of: &str, spec: Spec) {
    let session = machine.session_of(NodeId(node)).expect("its life has not ended").id;
    let op =
        Op::Volunteer { name: common::name(of), session, node: NodeId(node), spec: Box::new(spec) };
    assert_eq!(apply(machine, Once::Free, op).0, Verdict::Done);
}

/// Applies one command, and says how long that took and how long the look at what it touched.
fn timed(machine: &mut Machine, op: Op) -> [Duration; 2] {
    let at = At { index: machine.applied().next(), term: 1 };
    let mut effects = Vec::new();
    let start = now();
    machine.apply(at, Command { once: Once::Free, op }, &mut effects);
    let applied = start.elapsed();
    machine.check();
    [applied, start.elapsed() - applied]
}

#[test]
fn ten_thousand_grants_of_one_life_are_placed_anew_by_the_entry_that_ends_it() {
    for nodes in [3, 100] {
        let all = stage(nodes, 10_000);
        assert!(once(|| is_placed_anew(all.clone(), nodes)));
    }
}

fn is_placed_anew(mut machine: Machine, nodes: u64) -> bool {
    assert_eq!(machine.load_of(NodeId(1)), 10_000);
    let session = machine.session_of(NodeId(1)).expect("its life has not ended").id;
    let [applied, checked] = timed(&mut machine, end(session, Evidence::Expired { term: 1 }));
    println!("{nodes} candidates each: placed in {applied:?}, checked in {checked:?}");
    let loads: u32 = (2..=nodes).map(|node| machine.load_of(NodeId(node))).sum();
    assert_eq!((machine.load_of(NodeId(1)), loads), (0, 10_000));
    applied < Duration::from_secs(3)
}

#[test]
fn ten_thousand_that_wait_cost_the_end_of_another_nothing() {
    assert!(once(waiting_costs_nothing));
}

fn waiting_costs_nothing() -> bool {
    let mut machine = stage(3, 0);
    let after = Spec { after: [common::name("gate")].into(), ..Spec::default() };
    let on = Spec { on: common::labels(&[("disk", "ssd")]), ..Spec::default() };
    for number in 0..10_000 {
        let spec = if number % 2 == 0 { &after } else { &on };
        (1..=3)
            .for_each(|node| volunteer(&mut machine, node, &format!("n/{number}"), spec.clone()));
    }
    let crew = Company { group: "crew".to_owned(), apart: true, spread: None };
    let alone = Spec { company: Some(crew), ..Spec::default() };
    let mut took = Vec::new();
    for (of, spec) in [("plain", Spec::default()), ("alone", alone)] {
        volunteer(&mut machine, 1, of, spec);
        let singleton = machine.singleton(of).expect("it was offered");
        let epoch = singleton.epoch().expect("it is held");
        let ending = Ending::Stopped { state: None };
        let [applied, _] =
            timed(&mut machine, Op::EndGrant { name: common::name(of), epoch, ending });
        println!("ten thousand wait, and {of} ends: {applied:?}");
        took.push(applied);
    }
    took.into_iter().all(|took| took < Duration::from_millis(500))
}
