//! The same runtime inside of a simulated life: what a seed did once it does again, and a life that ends ends
//! all.

use crate::scene;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_actor::{Actors, Addr, Exit, Incoming, Mailbox, Message, Spawn, Timer, yield_now};
use quorate_env::{Life, LifeConfig};
use scene::{in_life, in_life_of};

const PEERS: usize = 8;
const MILLISECOND: Duration = Duration::from_millis(1);

/// What happened, in its order.
#[derive(Clone, Default)]
struct Trace(Arc<Mutex<Vec<String>>>);

impl Trace {
    fn note(&self, line: String) {
        self.0.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

enum Gossip {
    Peers(Vec<Addr<Gossip>>),
    Says(usize, u64),
}

impl Message for Gossip {}

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Talks to its peers, ties itself to them, sets timers, has children, and ends some time, one way or
/// another.
async fn peer(mut mailbox: Mailbox<Gossip>, number: usize, seed: u64, trace: Trace) -> Exit {
    let mut dice = Dice(seed * 1_000 + number as u64);
    let mut peers: Vec<Addr<Gossip>> = Vec::new();
    let mut timers: Vec<Timer> = Vec::new();
    mailbox.trap_exit(number.is_multiple_of(2));
    loop {
        let news = mailbox.next_within(50 * MILLISECOND).await;
        trace.note(match &news {
            Some(Incoming::Mail(Gossip::Peers(_))) => format!("{number} knows its peers"),
            Some(Incoming::Mail(Gossip::Says(from, what))) => {
                format!("{number} hears {what} of {from}")
            }
            Some(Incoming::Down(down)) => format!("{number} saw {} end: {}", down.pid, down.exit),
            Some(Incoming::Exited(news)) => {
                format!("{number} trapped {}: {}", news.from, news.exit)
            }
            Some(Incoming::Timeout(which)) => format!("{number} is late for {}", which.0),
            None => format!("{number} hears nothing"),
        });
        if let Some(Incoming::Mail(Gossip::Peers(all))) = news {
            peers = all;
        }
        let Some(other) = peers.get(dice.roll(PEERS as u64) as usize) else { continue };
        match dice.roll(24) {
            0..12 => drop(other.send(Gossip::Says(number, dice.roll(100)))),
            12 => mailbox.link(other.pid()),
            13 => mailbox.unlink(other.pid()),
            14 | 15 => drop(mailbox.monitor(other.pid())),
            16 => timers.push(mailbox.timeout_after(dice.roll(20) as u32 * MILLISECOND).1),
            17 => timers.push(other.send_after(5 * MILLISECOND, Gossip::Says(number, 0))),
            18 => drop(timers.pop().map(|timer| timer.cancel())),
            19 => drop(mailbox.spawn_link(Spawn::default(), async |_: Mailbox<()>| Exit::Shutdown)),
            20 => yield_now().await,
            21 => drop(mailbox.exit(other.pid(), Exit::because("told to"))),
            22 if dice.roll(6) == 0 => panic!("peer {number} is on fire"),
            23 if dice.roll(4) == 0 => return Exit::because("tired"),
            _ => quorate_env::sleep(dice.roll(5) as u32 * MILLISECOND).await,
        }
    }
}

/// A world of a seed, from its begin to the end of all in it.
fn world(seed: u64) -> Vec<String> {
    in_life_of(seed, async |actors: Actors| {
        let trace = Trace::default();
        let peers: Vec<Addr<Gossip>> = (0..PEERS)
            .map(|number| {
                let trace = trace.clone();
                actors.spawn(move |mailbox| peer(mailbox, number, seed, trace))
            })
            .collect();
        for peer in &peers {
            peer.send(Gossip::Peers(peers.clone())).unwrap();
        }
        quorate_env::sleep(Duration::from_secs(5)).await;
        actors.close().await;
        assert_eq!(actors.count(), 0);
        trace.take()
    })
}

#[test]
fn a_seed_repeats_its_world_and_another_has_another() {
    let mut worlds = Vec::new();
    for seed in 1..=10 {
        let first = world(seed);
        assert!(first.len() > 20, "something happens: {first:?}");
        assert_eq!(world(seed), first, "seed {seed}");
        worlds.push(first);
    }
    worlds.sort();
    worlds.dedup();
    assert_eq!(worlds.len(), 10);
}

#[test]
fn a_seed_decides_who_is_put_off() {
    let order = |seed| {
        in_life_of(seed, async |actors: Actors| {
            let trace = Trace::default();
            for number in 0..20 {
                let trace = trace.clone();
                actors.spawn(async move |_: Mailbox<()>| {
                    trace.note(number.to_string());
                    Exit::Normal
                });
            }
            scene::until(|| actors.count() == 0).await;
            trace.take()
        })
    };
    assert!(order(0).into_iter().eq((0..20).map(|number| number.to_string())), "nobody, without");
    assert_eq!(order(7), order(7));
    assert_ne!(order(7), order(0));
    assert_ne!(order(7), order(8));
}

#[test]
fn a_life_has_one_worker_whatever_is_asked_for() {
    in_life(async |actors| {
        let running = Arc::new(AtomicU64::new(0));
        for _ in 0..100 {
            let running = running.clone();
            actors.spawn(async move |_: Mailbox<()>| {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0);
                (0..1_000).for_each(|_| std::hint::spin_loop());
                running.fetch_sub(1, Ordering::SeqCst);
                Exit::Normal
            });
        }
        scene::until(|| actors.count() == 0).await;
    });
}

#[test]
fn a_life_that_ends_polls_no_process_again() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        #[expect(clippy::disallowed_methods, reason = "a world is made here")]
        let origin = tokio::time::Instant::now();
        let config = LifeConfig {
            seed: 1,
            clock_rate: 1.0,
            deferrals_per_mille: 0,
            origin,
            wall_skew_nanos: 0,
        };
        let life = Life::begin(config);
        let (polls, held) = (Arc::new(AtomicU64::new(0)), Arc::new(()));
        let (counted, hold) = (polls.clone(), held.clone());
        let actors = life.scope(async move {
            let actors = Actors::alone();
            for _ in 0..10 {
                let (counted, hold) = (counted.clone(), hold.clone());
                actors.spawn(async move |mut mailbox: Mailbox<u64>| {
                    let _hold = hold;
                    mailbox.addr().send_interval(MILLISECOND, || 1);
                    loop {
                        counted.fetch_add(1, Ordering::Relaxed);
                        mailbox.receive().await;
                    }
                });
            }
            quorate_env::sleep(100 * MILLISECOND).await;
            actors
        });
        let actors = actors.await;
        let before = polls.load(Ordering::Relaxed);
        assert!(before >= 500, "they beat while the life goes on: {before}");
        life.end();
        quorate_env::sleep(Duration::from_secs(10)).await;
        let late: Addr<u64> = actors.spawn(async |_| panic!("it runs"));
        let _ = late.send(1);
        quorate_env::sleep(Duration::from_secs(10)).await;
        assert_eq!(polls.load(Ordering::Relaxed), before);
        assert_eq!(Arc::strong_count(&held), 1, "and what it held is dropped");
        assert_eq!(actors.count(), 0);
    });
}
