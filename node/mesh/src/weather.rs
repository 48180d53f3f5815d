//! Weather: a net that is as slow, as unsteady and as lossy as is asked for, so that nodes on one machine
//! live as nodes on several continents do.
//!
//! [`Weather`] stands in front of another [`Net`] and holds back what is read, so each node makes the weather
//! of what it receives: with half of a round trip at each end, an answer takes all of it. To connect takes a
//! round trip as well. What [`Conditions`] say holds for each connection by itself and for one way; what a
//! [`Climate`] says can be changed while connections are open.
//!
//! **The model of loss.** A stream loses no bytes; what a user of TCP sees of a lost segment is a stall
//! while it is sent again, and a sender that is careful afterwards. So: each segment of 1,460 bytes is lost
//! by a throw of the dice; what comes behind a lost one comes a round trip later; and the connection
//! carries a window of bytes a round trip, halved by a loss and grown by a segment each round trip without
//! one. That is Reno, within a factor of two of what this kernel's loss-based TCP does at 40 ms and 1 %
//! (0.5 MB/s); BBR would do better, and a last segment that is lost would do worse.
//!
//! Zero cost where it is not used: nothing else knows of it, and where the conditions are calm it reads
//! through.
//!
//! Not here: cuts and resets, which the nemesis of the simulation has, and anything on the way out: what is
//! written goes to the other net at once, until the reader there holds back as much as it may.

mod path;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use quorate_env::{BoxFuture, Listener, Net, Stream, dice, now, sleep, sleep_until};
use quorate_vocab::Time;
use rand::RngExt;
use tokio::io::{AsyncRead, ReadBuf};

pub use path::Path;

/// How many bytes may be under way to one reader. More stay with the other net, and so with the sender: it is
/// what a window is to TCP, and limits a connection to this many bytes a delay.
const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How many bytes are read, delayed and lost together, at most.
const PARCEL_BYTES_MAX: usize = 16 * 1024;

/// How much of a second a parcel takes at a given rate, about; coarser would come in lumps.
const PARCELS_PER_SECOND: u64 = 200;

/// What one way of a connection is like.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Conditions {
    /// How long every byte takes.
    pub delay: Duration,
    /// How much longer it may take, evenly distributed. Bytes never overtake each other.
    pub jitter: Duration,
    /// Which share of the segments is lost, from 0 to 0.9; more counts as 0.9.
    pub loss: f64,
    /// How many bytes come through in a second; `None` for as many as there are.
    pub bytes_per_second: Option<u64>,
}

/// The conditions everywhere, and those that differ. Clones are the same climate.
#[derive(Clone, Debug)]
pub struct Climate(Arc<RwLock<Zones>>);

#[derive(Debug)]
struct Zones {
    everywhere: Conditions,
    apart: BTreeMap<String, Conditions>,
}

/// A net with weather in front of another net.
pub struct Weather {
    inner: Arc<dyn Net>,
    climate: Climate,
}

impl Conditions {
    /// As if there were no weather.
    pub const CALM: Self =
        Self { delay: Duration::ZERO, jitter: Duration::ZERO, loss: 0.0, bytes_per_second: None };

    /// Half of a round trip; the node at the other end adds its own half.
    pub fn half_of(round_trip: Duration) -> Self {
        Self { delay: round_trip / 2, ..Self::CALM }
    }

    fn is_calm(&self) -> bool {
        *self == Self::CALM
    }

    fn parcel_bytes(&self) -> usize {
        let by_rate = self.bytes_per_second.map_or(u64::MAX, |rate| rate / PARCELS_PER_SECOND);
        let by_rate = usize::try_from(by_rate).unwrap_or(usize::MAX);
        by_rate.clamp(path::SEGMENT_BYTES, PARCEL_BYTES_MAX)
    }
}

impl Climate {
    /// The same everywhere.
    pub fn new(everywhere: Conditions) -> Self {
        Self(Arc::new(RwLock::new(Zones { everywhere, apart: BTreeMap::new() })))
    }

    /// From now on these conditions hold wherever no others were set.
    pub fn everywhere(&self, conditions: Conditions) {
        self.write(|zones| zones.everywhere = conditions);
    }

    /// From now on these conditions hold for what comes from an address: as it is dialled, or as who connects
    /// from it is seen. An address without a port stands for all of its ports; nodes of one machine that
    /// connect to this one cannot be told apart by it.
    pub fn at(&self, address: &str, conditions: Conditions) {
        self.write(|zones| {
            zones.apart.insert(address.to_owned(), conditions);
        });
    }

    /// From now on an address has the conditions that hold everywhere.
    pub fn as_elsewhere(&self, address: &str) {
        self.write(|zones| {
            zones.apart.remove(address);
        });
    }

    /// What holds for an address.
    pub fn of(&self, address: &str) -> Conditions {
        let zones = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if zones.apart.is_empty() {
            return zones.everywhere;
        }
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let apart = zones.apart.get(address).or_else(|| zones.apart.get(host));
        apart.copied().unwrap_or(zones.everywhere)
    }

