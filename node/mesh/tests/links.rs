//! Whole meshes over the system's TCP on loopback.

use crate::common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use common::{PATIENCE, Seen, Tap, eventually, keep, patient, start, takes_turns};
use quorate_env::{Tcp, spawn, timeout};
use quorate_mesh::{
    CallError, Cookie, Limits, Mesh, MeshConfig, MeshError, Reason, Road, SendError,
};
use quorate_vocab::{Boot, ClusterId, Lane, NodeId};

type Node = (Mesh, Arc<Tap>);

async fn tcp(config: MeshConfig) -> Node {
    start(config, Arc::new(Tcp)).await
}

fn body(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn send(mesh: &Mesh, to: u64, text: &str) -> Result<(), SendError> {
    mesh.send(NodeId(to), Lane::Normal, 1, &mut text.as_bytes().to_vec())
}

async fn call(mesh: &Mesh, to: u64, text: &str, within: Duration) -> Result<Bytes, CallError> {
    mesh.call(NodeId(to), Lane::Normal, 1, body(text), within).await
}

/// A node that listens where no other test does, for one that wants its address again once it is free.
fn alone_at(host: &str, id: u64) -> MeshConfig {
    MeshConfig { listen: format!("{host}:0"), ..patient(id, 1) }
}

/// Two nodes with a control link, which the first keeps.
async fn pair() -> (Node, Node) {
    pair_of(patient(1, 1), patient(2, 1)).await
}

async fn pair_of(one: MeshConfig, two: MeshConfig) -> (Node, Node) {
    let (one, two) = (tcp(one).await, tcp(two).await);
    keep(&one.0, &[&two.0]);
    one.1.met(2, 1).await;
    two.1.met(1, 1).await;
    (one, two)
}

#[tokio::test]
async fn mail_and_calls_arrive_in_both_directions_and_each_kind_on_its_road() {
    let ((one, one_tap), (two, two_tap)) = pair().await;
    let [peer] = &one.peers()[..] else { panic!("there is one peer") };
    assert!(peer.is_up(Road::Control) && !peer.is_up(Road::Data), "nobody has sent anything");
    for lane in Lane::ALL {
        let name = lane.as_str();
        one.send(NodeId(2), lane, 1, &mut format!("there {name}").into()).unwrap();
        two.send(NodeId(1), lane, 1, &mut format!("back {name}").into()).unwrap();
        let there = Seen::Mail(NodeId(1), body(&format!("there {name}")));
        two_tap.until("mail there", |seen| seen.contains(&there)).await;
        let back = Seen::Mail(NodeId(2), body(&format!("back {name}")));
        one_tap.until("mail back", |seen| seen.contains(&back)).await;
        let answer = one.call(NodeId(2), lane, 1, body("a"), PATIENCE).await;
        assert_eq!(answer.unwrap(), "echo a");
        let answer = two.call(NodeId(1), lane, 1, body("b"), PATIENCE).await;
        assert_eq!(answer.unwrap(), "echo b");
    }
    let [peer] = &one.peers()[..] else { panic!("there is one peer") };
    assert_eq!((peer.id, peer.name.as_str(), peer.boot), (NodeId(2), "node-2", Boot(1)));
    assert_eq!((peer.address.as_str(), peer.cluster), (two.address(), Some(ClusterId(1))));
    assert!(peer.is_up(Road::Control) && peer.is_up(Road::Data));
    let counters = one.counters();
    assert_eq!(counters.opened, 2, "one link a road");
    for traffic in [counters.control, counters.data] {
        assert!(traffic.frames_in >= 3 && traffic.frames_out >= 3, "{traffic:?}");
        assert!(traffic.bytes_in >= 30 && traffic.bytes_out >= 30, "{traffic:?}");
    }
}

#[tokio::test]
async fn bodies_of_every_size_come_whole_and_in_order() {
    let mut small = patient(1, 1);
    let max = 3_000_000;
    (small.limits.body_bytes_max, small.limits.open_bytes_max) = (max, max);
    let mut other = patient(2, 1);
    other.limits = small.limits.clone();
    let ((one, _), (_two, two_tap)) = pair_of(small, other).await;
    let sizes = [0, 1, 4096, 65_535, 65_536, 65_537, 1, max, 0, max - 1, 7, 200_000, 131_072];
    let bodies: Vec<Vec<u8>> =
        sizes.iter().map(|size| (0..*size).map(|at| (at ^ size) as u8).collect()).collect();
    for body in &bodies {
        one.send(NodeId(2), Lane::Normal, 1, &mut body.clone()).unwrap();
    }
    two_tap.mails(bodies.len()).await;
    assert!(two_tap.mail() == bodies);
    let long = Bytes::from(bodies[11].clone());
    let answer = one.call(NodeId(2), Lane::Normal, 1, long.clone(), PATIENCE).await.unwrap();
    assert_eq!(answer[5..], long);
    let too_long = Err(SendError::TooLong { bytes: max + 1, bytes_max: max });
    assert_eq!(one.send(NodeId(2), Lane::Normal, 1, &mut vec![0; max + 1]), too_long);
}

#[tokio::test]
async fn a_mail_longer_than_the_peer_takes_comes_back_though_it_waited_before_that_was_known() {
    let mut small = patient(2, 1);
    let max = 100_000;
    (small.limits.body_bytes_max, small.limits.open_bytes_max) = (max, max);
    let ((one, one_tap), (_two, two_tap)) = pair_of(patient(1, 1), small).await;
    // The road opens with the first of them, so the peer has not said yet what it takes.
    for size in [7, max + 1, max, 1] {
        one.send(NodeId(2), Lane::Normal, 1, &mut vec![7; size]).unwrap();
    }
    let pieces = [vec![1; 50_000], vec![2; 50_001]].map(Bytes::from);
    one.send_pieces(NodeId(2), Lane::Bulk, 2, &pieces).unwrap();
    two_tap.mails(3).await;
    assert_eq!(two_tap.mail().iter().map(Bytes::len).collect::<Vec<_>>(), [7, max, 1]);
    let error = SendError::TooLong { bytes: max + 1, bytes_max: max };
    let back = Seen::Returned(NodeId(2), max + 1, error);
    let is_back = |seen: &&Seen| **seen == back;
    one_tap.until("both come back", |seen| seen.iter().filter(is_back).count() == 2).await;
    assert_eq!(one.counters().unsent, 2);
    // From now on it is refused at once, and the link has stayed.
    assert_eq!(one.send(NodeId(2), Lane::Normal, 1, &mut vec![7; max + 1]), Err(error));
    assert_eq!(one.send_pieces(NodeId(2), Lane::Bulk, 2, &pieces), Err(error));
    one.send_pieces(NodeId(2), Lane::Normal, 1, &pieces[..1]).unwrap();
    one.send_pieces(NodeId(2), Lane::Normal, 1, &[&pieces[0], &pieces[0]].map(Bytes::clone))
        .unwrap();
    two_tap.mails(5).await;
    assert_eq!(two_tap.mail()[3..].iter().map(Bytes::len).collect::<Vec<_>>(), [50_000, max]);
    assert_eq!((one_tap.times_parted(), two_tap.times_parted()), (0, 0));
}

#[tokio::test]
async fn a_long_body_holds_up_no_other_flow_and_keeps_the_order_of_its_own() {
    let ((one, _), (_two, two_tap)) = pair().await;
    // The first opens the road; all others are queued before anything of them is written.
    send(&one, 2, "first").unwrap();
    two_tap.mails(1).await;
    let long = vec![b'l'; 7_000_000];
    one.send(NodeId(2), Lane::Bulk, 1, &mut long.clone()).unwrap();
    one.send(NodeId(2), Lane::High, 1, &mut b"after it".to_vec()).unwrap();
    one.send(NodeId(2), Lane::Normal, 2, &mut b"beside it".to_vec()).unwrap();
    two_tap.mails(4).await;
    let came: Vec<usize> = two_tap.mail().iter().map(Bytes::len).collect();
    assert_eq!(came, ["first".len(), "beside it".len(), long.len(), "after it".len()]);
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
    keep(&two, &[&one, &three]);
    keep(&three, &[&one, &two]);
    two_tap.met(3, 1).await;
    three_tap.met(2, 1).await;
    for (from, to) in [(&one, 2), (&one, 3), (&two, 1), (&two, 3), (&three, 1), (&three, 2)] {
        assert_eq!(call(from, to, "x", PATIENCE).await.unwrap(), "echo x");
    }
    assert_eq!(one.counters().closed_for(Reason::OwnId), 0, "one did not ask itself");
}

#[tokio::test]
async fn links_that_are_not_to_be_kept_are_let_go_by_who_opened_them_and_nothing_is_lost() {
    let (one, one_tap) = tcp(patient(1, 1)).await;
    let (two, two_tap) = tcp(patient(2, 1)).await;
    let (three, three_tap) = tcp(patient(3, 1)).await;
    for mesh in [&two, &three] {
        mesh.greet(one.address());
        mesh.greet(two.address());
    }
    three_tap.met(1, 1).await;
    three_tap.met(2, 1).await;
    // One is the only voter.
    for mesh in [&one, &two, &three] {
        keep(mesh, &[&one]);
    }
    three_tap.parted(2, 1).await;
    two_tap.parted(3, 1).await;
    let is_orderly =
        |seen: &Seen| !matches!(seen, Seen::Down(_, _, reason) if *reason != Reason::Unneeded);
    assert!(three_tap.seen().iter().chain(&two_tap.seen()).all(is_orderly));
    assert_eq!(call(&three, 1, "x", PATIENCE).await.unwrap(), "echo x");
    assert_eq!(call(&two, 1, "x", PATIENCE).await.unwrap(), "echo x");
    assert_eq!(one_tap.times_parted(), 0);
    // It is still known where the other is, when there is something to send.
    three.learn(NodeId(2), two.address());
    send(&three, 2, "hello").unwrap();
    two_tap.mails(1).await;
}

#[tokio::test]
async fn a_data_road_opens_with_its_first_mail_and_both_ends_may_send() {
    let (one, one_tap) = tcp(patient(1, 1)).await;
    let (two, two_tap) = tcp(patient(2, 1)).await;
    assert_eq!(send(&one, 2, "x"), Err(SendError::NoLink), "nobody knows where it is");
    one.learn(NodeId(2), two.address());
    for number in 0..100 {
        send(&one, 2, &number.to_string()).unwrap();
    }
    two_tap.mails(100).await;
    let numbers: Vec<Bytes> = (0..100).map(|number: i32| body(&number.to_string())).collect();
    assert_eq!(two_tap.mail(), numbers);
    // Nobody has told the second where the first is; the road that is there will do.
    send(&two, 1, "back").unwrap();
    one_tap.mails(1).await;
    assert_eq!((one.counters().opened, two.counters().opened), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_send_first_at_the_same_moment_lose_nothing() {
    for round in 0..20 {
        let (one, one_tap) = tcp(patient(1, 1)).await;
        let (two, two_tap) = tcp(patient(2, 1)).await;
        one.learn(NodeId(2), two.address());
        two.learn(NodeId(1), one.address());
        send(&one, 2, "there").unwrap();
        send(&two, 1, "back").unwrap();
        two_tap.mails(1).await;
        one_tap.mails(1).await;
        send(&one, 2, "there again").unwrap();
        send(&two, 1, "back again").unwrap();
        two_tap.mails(2).await;
        one_tap.mails(2).await;
        assert_eq!(one.counters().unsent + two.counters().unsent, 0, "round {round}");
        one.close().await;
        two.close().await;
    }
}

#[tokio::test]
async fn what_waits_for_a_node_that_cannot_be_reached_is_told_and_never_comes() {
    let (one, one_tap) = tcp(patient(1, 1)).await;
    one.learn(NodeId(2), "127.0.0.1:1");
    send(&one, 2, "lost").unwrap();
    one_tap.down(2, Road::Data, 1).await;
    eventually("the count", || one.counters().unsent == 1).await;
    let (two, two_tap) = tcp(patient(2, 1)).await;
    one.learn(NodeId(2), two.address());
    eventually("the end of the rest", || send(&one, 2, "found").is_ok()).await;
    two_tap.mails(1).await;
    assert_eq!(two_tap.mail(), ["found"]);
    assert!(takes_turns(&one_tap.seen()));
}

#[tokio::test]
async fn a_data_road_that_nobody_needs_is_closed_and_opens_again() {
    let mut brief = patient(1, 1);
    brief.limits.idle_close = Duration::from_millis(200);
    let (one, one_tap) = tcp(brief).await;
    let (two, two_tap) = tcp(patient(2, 1)).await;
    one.learn(NodeId(2), two.address());
    for time in 1..=3 {
        send(&one, 2, "x").unwrap();
        two_tap.mails(time).await;
        one_tap.down(2, Road::Data, time).await;
        two_tap.down(1, Road::Data, time).await;
    }
    let gone = Seen::Down(NodeId(2), Road::Data, Reason::Unneeded);
    assert_eq!(one_tap.seen().iter().filter(|seen| **seen == gone).count(), 3);
    assert_eq!(one.counters().unsent + two.counters().unsent, 0);
    // One that somebody needs stays, whichever side that is.
    two_tap.needs.store(true, Ordering::Relaxed);
    send(&one, 2, "x").unwrap();
    two_tap.mails(4).await;
    let data = || one.counters().data.frames_in;
    let before = data();
    eventually("several requests to leave", || data() > before + 8).await;
    assert!(one.peers()[0].is_up(Road::Data));
    two_tap.needs.store(false, Ordering::Relaxed);
    one_tap.down(2, Road::Data, 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_disordered_while_a_road_is_closed_and_opened_again_and_again() {
    let mut brief = patient(1, 1);
    brief.limits.idle_close = Duration::from_millis(1);
    let (one, one_tap) = tcp(brief.clone()).await;
    brief.me = patient(2, 1).me;
    let (two, two_tap) = tcp(brief).await;
    one.learn(NodeId(2), two.address());
    two.learn(NodeId(1), one.address());
    for number in 0..500_u32 {
        for (mesh, to) in [(&one, 2), (&two, 1)] {
            mesh.send(NodeId(to), Lane::Normal, 1, &mut number.to_be_bytes().to_vec()).unwrap();
        }
        // Sometimes one after another, sometimes after the road was closed.
        quorate_env::sleep(Duration::from_micros(u64::from(number) * 37 % 5000)).await;
    }
    for tap in [&one_tap, &two_tap] {
        tap.mails(500).await;
        let numbers: Vec<Bytes> =
            (0..500_u32).map(|number| Bytes::copy_from_slice(&number.to_be_bytes())).collect();
        assert_eq!(tap.mail(), numbers);
        assert!(takes_turns(&tap.seen()));
    }
    assert_eq!(one.counters().unsent + two.counters().unsent, 0);
}

#[tokio::test]
async fn too_many_data_roads_make_room_for_each_other() {
    let mut narrow = patient(1, 1);
    narrow.limits.data_links_max = 2;
    narrow.limits.idle_close = Duration::from_secs(4);
    let (one, _) = tcp(narrow).await;
    let mut others = Vec::new();
    for id in 2..=6 {
        let (mesh, tap) = tcp(patient(id, 1)).await;
        one.learn(NodeId(id), mesh.address());
        send(&one, id, "x").unwrap();
        tap.mails(1).await;
        others.push((mesh, tap));
        let up = one.peers().iter().filter(|peer| peer.data_up).count();
        assert!(up <= 2, "{up} data roads");
    }
    assert_eq!(one.counters().unsent, 0);
}

#[tokio::test]
async fn a_node_that_dies_is_parted_and_met_again_in_its_next_life() {
    let ((one, one_tap), (two, _)) = pair_of(patient(1, 1), alone_at("127.0.0.2", 2)).await;
    let address = two.address().to_owned();
    two.close().await;
    one_tap.parted(2, 1).await;
    assert_eq!(call(&one, 2, "x", PATIENCE).await, Err(CallError::NotSent(SendError::NoLink)));
    assert!(!one.peers()[0].is_up(Road::Control));
    let again = MeshConfig { listen: address, ..patient(2, 2) };
    let (two, two_tap) = tcp(again).await;
    one_tap.met(2, 2).await;
    two_tap.met(1, 1).await;
    assert_eq!(one.peers()[0].boot, Boot(2));
    assert_eq!(call(&two, 1, "hello", PATIENCE).await.unwrap(), "echo hello");
    assert!(takes_turns(&one_tap.seen()));
}

#[tokio::test]
async fn an_earlier_life_is_refused_and_a_later_one_replaces() {
    let ((one, one_tap), (two, two_tap)) = pair_of(patient(1, 1), patient(2, 5)).await;
    send(&two, 1, "x").unwrap();
    one_tap.mails(1).await;
    let (earlier, earlier_tap) = tcp(patient(2, 4)).await;
    keep(&earlier, &[&one]);
    eventually("the refusal", || one.counters().closed_for(Reason::OldBoot) > 0).await;
    assert_eq!(call(&one, 2, "x", PATIENCE).await.unwrap(), "echo x");
    assert!(earlier_tap.seen().is_empty());
    let (later, later_tap) = tcp(patient(2, 6)).await;
    keep(&later, &[&one]);
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
    one.keep(&[NodeId(2)].into());
    eventually("the mistake", || one.counters().closed_for(Reason::WrongNode) > 0).await;
    send(&one, 2, "not for the fourth").unwrap();
    one_tap.down(2, Road::Data, 1).await;
    assert!(one.peers().is_empty());
}

#[tokio::test]
async fn adopting_a_cluster_is_told_and_parts_from_another() {
    let none = |id| MeshConfig { cluster: None, ..patient(id, 1) };
    let ((one, one_tap), (two, two_tap)) = pair_of(none(1), none(2)).await;
    send(&one, 2, "x").unwrap();
    two_tap.mails(1).await;
    two.adopt(ClusterId(7));
    let known = || one.peers()[0].cluster == Some(ClusterId(7));
    eventually("what the peer adopted", known).await;
    one.adopt(ClusterId(7));
    let known = || two.peers()[0].cluster == Some(ClusterId(7));
    eventually("what was adopted", known).await;
    assert_eq!(one_tap.times_parted(), 0);
    one.adopt(ClusterId(8));
    one_tap.parted(2, 1).await;
    eventually("both roads", || one.counters().closed_for(Reason::OtherCluster) == 2).await;
    eventually("the refusal", || two.counters().closed_for(Reason::OtherCluster) > 0).await;
    eventually("to be told", || one.counters().closed_for(Reason::Refused) > 0).await;
}

#[tokio::test]
async fn a_forgotten_node_is_parted_and_not_dialled_again() {
    let ((one, one_tap), (two, two_tap)) = pair().await;
    one.forget(NodeId(2));
    one_tap.parted(2, 1).await;
    two_tap.parted(1, 1).await;
    assert!(one.peers().is_empty());
    assert_eq!(send(&one, 2, "x"), Err(SendError::NoLink));
    // To be learned anew is to be dialled anew, at the address that is given now.
    one.learn(NodeId(2), "127.0.0.1:1");
    one.keep(&[NodeId(2)].into());
    eventually("a vain dial", || one.counters().closed_for(Reason::Unreachable) > 0).await;
    one.learn(NodeId(2), two.address());
    one_tap.met(2, 2).await;
}

#[tokio::test]
async fn a_call_that_nobody_answers_is_unknown_and_one_to_nobody_is_not_sent() {
    let ((one, one_tap), (two, two_tap)) = pair().await;
    // Soon, and yet long enough for the call to be sent first.
    let soon = Duration::from_secs(3);
    assert_eq!(call(&one, 2, "never", soon).await, Err(CallError::Unknown));
    assert_eq!(call(&one, 2, "panic", PATIENCE).await, Err(CallError::Unknown));
    assert_eq!(call(&one, 2, "big", PATIENCE).await, Err(CallError::Unknown));
    assert_eq!(call(&one, 2, "fine", PATIENCE).await.unwrap(), "echo fine");
    assert_eq!(one_tap.times_parted(), 0);
    let nobody = call(&one, 9, "x", PATIENCE).await;
    assert_eq!(nobody, Err(CallError::NotSent(SendError::NoLink)));
    // A link that ends takes its calls with it at once.
    let waits = spawn({
        let one = one.clone();
        async move { call(&one, 2, "never", PATIENCE * 100).await }
    });
    let is_asked = |seen: &[Seen]| {
        seen.iter().filter(|s| **s == Seen::Call(NodeId(1), body("never"))).count() == 2
    };
    two_tap.until("the call", is_asked).await;
    two.close().await;
    assert_eq!(timeout(PATIENCE, waits).await.unwrap().unwrap(), Err(CallError::Unknown));
}

#[tokio::test]
async fn no_more_calls_of_a_peer_are_under_way_than_allowed_and_the_rest_learns_it() {
    let mut narrow = patient(2, 1);
    narrow.limits.calls_max = 3;
    let ((one, _), (_two, two_tap)) = pair_of(patient(1, 1), narrow).await;
    let gates: Vec<_> = (0..3)
        .map(|_| {
            let one = one.clone();
            spawn(async move { call(&one, 2, "gate", PATIENCE).await })
        })
        .collect();
    eventually("three calls", || *two_tap.under_way.borrow() == 3).await;
    // Those beyond are not begun, and told at once; nothing else waits for them.
    for _ in 0..20 {
        assert_eq!(call(&one, 2, "x", PATIENCE).await, Err(CallError::Busy));
    }
    send(&one, 2, "mail").unwrap();
    two_tap.mails(1).await;
    assert_eq!(*two_tap.under_way.borrow(), 3);
    two_tap.gate.add_permits(3);
    for gate in gates {
        assert_eq!(gate.await.unwrap().unwrap(), "through");
    }
    eventually("room again", || *two_tap.under_way.borrow() == 0).await;
    assert!(!two_tap.seen().contains(&Seen::Call(NodeId(1), body("x"))));
}

#[tokio::test]
async fn a_flooded_queue_says_full_and_recovers() {
    let mut narrow = patient(1, 1);
    narrow.limits.queue_bytes_max = 4096;
    let ((one, _), (_two, two_tap)) = pair_of(narrow, patient(2, 1)).await;
    // Nothing is written while this does not await, so there is an end to the room.
    let mut sent = Vec::new();
    let full = loop {
        let text = format!("{}", sent.len());
        match send(&one, 2, &text) {
            Ok(()) => sent.push(body(&text)),
            Err(error) => break error,
        }
    };
    assert_eq!(full, SendError::Full);
    assert!((100..4096).contains(&sent.len()), "{} mails fitted", sent.len());
    assert_eq!(call(&one, 2, "x", PATIENCE).await.unwrap(), "echo x", "another road");
    one.room(NodeId(2)).await;
    two_tap.mails(sent.len()).await;
    assert_eq!(two_tap.mail(), sent, "all that was taken, once and in order, and nothing else");
    send(&one, 2, "again").unwrap();
    two_tap.mails(sent.len() + 1).await;
}

#[tokio::test]
async fn a_panic_behind_the_mesh_ends_the_link_and_no_more() {
    let ((one, one_tap), (two, two_tap)) = pair().await;
    send(&one, 2, "panic").unwrap();
    two_tap.down(1, Road::Data, 1).await;
    one_tap.down(2, Road::Data, 1).await;
    assert_eq!(two.counters().closed_for(Reason::Inside), 1);
    assert_eq!(call(&one, 2, "x", PATIENCE).await.unwrap(), "echo x");
    eventually("a new road", || send(&one, 2, "y").is_ok()).await;
    two_tap.mails(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_dial_each_other_at_once_end_with_one_link_a_road() {
    let mut nodes = Vec::new();
    for id in 1..=4 {
        nodes.push(tcp(patient(id, 1)).await);
    }
    let meshes: Vec<&Mesh> = nodes.iter().map(|(mesh, _)| mesh).collect();
    for mesh in &meshes {
        for other in &meshes {
            mesh.greet(other.address());
        }
        keep(mesh, &meshes);
    }
    for (me, (_, tap)) in (1..).zip(&nodes) {
        for id in (1..=4).filter(|id| *id != me) {
            tap.met(id, 1).await;
        }
    }
    for (mesh, tap) in &nodes {
        let told = tap.seen().into_iter().filter(|seen| !matches!(seen, Seen::Call(..))).count();
        assert_eq!(told, 3, "each was met once, and none parted: {:?}", tap.seen());
        assert_eq!(mesh.counters().opened, 3, "{:?}", mesh.counters());
        for peer in mesh.peers() {
            assert!(peer.control_up && !peer.data_up);
            assert!(call(mesh, peer.id.0, "x", PATIENCE).await.is_ok());
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
    assert_eq!(send(&one, 2, "x"), Err(SendError::NoLink));
    let (two, _) = tcp(taken).await;
    let advertised = MeshConfig { advertise: Some("public:7".into()), ..patient(3, 1) };
    let (three, _) = tcp(advertised).await;
    assert_eq!(three.address(), "public:7");
    keep(&three, &[&two]);
    eventually("the advertised address", || {
        two.peers().first().is_some_and(|peer| peer.address == "public:7")
    })
    .await;
    let wrong = Limits { calls_max: 0, ..patient(4, 1).limits };
    let wrong = MeshConfig { limits: wrong, ..patient(4, 1) };
    let error = Mesh::start(wrong, Arc::new(Tcp), Tap::new()).await.err().unwrap();
    assert!(matches!(error, MeshError::Config(_)), "{error}");
}
