//! Stories of processes on two or three nodes.

use crate::common;

use std::sync::Arc;
use std::time::Duration;

use common::{LONG, Till, Wire, open_till, poll_once};
use quorate_actor::{
    Actors, ActorsConfig, Addr, CallError, Exit, LetterError, Loss, Message, NotSent, ReplyTo,
    SendError,
};
use quorate_vocab::{NodeId, Pid};
use serde::{Deserialize, Serialize};

fn pair() -> (Arc<Wire>, Actors, Actors) {
    let wire = Arc::new(Wire::default());
    let (a, b) = (wire.node(1, 1), wire.node(2, 1));
    (wire, a, b)
}

/// A till on `there`, as seen from `here`.
fn far_till(here: &Actors, there: &Actors) -> Addr<Till> {
    here.addr(open_till(there).pid())
}

#[derive(Serialize, Deserialize)]
enum Other {
    Ping(ReplyTo<u64>),
}

impl Message for Other {
    const WIRE: Option<quorate_actor::Wire<Self>> = Some(quorate_actor::Wire::new("test.other", 1));
}

#[derive(Serialize, Deserialize)]
enum NextTill {
    Sum(ReplyTo<u64>),
}

impl Message for NextTill {
    const WIRE: Option<quorate_actor::Wire<Self>> = Some(quorate_actor::Wire::new("test.till", 2));
}

