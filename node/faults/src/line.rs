//! One connection in a silence: its reader hears nothing, its writer is not heard. And one with weather on
//! its way out, which is the same with an end for every byte; of the way in, the mesh's own weather takes
//! care.
//!
//! As in TCP, whoever writes notices nothing at first: what is written is taken in, up to a bound, and behind
//! that the writer has to wait. When the silence is over, all goes on in order. What was taken in is brought
//! on its way by a task of its own, since nobody else may write again.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use quorate_env::{BoxFuture, dice, now, sleep_until, spawn};
use quorate_mesh::{Conditions, WeatherPath};
use quorate_vocab::Time;
use rand::RngExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::board::Board;
use crate::fault::Way;

/// How much is taken in for one connection. It is what the buffer of a socket is to TCP.
const HELD_BYTES_MAX: usize = 256 * 1024;

/// How much is late together, at most.
const PARCEL_BYTES_MAX: usize = 16 * 1024;

/// What the other side sends, unless it is silent.
pub(crate) struct SilencedReader {
    inner: Box<dyn AsyncRead + Send + Unpin>,
    peer: Option<Arc<str>>,
    board: Arc<Board>,
    /// The wait for the end of the silence.
    waits: Option<BoxFuture<'static, ()>>,
}

/// What this side sends, unless it is silent.
pub(crate) struct SilencedWriter(Arc<Line>);

/// The way out of one connection.
pub(crate) struct Line {
    peer: Option<Arc<str>>,
    board: Arc<Board>,
    state: Mutex<State>,
}

struct State {
    inner: Box<dyn AsyncWrite + Send + Unpin>,
    /// What was taken in, and is to go before anything else; until when it has to wait anyway.
    held: VecDeque<(Time, VecDeque<u8>)>,
    held_bytes: usize,
    path: WeatherPath,
    /// A task brings it on its way; nobody else touches `inner` meanwhile.
    is_carried: bool,
    /// The writer said that nothing comes any more.
    is_shut: bool,
    /// Why nothing can be written any more.
    broken: Option<io::ErrorKind>,
    /// The writer, if it waits for room.
    waiting: Option<Waker>,
}

/// How far the carrying came.
enum Carried {
    /// Nothing is held any more.
    All,
    /// The next is due then.
    UpTo(Time),
    /// All is silent again.
    Silenced,
}

impl SilencedReader {
    pub(crate) fn new(
        inner: Box<dyn AsyncRead + Send + Unpin>,
        peer: Option<Arc<str>>,
        board: Arc<Board>,
    ) -> Self {
        Self { inner, peer, board, waits: None }
    }
}

impl AsyncRead for SilencedReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.board.is_silent(this.peer.as_deref(), Way::In) {
            let (board, peer) = (this.board.clone(), this.peer.clone());
            let waits = this.waits.get_or_insert_with(|| {
                Box::pin(async move { board.audible(peer.as_deref(), Way::In).await })
            });
            ready!(waits.as_mut().poll(cx));
            this.waits = None;
        }
        this.waits = None;
        Pin::new(&mut this.inner).poll_read(cx, buf)
    }
}

impl SilencedWriter {
    pub(crate) fn new(
        inner: Box<dyn AsyncWrite + Send + Unpin>,
        peer: Option<Arc<str>>,
        board: Arc<Board>,
    ) -> Self {
        let state = State {
            inner,
            held: VecDeque::new(),
            held_bytes: 0,
            path: WeatherPath::default(),
            is_carried: false,
            is_shut: false,
            broken: None,
            waiting: None,
        };
        Self(Arc::new(Line { peer, board, state: Mutex::new(state) }))
    }
}

