//! The near processes that wait: for a ball, for an answer.

use std::time::Duration;

use quorate_actor::{Addr, Exit, Mailbox, Spawn};
use quorate_env::{now, sleep, timeout};

use super::words::{Ball, Next, Read, ToEcho};
use crate::error::BenchError;
use crate::mesh::game::{Match, PATIENCE, lost};
use crate::mesh::latencies::Latencies;

/// Plays ping-pong, and says how long each ball was away.
pub(crate) async fn pings(
    mut own: Mailbox<Ball>,
    echo: Addr<ToEcho>,
    game: Match,
    pause: Duration,
) -> Result<Latencies, BenchError> {
    let unsent = |_| lost("a link to the echo");
    echo.send(ToEcho::Home(own.pid())).map_err(unsent)?;
    let mut waits = Latencies::default();
    for number in 0.. {
        let sent = now();
        if game.is_over(sent, &waits) {
            break;
        }
        echo.send(ToEcho::Ball(number)).map_err(unsent)?;
        let Ball(back) = own.receive().await;
        if back != number {
            return Err(lost("the ball that was sent"));
        }
        if sent >= game.counted {
            waits.add(now().since(sent));
        }
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    Ok(waits)
}

/// So many clients, each calling again as soon as it was answered; how many calls there were.
pub(crate) async fn calls(
    mut own: Mailbox<u64>,
    server: Addr<Next>,
    clients: u64,
    game: Match,
) -> Result<u64, BenchError> {
    for _ in 0..clients {
        let (server, done) = (server.clone(), own.addr());
        // Linked: were a client to fail, nobody would wait for it in vain.
        own.spawn_link(Spawn::default(), move |_: Mailbox<()>| async move {
            let mut calls = 0;
            for number in 0.. {
                let began = now();
                if began >= game.until {
                    break;
                }
                let answer = server.call(PATIENCE, |reply| Next(number, reply)).await;
                assert_eq!(answer.expect("the server answers"), number + 1);
                calls += u64::from(began >= game.counted);
            }
            done.send(calls).expect("it waits for all clients");
            Exit::Normal
        });
    }
    let mut calls = 0;
    for _ in 0..clients {
        calls += own.receive().await;
    }
    Ok(calls)
}

/// Has the far node read linearizably for a span. How long each read took, and what was lost there.
pub(crate) async fn reads(
    clerk: &Addr<Read>,
    span: Duration,
) -> Result<(Latencies, u64), BenchError> {
    // The stream gets under way first.
    sleep(span / 5).await;
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let asked = clerk.call(span + PATIENCE, |reply| Read(millis, reply));
    let read = timeout(span + PATIENCE, asked).await;
    let read = read.map_err(|_| lost("the clerk"))?;
    let (took, lost) = read.map_err(|_| lost("what the clerk has read"))?;
    Ok((took.into_iter().map(|took| Duration::from_micros(took.into())).collect(), lost))
}
