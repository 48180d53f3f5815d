//! One connection: two pipes of chunks under way, and what reading and writing do to them.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Waker};

use rand::RngExt;
use tokio::io::ReadBuf;
use tokio::time::Instant;

use super::wire::{Host, Wakes, Wire};

/// The most bytes that travel as one chunk.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// A connection. `pipes[side]` carries what `ends[side]` sends; the caller is side 0.
pub(super) struct Conn {
    pub(super) ends: [End; 2],
    pub(super) pipes: [Pipe; 2],
    /// Both ends were told at once that it is over.
    broken: bool,
}

pub(super) struct End {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) presence: Presence,
    reading: bool,
    writing: bool,
}

/// Whether somebody is at an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Open,
    /// Both halves were dropped.
    Closed,
    /// Its process died.
    Crashed,
    /// Its machine lost its power.
    Vanished,
}

/// How a pipe ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    Fin,
    Reset,
}

pub(super) struct Pipe {
    /// What the sender wrote and the sender's kernel still answers for: under way, or arrived and not read.
    pub(super) bytes_taken: usize,
    /// Was read, but the acknowledgement is held by a cut of the way back.
    bytes_unacknowledged: usize,
    chunks: VecDeque<Chunk>,
    /// Nothing that is sent later arrives before this.
    last_at: Instant,
    close: Option<(Instant, Close)>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Chunk {
    at: Instant,
    bytes: Vec<u8>,
    read: usize,
}

/// What an attempt to read or to write came to.
pub(super) enum Step<T> {
    Done(io::Result<T>),
    /// Nothing now; look again then, or when woken.
    Wait(Option<Instant>),
}

/// Whether something has arrived.
enum Due {
    Now,
    At(Instant),
    Held,
}

fn due(at: Instant, cut_since: Option<Instant>, now: Instant) -> Due {
    match cut_since {
        Some(since) if at > since => Due::Held,
        _ if at <= now => Due::Now,
        _ => Due::At(at),
    }
}

fn is_reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl End {
    pub(super) fn new(host: Host, port: u16) -> Self {
        Self { host, port, presence: Presence::Open, reading: true, writing: true }
    }
}

impl Pipe {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes_taken: 0,
            bytes_unacknowledged: 0,
            chunks: VecDeque::new(),
            last_at: now,
            close: None,
            reader: None,
            writer: None,
        }
    }

    fn send(&mut self, at: Instant, bytes: &[u8]) {
        self.last_at = self.last_at.max(at);
        self.bytes_taken += bytes.len();
        self.chunks.push_back(Chunk { at: self.last_at, bytes: bytes.to_vec(), read: 0 });
    }

    /// Ends the pipe behind all that is under way. A reset is never taken back.
    pub(super) fn close(&mut self, at: Instant, close: Close) {
        if matches!(self.close, Some((_, Close::Reset))) {
            return;
        }
        self.last_at = self.last_at.max(at);
        self.close = Some((self.last_at, close));
    }

    /// What a cut held since `since` arrives from `resumed` on.
    pub(super) fn resume(&mut self, since: Instant, resumed: Instant) {
        let close_at = self.close.as_mut().map(|(at, _)| at);
        for at in self.chunks.iter_mut().map(|chunk| &mut chunk.at).chain(close_at) {
            if *at > since {
                *at = resumed.max(*at);
                self.last_at = self.last_at.max(*at);
            }
        }
    }

    pub(super) fn release_acks(&mut self) {
        self.bytes_taken -= std::mem::take(&mut self.bytes_unacknowledged);
    }

    pub(super) fn lose_under_way(&mut self, now: Instant) {
        self.chunks.retain(|chunk| chunk.at <= now);
        self.close = self.close.filter(|(at, _)| *at <= now);
        self.last_at = now;
    }

    pub(super) fn lose_everything(&mut self) {
        self.chunks.clear();
    }
}

