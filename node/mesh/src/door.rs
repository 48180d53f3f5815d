//! The door: connections that others opened, and the driver that both sides run the handshake with.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quorate_env::{Listener, Stream, now, sleep, spawn, timeout};
use tokio::io::AsyncReadExt;
use tokio::sync::watch;

use crate::frame::Decoder;
use crate::handshake::{Accord, Failure, Handshake, Judge, Keys, Moment, Role};
use crate::hello::Hello;
use crate::link::{Link, Seat};
use crate::mesh::{Running, Shared};
use crate::porch::Guest;
use crate::writer::write_all;
use crate::{Channel, Reason, tls};

/// How long to wait after the system could not accept: it is short of something, and asking again at once
/// would only use more of it.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Accepts until the mesh closes.
pub(crate) async fn serve(shared: Arc<Shared>, mut listener: Box<dyn Listener>, running: Running) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = shared.closing.wait() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // Entered here, not in the task: tasks that did not run yet count as well.
            Ok((stream, from)) => match shared.porch.enter(now(), &from) {
                Ok(guest) => {
                    let shared = shared.clone();
                    spawn(async move {
                        if let Err(failure) = receive(&shared, stream, &guest).await {
                            shared.tally.closed(failure, &from);
                        }
                        shared.porch.leave(&guest);
                        shared.announce();
                    });
                }
                Err(reason) => shared.tally.closed(reason.into(), &from),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_REST).await;
            }
        }
    }
    drop(listener);
    drop(running);
}

async fn receive(shared: &Arc<Shared>, stream: Stream, guest: &Guest) -> Result<(), Failure> {
    let opening = async {
        let stream = shared.net.secure(stream).await.map_err(|error| tls::failure(&error))?;
        let handshake = Handshake::accept(shared.hello(None, 0), keys(shared, &stream)?);
        open(shared, stream, handshake, BytesMut::new(), Role::Acceptor, None).await
    };
    tokio::select! {
        biased;
        () = shared.closing.wait() => Err(Reason::Closing.into()),
        reason = guest.out.wait() => Err(reason.into()),
        opened = timeout(shared.config.limits.handshake, opening) => match opened {
            Ok(Ok(Opened::Linked)) => Ok(()),
            Ok(Ok(Opened::Greeted(_))) => Err(Reason::Greeted.into()),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(Reason::Late.into()),
        },
    }
}

/// Opens a connection. The deadline is its own.
pub(crate) async fn connected(shared: &Shared, address: &str) -> Result<Stream, Failure> {
    match timeout(shared.config.limits.handshake, shared.net.connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => Err(tls::failure(&error)),
        Ok(Err(_)) | Err(_) => Err(Reason::Unreachable.into()),
    }
}

/// What this node proves itself by over a connection. One that is not as private as the config wants gets
/// nothing to see.
pub(crate) fn keys(shared: &Shared, stream: &Stream) -> Result<Keys, Reason> {
    let config = &shared.config;
    if config.channel == Channel::Tls && stream.secured.is_none() {
        return Err(Reason::HalfSecured);
    }
    Ok(Keys::new(&config.cookies, stream.secured.clone()))
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
        if let (Some((name, theirs)), Some(ours)) = (handshake.foreign(), handshake.ours().cluster)
        {
            shared.tally.foreign(name, ours, *theirs);
        }
        if let Some(accord) = stepped? {
            written?;
            return Ok((accord, handshake.into_decoder()));
        }
        written?;
        match stream.reader.read_buf(handshake.room()).await {
            Ok(bytes) if bytes > 0 => {}
            Ok(_) => return Err(Reason::Gone.into()),
            Err(error) => return Err(tls::failure(&error)),
        }
    }
}
