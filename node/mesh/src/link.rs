//! A link: one open, proven connection, and the tasks that read and write it.
//!
//! One task reads and another writes, so that a flood one way does not starve the other way; the first that
//! ends takes the other with it. What a link holds is given back when its [`Seat`] is dropped, so neither a
//! panic nor a crash of the node leaves a link that looks up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_env::{BoxFuture, Stream, spawn, timeout};
use quorate_vocab::{Boot, ClusterId, NodeId};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;

use crate::calls::Calls;
use crate::frame::{Decoder, Frame};
use crate::hello::Hello;
use crate::latch::Latch;
use crate::mesh::{Running, Shared};
use crate::outbox::Outbox;
use crate::table::Place;
use crate::{CallError, Limits, Reason, Road};

/// About how many bytes of frames go into one write.
const BATCH_BYTES: usize = 64 * 1024;

/// Bodies from this length on are written from where they lie, rather than copied into the batch.
const WRITTEN_APART_BYTES: usize = 32 * 1024;

/// What others hold of a link.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) boot: Boot,
    pub(crate) road: Road,
    /// Which of the two sides opened the connection.
    pub(crate) dialled_by: NodeId,
    /// The cluster that this node named in the handshake.
    pub(crate) said: Option<ClusterId>,
    pub(crate) outbox: Outbox,
    pub(crate) calls: Calls,
    closing: Latch<Reason>,
    ended: Latch<()>,
}

impl Link {
    pub(crate) fn new(
        peer: &Hello,
        road: Road,
        dialled_by: NodeId,
        said: Option<ClusterId>,
        limits: &Limits,
    ) -> Self {
        Self {
            node: peer.node,
            boot: peer.boot,
            road,
            dialled_by,
            said,
            outbox: Outbox::new(limits),
            calls: Calls::new(limits.calls_waiting_max),
            closing: Latch::new(),
            ended: Latch::new(),
        }
    }

    /// Asks it to end. The first reason counts.
    pub(crate) fn close(&self, reason: Reason) {
        self.closing.set(reason);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.value().is_some()
    }

    /// Waits until it has ended: nothing of it reaches the inside after that.
    pub(crate) async fn ended(&self) {
        self.ended.wait().await;
    }
}

/// A link's place in the table, which it gives back when this is dropped.
pub(crate) struct Seat {
    shared: Arc<Shared>,
    link: Arc<Link>,
    place: Place,
    raised: bool,
}

impl Seat {
    /// Lets a link in.
    pub(crate) fn take(shared: &Arc<Shared>, link: Link, hello: &Hello) -> Result<Self, Reason> {
        let link = Arc::new(link);
        let place = shared.table().admit(&link, hello)?;
        Ok(Self { shared: shared.clone(), link, place, raised: false })
    }

    /// Begins to carry, as soon as those whose place this link took have ended.
    pub(crate) async fn raise(mut self, stream: Stream, decoder: Decoder) -> Result<(), Reason> {
        for before in std::mem::take(&mut self.place.before) {
            before.ended().await;
        }
        self.raised = self.shared.table().raise(&self.link);
        if !self.raised {
            return Err(self.link.closing.value().unwrap_or(Reason::Replaced));
        }
        self.shared.tally.opened();
        let running = Running::begin(&self.shared);
        spawn(async move {
            let shared = self.shared.clone();
            // The events wait in order; whoever announces first tells them.
            shared.announce();
            self.run(stream, decoder).await;
            shared.announce();
            drop(running);
        });
        Ok(())
    }

    async fn run(self, stream: Stream, decoder: Decoder) {
        let Stream { reader, writer, .. } = stream;
        let mut writing = spawn(write(self.shared.clone(), self.link.clone(), writer));
        let mut has_ended = false;
        let reason = tokio::select! {
            biased;
            reason = self.link.closing.wait() => reason,
            reason = self.read(reader, decoder) => reason,
            // The writer has given its reason to the link; without one it has panicked.
            _ = &mut writing => {
                has_ended = true;
                Reason::Inside
            }
        };
        self.link.close(reason);
        if !has_ended {
            // It ends with the link, and an error would say that it has ended already.
            let _ = writing.await;
        }
    }

