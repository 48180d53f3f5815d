//! An order checker: two nodes send each other bodies of every size in every lane and many flows, and call
//! each other, while the net resets and is cut and roads close and open again.
//!
//! What is checked of each body as it comes: that it is whole; that its flow has brought nothing later before
//! it, nor itself; that what lies between it and the one before it was lost in a break which somebody was
//! told; that its road is up; that it was not refused. Of calls: that none comes twice, and none that
//! ended as `NotSent`.

use crate::common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use common::{Lab, MeshConfig, config, eventually, patient, world};
use quorate_env::{BoxFuture, Net, Tcp, dice, sleep, spawn};
use quorate_mesh::pulse::Verdict;
use quorate_mesh::{CallError, Inbound, Limits, Mesh, Peer, Reason, Road, SendError};
use quorate_vocab::{Lane, NodeId};
use rand::RngExt;

/// How many bodies are sent in all, in how many stories.
const MESSAGES: usize = 1_000_000;
const STORIES: u64 = 4;

const FLOWS: u64 = 24;

/// Flow, number in its flow, number of the attempt, and how long it is.
const HEAD_BYTES: usize = 8 + 4 + 4 + 4;

/// What both nodes know of what goes one way.
#[derive(Default)]
struct Way {
    sent: BTreeMap<u64, u32>,
    refused: BTreeSet<u32>,
    attempts: u32,
    /// The last of each flow that came, and how many breaks had been told by then.
    came: BTreeMap<u64, (u32, u32)>,
    count: usize,
    calls_came: BTreeSet<u32>,
    calls_not_sent: BTreeSet<u32>,
    calls: u32,
}

/// One node, and what it and the other were told.
struct Ledger {
    /// What comes to this node, and what goes from it.
    ways: [Arc<Mutex<Way>>; 2],
    /// How many breaks either node was told of.
    breaks: Arc<Mutex<u32>>,
    data_up: AtomicBool,
    /// Set when something was wrong; a panic in here would only end a link.
    wrong: Arc<Mutex<Vec<String>>>,
    /// Whom to forget as soon as a body says so.
    mesh: Mutex<Option<Mesh>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Ledger {
    fn wrong(&self, what: String) {
        lock(&self.wrong).push(what);
    }

    fn check(&self, body: &[u8]) -> Result<(), String> {
        let number = |at: usize| u32::from_le_bytes(body[at..at + 4].try_into().unwrap());
        if body.len() < HEAD_BYTES || number(16) as usize != body.len() {
            return Err(format!("{} bytes are not whole", body.len()));
        }
        let flow = u64::from_le_bytes(body[..8].try_into().unwrap());
        let (seq, attempt) = (number(8), number(12));
        let fill = fill_of(attempt);
        if body[HEAD_BYTES..]
            .iter()
            .step_by(97)
            .chain(body[HEAD_BYTES..].last())
            .any(|byte| *byte != fill)
        {
            return Err(format!("{flow}/{seq} was altered"));
        }
        if !self.data_up.load(Ordering::SeqCst) {
            return Err(format!("{flow}/{seq} came over a road that is not up"));
        }
        let breaks = *lock(&self.breaks);
        let mut way = lock(&self.ways[0]);
        if way.refused.contains(&attempt) {
            return Err(format!("{flow}/{seq} was refused"));
        }
        way.count += 1;
        let before = way.came.insert(flow, (seq, breaks));
        let (next, breaks_before) = before.map_or((0, 0), |(seq, breaks)| (seq + 1, breaks));
        if seq < next {
            return Err(format!("{flow}/{seq} came after {}", next - 1));
        }
        if seq > next && breaks == breaks_before {
            return Err(format!("{flow}/{seq} came instead of {next}, and nobody was told why"));
        }
        Ok(())
    }
}

fn fill_of(attempt: u32) -> u8 {
    (attempt % 251) as u8
}

impl Inbound for Ledger {
    fn mail(&self, from: NodeId, body: &[u8]) {
        if body == b"forget me" {
            let mesh = lock(&self.mesh).clone();
            mesh.unwrap().forget(from);
        } else if let Err(wrong) = self.check(body) {
            self.wrong(wrong);
        }
    }

    fn call(&self, _: &Peer, body: Bytes) -> BoxFuture<'static, Bytes> {
        let call = u32::from_le_bytes(*body.first_chunk().unwrap());
        if !lock(&self.ways[0]).calls_came.insert(call) {
            self.wrong(format!("call {call} came twice"));
        }
        Box::pin(async move {
            // Some answers come too late for whoever asked.
            sleep(Duration::from_millis(u64::from(call % 40))).await;
            body
        })
    }

