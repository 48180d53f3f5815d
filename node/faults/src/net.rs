//! A net that falls silent: towards one peer or all, one way or both.
//!
//! A silence is laid on connections by who dialled them, since one who is dialled sees only a port that says
//! nothing. Between two nodes there may be connections of both makes. So, to cut what a says to b and leave
//! the rest: a is told `out` for b's address, and b is told `in` for a's. To cut all between them, both are
//! told `both`. With `*` a node is cut off by itself, and nobody else has to be told.
//!
//! While either way to a peer is silent no connection to it comes up, for that takes both; under `*` none is
//! accepted. Those that are open stay open, and whoever lets go of one in a silence is not heard to do so
//! before its end.
//!
//! Not here: the acknowledgements of TCP, which a cable that is cut one way would take from the other one.

use std::io;
use std::sync::Arc;

use quorate_env::{BoxFuture, Listener, Net, Stream};

use crate::board::Board;
use crate::fault::Way;
use crate::line::{SilencedReader, SilencedWriter};

/// A net that the silences of a switchboard hold for.
pub(crate) struct SilencedNet {
    inner: Arc<dyn Net>,
    board: Arc<Board>,
}

impl SilencedNet {
    pub(crate) fn new(inner: Arc<dyn Net>, board: Arc<Board>) -> Self {
        Self { inner, board }
    }
}

impl Net for SilencedNet {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let inner = self.inner.listen(address).await?;
            let door = SilencedDoor { inner, board: self.board.clone(), outside: None };
            Ok(Box::new(door) as Box<dyn Listener>)
        })
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            self.board.audible(Some(address), Way::Both).await;
            let stream = self.inner.connect(address).await?;
            Ok(over(stream, Some(address), &self.board))
        })
    }

    /// A connection that was accepted is silent below its security, so nothing has to be done above it.
    fn secure(&self, stream: Stream) -> BoxFuture<'_, io::Result<Stream>> {
        self.inner.secure(stream)
    }
}

struct SilencedDoor {
    inner: Box<dyn Listener>,
    board: Arc<Board>,
    /// Who came while all was silent, and has to wait. Kept here, as whoever accepts may give up meanwhile.
    outside: Option<(Stream, String)>,
}

impl Listener for SilencedDoor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, String)>> {
        Box::pin(async move {
            loop {
                self.board.audible(None, Way::Both).await;
                if let Some((stream, from)) = self.outside.take() {
                    return Ok((over(stream, None, &self.board), from));
                }
                self.outside = Some(self.inner.accept().await?);
            }
        })
    }

    fn address(&self) -> String {
        self.inner.address()
    }
}

/// `peer` is the address that was dialled, if this side did.
fn over(stream: Stream, peer: Option<&str>, board: &Arc<Board>) -> Stream {
    let Stream { reader, writer, secured } = stream;
    let peer: Option<Arc<str>> = peer.map(Into::into);
    let reader = SilencedReader::new(reader, peer.clone(), board.clone());
    let writer = SilencedWriter::new(writer, peer, board.clone());
    Stream { reader: Box::new(reader), writer: Box::new(writer), secured }
}
