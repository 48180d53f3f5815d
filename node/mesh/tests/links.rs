//! Whole meshes over the system's TCP on loopback.

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, Seen, Tap, eventually, patient, start, takes_turns};
use quorate_env::{Tcp, spawn, timeout};
use quorate_mesh::{
    CallError, Cookie, Limits, Mesh, MeshConfig, MeshError, Reason, Road, SendError,
};
use quorate_vocab::{Boot, ClusterId, NodeId};

async fn tcp(config: MeshConfig) -> (Mesh, Arc<Tap>) {
    start(config, Arc::new(Tcp)).await
}

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// A node that listens where no other test does, for one that wants its address again once it is free.
fn alone_at(host: &str, id: u64) -> MeshConfig {
    MeshConfig { listen: format!("{host}:0"), ..patient(id, 1) }
}

/// Two nodes that have met.
async fn pair() -> ((Mesh, Arc<Tap>), (Mesh, Arc<Tap>)) {
    pair_of(patient(1, 1), patient(2, 1)).await
}

async fn pair_of(one: MeshConfig, two: MeshConfig) -> ((Mesh, Arc<Tap>), (Mesh, Arc<Tap>)) {
    let (one, two) = (tcp(one).await, tcp(two).await);
    one.0.learn(NodeId(2), two.0.address());
    one.1.met(2, 1).await;
    two.1.met(1, 1).await;
    (one, two)
}

#[tokio::test]
async fn mail_and_calls_arrive_on_both_roads_and_in_both_directions() {
    let ((one, one_tap), (two, two_tap)) = pair().await;
    for road in Road::ALL {
        one.send(NodeId(2), road, body("there")).unwrap();
        two.send(NodeId(1), road, body("back")).unwrap();
        let there = Seen::Mail(NodeId(1), road, body("there"));
        two_tap.until("mail there", |seen| seen.contains(&there)).await;
        let back = Seen::Mail(NodeId(2), road, body("back"));
        one_tap.until("mail back", |seen| seen.contains(&back)).await;
        let answer = one.call(NodeId(2), road, body("a"), PATIENCE).await;
        assert_eq!(answer.unwrap(), "echo a");
        let answer = two.call(NodeId(1), road, body("b"), PATIENCE).await;
        assert_eq!(answer.unwrap(), "echo b");
    }
    let [peer] = &one.peers()[..] else { panic!("there is one peer") };
    assert_eq!((peer.id, peer.name.as_str(), peer.boot), (NodeId(2), "node-2", Boot(1)));
    assert_eq!((peer.address.as_str(), peer.cluster), (two.address(), Some(ClusterId(1))));
    assert!(peer.is_up(Road::Control) && peer.is_up(Road::Data));
    let counters = one.counters();
    for traffic in [counters.control, counters.data] {
        assert!(traffic.frames_in >= 3 && traffic.frames_out >= 3, "{traffic:?}");
        assert!(traffic.bytes_in >= 30 && traffic.bytes_out >= 30, "{traffic:?}");
    }
}

#[tokio::test]
async fn bodies_of_every_size_come_whole_and_in_order() {
    let ((one, _), (_, two_tap)) = pair().await;
    let max = Limits::test().body_bytes_max();
    let sizes = [0, 1, 4095, 4096, 4097, 32_767, 32_768, 65_536, 1, max, 0, max - 1, 7];
    let bodies: Vec<Bytes> = sizes.iter().map(|size| vec![*size as u8; *size].into()).collect();
    for body in &bodies {
        one.send(NodeId(2), Road::Data, body.clone()).unwrap();
    }
    let mail = |seen: &[Seen]| {
        seen.iter().filter(|seen| matches!(seen, Seen::Mail(..))).count() == bodies.len()
    };
    two_tap.until("all mail", mail).await;
    assert!(two_tap.mail() == bodies);
    let answer = one.call(NodeId(2), Road::Data, bodies[7].clone(), PATIENCE).await.unwrap();
    assert_eq!(answer.len(), bodies[7].len() + 5);
    let too_long = Err(SendError::TooLong { bytes: max + 1, bytes_max: max });
    assert_eq!(one.send(NodeId(2), Road::Data, vec![0; max + 1].into()), too_long);
}