    fn up(&self, _: &Peer, road: Road) {
        if road == Road::Data && self.data_up.swap(true, Ordering::SeqCst) {
            self.wrong("a road came up twice".into());
        }
    }

    fn down(&self, _: NodeId, road: Road, reason: Reason) {
        if road == Road::Data {
            self.data_up.store(false, Ordering::SeqCst);
            if reason != Reason::Unneeded {
                *lock(&self.breaks) += 1;
            }
        }
    }

    fn pulse(&self, _: NodeId, _: Verdict) {}

    fn needs(&self, _: NodeId) -> bool {
        false
    }
}

type Node = (Mesh, Arc<Ledger>);

async fn two_nodes(net: &Arc<dyn Net>, configs: [MeshConfig; 2]) -> (Node, Node) {
    let ways = [Arc::default(), Arc::default()];
    let (breaks, wrong) = (Arc::default(), Arc::default());
    let ledger = |come: usize| {
        let ways = [Arc::clone(&ways[come]), Arc::clone(&ways[1 - come])];
        let (breaks, wrong) = (Arc::clone(&breaks), Arc::clone(&wrong));
        let (data_up, mesh) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Ledger { ways, breaks, wrong, data_up, mesh })
    };
    let ledgers = [ledger(0), ledger(1)];
    let [first, second] = configs;
    let one = Mesh::start(first, net.clone(), ledgers[0].clone()).await.unwrap();
    let two = Mesh::start(second, net.clone(), ledgers[1].clone()).await.unwrap();
    common::keep(&one, &[&two]);
    common::keep(&two, &[&one]);
    for (mesh, ledger) in [(&one, &ledgers[0]), (&two, &ledgers[1])] {
        *lock(&ledger.mesh) = Some(mesh.clone());
    }
    let [first, second] = ledgers;
    ((one, first), (two, second))
}

fn size() -> usize {
    let sizes = [0..200, 0..2_000, 60_000..70_000, 0..1_048_576];
    let which = match dice().random_range(0..2_000) {
        0 => 3,
        1..=5 => 2,
        6..=100 => 1,
        _ => 0,
    };
    dice().random_range(sizes[which].clone())
}

/// Sends a body; gives how long it is.
fn send(mesh: &Mesh, ledger: &Ledger, to: NodeId) -> Result<(), SendError> {
    let (flow, lane) = (dice().random_range(0..FLOWS), Lane::ALL[dice().random_range(0..3)]);
    // Held while it is sent, so that nobody hears of it before it is known whether it was refused.
    let mut way = lock(&ledger.ways[1]);
    let (seq, attempt) = (way.sent.get(&flow).copied().unwrap_or(0), way.attempts);
    way.attempts += 1;
    let size = HEAD_BYTES + size();
    let mut body = Vec::with_capacity(size);
    body.extend(flow.to_le_bytes());
    body.extend([seq, attempt, size as u32].map(u32::to_le_bytes).as_flattened());
    body.resize(size, fill_of(attempt));
    let sent = mesh.send(to, lane, flow, &mut body);
    match sent {
        Ok(()) => way.sent.insert(flow, seq + 1).map_or((), drop),
        Err(_) => drop(way.refused.insert(attempt)),
    }
    sent
}

/// A call that may be given up soon, and may be long.
fn call(mesh: &Mesh, ledger: &Arc<Ledger>, to: NodeId) {
    let number = {
        let mut way = lock(&ledger.ways[1]);
        way.calls += 1;
        way.calls
    };
    let mut body = number.to_le_bytes().to_vec();
    body.resize(4 + size(), 0);
    let within = Duration::from_millis(dice().random_range(1..60));
    let (mesh, ledger) = (mesh.clone(), ledger.clone());
    spawn(async move {
        let (lane, flow) = (Lane::ALL[number as usize % 3], u64::from(number % 3));
        let end = mesh.call(to, lane, flow, body.into(), within).await;
        match end {
            Ok(answer) if answer[..4] != number.to_le_bytes() => {
                ledger.wrong(format!("call {number} got another's answer"));
            }
            Err(CallError::NotSent(_)) => drop(lock(&ledger.ways[1]).calls_not_sent.insert(number)),
            Ok(_) | Err(_) => {}
        }
    });
}

