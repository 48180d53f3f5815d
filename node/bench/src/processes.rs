//! Our side: processes with their mailboxes.
//!
//! Each workload runs inside of a process, so that what it spawns and sends comes from where processes
//! run, as in a program that is made of them.

mod births;
mod calls;
mod deaths;
mod mail;
mod restarts;

use std::future::Future;

use quorate_actor::{Actors, Capacity, Exit, Mailbox, Spawn, yield_now};
use tokio::sync::oneshot;

pub(crate) use births::{idle_bytes, linked_bytes, spawn, spawn_crowded};
pub(crate) use calls::call;
pub(crate) use deaths::{chain, links, monitors};
pub(crate) use mail::{one_way, ping_pong, ping_pong_across, ring};
pub(crate) use restarts::restarts;

use crate::error::BenchError;
use crate::latch::Latch;
use crate::probe::{Size, runtime};

/// Runs the body as a process of a fresh runtime, and returns its figure.
fn stage<F, Fut>(size: Size, body: F) -> Result<f64, BenchError>
where
    F: FnOnce(Mailbox<u64>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<f64, BenchError>> + Send + 'static,
{
    let runtime = runtime(size.workers)?;
    let figure = runtime.block_on(async { lead(&Actors::alone(), body).await });
    // A million idle processes need no burial: this OS process ends next.
    runtime.shutdown_background();
    figure
}

/// Runs the body as a process, and waits for its figure.
async fn lead<F, Fut>(actors: &Actors, body: F) -> Result<f64, BenchError>
where
    F: FnOnce(Mailbox<u64>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<f64, BenchError>> + Send + 'static,
{
    let (figure, told) = oneshot::channel();
    // Without a bound, as the channels beside it have none.
    let how = Spawn { label: Some("bench"), mailbox: Some(Capacity::Unbounded) };
    actors.spawn_with(how, |mailbox| async move {
        let measured = body(mailbox).await;
        // Nobody has to wait for the figure.
        let _ = figure.send(measured);
        Exit::Normal
    });
    told.await.unwrap_or(Err(BenchError::NoFigure))
}

/// Lets the others work until the latch is open.
async fn opened(latch: &Latch) {
    while !latch.is_open() {
        yield_now().await;
    }
}

/// Lets the others work until no more than so many are left.
async fn left(actors: &Actors, count: usize) {
    while actors.count() > count {
        yield_now().await;
    }
}