impl Conn {
    pub(super) fn new(ends: [End; 2], pipes: [Pipe; 2]) -> Self {
        Self { ends, pipes, broken: false }
    }

    /// Wakes both halves that belong to a side.
    pub(super) fn wake(&mut self, side: usize, wakes: &mut Wakes) {
        wakes.take(&mut self.pipes[1 - side].reader);
        wakes.take(&mut self.pipes[side].writer);
    }

    pub(super) fn break_off(&mut self, wakes: &mut Wakes) {
        self.broken = true;
        self.wake(0, wakes);
        self.wake(1, wakes);
    }

    /// Nobody is at either end any more.
    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| end.presence != Presence::Open)
    }

    fn is_lost_to(&self, side: usize) -> bool {
        self.broken || self.ends[side].presence != Presence::Open
    }
}

impl Wire {
    pub(super) fn read(
        &mut self,
        (id, side): (u64, usize),
        buf: &mut ReadBuf<'_>,
        cx: &Context<'_>,
        wakes: &mut Wakes,
    ) -> Step<()> {
        let Some((from, to)) = self.way(id, 1 - side) else {
            return Step::Done(Err(is_reset()));
        };
        let (cut, way_back_cut) = (self.cut_since(&from, &to), self.cut_since(&to, &from));
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.is_lost_to(side)) else {
            return Step::Done(Err(is_reset()));
        };
        let pipe = &mut conn.pipes[1 - side];
        let before = buf.filled().len();
        let mut next = None;
        while buf.remaining() > 0 {
            let Some(chunk) = pipe.chunks.front_mut() else {
                next = pipe.close.map(|(at, close)| (due(at, cut, now), Some(close)));
                break;
            };
            let due = due(chunk.at, cut, now);
            if !matches!(due, Due::Now) {
                next = Some((due, None));
                break;
            }
            let count = buf.remaining().min(chunk.bytes.len() - chunk.read);
            buf.put_slice(&chunk.bytes[chunk.read..chunk.read + count]);
            chunk.read += count;
            if chunk.read == chunk.bytes.len() {
                pipe.chunks.pop_front();
            }
        }
        let count = buf.filled().len() - before;
        if count > 0 || buf.remaining() == 0 {
            self.acknowledge((id, side), count, way_back_cut.is_some(), wakes);
            return Step::Done(Ok(()));
        }
        match next {
            Some((Due::Now, Some(Close::Fin))) => Step::Done(Ok(())),
            Some((Due::Now, _)) => Step::Done(Err(is_reset())),
            next => {
                wakes.park(&mut pipe.reader, cx);
                Step::Wait(match next {
                    Some((Due::At(at), _)) => Some(at),
                    _ => None,
                })
            }
        }
    }

    fn acknowledge(
        &mut self,
        (id, side): (u64, usize),
        count: usize,
        way_back_cut: bool,
        wakes: &mut Wakes,
    ) {
        self.trace.note(format_args!("net read #{id}.{side} {count}"));
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let pipe = &mut conn.pipes[1 - side];
        if way_back_cut {
            pipe.bytes_unacknowledged += count;
        } else {
            pipe.bytes_taken -= count;
            wakes.take(&mut pipe.writer);
        }
    }

    pub(super) fn write(
        &mut self,
        (id, side): (u64, usize),
        bytes: &[u8],
        cx: &Context<'_>,
        wakes: &mut Wakes,
    ) -> Step<usize> {
        let Some((from, to)) = self.way(id, side) else {
            return Step::Done(Err(is_reset()));
        };
        let cut = self.cut_since(&to, &from);
        let (now, buffer_bytes) = (self.now, self.weather.buffer_bytes);
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.is_lost_to(side)) else {
            return Step::Done(Err(is_reset()));
        };
        let refusal = match conn.pipes[1 - side].close {
            Some((at, Close::Reset)) => Some(due(at, cut, now)),
            _ => None,
        };
        if matches!(refusal, Some(Due::Now)) {
            return Step::Done(Err(is_reset()));
        }
        if !conn.ends[side].writing {
            return Step::Done(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let room = buffer_bytes.saturating_sub(conn.pipes[side].bytes_taken);
        if room == 0 && !bytes.is_empty() {
            wakes.park(&mut conn.pipes[side].writer, cx);
            return Step::Wait(match refusal {
                Some(Due::At(at)) => Some(at),
                _ => None,
            });
        }
        let fitting = &bytes[..bytes.len().min(room).min(CHUNK_BYTES_MAX)];
        Step::Done(Ok(self.send((id, side), fitting, wakes)))
    }

    /// Takes bytes from a writer, or only some of them, as a kernel may.
    fn send(&mut self, (id, side): (u64, usize), bytes: &[u8], wakes: &mut Wakes) -> usize {
        if bytes.is_empty() {
            return 0;
        }
        let count = match self.rng.random_range(0..16) {
            0 => self.rng.random_range(1..=bytes.len()),
            _ => bytes.len(),
        };
        let breaks = self.rng.random_range(0..1_000_000) < self.weather.broken_per_million;
        let at = self.now + self.delay_of(id, side);
        self.trace.note(format_args!("net write #{id}.{side} {count}"));
        let Some(conn) = self.conns.get_mut(&id) else {
            return count;
        };
        let presence = conn.ends[1 - side].presence;
        match presence {
            Presence::Open => {
                conn.pipes[side].send(at, &bytes[..count]);
                wakes.take(&mut conn.pipes[side].reader);
            }
            // Nobody will read them, but the writer's kernel keeps them and tries.
            _ => conn.pipes[side].bytes_taken += count,
        }
        if breaks {
            conn.break_off(wakes);
            self.trace.note(format_args!("net break #{id}"));
            return count;
        }
        let answers = match presence {
            Presence::Closed => true,
            Presence::Vanished => {
                let host = conn.ends[1 - side].host.clone();
                self.is_powered(&host)
            }
            Presence::Open | Presence::Crashed => false,
        };
        if answers {
            self.answer_with_reset(id, 1 - side, wakes);
        }
        count
    }

    pub(super) fn shut(&mut self, (id, side): (u64, usize), wakes: &mut Wakes) {
        let at = self.now + self.delay_of(id, side);
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        if conn.ends[side].writing && !conn.is_lost_to(side) {
            conn.ends[side].writing = false;
            conn.pipes[side].close(at, Close::Fin);
            wakes.take(&mut conn.pipes[side].reader);
        }
    }

    pub(super) fn drop_writer(&mut self, of: (u64, usize), wakes: &mut Wakes) {
        self.shut(of, wakes);
        self.let_go(of, wakes, |end| end.writing = false);
    }

    pub(super) fn drop_reader(&mut self, of: (u64, usize), wakes: &mut Wakes) {
        self.let_go(of, wakes, |end| end.reading = false);
    }

    fn let_go(&mut self, (id, side): (u64, usize), wakes: &mut Wakes, half: impl FnOnce(&mut End)) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        half(&mut conn.ends[side]);
        let end = &mut conn.ends[side];
        if end.reading || end.writing || end.presence != Presence::Open {
            return;
        }
        end.presence = Presence::Closed;
        // Whoever leaves with bytes unread answers them with a reset, not with a farewell.
        let unread = !conn.pipes[1 - side].chunks.is_empty();
        conn.pipes[1 - side].lose_everything();
        if unread {
            self.answer_with_reset(id, side, wakes);
        }
        self.forget_if_over(id);
    }

    /// From where to where a side sends.
    fn way(&self, id: u64, side: usize) -> Option<(Host, Host)> {
        let conn = self.conns.get(&id)?;
        Some((conn.ends[side].host.clone(), conn.ends[1 - side].host.clone()))
    }
}