/// Sends until so many were taken.
async fn chatter(mesh: Mesh, ledger: Arc<Ledger>, to: NodeId, count: usize) {
    let mut taken = 0;
    while taken < count {
        for _ in 0..dice().random_range(1..60) {
            match send(&mesh, &ledger, to) {
                Ok(()) => taken += 1,
                Err(SendError::Full) => mesh.room(to).await,
                Err(_) => break,
            }
        }
        call(&mesh, &ledger, to);
        // Now and then for so long that the road is closed.
        let pause = if dice().random_range(0..10) == 0 { 200_000 } else { 3_000 };
        sleep(Duration::from_micros(dice().random_range(0..pause))).await;
    }
}

/// All that must be so when nothing is under way any more.
fn settle(one: &Node, two: &Node) -> usize {
    let wrong = lock(&one.1.wrong).clone();
    assert!(wrong.is_empty(), "{} things were wrong: {:?}", wrong.len(), wrong.iter().take(9));
    let mut came = 0;
    for (_, ledger) in [one, two] {
        let way = lock(&ledger.ways[0]);
        let twice: Vec<_> = way.calls_came.intersection(&way.calls_not_sent).collect();
        assert!(twice.is_empty(), "calls came that were not sent: {twice:?}");
        assert!(way.calls_came.len() > way.calls as usize / 4, "calls do come");
        came += way.count;
    }
    came
}

fn brief(mut config: MeshConfig) -> MeshConfig {
    let limits = &mut config.limits;
    limits.idle_close = Duration::from_millis(20);
    limits.queue_bytes_max = 2 * 1024 * 1024;
    limits.windows = [256 * 1024; 3];
    (limits.body_bytes_max, limits.open_bytes_max) = (2 << 20, 2 << 20);
    config
}

/// Stories and trials alternate between one connection a road and three.
fn strands(mut config: MeshConfig, story: u64) -> MeshConfig {
    config.limits.data_connections = if story.is_multiple_of(2) { 1 } else { 3 };
    config
}

fn at(id: u64) -> MeshConfig {
    brief(MeshConfig { listen: format!("node-{id}"), ..config(id, 1) })
}

