//! Messages between tasks.

use std::hint::black_box;
use std::io;

use quorate_env::{aside, now};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::yield_now;

use super::{channel, stage, task};
use crate::error::BenchError;
use crate::probe::{BATCH, Size, rate, runtime, split};

/// How many stand in the ring.
const RING: u64 = 1_000;

pub(crate) fn ping_pong(size: Size) -> Result<f64, BenchError> {
    stage(size, |size| async move {
        let ((ping, mailbox), (pong, pongs)) = (channel(), channel());
        task(echo(pongs, ping));
        round_trips(size.n, pong, mailbox).await
    })
}

/// Each side on a thread of its own, with a runtime of its own.
pub(crate) fn ping_pong_across(size: Size) -> Result<f64, BenchError> {
    let ((ping, mailbox), (pong, pongs)) = (channel(), channel());
    let (figure, told) = oneshot::channel();
    let started = |e: io::Error| BenchError::system("starting a thread")(e);
    aside("bench-pong", async { echo(pongs, ping).await }).map_err(started)?;
    let game = async move {
        let played = task(round_trips(size.n, pong, mailbox)).await;
        // Nobody has to wait for the figure.
        let _ = figure.send(played.unwrap_or(Err(BenchError::NoFigure)));
    };
    aside("bench-ping", game).map_err(started)?;
    runtime(1)?.block_on(told).unwrap_or(Err(BenchError::NoFigure))
}

async fn echo(mut mailbox: UnboundedReceiver<u64>, to: UnboundedSender<u64>) {
    while let Some(number) = mailbox.recv().await {
        if to.send(number).is_err() {
            break;
        }
    }
}

async fn round_trips(
    n: u64,
    pong: UnboundedSender<u64>,
    mut mailbox: UnboundedReceiver<u64>,
) -> Result<f64, BenchError> {
    let begun = now();
    for i in 0..n {
        pong.send(i).map_err(|_| BenchError::NoFigure)?;
        black_box(mailbox.recv().await.ok_or(BenchError::NoFigure)?);
    }
    Ok(rate(n, now().since(begun)))
}

pub(crate) fn one_way(size: Size, senders: u64) -> Result<f64, BenchError> {
    stage(size, move |size| async move {
        let (sender, mut mailbox) = channel::<u64>();
        let begun = now();
        for part in split(size.n, senders) {
            let sender = sender.clone();
            task(async move {
                for i in 0..part {
                    sender.send(i).expect("the receiver waits for all of them");
                    if i % BATCH == BATCH - 1 {
                        yield_now().await;
                    }
                }
            });
        }
        let mut sum = 0_u64;
        for _ in 0..size.n {
            sum = sum.wrapping_add(mailbox.recv().await.ok_or(BenchError::NoFigure)?);
        }
        black_box(sum);
        Ok(rate(size.n, now().since(begun)))
    })
}

pub(crate) fn ring(size: Size) -> Result<f64, BenchError> {
    stage(size, |size| async move {
        let (mut next, mut mailbox) = channel::<u64>();
        for _ in 1..RING {
            let out = next;
            let (sender, mut mailbox) = channel::<u64>();
            task(async move {
                while let Some(left) = mailbox.recv().await {
                    if out.send(left.wrapping_sub(1)).is_err() {
                        break;
                    }
                }
            });
            next = sender;
        }
        let laps = size.n.div_ceil(RING);
        let begun = now();
        next.send(laps * RING - 1).map_err(|_| BenchError::NoFigure)?;
        while let Some(left) = mailbox.recv().await
            && left > 0
        {
            next.send(left - 1).map_err(|_| BenchError::NoFigure)?;
        }
        Ok(rate(laps * RING, now().since(begun)))
    })
}
