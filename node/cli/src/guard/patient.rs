//! A connection on which not nothing may happen for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quorate::Time;
use quorate_env::{Stream, now, sleep};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Both halves of a connection, which fail when nothing moved in either direction for too long.
pub(super) struct Patient {
    stream: Stream,
    patience: Duration,
    moved: Time,
    standstill: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Patient {
    pub(super) fn new(stream: Stream, patience: Duration) -> Self {
        Self { stream, patience, moved: now(), standstill: Box::pin(sleep(patience)) }
    }

    /// Called with what a half had to say: is it time to give up?
    fn noted<T>(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.moved = now();
            return done;
        }
        loop {
            ready!(self.standstill.as_mut().poll(cx));
            let still = now().since(self.moved);
            if still >= self.patience {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.standstill = Box::pin(sleep(self.patience - still));
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.stream.reader).poll_read(cx, into);
        self.noted(cx, done)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream.writer).poll_write(cx, from);
        self.noted(cx, done)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream.writer).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream.writer).poll_shutdown(cx)
    }
}
