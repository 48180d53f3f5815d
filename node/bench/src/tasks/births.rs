//! Tasks that come and go, and tasks that only are.

use std::hint::black_box;
use std::time::Duration;

use quorate_env::now;
use tokio::task::yield_now;

use super::{channel, opened, stage, task};
use crate::error::BenchError;
use crate::latch::Latch;
use crate::memory::resident;
use crate::probe::{BATCH, Size, rate};

/// How many live on while others come and go.
const CROWD: u64 = 1_000_000;

pub(crate) fn spawn(size: Size) -> Result<f64, BenchError> {
    stage(size, |size| async move { Ok(rate(size.n, come_and_go(size.n).await)) })
}

pub(crate) fn spawn_crowded(size: Size) -> Result<f64, BenchError> {
    stage(size, |size| async move {
        // The crowd is as large as it is meant, unless the whole is only tried.
        idlers(CROWD.min(size.n)).await;
        Ok(rate(size.n, come_and_go(size.n).await))
    })
}

pub(crate) fn idle_bytes(size: Size) -> Result<f64, BenchError> {
    stage(size, |size| async move {
        let before = resident()?;
        idlers(size.n).await;
        Ok(resident()?.saturating_sub(before) as f64 / size.n as f64)
    })
}

/// Tasks that each take one message and end.
async fn come_and_go(n: u64) -> Duration {
    let latch = Latch::new(n);
    let begun = now();
    for i in 0..n {
        let latch = latch.clone();
        let (sender, mut mailbox) = channel::<u64>();
        task(async move {
            black_box(mailbox.recv().await);
            latch.hit();
        });
        sender.send(i).expect("it waits for this one message");
        if i % BATCH == BATCH - 1 {
            yield_now().await;
        }
    }
    opened(&latch).await;
    now().since(begun)
}

/// Tasks with 64 bytes of state that wait for a message each, for ever.
async fn idlers(n: u64) {
    let waiting = Latch::new(n);
    for i in 0..n {
        let waiting = waiting.clone();
        let (sender, mut mailbox) = channel::<u64>();
        task(async move {
            let mut state = black_box([i; 8]);
            waiting.hit();
            drop(waiting);
            while let Some(number) = mailbox.recv().await {
                state[(number % 8) as usize] += number;
            }
            black_box(state);
        });
        // With the last sender it would end.
        std::mem::forget(sender);
        if i % BATCH == BATCH - 1 {
            yield_now().await;
        }
    }
    opened(&waiting).await;
}
