//! The door: connections that others opened, and the driver that both sides run the handshake with.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use quorate_env::{Listener, Stream, sleep, spawn, timeout};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::Reason;
use crate::frame::Decoder;
use crate::handshake::{Accord, Failure, Handshake, Judge, Moment, Role};
use crate::hello::Hello;
use crate::latch::Latch;
use crate::link::{Link, Seat};
use crate::mesh::{Running, Shared};
use crate::writer::write_all;

/// How long to wait after the system could not accept: it is short of something, and asking again at once
/// would only use more of it.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Accepted connections that are in their handshake. When it is full the oldest is turned out: an honest
/// handshake takes milliseconds, so the oldest is the one that only sits there.
#[derive(Debug)]
pub(crate) struct Porch {
    waiting: Mutex<Waiting>,
    waiting_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    guests: BTreeMap<u64, Arc<Latch<()>>>,
}

impl Porch {
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self { waiting: Mutex::default(), waiting_max }
    }

    fn enter(&self) -> (u64, Arc<Latch<()>>) {
        let mut waiting = self.waiting.lock().expect("nothing panics on the porch");
        if waiting.guests.len() >= self.waiting_max
            && let Some((_, oldest)) = waiting.guests.pop_first()
        {
            oldest.set(());
        }
        waiting.last += 1;
        let (guest, out) = (waiting.last, Arc::new(Latch::new()));
        waiting.guests.insert(guest, out.clone());
        (guest, out)
    }

    fn leave(&self, guest: u64) {
        self.waiting.lock().expect("nothing panics on the porch").guests.remove(&guest);
    }
}

/// Accepts until the mesh closes.
pub(crate) async fn serve(shared: Arc<Shared>, mut listener: Box<dyn Listener>, running: Running) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.closing.wait() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => {
                // Entered here, not in the task: tasks that did not run yet count as well.
                let (guest, out) = shared.porch.enter();
                let shared = shared.clone();
                spawn(async move {
                    if let Err(failure) = receive(&shared, stream, &out).await {
                        shared.tally.closed(failure, &from);
                    }
                    shared.porch.leave(guest);
                    shared.announce();
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_REST).await;
            }
        }
    }
    drop(listener);
    drop(running);
}

async fn receive(shared: &Arc<Shared>, stream: Stream, out: &Latch<()>) -> Result<(), Failure> {
    let handshake = Handshake::accept(shared.hello(None), shared.config.cookie.clone());
    let opening = open(shared, stream, handshake, BytesMut::new(), Role::Acceptor, None);
    tokio::select! {
        biased;
        () = shared.closing.wait() => Err(Reason::Closing.into()),
        () = out.wait() => Err(Reason::Crowded.into()),
        opened = timeout(shared.config.limits.handshake, opening) => match opened {
            Ok(Ok(Opened::Linked)) => Ok(()),
            Ok(Ok(Opened::Greeted(_))) => Err(Reason::Greeted.into()),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Reason::Late.into()),
        },
    }
}

/// What a connection has become.
pub(crate) enum Opened {
    /// A link, which has its own task now.
    Linked,
    /// Nothing; but who is there is known.
    Greeted(Box<Hello>),
}

/// Takes a connection through the handshake to a link. `first` is what is to be said before anything is
/// heard. A dialler shows the dial that it acts for, which may end while it is about it.
pub(crate) async fn open(
    shared: &Arc<Shared>,
    mut stream: Stream,
    handshake: Handshake,
    first: BytesMut,
    role: Role,
    dial: Option<&watch::Receiver<String>>,
) -> Result<Opened, Failure> {
    let said = handshake.ours().cluster;
    let mut seat = None;
    let mut proving = None;
    let mut judge = |moment: Moment, accord: &Accord| {
        let peer = &accord.peer;
        let Some(road) = peer.road else {
            return Ok(());
        };
        if dial.is_some_and(|dial| dial.has_changed().is_err()) {
            return Err(Reason::Forgotten);
        }
        if moment == Moment::Claimed {
            proving = Some(shared.table().prove(peer, road)?);
            return Ok(());
        }
        let dialler = if role == Role::Dialler { shared.config.me.id } else { peer.node };
        let link = Link::new(peer, road, dialler, said, &shared.config.limits);
        seat = Some(Seat::take(shared, link, peer)?);
        Ok(())
    };
    let shaken = shake(shared, &mut stream, handshake, first, &mut judge).await;
    let (accord, decoder) = shaken?;
    let Some(seat) = seat else {
        return Ok(Opened::Greeted(Box::new(accord.peer)));
    };
    drop(proving);
    seat.raise(stream, decoder.into_rest()).await?;
    Ok(Opened::Linked)
}

/// Drives a handshake over a stream. The deadline is the caller's.
async fn shake(
    shared: &Shared,
    stream: &mut Stream,
    mut handshake: Handshake,
    first: BytesMut,
    judge: &mut Judge<'_>,
) -> Result<(Accord, Decoder), Failure> {
    let stall = shared.config.limits.handshake;
    write_all(&mut *stream.writer, &first, stall).await?;
    loop {
        let mut out = BytesMut::new();
        let stepped = handshake.step(judge, &mut out);
        // To admit a link may have ended others.
        shared.announce();
        let written = write_all(&mut *stream.writer, &out, stall).await;
        if let Some(accord) = stepped? {
            written?;
            return Ok((accord, handshake.into_decoder()));
        }
        written?;
        match stream.reader.read_buf(handshake.room()).await {
            Ok(bytes) if bytes > 0 => {}
            _ => return Err(Reason::Gone.into()),
        }
    }
}
