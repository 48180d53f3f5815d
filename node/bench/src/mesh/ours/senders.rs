//! The near processes that pour one way.
//!
//! A sender has a window: it stops when so much is not yet acknowledged by the far process. The window bounds
//! what lies in queues and mailboxes on the way, so that nothing is refused or lost for being too fast, and
//! it is wide enough that no sender waits while the road is free.

use std::time::Duration;

use bytes::Bytes;
use quorate_actor::{Actors, Addr, Blob, Mailbox, SendError, yield_now};
use quorate_env::{now, sleep, timeout};
use quorate_vocab::Time;

use super::lead;
use super::words::{Ack, ToSink};
use crate::error::BenchError;
use crate::mesh::game::{PATIENCE, lost};
use crate::probe::BATCH;

/// The windows of all senders together, in messages.
const WINDOW_MESSAGES: u64 = 8192;
/// The same in bytes.
const WINDOW_BYTES: u64 = 4 << 20;

/// From this length on a message is worth a look at the clock.
const LARGE_BYTES: usize = 64 * 1024;

/// How long a sender waits when the road takes no more.
const REFUSED_PAUSE: Duration = Duration::from_millis(1);

/// What was poured, and acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Poured {
    pub(crate) messages: u64,
    bytes: u64,
    pub(crate) took: Duration,
}

impl Poured {
    pub(crate) fn gib_per_second(&self) -> f64 {
        (self.messages * self.bytes) as f64 / f64::from(1 << 30) / self.took.as_secs_f64()
    }
}

/// Pours from so many senders for a span, and returns when everything has come.
pub(crate) async fn pour(
    actors: &Actors,
    sink: &Addr<ToSink>,
    senders: u8,
    bytes: usize,
    span: Duration,
) -> Result<Poured, BenchError> {
    let (began, body) = (now(), Bytes::from(vec![7; bytes]));
    let window = WINDOW_MESSAGES.min(WINDOW_BYTES / bytes as u64).max(2) / u64::from(senders);
    let pouring: Vec<_> = (0..senders)
        .map(|sender| {
            let (sink, body, actors) = (sink.clone(), body.clone(), actors.clone());
            quorate_env::spawn(async move {
                let tap = move |own| {
                    Tap { own, sink, sender, window: window.max(1), sent: 0, acked: 0 }
                        .run(body, began + span)
                };
                lead(&actors, tap).await
            })
        })
        .collect();
    let mut messages = 0;
    for sender in pouring {
        messages += sender.await.map_err(|_| lost("a sender"))??;
    }
    Ok(Poured { messages, bytes: bytes as u64, took: now().since(began) })
}

/// One sender.
struct Tap {
    own: Mailbox<Ack>,
    sink: Addr<ToSink>,
    sender: u8,
    window: u64,
    sent: u64,
    acked: u64,
}

impl Tap {
    async fn run(mut self, body: Bytes, until: Time) -> Result<u64, BenchError> {
        let (sender, home) = (self.sender, self.own.pid());
        let every = (self.window / 8).max(1);
        self.send(|| ToSink::Open { sender, home, every }).await?;
        // Looking at the clock for each small message would cost as much as sending it.
        let batch = if body.len() > LARGE_BYTES { 1 } else { BATCH };
        while !self.sent.is_multiple_of(batch) || now() < until {
            match body.len() {
                ..=8 => self.send(|| ToSink::Small(sender, self.sent as u32)).await?,
                _ => self.send(|| ToSink::Bulk(sender, Blob(body.clone()))).await?,
            }
            self.sent += 1;
            while self.sent - self.acked >= self.window {
                self.heed().await?;
            }
            if self.sent.is_multiple_of(BATCH) {
                yield_now().await;
            }
        }
        self.send(|| ToSink::Close(sender)).await?;
        while self.acked < self.sent {
            self.heed().await?;
        }
        Ok(self.sent)
    }

    /// Waits until more is acknowledged.
    async fn heed(&mut self) -> Result<(), BenchError> {
        let ack = timeout(PATIENCE, self.own.receive()).await;
        let Ack(acked) = ack.map_err(|_| lost("an acknowledgement of the sink"))?;
        self.acked = self.acked.max(acked);
        Ok(())
    }

    /// Sends, as soon as the road has room.
    async fn send(&self, make: impl Fn() -> ToSink) -> Result<(), BenchError> {
        let mut refused_since = None;
        loop {
            match self.sink.send(make()) {
                Ok(()) => return Ok(()),
                Err(SendError::NoProc | SendError::Protocol | SendError::TooLong { .. }) => {
                    return Err(lost("a sink that takes this"));
                }
                Err(_) if now().since(*refused_since.get_or_insert_with(now)) < PATIENCE => {
                    sleep(REFUSED_PAUSE).await;
                }
                Err(_) => return Err(lost("room on the road")),
            }
        }
    }
}
