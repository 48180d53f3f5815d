//! Questions with an answer: a oneshot channel goes with each. A server that is gone is seen as that channel
//! is dropped; time is bounded in the second kind only.

use std::time::Duration;

use quorate_env::now;
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::{channel, stage, task};
use crate::error::BenchError;
use crate::probe::{Size, rate, split};

type Ask = (u64, oneshot::Sender<u64>);

/// Calls that wait for ever.
pub(crate) fn call(size: Size, clients: u64) -> Result<f64, BenchError> {
    stage(size, move |size| async move {
        let server = server();
        let (done, mut ended) = channel::<u64>();
        let begun = now();
        for part in split(size.n, clients) {
            let (server, done) = (server.clone(), done.clone());
            task(async move {
                for i in 0..part {
                    let answer = ask(&server, i).await.expect("the server lives");
                    assert_eq!(answer, i + 1);
                }
                done.send(part).expect("it is waited for");
            });
        }
        for _ in 0..clients {
            ended.recv().await.ok_or(BenchError::NoFigure)?;
        }
        Ok(rate(size.n, now().since(begun)))
    })
}

/// Calls that are given up after five seconds.
#[expect(clippy::disallowed_methods, reason = "it is what is measured")]
pub(crate) fn call_timed(size: Size, clients: u64) -> Result<f64, BenchError> {
    const WITHIN: Duration = Duration::from_secs(5);
    stage(size, move |size| async move {
        let server = server();
        let (done, mut ended) = channel::<u64>();
        let begun = now();
        for part in split(size.n, clients) {
            let (server, done) = (server.clone(), done.clone());
            task(async move {
                for i in 0..part {
                    let answer = tokio::time::timeout(WITHIN, ask(&server, i)).await;
                    let answer = answer.expect("it answers").expect("the server lives");
                    assert_eq!(answer, i + 1);
                }
                done.send(part).expect("it is waited for");
            });
        }
        for _ in 0..clients {
            ended.recv().await.ok_or(BenchError::NoFigure)?;
        }
        Ok(rate(size.n, now().since(begun)))
    })
}

fn server() -> UnboundedSender<Ask> {
    let (sender, mut mailbox) = channel::<Ask>();
    task(async move {
        while let Some((number, reply)) = mailbox.recv().await {
            // A caller that gave up waits for nothing.
            let _ = reply.send(number + 1);
        }
    });
    sender
}

async fn ask(server: &UnboundedSender<Ask>, number: u64) -> Option<u64> {
    let (reply, answer) = oneshot::channel();
    server.send((number, reply)).ok()?;
    answer.await.ok()
}
