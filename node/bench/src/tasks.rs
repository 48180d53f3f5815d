//! The other side: plain tasks of tokio with mpsc and oneshot channels, in the shape of ours.
//!
//! Channels have no bound, as the fastest have none, and are what stands in for a mailbox.

mod births;
mod calls;
mod deaths;
mod mail;
mod restarts;

use std::future::Future;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinHandle, yield_now};

pub(crate) use births::{idle_bytes, spawn, spawn_crowded};
pub(crate) use calls::{call, call_timed};
pub(crate) use deaths::{chain, links, monitors};
pub(crate) use mail::{one_way, ping_pong, ping_pong_across, ring};
pub(crate) use restarts::restarts;

use crate::error::BenchError;
use crate::latch::Latch;
use crate::probe::{Size, runtime};

/// Runs the body as a task of a fresh runtime, and returns its figure.
fn stage<Fut>(size: Size, body: impl FnOnce(Size) -> Fut) -> Result<f64, BenchError>
where
    Fut: Future<Output = Result<f64, BenchError>> + Send + 'static,
{
    let runtime = runtime(size.workers)?;
    let body = body(size);
    let figure = runtime.block_on(async { task(body).await });
    // A million idle tasks need no burial: this OS process ends next.
    runtime.shutdown_background();
    figure.unwrap_or(Err(BenchError::NoFigure))
}

/// A task as tokio's users start it. Ours would ask first whether a simulation is under way.
#[expect(clippy::disallowed_methods, reason = "it is what is measured")]
fn task<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}

#[expect(clippy::disallowed_methods, reason = "it is what is measured; every workload ends")]
fn channel<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    tokio::sync::mpsc::unbounded_channel()
}

/// Lets the others work until the latch is open.
async fn opened(latch: &Latch) {
    while !latch.is_open() {
        yield_now().await;
    }
}
