//! The budget of allocations: a near cast has none, a near call one at most, however many there were before.
//!
//! Counts do not depend on how busy a machine is, so unlike times they can be held by a test.

use std::alloc::System;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use quorate_actor::{Actors, Addr, Exit, Mailbox, Message, ReplyTo};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::Builder;
use tokio::sync::oneshot;

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The allocator counts for the whole process, so that one test is to be under way at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// How many messages come before those that count: caches fill, buffers find their size.
const WARM_UP: u64 = 20_000;
const FEW: u64 = 10_000;
const MANY: u64 = 100_000;
/// How many casts may be under way at once. Without a bound a clerk that the system does not let run for
/// a while would have a longer queue than ever before, and that needs memory.
const AT_ONCE: u64 = 100;
/// What may be allocated however much is done: that as many as may be under way wait at once, and on whatever
/// thread, may not have come before it counts. On a busy machine a hundred and thirty were seen.
const ONCE: u64 = 4 * AT_ONCE;
const WITHIN: Duration = Duration::from_secs(60);

enum Order {
    /// To be read, and the last of a hundred to be acknowledged.
    Note([u64; 4]),
    Ask(u64, ReplyTo<u64>),
}

impl Message for Order {}

/// What is done many times.
#[derive(Clone, Copy, Debug)]
enum Work {
    Casts,
    Calls,
}

#[test]
fn a_near_cast_allocates_nothing() {
    hold(Work::Casts, 0);
}

#[test]
fn a_near_call_allocates_once_at_most() {
    hold(Work::Calls, 1);
}

/// Holds a budget, whether both sides share a worker or not, and whether little came before or much.
#[track_caller]
fn hold(work: Work, each: u64) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for workers in [1, 2] {
        for n in [FEW, MANY] {
            let seen = allocations(work, workers, n);
            let budget = each * n + ONCE;
            assert!(seen <= budget, "{n} {work:?} on {workers} workers: {seen} allocations");
        }
    }
}

/// How many allocations so much work takes when it has been done for a while.
fn allocations(work: Work, workers: usize, n: u64) -> u64 {
    let runtime = Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap();
    runtime.block_on(async {
        let actors = Actors::alone();
        let (tell, told) = oneshot::channel();
        actors.spawn(move |mut own: Mailbox<()>| async move {
            let done = own.addr();
            let clerk = own.actors().spawn(|orders| clerk(orders, done));
            work.through(&clerk, &mut own, WARM_UP).await;
            let region = Region::new(COUNTED);
            work.through(&clerk, &mut own, n).await;
            let seen = region.change();
            tell.send(seen.allocations + seen.reallocations).expect("the test waits");
            Exit::Normal
        });
        let told = quorate_env::timeout(WITHIN, told).await.expect("nothing waits for ever");
        told.expect("the work gets done") as u64
    })
}

/// Reads notes, and answers what it is asked.
async fn clerk(mut own: Mailbox<Order>, done: Addr<()>) -> Exit {
    loop {
        match own.receive().await {
            Order::Note([number, _, _, same]) => {
                assert_eq!(number, same);
                if number % AT_ONCE == AT_ONCE - 1 {
                    done.send(()).expect("it waits for this");
                }
            }
            Order::Ask(number, reply) => reply.send(number + 1),
        }
    }
}

impl Work {
    async fn through(self, clerk: &Addr<Order>, own: &mut Mailbox<()>, n: u64) {
        for at in 0..n {
            match self {
                Self::Casts => {
                    clerk.send(Order::Note([at; 4])).expect("the clerk lives");
                    if at % AT_ONCE == AT_ONCE - 1 {
                        own.receive().await;
                    }
                }
                Self::Calls => {
                    let answer = clerk.call(WITHIN, |reply| Order::Ask(at, reply)).await;
                    assert_eq!(answer.expect("the clerk answers"), at + 1);
                }
            }
        }
    }
}