#[tokio::test]
async fn three_nodes_meet_from_one_seed_and_what_the_hall_learns() {
    let (one, one_tap) = tcp(patient(1, 1)).await;
    let (two, two_tap) = tcp(patient(2, 1)).await;
    let (three, three_tap) = tcp(patient(3, 1)).await;
    two.greet(one.address());
    two.greet(one.address());
    three.greet(one.address());
    one.greet(one.address());
    one_tap.met(2, 1).await;
    one_tap.met(3, 1).await;
    // As the hall would: the first tells the others where each one is.
    for peer in one.peers() {
        two.learn(peer.id, &peer.address);
        three.learn(peer.id, &peer.address);
    }
    two_tap.met(3, 1).await;
    three_tap.met(2, 1).await;
    for (from, to) in [(&one, 2), (&one, 3), (&two, 1), (&two, 3), (&three, 1), (&three, 2)] {
        let answer = from.call(NodeId(to), Road::Control, body("x"), PATIENCE).await;
        assert_eq!(answer.unwrap(), "echo x");
    }
    assert_eq!(one.counters().closed_for(Reason::OwnId), 0, "one did not ask itself");
}

#[tokio::test]
async fn a_node_that_dies_is_parted_and_met_again_in_its_next_life() {
    let ((one, one_tap), (two, _)) = pair_of(patient(1, 1), alone_at("127.0.0.2", 2)).await;
    let address = two.address().to_owned();
    two.close().await;
    one_tap.parted(2, 1).await;
    assert_eq!(one.send(NodeId(2), Road::Data, body("x")), Err(SendError::NoLink));
    assert!(!one.peers()[0].is_up(Road::Control));
    let again = MeshConfig { listen: address, ..patient(2, 2) };
    let (two, two_tap) = tcp(again).await;
    one_tap.met(2, 2).await;
    two_tap.met(1, 1).await;
    assert_eq!(one.peers()[0].boot, Boot(2));
    let answer = two.call(NodeId(1), Road::Data, body("hello"), PATIENCE).await;
    assert_eq!(answer.unwrap(), "echo hello");
    assert!(takes_turns(&one_tap.seen()));
}

#[tokio::test]
async fn an_earlier_life_is_refused_and_a_later_one_replaces() {
    let ((one, one_tap), (_two, two_tap)) = pair_of(patient(1, 1), patient(2, 5)).await;
    let (_earlier, earlier_tap) = {
        let (mesh, tap) = tcp(patient(2, 4)).await;
        mesh.learn(NodeId(1), one.address());
        (mesh, tap)
    };
    eventually("the refusal", || one.counters().closed_for(Reason::OldBoot) > 0).await;
    assert_eq!(one.call(NodeId(2), Road::Control, body("x"), PATIENCE).await.unwrap(), "echo x");
    assert!(earlier_tap.seen().is_empty());
    let (later, later_tap) = tcp(patient(2, 6)).await;
    later.learn(NodeId(1), one.address());
    later_tap.met(1, 1).await;
    two_tap.parted(1, 1).await;
    one_tap.met(2, 2).await;
    assert_eq!(one.peers()[0].boot, Boot(6));
    assert!(takes_turns(&one_tap.seen()));
    assert!(one.counters().closed_for(Reason::Superseded) >= 2);
}

#[tokio::test]
async fn another_cookie_another_cluster_or_ones_own_id_get_no_link() {
    let (one, one_tap) = tcp(patient(1, 1)).await;
    let cookies = Cookie::new("another secret, as long").unwrap().into();
    let cases = [
        (MeshConfig { cookies, ..patient(2, 1) }, Reason::BadProof),
        (MeshConfig { cluster: Some(ClusterId(2)), ..patient(3, 1) }, Reason::OtherCluster),
        (patient(1, 9), Reason::OwnId),
    ];
    for (config, reason) in cases {
        let (mesh, tap) = tcp(config).await;
        mesh.greet(one.address());
        eventually(reason.as_str(), || one.counters().closed_for(reason) > 0).await;
        eventually("to be told", || mesh.counters().closed_for(Reason::Refused) > 0).await;
        assert!(mesh.peers().is_empty() && tap.seen().is_empty());
        mesh.close().await;
    }
    // Another node answers where the second was said to be.
    let (four, _) = tcp(patient(4, 1)).await;
    one.learn(NodeId(2), four.address());
    eventually("the mistake", || one.counters().closed_for(Reason::WrongNode) > 0).await;
    assert!(one.peers().is_empty() && one_tap.seen().is_empty());
}

