//! Messages between processes.

use std::hint::black_box;
use std::io;

use quorate_actor::{Actors, Addr, Exit, Mailbox, Spawn, yield_now};
use quorate_env::{aside, now};
use tokio::sync::oneshot;

use super::{lead, stage};
use crate::error::BenchError;
use crate::probe::{BATCH, Size, rate, runtime, split};

/// How many stand in the ring.
const RING: u64 = 1_000;

pub(crate) fn ping_pong(size: Size) -> Result<f64, BenchError> {
    stage(size, move |mut main| async move {
        let pong = echo(main.actors(), main.addr());
        round_trips(size.n, &pong, &mut main).await
    })
}

/// Each side on a thread of its own, with a runtime of its own.
pub(crate) fn ping_pong_across(size: Size) -> Result<f64, BenchError> {
    let (figure, told) = oneshot::channel();
    let (challenge, challenged) = oneshot::channel::<Addr<u64>>();
    let (accept, accepted) = oneshot::channel::<Addr<u64>>();
    let (done, over) = oneshot::channel::<()>();
    let started = |e: io::Error| BenchError::system("starting a thread")(e);
    let pong = async move {
        let actors = Actors::alone();
        if let Ok(ping) = challenged.await {
            // Whoever asked is there for as long as the game lasts; then this thread ends with all on it.
            let _ = accept.send(echo(&actors, ping));
            let _ = over.await;
        }
    };
    aside("bench-pong", pong).map_err(started)?;
    let game = async move {
        let actors = Actors::alone();
        let played = lead(&actors, move |mut main| async move {
            // The other thread may have failed to start; then nobody accepts.
            let _ = challenge.send(main.addr());
            let pong = accepted.await.map_err(|_| BenchError::NoFigure)?;
            round_trips(size.n, &pong, &mut main).await
        });
        let _ = figure.send(played.await);
        drop(done);
    };
    aside("bench-ping", game).map_err(started)?;
    runtime(1)?.block_on(told).unwrap_or(Err(BenchError::NoFigure))
}

fn echo(actors: &Actors, to: Addr<u64>) -> Addr<u64> {
    actors.spawn(move |mut own: Mailbox<u64>| async move {
        loop {
            let number = own.receive().await;
            if to.send(number).is_err() {
                return Exit::Normal;
            }
        }
    })
}

async fn round_trips(n: u64, pong: &Addr<u64>, main: &mut Mailbox<u64>) -> Result<f64, BenchError> {
    let begun = now();
    for i in 0..n {
        pong.send(i).map_err(|_| BenchError::NoFigure)?;
        black_box(main.receive().await);
    }
    Ok(rate(n, now().since(begun)))
}

pub(crate) fn one_way(size: Size, senders: u64) -> Result<f64, BenchError> {
    stage(size, move |mut main| async move {
        let begun = now();
        for part in split(size.n, senders) {
            let to = main.addr();
            // Linked: were a sender to fail, nobody would wait for it in vain.
            main.spawn_link(Spawn::default(), move |_: Mailbox<u64>| async move {
                for i in 0..part {
                    to.send(i).expect("the receiver waits for all of them");
                    if i % BATCH == BATCH - 1 {
                        yield_now().await;
                    }
                }
                Exit::Normal
            });
        }
        let mut sum = 0_u64;
        for _ in 0..size.n {
            sum = sum.wrapping_add(main.receive().await);
        }
        black_box(sum);
        Ok(rate(size.n, now().since(begun)))
    })
}

pub(crate) fn ring(size: Size) -> Result<f64, BenchError> {
    stage(size, move |mut main| async move {
        let mut next = main.addr();
        for _ in 1..RING {
            let out = next;
            next = main.actors().spawn(move |mut own: Mailbox<u64>| async move {
                loop {
                    let left = own.receive().await;
                    if out.send(left.wrapping_sub(1)).is_err() {
                        return Exit::Normal;
                    }
                }
            });
        }
        let laps = size.n.div_ceil(RING);
        let begun = now();
        next.send(laps * RING - 1).map_err(|_| BenchError::NoFigure)?;
        loop {
            match main.receive().await {
                0 => return Ok(rate(laps * RING, now().since(begun))),
                left => next.send(left - 1).map_err(|_| BenchError::NoFigure)?,
            }
        }
    })
}
