//! Stories of what stands on a letter's cover, and of what letters may weigh.

use crate::common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{LONG, Till, Wire, open_till, poll_once};
use quorate_actor::{
    Actors, ActorsConfig, Addr, Blob, CallError, Capacity, Carrier, Exit, LetterError, Mailbox,
    Message, NotSent, Postage, ReplyTo, SendError, Spawn,
};
use quorate_vocab::{Boot, Lane, NodeId, Pid};
use serde::{Deserialize, Serialize};

/// A carrier that looks at covers only.
#[derive(Default)]
struct Clerk(Mutex<Vec<(Postage, usize)>>);

impl Carrier for Clerk {
    fn post(&self, _: NodeId, postage: Postage, letter: &mut Vec<u8>) -> Result<(), NotSent> {
        self.0.lock().unwrap().push((postage, letter.as_ptr().addr()));
        Ok(())
    }
}

impl Clerk {
    fn actors() -> (Arc<Self>, Actors) {
        let clerk = Arc::new(Self::default());
        let actors = Actors::new(NodeId(1), Boot(1), clerk.clone(), ActorsConfig::default());
        (clerk, actors)
    }

    fn seen(&self) -> Vec<(Postage, usize)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[derive(Serialize, Deserialize)]
struct Hot(u64);

impl Message for Hot {
    const WIRE: Option<quorate_actor::Wire<Self>> =
        Some(quorate_actor::Wire::new("test.hot", 1).lane(Lane::High));
}

#[derive(Serialize, Deserialize)]
enum Depot {
    Put(Blob),
    Look(ReplyTo<usize>),
}

impl Message for Depot {
    const WIRE: Option<quorate_actor::Wire<Self>> =
        Some(quorate_actor::Wire::new("test.depot", 1).lane(Lane::Bulk));
}

fn far(serial: u64) -> Pid {
    Pid { node: NodeId(2), boot: Boot(1), serial }
}

#[tokio::test(start_paused = true)]
async fn a_pair_has_one_flow_whatever_the_lane_and_each_pair_its_own() {
    let (clerk, actors) = Clerk::actors();
    actors.addr::<Till>(far(1)).send(Till::Note(1)).unwrap();
    actors.addr::<Hot>(far(1)).send(Hot(2)).unwrap();
    actors.addr::<Till>(far(2)).send(Till::Note(3)).unwrap();
    let process = actors.spawn(async |mailbox: Mailbox<()>| {
        mailbox.actors().addr::<Till>(far(1)).send(Till::Note(4)).unwrap();
        mailbox.actors().addr::<Hot>(far(1)).send(Hot(5)).unwrap();
        Exit::Normal
    });
    actors.ended(process.pid()).await;
    let covers: Vec<Postage> = clerk.seen().into_iter().map(|(postage, _)| postage).collect();
    let [outside, hot, other, inside, hot_inside] = covers[..] else { panic!("five letters") };
    assert_eq!((outside.lane, hot.lane), (Lane::Normal, Lane::High));
    assert_eq!(outside.flow, hot.flow);
    assert_eq!(inside.flow, hot_inside.flow);
    assert!(outside.flow != other.flow && outside.flow != inside.flow);
}

#[tokio::test(start_paused = true)]
async fn small_letters_of_a_thread_are_written_in_the_same_place() {
    let (clerk, actors) = Clerk::actors();
    let till = actors.addr::<Till>(far(1));
    (0..3).for_each(|note| till.send(Till::Note(note)).unwrap());
    let places: Vec<usize> = clerk.seen().into_iter().map(|(_, place)| place).collect();
    assert_eq!(places, [places[0]; 3]);
}

fn depots(capacity: Capacity) -> (Arc<Wire>, Addr<Depot>, Addr<Depot>) {
    let config = ActorsConfig { mailbox_bytes_max: 100 << 10, ..ActorsConfig::default() };
    let wire = Arc::new(Wire::default());
    let (a, b) = (wire.node(1, 1), wire.node_with(2, 1, config));
    let near = b.spawn_with(Spawn::default().mailbox(capacity), depot);
    let far = a.addr(near.pid());
    (wire, near, far)
}

async fn depot(mut mail: Mailbox<Depot>) -> Exit {
    let mut held = 0;
    loop {
        match mail.receive().await {
            Depot::Put(blob) => held += blob.len(),
            Depot::Look(to) => to.send(held),
        }
    }
}

fn put(kib: usize) -> Depot {
    Depot::Put(vec![7; kib << 10].into())
}

#[tokio::test(start_paused = true)]
async fn letters_from_afar_are_bounded_in_bytes_and_what_was_received_makes_room() {
    let (_wire, near, far) = depots(Capacity::Reject(1000));
    (0..3).for_each(|_| far.send(put(40)).unwrap());
    let refused = near.call(LONG, Depot::Look).await;
    assert_eq!(refused, Ok(80 << 10), "the third was refused");
    (0..3).for_each(|_| far.send(put(50)).unwrap());
    assert_eq!(near.call(LONG, Depot::Look).await, Ok(180 << 10), "there is room again");
    far.send(put(500)).unwrap();
    far.send(put(1)).unwrap();
    far.send(Depot::Put(vec![7; 100].into())).unwrap();
    let held = near.call(LONG, Depot::Look).await;
    assert_eq!(held, Ok((680 << 10) + 100), "one always finds room, and small ones do not count");
    (0..9).for_each(|_| near.send(put(100)).unwrap());
    assert_eq!(
        near.call(LONG, Depot::Look).await,
        Ok((1580 << 10) + 100),
        "nor do those from here"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_no_room_in_bytes_is_told_so() {
    let (wire, _near, far) = depots(Capacity::Reject(1000));
    far.send(put(100)).unwrap();
    wire.hold();
    far.send(put(1)).unwrap();
    assert_eq!(wire.release(), [Err(LetterError::Full)]);

    #[derive(Serialize, Deserialize)]
    struct Weighty(Blob, ReplyTo<usize>);
    impl Message for Weighty {
        const WIRE: Option<quorate_actor::Wire<Self>> =
            Some(quorate_actor::Wire::new("test.weighty", 1));
    }
    let config = ActorsConfig { mailbox_bytes_max: 100 << 10, ..ActorsConfig::default() };
    let (a, b) = (wire.node(3, 1), wire.node_with(4, 1, config));
    let weighty = b.spawn(async |mut mail: Mailbox<Weighty>| {
        loop {
            let Weighty(blob, to) = mail.receive().await;
            to.send(blob.len());
        }
    });
    let weighty = a.addr::<Weighty>(weighty.pid());
    let ask = |kib: usize| weighty.call(LONG, move |to| Weighty(vec![0; kib << 10].into(), to));
    let mut first = Box::pin(ask(99));
    assert_eq!(poll_once(&mut first).await, None);
    assert_eq!(ask(2).await, Err(CallError::Full));
    assert_eq!(first.await, Ok(99 << 10));
    assert_eq!(ask(2).await, Ok(2 << 10));
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_that_drops_its_oldest_drops_its_weight_with_it() {
    let (_wire, near, far) = depots(Capacity::DropOldest(2));
    for _ in 0..20 {
        far.send(put(30)).unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(near.call(LONG, Depot::Look).await, Ok((20 * 30) << 10), "each found room");
    (0..20).for_each(|_| far.send(put(30)).unwrap());
    tokio::task::yield_now().await;
    assert_eq!(near.call(LONG, Depot::Look).await, Ok((22 * 30) << 10), "of a burst the last two");
    far.send(put(99)).unwrap();
    assert_eq!(
        near.call(LONG, Depot::Look).await,
        Ok(((22 * 30) + 99) << 10),
        "nothing weighs any more"
    );
}

#[tokio::test(start_paused = true)]
async fn a_large_blob_travels_whole() {
    let wire = Arc::new(Wire::default());
    let (a, b) = (wire.node(1, 1), wire.node(2, 1));
    let near = b.spawn(depot);
    let far = a.addr::<Depot>(near.pid());
    far.send(put(64 << 10)).unwrap();
    assert_eq!(near.call(LONG, Depot::Look).await, Ok(64 << 20));
    let bytes_max = ActorsConfig::default().message_bytes_max;
    assert_eq!(far.send(put(65 << 10)), Err(SendError::TooLong { bytes_max }));
}

#[tokio::test(start_paused = true)]
async fn why_a_letter_was_not_taken_is_told_to_senders_and_callers() {
    struct Strict(NotSent);
    impl Carrier for Strict {
        fn post(&self, _: NodeId, _: Postage, _: &mut Vec<u8>) -> Result<(), NotSent> {
            Err(self.0)
        }
    }
    for why in
        [NotSent::Unreachable, NotSent::Full, NotSent::Denied, NotSent::TooLong { bytes_max: 9 }]
    {
        let actors =
            Actors::new(NodeId(1), Boot(1), Arc::new(Strict(why)), ActorsConfig::default());
        let till = actors.addr::<Till>(far(1));
        assert_eq!(till.send(Till::Note(1)), Err(SendError::NotSent(why)));
        assert_eq!(till.call(LONG, Till::Sum).await, Err(CallError::NotSent(why)));
        assert!(!actors.is_tied_to(NodeId(2)));
    }
}

/// A carrier that keeps the parts of letters that come in parts.
#[derive(Default)]
struct Drawer(Mutex<Vec<Vec<Bytes>>>);

impl Carrier for Drawer {
    fn post(&self, _: NodeId, _: Postage, letter: &mut Vec<u8>) -> Result<(), NotSent> {
        self.0.lock().unwrap().push(vec![std::mem::take(letter).into()]);
        Ok(())
    }

    fn post_parts(&self, _: NodeId, _: Postage, parts: Vec<Bytes>) -> Result<(), NotSent> {
        self.0.lock().unwrap().push(parts);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_blob_lies_in_a_letter_uncopied_and_the_letter_says_the_same() {
    let drawer = Arc::new(Drawer::default());
    let near = Actors::new(NodeId(1), Boot(1), drawer.clone(), ActorsConfig::default());
    let wire = Arc::new(Wire::default());
    let there = wire.node(2, 1);
    let depot = there.spawn(depot);
    let mut held = 0;
    for kib in [63, 64, 1000] {
        let blob = Bytes::from(vec![7; kib << 10]);
        near.addr(depot.pid()).send(Depot::Put(blob.clone().into())).unwrap();
        let parts = drawer.0.lock().unwrap().pop().unwrap();
        let is_shared = parts.iter().any(|part| part.as_ptr() == blob.as_ptr());
        assert_eq!((is_shared, parts.len() > 1), (kib >= 64, kib >= 64));
        assert_eq!(there.deliver(NodeId(1), &parts.concat()), Ok(()));
        held += blob.len();
        assert_eq!(depot.call(LONG, Depot::Look).await, Ok(held));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_because_of_a_letter_that_comes_back_is_told() {
    let wire = Arc::new(Wire::default());
    let (a, b) = (wire.node(1, 1), wire.node(2, 1));
    let till = a.addr::<Till>(open_till(&b).pid());
    let why = NotSent::TooLong { bytes_max: 9 };
    wire.hold();
    let mut call = Box::pin(till.call(LONG, Till::Sum));
    assert_eq!(poll_once(&mut call).await, None);
    let [(_, _, question)] = &wire.take_held()[..] else { panic!("one letter") };
    a.returned(question, why);
    assert_eq!(call.await, Err(CallError::NotSent(why)));
    // An answer that comes back is told to the caller, on the other node.
    let mut call = Box::pin(till.call(LONG, Till::Sum));
    assert_eq!(poll_once(&mut call).await, None);
    let [(_, _, question)] = &wire.take_held()[..] else { panic!("one letter") };
    b.deliver(NodeId(1), question).unwrap();
    let answer = loop {
        if let Some((_, _, answer)) = wire.take_held().pop() {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    b.returned(&answer, why);
    assert_eq!(wire.release(), [Ok(())]);
    assert_eq!(call.await, Err(CallError::Answer));
    a.returned(b"no letter", why);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_ties_its_caller_to_the_node() {
    let wire = Arc::new(Wire::default());
    let (a, b) = (wire.node(1, 1), wire.node(2, 1));
    let till = a.addr::<Till>(open_till(&b).pid());
    let mut call = Box::pin(till.call(LONG, Till::Keep));
    assert!(!a.is_tied_to(NodeId(2)));
    assert_eq!(poll_once(&mut call).await, None);
    assert!(a.is_tied_to(NodeId(2)) && !a.is_tied_to(NodeId(3)));
    drop(call);
    assert!(!a.is_tied_to(NodeId(2)));
}
