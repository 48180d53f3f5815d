//! Meshes over a net that is slow, cut or broken, in virtual time: what takes seconds here takes none.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{Lab, PATIENCE, Seen, Tap, config, eventually, start, takes_turns};
use quorate_env::{Life, LifeConfig, sleep};
use quorate_mesh::{CallError, Mesh, MeshConfig, Reason, Road, SendError};
use quorate_vocab::NodeId;

fn at(id: u64, boot: u64) -> MeshConfig {
    MeshConfig { listen: format!("node-{id}"), ..config(id, boot) }
}

async fn pair(lab: &Lab) -> ((Mesh, Arc<Tap>), (Mesh, Arc<Tap>)) {
    let one = start(at(1, 1), Arc::new(lab.clone())).await;
    let two = start(at(2, 1), Arc::new(lab.clone())).await;
    one.0.learn(NodeId(2), two.0.address());
    two.0.learn(NodeId(1), one.0.address());
    one.1.met(2, 1).await;
    two.1.met(1, 1).await;
    (one, two)
}

fn text(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_lives_by_heartbeats_alone() {
    let lab = Lab::new(Duration::from_millis(1));
    let ((one, one_tap), (two, two_tap)) = pair(&lab).await;
    sleep(Duration::from_secs(600)).await;
    assert_eq!((one_tap.seen().len(), two_tap.seen().len()), (1, 1));
    assert_eq!((one.counters().opened, two.counters().opened), (2, 2));
    assert_eq!(one.counters().closed_for(Reason::Silent), 0);
    let frames = one.counters().control.frames_out;
    assert!((5000..=6100).contains(&frames), "{frames} heartbeats in 600 s, one each 100 ms");
}

#[tokio::test(start_paused = true)]
async fn a_cut_is_noticed_by_its_silence_and_calls_end_in_time() {
    let lab = Lab::new(Duration::from_millis(1));
    let ((one, one_tap), (_two, two_tap)) = pair(&lab).await;
    lab.cut(true);
    let began = tokio_now();
    let within = Duration::from_millis(300);
    let call = one.call(NodeId(2), Road::Data, text("x"), within).await;
    assert_eq!(call, Err(CallError::Unknown));
    assert!((within..within * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    // One that would wait longer than the silence ends with the link.
    let call = one.call(NodeId(2), Road::Data, text("x"), PATIENCE).await;
    assert_eq!(call, Err(CallError::Unknown));
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    one_tap.parted(2, 1).await;
    two_tap.parted(1, 1).await;
    eventually("both roads", || one.counters().closed_for(Reason::Silent) == 2).await;
    let call = one.call(NodeId(2), Road::Data, text("x"), PATIENCE).await;
    assert_eq!(call, Err(CallError::NotSent(SendError::NoLink)));
    sleep(Duration::from_secs(20)).await;
    lab.cut(false);
    one_tap.met(2, 2).await;
    two_tap.met(1, 2).await;
    assert_eq!(one.call(NodeId(2), Road::Data, text("x"), PATIENCE).await.unwrap(), "echo x");
    assert!(takes_turns(&one_tap.seen()) && takes_turns(&two_tap.seen()));
}

#[expect(clippy::disallowed_methods, reason = "virtual time is what this test measures")]
fn tokio_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_cut_link_arrives_after_the_heal() {
    let lab = Lab::new(Duration::from_millis(1));
    let ((one, one_tap), (two, two_tap)) = pair(&lab).await;
    one.send(NodeId(2), Road::Data, text("before")).unwrap();
    two_tap.until("before", |seen| seen.iter().any(is_mail("before"))).await;
    lab.cut(true);
    one.send(NodeId(2), Road::Data, text("lost")).unwrap();
    for mesh in [&one, &two] {
        eventually("both roads", || mesh.counters().closed_for(Reason::Silent) == 2).await;
    }
    lab.cut(false);
    two_tap.met(1, 2).await;
    one_tap.met(2, 2).await;
    one.send(NodeId(2), Road::Data, text("after")).unwrap();
    two_tap.until("after", |seen| seen.iter().any(is_mail("after"))).await;
    assert_eq!(two_tap.mail(), ["before", "after"]);
}

fn is_mail(body: &'static str) -> impl Fn(&Seen) -> bool {
    move |seen| matches!(seen, Seen::Mail(_, _, mail) if mail == body)
}

#[tokio::test(start_paused = true)]
async fn nodes_that_dial_each_other_over_a_slow_net_meet_once_for_every_delay_between_the_dials() {
    // A handshake takes 300 ms here, so every overlap of the two comes to pass.
    for delay in (0..400).step_by(20) {
        let lab = Lab::new(Duration::from_millis(100));
        let (one, one_tap) = start(at(1, 1), Arc::new(lab.clone())).await;
        let (two, two_tap) = start(at(2, 1), Arc::new(lab.clone())).await;
        for (first, second) in [(&one, &two), (&two, &one)] {
            let of = |mesh: &Mesh| NodeId(if mesh.address() == "node-1" { 1 } else { 2 });
            first.learn(of(second), second.address());
            sleep(Duration::from_millis(delay)).await;
            second.learn(of(first), first.address());
            one_tap.met(2, 1).await;
            two_tap.met(1, 1).await;
            sleep(Duration::from_secs(5)).await;
            assert_eq!((one.counters().opened, two.counters().opened), (2, 2), "{delay} ms");
            assert_eq!((one_tap.seen().len(), two_tap.seen().len()), (1, 1), "{delay} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn links_come_back_after_every_reset_and_order_is_kept_within_each() {
    let lab = Lab::new(Duration::from_millis(2));
    let ((one, one_tap), (_two, two_tap)) = pair(&lab).await;
    let mut number = 0_u32;
    for _ in 0..10 {
        let before = (one_tap.times_parted(), two_tap.times_parted());
        one_tap.met(2, before.0 + 1).await;
        two_tap.met(1, before.1 + 1).await;
        for _ in 0..100 {
            let body = Bytes::copy_from_slice(&number.to_be_bytes());
            eventually("a link", || one.send(NodeId(2), Road::Data, body.clone()).is_ok()).await;
            number += 1;
        }
        // Somewhere in the middle of it.
        sleep(Duration::from_micros(number.into())).await;
        lab.reset();
        one_tap.parted(2, before.0 + 1).await;
        two_tap.parted(1, before.1 + 1).await;
    }
    eventually("a link", || one.send(NodeId(2), Road::Data, text("last")).is_ok()).await;
    two_tap.until("the last", |seen| seen.iter().any(is_mail("last"))).await;
    let mail = two_tap.mail();
    assert!(mail.windows(2).all(|pair| pair[0] < pair[1]), "none twice, none out of order");
    assert!(takes_turns(&one_tap.seen()) && takes_turns(&two_tap.seen()));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up_and_what_was_queued_was_not_sent() {
    let lab = Lab::new(Duration::from_millis(1));
    let mut narrow = at(2, 1);
    narrow.limits.calls_max = 1;
    let one = start(at(1, 1), Arc::new(lab.clone())).await;
    let two = start(narrow, Arc::new(lab.clone())).await;
    one.0.learn(NodeId(2), two.0.address());
    one.1.met(2, 1).await;
    two.1.met(1, 1).await;
    let stuck = {
        let one = one.0.clone();
        quorate_env::spawn(
            async move { one.call(NodeId(2), Road::Data, text("never"), PATIENCE).await },
        )
    };
    two.1.until("the call", |seen| seen.contains(&Seen::Call(NodeId(1), text("never")))).await;
    let again = {
        let one = one.0.clone();
        quorate_env::spawn(
            async move { one.call(NodeId(2), Road::Data, text("never"), PATIENCE).await },
        )
    };
    // More than all buffers on the way hold, so the last of it stays in the queue.
    for _ in 0..7 {
        one.0.send(NodeId(2), Road::Data, vec![0; 1024 * 1024 - 9].into()).unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    let within = Duration::from_millis(100);
    let queued = one.0.call(NodeId(2), Road::Data, text("x"), within).await;
    assert_eq!(queued, Err(CallError::NotSent(SendError::Full)));
    let ends_with_the_link = one.0.call(NodeId(2), Road::Data, text("y"), PATIENCE).await;
    assert_eq!(ends_with_the_link, Err(CallError::NotSent(SendError::NoLink)));
    assert_eq!(one.0.counters().closed_for(Reason::WriteStalled), 1);
    assert_eq!(stuck.await.unwrap(), Err(CallError::Unknown));
    assert_eq!(again.await.unwrap(), Err(CallError::Unknown));
    let asked = |seen: &Seen| matches!(seen, Seen::Call(_, body) if body == "x" || body == "y");
    assert!(!two.1.seen().iter().any(asked), "what was not sent never arrives");
    // The control road never noticed.
    assert_eq!(one.0.call(NodeId(2), Road::Control, text("z"), PATIENCE).await.unwrap(), "echo z");
}

#[tokio::test(start_paused = true)]
async fn a_seed_that_comes_late_or_comes_back_as_another_node_is_found() {
    let lab = Lab::new(Duration::from_millis(1));
    let (one, one_tap) = start(at(1, 1), Arc::new(lab.clone())).await;
    one.greet("seed");
    sleep(Duration::from_secs(10)).await;
    let began = tokio_now();
    let seed = |id| MeshConfig { listen: "seed".into(), ..config(id, 1) };
    let (two, _) = start(seed(2), Arc::new(lab.clone())).await;
    one_tap.met(2, 1).await;
    assert!(began.elapsed() < Duration::from_secs(5));
    two.close().await;
    one_tap.parted(2, 1).await;
    let (_three, _) = start(seed(3), Arc::new(lab.clone())).await;
    one_tap.met(3, 1).await;
    let wrong = one.counters().closed_for(Reason::WrongNode);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(one.counters().closed_for(Reason::WrongNode), wrong, "the lost one is let go");
}

/// Two nodes whose clocks differ, whose tasks run in odd orders, and one of which crashes and comes back.
/// Gives all that they saw and counted.
fn drama(seed: u64) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .unwrap();
    runtime.block_on(async {
        let origin = tokio_now();
        let life = |seed, clock_rate| {
            Life::begin(LifeConfig {
                seed,
                clock_rate,
                deferrals_per_mille: 200,
                origin,
                wall_skew_nanos: 0,
            })
        };
        let lab = Lab::new(Duration::from_millis(3));
        let live = |life: &Life, config| life.scope(start(config, Arc::new(lab.clone())));
        let (first, second, third) = (life(seed, 1.01), life(seed + 1, 0.99), life(seed + 2, 1.0));
        let (one, one_tap) = live(&first, at(1, 1)).await;
        let (two, two_tap) = live(&second, at(2, 1)).await;
        first.scope(async { one.learn(NodeId(2), two.address()) }).await;
        second.scope(async { two.greet(one.address()) }).await;
        one_tap.met(2, 1).await;
        two_tap.met(1, 1).await;
        second.end();
        let call = one.call(NodeId(2), Road::Data, text("x"), Duration::from_secs(60));
        assert_eq!(first.scope(call).await, Err(CallError::Unknown));
        one_tap.parted(2, 1).await;
        let (again, again_tap) = live(&third, at(2, 2)).await;
        one_tap.met(2, 2).await;
        again_tap.met(1, 1).await;
        let call = again.call(NodeId(1), Road::Data, text("y"), PATIENCE);
        assert_eq!(third.scope(call).await.unwrap(), "echo y");
        assert_eq!(two_tap.seen().len(), 1, "the dead are told nothing");
        let (one, again) = (one.counters(), again.counters());
        let seen = (one_tap.seen(), again_tap.seen());
        format!("{seen:?} {one:?} {again:?} {:?}", origin.elapsed())
    })
}

#[test]
fn a_crash_is_survived_and_a_seed_repeats_it_to_the_byte() {
    let mut ends = BTreeSet::new();
    for seed in 0..10 {
        let end = drama(seed);
        assert_eq!(end, drama(seed), "seed {seed}");
        ends.insert(end);
    }
    assert!(ends.len() > 1, "a seed decides something");
}