#[tokio::test(start_paused = true)]
async fn far_mail_arrives_in_order_and_far_calls_are_answered() {
    let (_wire, a, b) = pair();
    let till = far_till(&a, &b);
    (0..100).for_each(|note| till.send(Till::Note(note)).unwrap());
    assert_eq!(till.call(LONG, Till::Notes).await, Ok((0..100).collect()));
    assert_eq!(till.call(LONG, Till::Sum).await, Ok(4950));
    assert_eq!((a.counts().calls, b.counts().letters_refused), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_far_call_to_the_dead_is_told_so() {
    let (_wire, a, b) = pair();
    let till = far_till(&a, &b);
    let mut in_hand = Box::pin(till.call(LONG, Till::Keep));
    assert_eq!(poll_once(&mut in_hand).await, None);
    tokio::task::yield_now().await;
    b.exit(till.pid(), Exit::Killed);
    assert_eq!(in_hand.await, Err(CallError::Died));
    assert_eq!(till.call(LONG, Till::Sum).await, Err(CallError::NoProc));
    assert_eq!(till.send(Till::Note(1)), Ok(()), "a far send is at most once, and says no more");
    assert_eq!(b.counts().letters_refused, 2);
}

#[tokio::test(start_paused = true)]
async fn a_pid_of_an_earlier_life_never_reaches_a_later_process() {
    let (wire, a, b) = pair();
    let before = far_till(&a, &b);
    b.close().await;
    let b = wire.node(2, 2);
    let after = open_till(&b);
    assert_eq!(after.pid().serial, before.pid().serial, "only the boot tells them apart");
    before.send(Till::Note(1)).unwrap();
    assert_eq!(before.call(LONG, Till::Sum).await, Err(CallError::NoProc));
    assert_eq!(b.addr::<Till>(before.pid()).send(Till::Note(1)), Err(SendError::NoProc));
    assert_eq!(b.ended(before.pid()).await, Exit::NoProc);
    assert!(!b.is_alive(before.pid()) && !b.exit(before.pid(), Exit::Killed));
    assert_eq!(after.call(LONG, Till::Notes).await, Ok(vec![]));
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_an_earlier_life_ends_no_later_call() {
    let (wire, a, b) = pair();
    let till = far_till(&a, &b);
    let mut old_call = Box::pin(till.call(LONG, Till::Sum));
    wire.hold();
    assert_eq!(poll_once(&mut old_call).await, None);
    // The node starts anew; its first call has the number that the old one had.
    let a = wire.node(1, 2);
    let till = a.addr::<Till>(till.pid());
    let mut new_call = Box::pin(till.call(LONG, Till::Keep));
    assert_eq!(poll_once(&mut new_call).await, None);
    wire.release();
    tokio::task::yield_now().await;
    assert_eq!(poll_once(&mut new_call).await, None);
    assert_eq!((a.counts().calls, a.counts().answers_late), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn another_protocol_or_version_is_refused_and_its_caller_told() {
    let (_wire, a, b) = pair();
    let till = far_till(&a, &b);
    let other = a.addr::<Other>(till.pid());
    assert_eq!(other.call(LONG, Other::Ping).await, Err(CallError::Protocol));
    let next = a.addr::<NextTill>(till.pid());
    assert_eq!(next.call(LONG, NextTill::Sum).await, Err(CallError::Protocol));
    assert_eq!(b.counts().letters_refused, 2);
    assert_eq!(till.call(LONG, Till::Sum).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn a_lost_link_ends_the_calls_that_wait_on_it_and_no_other() {
    let wire = Arc::new(Wire::default());
    let (a, b, c) = (wire.node(1, 1), wire.node(2, 1), wire.node(3, 1));
    let (at_b, at_c) = (far_till(&a, &b), far_till(&a, &c));
    let mut to_b = Box::pin(at_b.call(LONG, Till::Keep));
    let mut to_c = Box::pin(at_c.call(LONG, Till::Keep));
    assert_eq!(poll_once(&mut to_b).await, None);
    assert_eq!(poll_once(&mut to_c).await, None);
    a.lost(NodeId(2), Loss::Link);
    assert_eq!(to_b.await, Err(CallError::MaybeDelivered));
    assert_eq!(poll_once(&mut to_c).await, None);
    a.close().await;
    assert_eq!(to_c.await, Err(CallError::MaybeDelivered));
    assert_eq!(a.counts().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_carrier_does_not_take_was_not_sent() {
    let (wire, a, b) = pair();
    let till = far_till(&a, &b);
    wire.cut();
    assert_eq!(till.send(Till::Note(1)), Err(SendError::NotSent(NotSent::Unreachable)));
    assert_eq!(till.call(LONG, Till::Sum).await, Err(CallError::NotSent(NotSent::Unreachable)));
    assert_eq!(a.counts().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_far_answer_after_the_timeout_falls_away_and_leaves_nothing() {
    let (wire, a, b) = pair();
    let till = far_till(&a, &b);
    wire.hold();
    let outcome = till.call(Duration::from_secs(1), Till::Sum).await;
    assert_eq!(outcome, Err(CallError::Timeout));
    assert_eq!(a.counts().calls, 0);
    assert_eq!(wire.release(), [Ok(())]);
    tokio::task::yield_now().await;
    assert_eq!((a.counts().answers_late, a.counts().letters_refused), (1, 0));
    assert_eq!(till.call(LONG, Till::Sum).await, Ok(0), "a later call gets its own answer");
}

#[tokio::test(start_paused = true)]
async fn a_far_request_that_is_dropped_ends_its_call_at_once() {
    let (_wire, a, b) = pair();
    assert_eq!(far_till(&a, &b).call(LONG, Till::Forget).await, Err(CallError::NoReply));
}

#[tokio::test(start_paused = true)]
async fn a_far_mailbox_that_is_full_tells_the_caller() {
    let wire = Arc::new(Wire::default());
    let a = wire.node(1, 1);
    let b = wire.node_with(2, 1, ActorsConfig { mailbox_max: 2, ..ActorsConfig::default() });
    let till = far_till(&a, &b);
    (1..=3).for_each(|note| till.send(Till::Note(note)).unwrap());
    assert_eq!(till.call(LONG, Till::Sum).await, Err(CallError::Full));
    assert_eq!(b.counts().letters_refused, 2);
    tokio::task::yield_now().await;
    assert_eq!(till.call(LONG, Till::Notes).await, Ok(vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_stays_at_home() {
    let bytes_max = 1000;
    let config = ActorsConfig { message_bytes_max: bytes_max, ..ActorsConfig::default() };
    let wire = Arc::new(Wire::default());
    let (a, b) = (wire.node_with(1, 1, config), wire.node_with(2, 1, config));
    let till = far_till(&a, &b);
    let words = |len| Till::Words("x".repeat(len));
    assert_eq!(till.send(words(bytes_max)), Err(SendError::TooLong { bytes_max }));
    assert_eq!(till.send(words(bytes_max - 4)), Ok(()));
    let long = till.call(LONG, |to| Till::Long(bytes_max, to)).await;
    assert_eq!(long, Err(CallError::Answer));
    let fits = till.call(LONG, |to| Till::Long(bytes_max - 4, to)).await;
    assert_eq!(fits.map(|words| words.len()), Ok(bytes_max - 4));
    assert_eq!(b.counts().letters_refused, 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_handed_on_from_node_to_node_and_its_caller_learns_the_end() {
    let wire = Arc::new(Wire::default());
    let (a, b, c) = (wire.node(1, 1), wire.node(2, 1), wire.node(3, 1));
    let (at_b, at_c) = (far_till(&a, &b), far_till(&a, &c));
    let home = open_till(&a);
    at_c.send(Till::Note(33)).unwrap();
    home.send(Till::Note(11)).unwrap();
    let by_b = |pid: Pid| at_b.call(LONG, move |to| Till::HandOn(pid, to));
    assert_eq!(by_b(at_c.pid()).await, Ok(33));
    assert_eq!(by_b(home.pid()).await, Ok(11));
    c.exit(at_c.pid(), Exit::Killed);
    assert_eq!(c.ended(at_c.pid()).await, Exit::Killed);
    assert_eq!(by_b(at_c.pid()).await, Err(CallError::NoProc));
    let nowhere = Pid { node: NodeId(9), ..home.pid() };
    assert_eq!(by_b(nowhere).await, Err(CallError::NoReply));
    assert_eq!(a.counts().calls, 0);
}

#[tokio::test(start_paused = true)]
async fn an_answers_right_travels_in_letters_only() {
    let codec = bincode::config::standard();
    let read = bincode::serde::decode_from_slice::<Till, _>(&[2, 0], codec);
    let why = read.unwrap_err().to_string();
    assert!(why.contains("only inside of a message"));

    let (_wire, a, b) = pair();
    let till = far_till(&a, &b);
    let answer = till.call(LONG, |to| {
        let request = Till::Sum(to);
        let written = bincode::serde::encode_to_vec(&request, codec);
        let why = written.unwrap_err().to_string();
        assert!(why.contains("only inside of a message"));
        request
    });
    assert_eq!(answer.await, Ok(0), "the attempt used nothing up");
}

#[tokio::test(start_paused = true)]
async fn a_letter_for_another_node_is_refused() {
    let (wire, a, b) = pair();
    let till = far_till(&a, &b);
    wire.hold();
    till.send(Till::Note(1)).unwrap();
    let [(from, _, letter)] = &wire.take_held()[..] else { panic!("one letter") };
    assert_eq!(a.deliver(*from, letter), Err(LetterError::NotMine));
    assert_eq!(b.deliver(*from, letter), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn far_calls_are_bounded_and_a_dropped_call_gives_its_place_back() {
    let wire = Arc::new(Wire::default());
    let config = ActorsConfig { calls_max: 2, ..ActorsConfig::default() };
    let (a, b) = (wire.node_with(1, 1, config), wire.node(2, 1));
    let till = a.addr::<Till>(open_till(&b).pid());
    let mut calls: Vec<_> = (0..2).map(|_| Box::pin(till.call(LONG, Till::Keep))).collect();
    for call in &mut calls {
        assert_eq!(poll_once(call).await, None);
    }
    assert_eq!(till.call(LONG, Till::Sum).await, Err(CallError::Busy));
    calls.pop();
    assert_eq!(a.counts().calls, 1);
    assert_eq!(till.call(LONG, Till::Sum).await, Ok(0));
}
