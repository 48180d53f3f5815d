//! The same load over bare TCP: sockets as the mesh opens them, and frames of a length and a body.
//!
//! With [`Roads::One`] heartbeats wait their turn behind the bulk, as they do where one connection carries
//! everything; with [`Roads::Two`] they have a connection of their own.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use quorate_env::{Net, Stream, Tcp, now, sleep, sleep_until, spawn, timeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::load::{BEAT, BULK_BYTES, PATIENCE, PORT, Seen, warm_up};

/// Over how many connections it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roads {
    /// One for everything, first in, first out.
    One,
    /// One for heartbeats, and one for the bulk.
    Two,
}

/// How many frames may wait for a connection: a MiB of bulk, as in Erlang.
const WAITING_MAX: usize = (1 << 20) / BULK_BYTES;

/// The far side, until `over`: counts bytes, and answers each empty frame with how many have come. Calls
/// `ready` when it listens.
pub async fn far(
    address: &str,
    ready: impl FnOnce() -> Result<()>,
    over: impl Future<Output = ()>,
) -> Result<()> {
    let mut listener = Tcp.listen(&format!("{address}:{PORT}")).await?;
    let bytes = Arc::new(AtomicU64::new(0));
    spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // It ends with its connection, which is why its error is nobody's.
            let bytes = bytes.clone();
            spawn(async move { answer(stream, &bytes).await.ok() });
        }
    });
    ready()?;
    over.await;
    Ok(())
}

async fn answer(stream: Stream, bytes: &AtomicU64) -> Result<()> {
    let Stream { mut reader, mut writer, .. } = stream;
    let mut body = vec![0; BULK_BYTES];
    loop {
        let length = reader.read_u32_le().await? as usize;
        ensure!(length <= body.len(), "no frame has {length} bytes");
        reader.read_exact(&mut body[..length]).await?;
        let so_far = bytes.fetch_add(length as u64, Ordering::Relaxed);
        if length == 0 {
            writer.write_all(&so_far.to_le_bytes()).await?;
        }
    }
}

/// A connection: what goes in at one end of the channel is written, in order.
struct Wire {
    frames: mpsc::Sender<Vec<u8>>,
    counts: mpsc::Receiver<u64>,
}

async fn wire(address: &str) -> Result<Wire> {
    let opened = timeout(PATIENCE, Tcp.connect(&format!("{address}:{PORT}"))).await;
    let Stream { mut reader, mut writer, .. } = opened.context("dialling in time")??;
    let (frames, mut waiting) = mpsc::channel::<Vec<u8>>(WAITING_MAX);
    let (told, counts) = mpsc::channel(1);
    spawn(async move {
        while let Some(frame) = waiting.recv().await {
            if writer.write_all(&frame).await.is_err() {
                return;
            }
        }
    });
    spawn(async move {
        while let Ok(count) = reader.read_u64_le().await {
            if told.send(count).await.is_err() {
                return;
            }
        }
    });
    Ok(Wire { frames, counts })
}

fn frame(bytes: usize) -> Vec<u8> {
    let mut frame = (bytes as u32).to_le_bytes().to_vec();
    frame.resize(4 + bytes, 7);
    frame
}

/// The near side: pours for a span, and tells what it saw.
pub async fn near(address: &str, roads: Roads, span: Duration) -> Result<Seen> {
    let mut first = wire(address).await?;
    let bulk = match roads {
        Roads::One => first.frames.clone(),
        Roads::Two => wire(address).await?.frames,
    };
    // What has come is asked apart, so that asking waits for nothing.
    let mut clerk = wire(address).await?;
    let is_over = Arc::new(AtomicBool::new(false));
    let stop = is_over.clone();
    spawn(async move {
        while !stop.load(Ordering::Relaxed) && bulk.send(frame(BULK_BYTES)).await.is_ok() {}
    });
    sleep(warm_up(span)).await;
    let (mut asked, mut took, mut beats) = (VecDeque::new(), Vec::new(), 0);
    let (began, before) = (now(), clerk.count().await?);
    let mut next = began;
    while now().since(began) < span {
        tokio::select! {
            count = first.counts.recv() => {
                count.context("a connection that lasts")?;
                took.extend(asked.pop_front().map(|at| now().since(at)));
            }
            () = sleep_until(next) => {
                // A full queue refuses it; then it is one that is not answered.
                if first.frames.try_send(frame(0)).is_ok() {
                    asked.push_back(now());
                }
                (beats, next) = (beats + 1, next + BEAT);
            }
        }
    }
    let (bytes, lasted) = (clerk.count().await? - before, now().since(began));
    is_over.store(true, Ordering::Relaxed);
    Ok(Seen::of(bytes, lasted, beats, took))
}

impl Wire {
    /// How many bytes have come.
    async fn count(&mut self) -> Result<u64> {
        self.frames.send(frame(0)).await.context("a connection that lasts")?;
        let counted = timeout(PATIENCE, self.counts.recv()).await.context("an answer in time")?;
        counted.context("a connection that lasts")
    }
}