    fn write(&self, change: impl FnOnce(&mut Zones)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Weather {
    /// Puts weather over a net.
    pub fn over(inner: Arc<dyn Net>, climate: Climate) -> Self {
        Self { inner, climate }
    }
}

impl Net for Weather {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let inner = self.inner.listen(address).await?;
            let door = WeatherDoor { inner, climate: self.climate.clone() };
            Ok(Box::new(door) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let Conditions { delay, .. } = self.climate.of(address);
            if !delay.is_zero() {
                sleep(delay * 2).await;
            }
            let stream = self.inner.connect(address).await?;
            Ok(over(stream, address, &self.climate))
        })
    }

    fn secure(&self, stream: Stream) -> BoxFuture<'_, io::Result<Stream>> {
        self.inner.secure(stream)
    }
}

struct WeatherDoor {
    inner: Box<dyn Listener>,
    climate: Climate,
}

impl Listener for WeatherDoor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, String)>> {
        Box::pin(async move {
            let (stream, from) = self.inner.accept().await?;
            Ok((over(stream, &from, &self.climate), from))
        })
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

fn over(stream: Stream, from: &str, climate: &Climate) -> Stream {
    let Stream { reader, writer, secured } = stream;
    let reader = WeatherReader {
        inner: reader,
        from: from.to_owned(),
        climate: climate.clone(),
        path: Path::default(),
        under_way: VecDeque::new(),
        held_bytes: 0,
        end: None,
        waits: None,
        scratch: Vec::new(),
    };
    Stream { reader: Box::new(reader), writer, secured }
}

/// Bytes that are under way, and when they arrive.
struct Parcel {
    due: Time,
    bytes: Bytes,
}

struct WeatherReader {
    inner: Box<dyn AsyncRead + Send + Unpin>,
    from: String,
    climate: Climate,
    path: Path,
    under_way: VecDeque<Parcel>,
    held_bytes: usize,
    /// The stream has ended, or broke; it is told behind all that is under way.
    end: Option<(Time, io::Result<()>)>,
    /// The wait for the next arrival.
    waits: Option<(Time, BoxFuture<'static, ()>)>,
    scratch: Vec<u8>,
}

impl WeatherReader {
    /// Takes over what has come from the other net, as far as there is room. It is asked again whenever
    /// something is read, or more has come; so a reader that does not read makes its own weather worse.
    fn take_over(&mut self, conditions: &Conditions, cx: &mut Context<'_>) {
        self.scratch.resize(PARCEL_BYTES_MAX, 0);
        while self.end.is_none() && self.held_bytes < HELD_BYTES_MAX {
            let mut room = ReadBuf::new(&mut self.scratch[..conditions.parcel_bytes()]);
            let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, &mut room) else {
                return;
            };
            let bytes = Bytes::copy_from_slice(room.filled());
            let mut dice = dice();
            let due = self.path.due(now(), bytes.len(), conditions, || dice.random());
            if read.is_err() || bytes.is_empty() {
                self.end = Some((due, read));
                return;
            }
            self.held_bytes += bytes.len();
            self.under_way.push_back(Parcel { due, bytes });
        }
    }

    /// Gives out what is due; whether there was any.
    fn give_out(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let (now, before) = (now(), buf.filled().len());
        while let Some(parcel) = self.under_way.front_mut().filter(|parcel| parcel.due <= now)
            && buf.remaining() > 0
        {
            let count = parcel.bytes.len().min(buf.remaining());
            buf.put_slice(&parcel.bytes[..count]);
            parcel.bytes.advance(count);
            self.held_bytes -= count;
            if parcel.bytes.is_empty() {
                self.under_way.pop_front();
            }
        }
        buf.filled().len() > before
    }

    /// Waits until the clock shows `due`.
    fn poll_until(&mut self, due: Time, cx: &mut Context<'_>) -> Poll<()> {
        if self.waits.as_ref().is_none_or(|(at, _)| *at != due) {
            self.waits = Some((due, Box::pin(sleep_until(due))));
        }
        if let Some((_, waits)) = &mut self.waits {
            ready!(waits.as_mut().poll(cx));
        }
        self.waits = None;
        Poll::Ready(())
    }
}

impl AsyncRead for WeatherReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let conditions = this.climate.of(&this.from);
        if conditions.is_calm() && this.under_way.is_empty() && this.end.is_none() {
            return Pin::new(&mut this.inner).poll_read(cx, buf);
        }
        loop {
            this.take_over(&conditions, cx);
            if buf.remaining() == 0 || this.give_out(buf) {
                return Poll::Ready(Ok(()));
            }
            match (this.under_way.front(), &this.end) {
                (Some(&Parcel { due, .. }), _) => ready!(this.poll_until(due, cx)),
                (None, Some((due, _))) if *due > now() => {
                    let due = *due;
                    ready!(this.poll_until(due, cx));
                }
                (None, Some(_)) => {
                    let (_, end) = this.end.take().unwrap_or((Time::default(), Ok(())));
                    // Asked again, the other net says the same.
                    return Poll::Ready(end);
                }
                (None, None) => return Poll::Pending,
            }
        }
    }
}