    async fn read(
        &self,
        mut reader: Box<dyn AsyncRead + Send + Unpin>,
        mut decoder: Decoder,
    ) -> Reason {
        let road = self.link.road;
        loop {
            loop {
                match decoder.take() {
                    Ok(Some(frame)) => {
                        self.shared.tally.frame_in(road);
                        if let Err(reason) = self.receive(frame).await {
                            return reason;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return error.into(),
                }
            }
            let silence = self.shared.config.limits.silence;
            match timeout(silence, reader.read_buf(decoder.room())).await {
                Ok(Ok(bytes)) if bytes > 0 => self.shared.tally.bytes_in(road, bytes),
                Ok(_) => return Reason::Gone,
                Err(_) => return Reason::Silent,
            }
        }
    }

    async fn receive(&self, frame: Frame) -> Result<(), Reason> {
        let Self { shared, link, .. } = self;
        match frame {
            Frame::Mail(body) => {
                let peer = self.place.face.peer();
                contained(|| shared.inbound.mail(&peer, link.road, body))?;
            }
            Frame::Call { call, body } => {
                let permit = self.place.permits.clone().acquire_owned().await;
                let permit = permit.expect("the permits are never closed");
                let peer = self.place.face.peer();
                let answer = contained(|| shared.inbound.call(&peer, body))?;
                let answering = answering(link.clone(), call, answer, permit, shared.clone());
                spawn(answering);
            }
            Frame::Answer { call, body } => link.calls.end(call, Ok(body)),
            Frame::Lost { call } => link.calls.end(call, Err(CallError::Unknown)),
            Frame::Ping => {}
            Frame::Adopted(cluster) => shared.table().adopted(link, cluster)?,
            // The other side had a better link by the time this one was through.
            Frame::Refused(_) => return Err(Reason::Refused),
            Frame::Hello(_) | Frame::Proof(_) => return Err(Reason::Unexpected),
        }
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Self { shared, link, raised, .. } = self;
        // Without a reason the task was dropped: the runtime, or a simulated life, has ended.
        link.close(Reason::Closing);
        shared.table().leave(link);
        link.outbox.close();
        link.calls.close();
        if let (true, Some(reason)) = (*raised, link.closing.value()) {
            shared.tally.closed(reason.into(), &format!("{}/{}", link.node, link.road));
        }
        link.ended.set(());
    }
}

/// Writes what the outbox gives until the link closes.
async fn write(shared: Arc<Shared>, link: Arc<Link>, writer: Box<dyn AsyncWrite + Send + Unpin>) {
    let reason = tokio::select! {
        biased;
        reason = link.closing.wait() => reason,
        reason = write_batches(&shared, &link, writer) => reason,
    };
    link.close(reason);
}

async fn write_batches(
    shared: &Shared,
    link: &Link,
    mut writer: Box<dyn AsyncWrite + Send + Unpin>,
) -> Reason {
    let limits = &shared.config.limits;
    let (mut batch, mut bytes) = (Vec::new(), BytesMut::new());
    loop {
        if timeout(limits.idle, link.outbox.ready()).await.is_ok() {
            link.outbox.take(BATCH_BYTES, &link.calls, &mut batch);
        }
        // Either nothing was there, or nobody wanted it any more.
        if batch.is_empty() {
            batch.push(Frame::Ping);
        }
        let (frames, total) = (batch.len(), batch.iter().map(Frame::encoded_len).sum());
        for frame in batch.drain(..) {
            frame.encode_head(&mut bytes);
            let body = frame.body();
            if body.len() < WRITTEN_APART_BYTES {
                bytes.extend_from_slice(body);
                continue;
            }
            for part in [&bytes.split()[..], body] {
                if let Err(reason) = write_all(&mut *writer, part, limits.write_stall).await {
                    return reason;
                }
            }
        }
        if let Err(reason) = write_all(&mut *writer, &bytes, limits.write_stall).await {
            return reason;
        }
        bytes.clear();
        shared.tally.out(link.road, frames, total);
    }
}

/// Writes everything. Any progress counts as life.
pub(crate) async fn write_all(
    writer: &mut (dyn AsyncWrite + Send + Unpin),
    mut bytes: &[u8],
    stall: Duration,
) -> Result<(), Reason> {
    while !bytes.is_empty() {
        match timeout(stall, writer.write(bytes)).await {
            Ok(Ok(written)) if written > 0 => bytes = &bytes[written..],
            Ok(_) => return Err(Reason::Gone),
            Err(_) => return Err(Reason::WriteStalled),
        }
    }
    match timeout(stall, writer.flush()).await {
        Ok(flushed) => flushed.map_err(|_| Reason::Gone),
        Err(_) => Err(Reason::WriteStalled),
    }
}

/// Works on a call to its end and sends the answer, or that there is none.
async fn answering(
    link: Arc<Link>,
    call: u64,
    answer: BoxFuture<'static, Bytes>,
    permit: OwnedSemaphorePermit,
    shared: Arc<Shared>,
) {
    let bytes_max = shared.config.limits.body_bytes_max();
    // Whoever still works on a call must not keep the mesh from being dropped.
    drop(shared);
    let answer = match unless_it_panics(answer).await {
        Some(body) if body.len() <= bytes_max => Frame::Answer { call, body },
        Some(body) => {
            tracing::error!(bytes = body.len(), bytes_max, "an answer is too long to be sent");
            Frame::Lost { call }
        }
        None => {
            tracing::error!(from = %link.node, "what works on a call has panicked");
            Frame::Lost { call }
        }
    };
    link.outbox.push_answer(answer).await;
    drop(permit);
}

async fn unless_it_panics(mut future: BoxFuture<'static, Bytes>) -> Option<Bytes> {
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await
}

/// Runs a piece of the inside. If it panics, the link ends, and the peer and this node go on.
fn contained<T>(inside: impl FnOnce() -> T) -> Result<T, Reason> {
    catch_unwind(AssertUnwindSafe(inside)).map_err(|_| Reason::Inside)
}