#[tokio::test]
async fn adopting_a_cluster_is_told_and_parts_from_another() {
    let none = |id| MeshConfig { cluster: None, ..patient(id, 1) };
    let ((one, one_tap), (two, _)) = pair_of(none(1), none(2)).await;
    two.adopt(ClusterId(7));
    let known = || one.peers()[0].cluster == Some(ClusterId(7));
    eventually("what the peer adopted", known).await;
    one.adopt(ClusterId(7));
    let known = || two.peers()[0].cluster == Some(ClusterId(7));
    eventually("what was adopted", known).await;
    assert!(!one_tap.seen().contains(&Seen::Parted(NodeId(2))));
    one.adopt(ClusterId(8));
    one_tap.parted(2, 1).await;
    eventually("both roads", || one.counters().closed_for(Reason::OtherCluster) == 2).await;
    eventually("the refusal", || two.counters().closed_for(Reason::OtherCluster) > 0).await;
    eventually("to be told", || one.counters().closed_for(Reason::Refused) > 0).await;
    assert!(one_tap.seen().iter().filter(|seen| matches!(seen, Seen::Met(..))).count() == 1);
}

#[tokio::test]
async fn a_forgotten_node_is_parted_and_not_dialled_again() {
    let ((one, one_tap), (two, two_tap)) = pair().await;
    one.forget(NodeId(2));
    one_tap.parted(2, 1).await;
    two_tap.parted(1, 1).await;
    assert!(one.peers().is_empty());
    assert_eq!(one.send(NodeId(2), Road::Data, body("x")), Err(SendError::NoLink));
    // To be learned anew is to be dialled anew, at the address that is given now.
    one.learn(NodeId(2), "127.0.0.1:1");
    eventually("a vain dial", || one.counters().closed_for(Reason::Unreachable) > 0).await;
    one.learn(NodeId(2), two.address());
    one_tap.met(2, 2).await;
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_unknown_and_one_to_nobody_is_not_sent() {
    let ((one, one_tap), (two, two_tap)) = pair().await;
    // Soon, and yet long enough for the call to be sent first.
    let soon = Duration::from_secs(3);
    let call = |text: &'static str, within| one.call(NodeId(2), Road::Data, body(text), within);
    assert_eq!(call("never", soon).await, Err(CallError::Unknown));
    assert_eq!(call("panic", PATIENCE).await, Err(CallError::Unknown));
    assert_eq!(call("big", PATIENCE).await, Err(CallError::Unknown));
    assert_eq!(call("fine", PATIENCE).await.unwrap(), "echo fine");
    assert!(!one_tap.seen().contains(&Seen::Parted(NodeId(2))));
    let nobody = one.call(NodeId(9), Road::Data, body("x"), PATIENCE).await;
    assert_eq!(nobody, Err(CallError::NotSent(SendError::NoLink)));
    // A link that ends takes its calls with it at once.
    let waits = spawn({
        let one = one.clone();
        async move { one.call(NodeId(2), Road::Control, body("never"), PATIENCE * 100).await }
    });
    let is_asked = |seen: &[Seen]| {
        seen.iter().filter(|s| **s == Seen::Call(NodeId(1), body("never"))).count() == 2
    };
    two_tap.until("the call", is_asked).await;
    two.close().await;
    assert_eq!(timeout(PATIENCE, waits).await.unwrap().unwrap(), Err(CallError::Unknown));
}

#[tokio::test]
async fn no_more_calls_of_a_peer_are_under_way_than_allowed() {
    let mut narrow = patient(2, 1);
    narrow.limits.calls_max = 3;
    let ((one, _), (_two, two_tap)) = pair_of(patient(1, 1), narrow).await;
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let one = one.clone();
            spawn(async move { one.call(NodeId(2), Road::Data, body("gate"), PATIENCE).await })
        })
        .collect();
    eventually("three calls", || *two_tap.under_way.borrow() == 3).await;
    // The other road is read from; and by the time it has answered, the fourth call has arrived as well.
    for _ in 0..20 {
        one.call(NodeId(2), Road::Control, body("x"), PATIENCE).await.unwrap();
    }
    assert_eq!(*two_tap.under_way.borrow(), 3);
    for _ in 0..10 {
        two_tap.gate.add_permits(1);
        eventually("no fourth call", || *two_tap.under_way.borrow() <= 3).await;
    }
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), "through");
    }
}

