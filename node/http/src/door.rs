//! Connections: so many at most, and none that stands still. A client that is gone without a word, or that
//! does not read what it asked for, is noticed here and costs no more than its buffers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quorate::Time;
use quorate_env::{now, sleep};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

/// How many connections may be open; further ones wait until the system's queue refuses them.
const CONNECTIONS_MAX: usize = 2048;

/// A connection without a byte in either direction for this long is closed. Watchers hear a heartbeat more
/// often.
const STANDSTILL: Duration = Duration::from_secs(60);

/// The end that all connections of a face share.
pub(crate) type End = watch::Receiver<bool>;

#[expect(clippy::disallowed_types, reason = "this is the door of the face")]
type Tcp = tokio::net::TcpStream;

/// Accepts connections for a face.
pub(crate) struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
    end: End,
}

/// One connection.
pub(crate) struct Connection {
    tcp: Tcp,
    moved: Time,
    standstill: Pin<Box<Sleep>>,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    _place: OwnedSemaphorePermit,
}

impl Door {
    pub(crate) fn new(listener: TcpListener, end: End) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)), end }
    }
}

impl axum::serve::Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else {
                // Nobody closes the semaphore; if that changes, no place is ever free.
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((tcp, from)) => return (Connection::new(tcp, self.end.clone(), place), from),
                Err(e) => {
                    tracing::warn!(error = %e, "a connection to the HTTP address was not accepted");
                    // Out of file descriptors, most likely: trying again at once would only spin.
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connection {
    fn new(tcp: Tcp, mut end: End, place: OwnedSemaphorePermit) -> Self {
        // Answers are short and awaited; holding one back for more to come only delays it.
        let _ = tcp.set_nodelay(true);
        let ended = Box::pin(async move {
            // An error means that the face is gone, which is an end too.
            let _ = end.wait_for(|ended| *ended).await;
        });
        Self { tcp, moved: now(), standstill: Box::pin(sleep(STANDSTILL)), ended, _place: place }
    }

    /// Called when nothing could be read or written: is it time to give up?
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        loop {
            ready!(self.standstill.as_mut().poll(cx));
            let still = now().since(self.moved);
            if still >= STANDSTILL {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            self.standstill.set(sleep(STANDSTILL - still));
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.tcp).poll_read(cx, into) {
            Poll::Pending => self.wait(cx).map(Err),
            done => {
                self.moved = now();
                done
            }
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.tcp).poll_write(cx, from) {
            Poll::Pending => self.wait(cx).map(Err),
            done => {
                self.moved = now();
                done
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        from: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.tcp).poll_write_vectored(cx, from) {
            Poll::Pending => self.wait(cx).map(Err),
            done => {
                self.moved = now();
                done
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
