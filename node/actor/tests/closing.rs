//! How a runtime ends, in order or not.

use crate::scene;

#[path = "../examples/chain.rs"]
#[allow(unreachable_pub, reason = "an example's parts")]
mod chain;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chain::Chain;
use quorate_actor::{Actors, Addr, Exit, Incoming, Mailbox, SendError, Spawn};
use scene::{LONG, began, idle, in_life, soon, until};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_ends_all_whatever_they_do() {
    let actors = Actors::alone();
    let trapper = actors.spawn(async |mut mailbox: Mailbox<u64>| {
        mailbox.trap_exit(true);
        loop {
            mailbox.next().await;
        }
    });
    let busy = actors.spawn(async |_: Mailbox<u64>| {
        loop {
            quorate_actor::yield_now().await;
        }
    });
    let (dead_end, ends) = oneshot::channel::<()>();
    let stuck = actors.spawn(async |_: Mailbox<u64>| {
        let _ = ends.await;
        Exit::Normal
    });
    let all = [trapper, busy, stuck, idle(&actors)];
    for addr in [&all[0], &all[2], &all[3]] {
        began(&actors, addr.pid()).await;
    }
    let ends: Vec<_> = all.iter().map(|addr| actors.ended(addr.pid())).collect();
    soon(actors.close()).await;
    assert_eq!(actors.count(), 0);
    for end in ends {
        assert_eq!(soon(end).await, Exit::Shutdown);
    }
    drop(dead_end);
    soon(actors.close()).await;
}

#[tokio::test(start_paused = true)]
async fn who_spawns_after_the_close_gets_a_dead_address() {
    let actors = Actors::alone();
    actors.close().await;
    let late: Addr<u64> = actors.spawn(async |_| panic!("it runs"));
    assert_eq!(late.send(1), Err(SendError::NoProc));
    assert_eq!(actors.ended(late.pid()).await, Exit::NoProc);
    assert!(!actors.is_alive(late.pid()));
    assert_eq!(actors.register("late", late.pid()), Err(quorate_actor::NameError::NoProc));
}

#[test]
fn those_who_go_first_go_one_after_another_the_last_one_first() {
    in_life(async |actors| {
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let orderly = |number: u64, takes: Duration| {
            let order = order.clone();
            actors.spawn(async move |mut mailbox: Mailbox<u64>| {
                mailbox.trap_exit(true);
                let Incoming::Exited(news) = mailbox.next().await else { panic!("an exit") };
                assert_eq!(news.exit, Exit::Shutdown);
                quorate_env::sleep(takes).await;
                order.lock().unwrap().push(number);
                Exit::Normal
            })
        };
        let seconds = Duration::from_secs;
        let all = [orderly(1, seconds(1)), orderly(2, seconds(9_999)), orderly(3, seconds(2))];
        for (addr, within) in all.iter().zip([5, 5, 5]) {
            began(&actors, addr.pid()).await;
            actors.close_first(addr.pid(), seconds(within));
        }
        let other = idle(&actors);
        let stubborn = actors.ended(all[1].pid());
        let start = quorate_env::now();
        actors.close().await;
        assert_eq!(*order.lock().unwrap(), [3, 1], "the second took longer than it was given");
        assert_eq!(stubborn.await, Exit::Shutdown);
        assert_eq!(quorate_env::now().since(start), seconds(2 + 5 + 1));
        assert!(!actors.is_alive(other.pid()));
    });
}

/// Counts what it is cloned for, until that is dropped.
#[derive(Clone)]
struct Held(Arc<AtomicUsize>);