#[tokio::test]
async fn a_flooded_queue_says_full_and_recovers() {
    let mut narrow = patient(1, 1);
    narrow.limits.queue_frames_max = 50;
    let ((one, _), (_two, two_tap)) = pair_of(narrow, patient(2, 1)).await;
    // Nothing is written while this does not await, so the fifty-first has no room.
    let mut sent = Vec::new();
    let full = loop {
        let text = format!("{}", sent.len());
        match one.send(NodeId(2), Road::Data, body(&text)) {
            Ok(()) => sent.push(body(&text)),
            Err(error) => break error,
        }
    };
    assert_eq!((full, sent.len()), (SendError::Full, 50));
    let refused = one.call(NodeId(2), Road::Data, body("x"), PATIENCE).await;
    assert_eq!(refused, Err(CallError::NotSent(SendError::Full)));
    one.send(NodeId(2), Road::Control, body("urgent")).unwrap();
    let is_all = |seen: &[Seen]| seen.iter().filter(|s| matches!(s, Seen::Mail(..))).count() == 51;
    two_tap.until("all mail", is_all).await;
    let data: Vec<_> = two_tap.mail().into_iter().filter(|mail| mail != "urgent").collect();
    assert_eq!(data, sent, "all that was taken, once and in order, and nothing that was not");
    assert_eq!(one.call(NodeId(2), Road::Data, body("x"), PATIENCE).await.unwrap(), "echo x");
}

#[tokio::test]
async fn a_panic_behind_the_mesh_ends_the_link_and_no_more() {
    let ((one, one_tap), (two, two_tap)) = pair().await;
    one.send(NodeId(2), Road::Data, body("panic")).unwrap();
    two_tap.parted(1, 1).await;
    one_tap.met(2, 2).await;
    assert_eq!(two.counters().closed_for(Reason::Inside), 1);
    assert_eq!(one.call(NodeId(2), Road::Data, body("x"), PATIENCE).await.unwrap(), "echo x");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_dial_each_other_at_once_end_with_one_link_a_road() {
    let mut nodes = Vec::new();
    for id in 1..=4 {
        nodes.push(tcp(patient(id, 1)).await);
    }
    for (mesh, _) in &nodes {
        for (id, (other, _)) in (1..).zip(&nodes) {
            mesh.learn(NodeId(id), other.address());
            mesh.greet(other.address());
        }
    }
    for (me, (_, tap)) in (1..).zip(&nodes) {
        for id in (1..=4).filter(|id| *id != me) {
            tap.met(id, 1).await;
        }
    }
    for (mesh, tap) in &nodes {
        let is_call = |seen: &Seen| matches!(seen, Seen::Call(..));
        let told: Vec<_> = tap.seen().into_iter().filter(|seen| !is_call(seen)).collect();
        assert_eq!(told.len(), 3, "each was met once, and none parted: {told:?}");
        assert_eq!(mesh.counters().opened, 6, "{:?}", mesh.counters());
        for peer in mesh.peers() {
            assert!(peer.control_up && peer.data_up);
            assert!(mesh.call(peer.id, Road::Data, body("x"), PATIENCE).await.is_ok());
        }
    }
}

#[tokio::test]
async fn a_mesh_that_cannot_start_says_why_and_one_that_closed_frees_its_address() {
    let (one, _) = tcp(alone_at("127.0.0.3", 1)).await;
    let taken = MeshConfig { listen: one.address().into(), ..patient(2, 1) };
    let error = Mesh::start(taken.clone(), Arc::new(Tcp), Tap::new()).await.err().unwrap();
    assert!(matches!(error, MeshError::Listen { .. }), "{error}");
    one.close().await;
    one.learn(NodeId(2), "127.0.0.1:1");
    assert_eq!(one.send(NodeId(2), Road::Data, body("x")), Err(SendError::NoLink));
    let (two, _) = tcp(taken).await;
    let advertised = MeshConfig { advertise: Some("public:7".into()), ..patient(3, 1) };
    let (three, _) = tcp(advertised).await;
    assert_eq!(three.address(), "public:7");
    three.learn(NodeId(2), two.address());
    eventually("the advertised address", || {
        two.peers().first().is_some_and(|peer| peer.address == "public:7")
    })
    .await;
    let mut wrong = patient(4, 1);
    wrong.limits.calls_max = 0;
    let error = Mesh::start(wrong, Arc::new(Tcp), Tap::new()).await.err().unwrap();
    assert!(matches!(error, MeshError::Config(_)), "{error}");
}
