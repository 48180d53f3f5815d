//! Questions with an answer, bounded in time, whose callers are told when the one that was asked is gone.

use std::time::Duration;

use quorate_actor::{Exit, Mailbox, Message, ReplyTo, Spawn};
use quorate_env::now;

use super::stage;
use crate::error::BenchError;
use crate::probe::{Size, rate, split};

/// What the server is asked.
struct Next(u64, ReplyTo<u64>);

impl Message for Next {}

const WITHIN: Duration = Duration::from_secs(5);

pub(crate) fn call(size: Size, clients: u64) -> Result<f64, BenchError> {
    stage(size, move |mut main| async move {
        let server = main.actors().spawn(|mut own: Mailbox<Next>| async move {
            loop {
                let Next(number, reply) = own.receive().await;
                reply.send(number + 1);
            }
        });
        let begun = now();
        for part in split(size.n, clients) {
            let (server, done) = (server.clone(), main.addr());
            // Linked: were a client to fail, nobody would wait for it in vain.
            main.spawn_link(Spawn::default(), move |_: Mailbox<u64>| async move {
                for i in 0..part {
                    let answer = server.call(WITHIN, |reply| Next(i, reply)).await;
                    assert_eq!(answer.expect("the server lives"), i + 1);
                }
                done.send(part).expect("it waits for all clients");
                Exit::Normal
            });
        }
        for _ in 0..clients {
            main.receive().await;
        }
        Ok(rate(size.n, now().since(begun)))
    })
}