impl Held {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn two_workers() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn processes_whose_runtime_goes_away_are_dropped_and_their_ends_told() {
    for runtime in [two_workers(), Builder::new_current_thread().enable_all().build().unwrap()] {
        let held = Arc::new(AtomicUsize::new(0));
        let (actors, ends) = runtime.block_on(async {
            let actors = Actors::alone();
            let mut before = None;
            let mut ends = Vec::new();
            for number in 0..1_000 {
                let hold = Held::new(&held);
                let addr = actors.spawn(async move |mut mailbox: Mailbox<u64>| {
                    let _hold = hold;
                    if let Some(before) = before {
                        mailbox.link(before);
                        mailbox.monitor(before);
                    }
                    mailbox.trap_exit(number % 2 == 0);
                    loop {
                        mailbox.next().await;
                    }
                });
                before = Some(addr.pid());
                ends.push(actors.ended(addr.pid()));
                // Some have never run when it goes away.
                if number == 500 {
                    began(&actors, addr.pid()).await;
                }
            }
            (actors, ends)
        });
        drop(runtime);
        assert_eq!((held.load(Ordering::Relaxed), actors.count()), (0, 0));
        two_workers().block_on(async {
            for end in ends {
                assert_eq!(soon(end).await, Exit::Killed);
            }
        });
        let late: Addr<u64> = actors.spawn(async |_| panic!("it runs"));
        assert_eq!(late.send(1), Err(SendError::NoProc));
    }
}

#[test]
fn a_runtime_that_went_away_leaves_no_memory_behind() {
    let held = Arc::new(AtomicUsize::new(0));
    struct Wire(#[expect(dead_code, reason = "it is only held")] Held);
    impl quorate_actor::Carrier for Wire {
        fn post(
            &self,
            _: quorate_vocab::NodeId,
            _: quorate_actor::Postage,
            _: &mut Vec<u8>,
        ) -> Result<(), quorate_actor::NotSent> {
            Err(quorate_actor::NotSent::Unreachable)
        }
    }
    let config = quorate_actor::ActorsConfig {
        hog_after: Duration::from_millis(2),
        ..quorate_actor::ActorsConfig::default()
    };
    let runtime = two_workers();
    runtime.block_on(async {
        let node = quorate_vocab::NodeId(1);
        let wire = Arc::new(Wire(Held::new(&held)));
        let actors = Actors::new(node, quorate_vocab::Boot(1), wire, config);
        let addr = idle(&actors);
        began(&actors, addr.pid()).await;
        addr.send_after(LONG, 1);
        addr.send_interval(LONG, || 1);
        // From a thread that is none of its workers: these wait to be taken to one.
        (0..100).for_each(|note| idle(&actors).send(note).unwrap());
    });
    drop(runtime);
    // The watchdog sits on a thread of its own, and leaves when it looks next.
    two_workers().block_on(until(|| held.load(Ordering::Relaxed) == 0));
}

#[test]
fn who_spawns_while_the_runtime_goes_away_gets_a_process_that_ends() {
    for round in 0..50 {
        let held = Arc::new(AtomicUsize::new(0));
        let runtime = two_workers();
        let actors = runtime.block_on(async { Actors::alone() });
        let spawners: Vec<_> = (0..2)
            .map(|_| {
                let (actors, held) = (actors.clone(), held.clone());
                let spawn = move || {
                    let mut addrs = Vec::new();
                    loop {
                        let hold = Held::new(&held);
                        let addr = actors.spawn(async move |mut mailbox: Mailbox<u64>| {
                            let _hold = hold;
                            mailbox.receive().await;
                            Exit::Normal
                        });
                        if addr.send(1) == Err(SendError::NoProc) && actors.count() == 0 {
                            addrs.push(addr);
                            if addrs.len() > 100 {
                                return;
                            }
                        }
                    }
                };
                quorate_env::blocking("spawner", spawn).unwrap()
            })
            .collect();
        (0..round * 50).for_each(|_| std::hint::spin_loop());
        drop(runtime);
        two_workers().block_on(async {
            for spawner in spawners {
                soon(spawner).await.unwrap().unwrap();
            }
        });
        assert_eq!((held.load(Ordering::Relaxed), actors.count()), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_first_goes_through_a_long_chain_of_links() {
    let actors = Actors::alone();
    let chain = Chain::spawn(&actors, 100_000);
    soon(chain.link()).await;
    assert_eq!(actors.count(), 100_000);
    assert_eq!(soon(chain.kill_the_first(&actors)).await, Exit::Killed);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_given_up_can_be_taken_up_again() {
    let actors = Actors::alone();
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let slow =
        actors.spawn_blocking(Spawn::default(), move |_: quorate_actor::BlockingMailbox<u64>| {
            let _ = may_go.recv();
            Exit::Normal
        });
    actors.close_first(slow.pid(), LONG);
    assert!(quorate_env::timeout(Duration::ZERO, actors.close()).await.is_err());
    assert_eq!(idle(&actors).send(1), Err(SendError::NoProc), "nobody starts any more");
    go.send(()).unwrap();
    soon(actors.close()).await;
    assert_eq!(actors.count(), 0);
}
