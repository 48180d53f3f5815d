//! Nothing is quadratic. The bounds are far above what an unoptimised build on a busy machine takes, and far
//! below what a scan for each name would.

mod common;

use std::time::{Duration, Instant};

use common::{end, register};
use quorate_registry::{At, Command, Evidence, Machine, Once, Op, SessionOwner, Verdict, snapshot};
use quorate_vocab::{Index, SessionId};

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
