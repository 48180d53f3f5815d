//! What a node sees of the net: the door, its listeners, and the halves of its streams.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quorate_env::{BoxFuture, Listener, Net, Stream};
use rand::RngExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::Shared;
use super::pipe::Step;
use super::wire::{Accept, Host, Knock};
use crate::clock;

/// How long a caller waits before it knocks again. Shorter than a kernel's, so that a heal is felt soon.
const KNOCK_AGAIN: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(200)..=Duration::from_millis(1000);

/// One host's door.
pub(super) struct Door {
    pub(super) host: Host,
    pub(super) shared: Arc<Shared>,
}

impl Net for Door {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let (host, port) = parse(address)?;
            if !self.is_own(host) {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            }
            let (port, id) = self
                .shared
                .with(|wire, wakes| wire.listen(&self.host, port, wakes))
                .ok_or(io::ErrorKind::AddrInUse)?;
            let place = (self.host.clone(), port);
            let shared = self.shared.clone();
            Ok(Box::new(DoorListener { place, id, shared, alarm: Alarm::default() })
                as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let (host, port) = parse(address)?;
            let to = if self.is_own(host) {
                self.host.clone()
            } else {
                self.shared.with(|wire, _| wire.known(host)).ok_or_else(|| {
                    io::Error::new(io::ErrorKind::NotFound, format!("no host is called {host:?}"))
                })?
            };
            self.call(&to, port).await
        })
    }
}

impl Door {
    fn is_own(&self, host: &str) -> bool {
        matches!(host, "" | "0.0.0.0" | "127.0.0.1" | "localhost") || *host == *self.host
    }

    async fn call(&self, to: &Host, port: u16) -> io::Result<Stream> {
        let (from, shared) = (&self.host, &self.shared);
        let deadline = shared.with(|wire, wakes| {
            wire.rise(from, wakes);
            let patience = wire.weather.connect_patience.clone();
            wire.now + wire.rng.random_range(patience)
        });
        loop {
            clock::pause(shared.with(|wire, _| wire.delay(from, to))).await;
            let knock = shared.with(|wire, _| wire.knock(from, to, port));
            if knock != Knock::Silence {
                clock::pause(shared.with(|wire, _| wire.delay(to, from))).await;
            }
            let answer_held = shared.with(|wire, _| wire.cut_since(to, from).is_some());
            match knock {
                Knock::Refused if !answer_held => {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                Knock::Answered if !answer_held => {
                    if let Some(id) = shared.with(|wire, wakes| wire.open(from, to, port, wakes)) {
                        return Ok(stream(shared, id, 0));
                    }
                }
                _ => {}
            }
            let again = shared.with(|wire, _| wire.now + wire.rng.random_range(KNOCK_AGAIN));
            sleep_until(again.min(deadline)).await;
            if clock::now() >= deadline {
                shared.with(|wire, _| {
                    wire.trace.note(format_args!("net timeout {from}>{to}:{port}"));
                });
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

fn parse(address: &str) -> io::Result<(&str, u16)> {
    address.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))).ok_or_else(
        || {
            let text = format!("{address:?} is not host:port");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        },
    )
}

fn stream(shared: &Arc<Shared>, id: u64, side: usize) -> Stream {
    let half = || Half { shared: shared.clone(), of: (id, side), alarm: Alarm::default() };
    Stream::plain(Reader(half()), Writer(half()))
}

struct DoorListener {
    place: (Host, u16),
    id: u64,
    shared: Arc<Shared>,
    alarm: Alarm,
}

impl Listener for DoorListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, String)>> {
        Box::pin(poll_fn(|cx| {
            loop {
                let found =
                    self.shared.with(|wire, wakes| wire.accept(&self.place, self.id, cx, wakes));
                match found {
                    Accept::Conn(id, from) => {
                        return Poll::Ready(Ok((stream(&self.shared, id, 1), from)));
                    }
                    Accept::Wait(at) => ready!(self.alarm.poll(at, cx)),
                    Accept::Gone => {
                        return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
                    }
                }
            }
        }))
    }

    fn address(&self) -> String {
        format!("{}:{}", self.place.0, self.place.1)
    }
}

impl Drop for DoorListener {
    fn drop(&mut self) {
        let (host, port) = &self.place;
        self.shared.with(|wire, wakes| wire.stop_listening(host, *port, self.id, wakes));
    }
}

/// Wakes its task when something arrives that is already under way.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once the moment has come; never, if there is none.
    fn poll(&mut self, at: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = at else { return Poll::Pending };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if sleep.deadline() != at {
            sleep.as_mut().reset(at);
        }
        sleep.as_mut().poll(cx)
    }
}

struct Half {
    shared: Arc<Shared>,
    of: (u64, usize),
    alarm: Alarm,
}

struct Reader(Half);

struct Writer(Half);

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let half = &mut self.0;
            match half.shared.with(|wire, wakes| wire.read(half.of, buf, cx, wakes)) {
                Step::Done(result) => return Poll::Ready(result),
                Step::Wait(at) => ready!(half.alarm.poll(at, cx)),
            }
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let half = &mut self.0;
            match half.shared.with(|wire, wakes| wire.write(half.of, bytes, cx, wakes)) {
                Step::Done(result) => return Poll::Ready(result),
                Step::Wait(at) => ready!(half.alarm.poll(at, cx)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shared.with(|wire, wakes| wire.shut(self.0.of, wakes));
        Poll::Ready(Ok(()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.shared.with(|wire, wakes| wire.drop_reader(self.0.of, wakes));
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.shared.with(|wire, wakes| wire.drop_writer(self.0.of, wakes));
    }
}