#[test]
fn every_flow_keeps_its_order_through_resets_cuts_and_roads_that_close() {
    let mut unneeded = 0;
    for seed in 0..STORIES {
        unneeded += world(seed, || async {
            let lab = Lab::new(Duration::from_millis(1));
            let net: Arc<dyn Net> = Arc::new(lab.clone());
            let (one, two) = two_nodes(&net, [1, 2].map(|id| strands(at(id), seed))).await;
            let count = MESSAGES / STORIES as usize / 2;
            let talks = [
                spawn(chatter(one.0.clone(), one.1.clone(), NodeId(2), count)),
                spawn(chatter(two.0.clone(), two.1.clone(), NodeId(1), count)),
            ];
            while !talks.iter().all(|talk| talk.is_finished()) {
                sleep(Duration::from_millis(dice().random_range(1..60))).await;
                match dice().random_range(0..10) {
                    0..=2 => lab.reset(),
                    3 => drop(one.0.disconnect(NodeId(2))),
                    4 => {
                        // Seldom for longer than the silence that a link endures.
                        let most = if dice().random_range(0..9) == 0 { 3_000 } else { 300 };
                        lab.cut(true);
                        sleep(Duration::from_millis(dice().random_range(1..most))).await;
                        lab.cut(false);
                    }
                    _ => {}
                }
            }
            sleep(Duration::from_secs(10)).await;
            let came = settle(&one, &two);
            assert!(came > MESSAGES / STORIES as usize / 4, "{came} came");
            let counters = one.0.counters();
            let breaks = *lock(&one.1.breaks);
            println!("seed {seed}: {came} came, {breaks} breaks, {:?}", counters.closed);
            assert!(breaks > 50, "{breaks} breaks");
            counters.closed_for(Reason::Unneeded)
        });
    }
    assert!(unneeded > 50, "{unneeded} roads were closed since nobody needed them");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tcp_as_well_while_roads_are_torn_down_and_close_by_themselves() {
    over_tcp(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_three_tcp_connections_a_road_as_well() {
    over_tcp(1).await;
}

async fn over_tcp(story: u64) {
    let net: Arc<dyn Net> = Arc::new(Tcp);
    let configs = [1, 2].map(|id| strands(brief(patient(id, 1)), story));
    let (one, two) = two_nodes(&net, configs).await;
    let talks = [
        spawn(chatter(one.0.clone(), one.1.clone(), NodeId(2), 8_000)),
        spawn(chatter(two.0.clone(), two.1.clone(), NodeId(1), 8_000)),
    ];
    while !talks.iter().all(|talk| talk.is_finished()) {
        sleep(Duration::from_millis(dice().random_range(1..60))).await;
        let mesh = if dice().random_range(0..2) == 0 { &one } else { &two };
        mesh.0.disconnect(if mesh.0.me() == NodeId(1) { NodeId(2) } else { NodeId(1) });
    }
    // What still waits is sent, or lost: then the roads close, as nobody needs them.
    let is_quiet = || [&one, &two].iter().all(|node| !node.1.data_up.load(Ordering::SeqCst));
    eventually("the end of all roads", is_quiet).await;
    let came = settle(&one, &two);
    assert!(came > 1_000, "{came} came");
}

#[test]
fn without_breaks_everything_that_was_taken_comes() {
    for story in 0..2 {
        world(9, || async {
            let net: Arc<dyn Net> = Arc::new(Lab::new(Duration::from_millis(1)));
            let (one, two) = two_nodes(&net, [1, 2].map(|id| strands(at(id), story))).await;
            chatter(one.0.clone(), one.1.clone(), NodeId(2), 5_000).await;
            sleep(Duration::from_secs(10)).await;
            settle_one_way(&one, &two);
        });
    }
}

#[test]
fn the_flows_of_a_road_are_spread_over_its_connections_and_each_stays_on_one() {
    world(11, || async {
        let lab = Lab::new(Duration::from_millis(1));
        let net: Arc<dyn Net> = Arc::new(lab.clone());
        let spread = |id| MeshConfig { limits: Limits::test(), ..strands(at(id), 0) };
        let [mut first, second] = [spread(1), spread(2)];
        first.limits.data_connections = 3;
        let (one, two) = two_nodes(&net, [first, second]).await;
        let connections = || {
            let data = one.0.links().into_iter().filter(|link| link.road == Road::Data);
            data.map(|link| link.traffic.bytes_out).collect::<Vec<_>>()
        };
        let say = |flow: u64, body: &str| {
            one.0.send(NodeId(2), Lane::Normal, flow, &mut body.to_owned().into_bytes()).unwrap();
        };
        // What one flow says opens one, and goes on over that one.
        for _ in 0..9 {
            say(5, "forget nobody");
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(connections().len(), 1);
        for flow in 0..FLOWS {
            say(flow, "nor now");
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(connections().len(), 3, "each has flows");
        // The other side has one for itself, and uses what is there.
        let (opened, ups) = (lab.opened(), two.0.links().len());
        two.0.send(NodeId(1), Lane::Normal, 5, &mut b"back".to_vec()).unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!((lab.opened(), two.0.links().len()), (opened, ups));
    });
}

fn settle_one_way(one: &Node, two: &Node) {
    let wrong = lock(&one.1.wrong).clone();
    assert!(wrong.is_empty(), "{wrong:?}");
    let sent: u32 = lock(&one.1.ways[1]).sent.values().sum();
    assert_eq!((lock(&two.1.ways[0]).count, *lock(&one.1.breaks)), (sent as usize, 0));
    assert!(one.0.counters().closed_for(Reason::Unneeded) > 3, "roads were closed meanwhile");
}

#[test]
fn a_road_is_down_only_when_nothing_of_it_comes_any_more() {
    world(10, || async {
        let net: Arc<dyn Net> = Arc::new(Lab::new(Duration::from_millis(1)));
        let (one, two) = two_nodes(&net, [at(1), at(2)]).await;
        for _ in 0..10 {
            send(&one.0, &one.1, NodeId(2)).unwrap();
        }
        // What comes behind it lies in the same read buffer, and is read on after the node was forgotten.
        one.0.send(NodeId(2), Lane::Normal, 99, &mut b"forget me".to_vec()).unwrap();
        for _ in 0..10 {
            send(&one.0, &one.1, NodeId(2)).unwrap();
        }
        sleep(Duration::from_secs(1)).await;
        let wrong = lock(&two.1.wrong).clone();
        assert!(wrong.is_empty() && lock(&two.1.ways[0]).count >= 10, "{wrong:?}");
        assert!(*lock(&two.1.breaks) > 0);
    });
}