impl AsyncWrite for SilencedWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let (is_silent, weather) = (self.0.is_silent(), self.0.weather());
        let mut state = self.0.lock();
        if let Some(kind) = state.broken {
            return Poll::Ready(Err(kind.into()));
        }
        let is_held = is_silent || weather.is_some();
        if !is_held && !state.is_carried {
            return Pin::new(&mut state.inner).poll_write_vectored(cx, slices);
        }
        self.0.have_carried(&mut state);
        // When nothing is wrong any more nothing is taken in: so the carrying comes to an end.
        let room = if is_held { HELD_BYTES_MAX.saturating_sub(state.held_bytes) } else { 0 };
        if room == 0 {
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let bytes = slices.iter().flat_map(|slice| slice.iter()).copied();
        Poll::Ready(Ok(state.hold(bytes.take(room.min(PARCEL_BYTES_MAX)).collect(), weather)))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().inner.is_write_vectored()
    }

    /// What is held counts as sent, as it does in the buffer of a socket.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_silent = self.0.is_silent();
        let mut state = self.0.lock();
        if !is_silent && !state.is_carried {
            return Pin::new(&mut state.inner).poll_flush(cx);
        }
        // The net below may hold something back, too, so the task is to flush it in its time.
        self.0.have_carried(&mut state);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_silent = self.0.is_silent();
        let mut state = self.0.lock();
        if !is_silent && !state.is_carried {
            return Pin::new(&mut state.inner).poll_shutdown(cx);
        }
        state.is_shut = true;
        self.0.have_carried(&mut state);
        Poll::Ready(Ok(()))
    }
}

impl Drop for SilencedWriter {
    /// Who lets go in a silence is not heard to do so.
    fn drop(&mut self) {
        if !self.0.is_silent() || self.0.lock().is_carried {
            return;
        }
        self.0.board.linger(self.0.clone());
    }
}

impl Line {
    pub(crate) fn is_silent(&self) -> bool {
        self.board.is_silent(self.peer.as_deref(), Way::Out)
    }

    fn weather(&self) -> Option<Conditions> {
        self.board.weather_out(self.peer.as_deref())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn have_carried(self: &Arc<Self>, state: &mut State) {
        if !state.is_carried {
            state.is_carried = true;
            spawn(self.clone().carry());
        }
    }

    /// Brings what is held on its way, when it is due and there is no silence, until nothing is held.
    async fn carry(self: Arc<Self>) {
        loop {
            self.board.audible(self.peer.as_deref(), Way::Out).await;
            match poll_fn(|cx| self.poll_carry(cx)).await {
                Carried::All => return,
                Carried::UpTo(due) => sleep_until(due).await,
                Carried::Silenced => {}
            }
        }
    }

    fn poll_carry(&self, cx: &mut Context<'_>) -> Poll<Carried> {
        if self.is_silent() {
            return Poll::Ready(Carried::Silenced);
        }
        let mut state = self.lock();
        match ready!(state.poll_send(cx)) {
            Ok(Some(due)) => return Poll::Ready(Carried::UpTo(due)),
            Ok(None) => {}
            Err(error) => {
                state.broken = Some(error.kind());
                state.held = VecDeque::new();
            }
        }
        state.is_carried = false;
        state.wake();
        Poll::Ready(Carried::All)
    }
}

impl State {
    /// Takes bytes in; how many.
    fn hold(&mut self, bytes: VecDeque<u8>, weather: Option<Conditions>) -> usize {
        let count = bytes.len();
        let mut dice = dice();
        let conditions = weather.unwrap_or(Conditions::CALM);
        let due = self.path.due(now(), count, &conditions, || dice.random());
        self.held_bytes += count;
        self.held.push_back((due, bytes));
        count
    }

    /// Sends what is due; until when the next has to wait, or none when nothing is held.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Time>>> {
        while let Some((due, bytes)) = self.held.front_mut() {
            if *due > now() {
                return Poll::Ready(Ok(Some(*due)));
            }
            while !bytes.is_empty() {
                let count = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes.as_slices().0))?;
                if count == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                bytes.drain(..count);
                self.held_bytes -= count;
            }
            self.held.pop_front();
            self.wake();
        }
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        if self.is_shut {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        Poll::Ready(Ok(None))
    }

    /// There is room for the writer, or will be none.
    fn wake(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }
}
