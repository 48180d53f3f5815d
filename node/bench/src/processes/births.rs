//! Processes that come and go, and processes that only are.

use std::hint::black_box;
use std::time::Duration;

use quorate_actor::{Actors, Exit, Mailbox, yield_now};
use quorate_env::now;

use super::{left, opened, stage};
use crate::error::BenchError;
use crate::latch::Latch;
use crate::memory::resident;
use crate::probe::{BATCH, Size, rate};

/// How many live on while others come and go.
const CROWD: u64 = 1_000_000;

pub(crate) fn spawn(size: Size) -> Result<f64, BenchError> {
    stage(
        size,
        move |main| async move { Ok(rate(size.n, come_and_go(main.actors(), size.n).await)) },
    )
}

pub(crate) fn spawn_crowded(size: Size) -> Result<f64, BenchError> {
    stage(size, move |main| async move {
        // The crowd is as large as it is meant, unless the whole is only tried.
        idlers(main.actors(), CROWD.min(size.n)).await;
        Ok(rate(size.n, come_and_go(main.actors(), size.n).await))
    })
}

pub(crate) fn idle_bytes(size: Size) -> Result<f64, BenchError> {
    stage(size, move |main| async move {
        let before = resident()?;
        idlers(main.actors(), size.n).await;
        Ok(resident()?.saturating_sub(before) as f64 / size.n as f64)
    })
}

pub(crate) fn linked_bytes(size: Size) -> Result<f64, BenchError> {
    stage(size, move |main| async move {
        let before = resident()?;
        super::deaths::linked_idlers(main.actors(), size.n).await;
        Ok(resident()?.saturating_sub(before) as f64 / size.n as f64)
    })
}

/// Processes that each take one message and end.
async fn come_and_go(actors: &Actors, n: u64) -> Duration {
    let before = actors.count();
    let latch = Latch::new(n);
    let begun = now();
    for i in 0..n {
        let latch = latch.clone();
        let addr = actors.spawn(|mut own: Mailbox<u64>| async move {
            black_box(own.receive().await);
            latch.hit();
            Exit::Normal
        });
        addr.send(i).expect("it waits for this one message");
        if i % BATCH == BATCH - 1 {
            yield_now().await;
        }
    }
    opened(&latch).await;
    left(actors, before).await;
    now().since(begun)
}

/// Processes with 64 bytes of state that wait for a message each, for ever.
async fn idlers(actors: &Actors, n: u64) {
    let waiting = Latch::new(n);
    for i in 0..n {
        let waiting = waiting.clone();
        actors.spawn(move |mut own: Mailbox<u64>| async move {
            let mut state = black_box([i; 8]);
            waiting.hit();
            drop(waiting);
            loop {
                let number = own.receive().await;
                state[(number % 8) as usize] += number;
                black_box(&state);
            }
        });
        if i % BATCH == BATCH - 1 {
            yield_now().await;
        }
    }
    opened(&waiting).await;
}
