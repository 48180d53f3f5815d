//! The net: ordered byte streams between addresses, and nothing else. Frames, secrets and order of
//! importance are the mesh's business.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use quorate_vocab::NodeName;
use tokio::io::{AsyncRead, AsyncWrite};

/// A boxed future, where a door must be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Both halves of an open connection.
pub struct Stream {
    /// What the other side sends.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What this side sends.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    /// What its security has shown; `None` when it has none.
    pub secured: Option<Secured>,
}

/// What a secured connection has shown of its other end.
#[derive(Clone, PartialEq, Eq)]
pub struct Secured {
    /// The node that its certificate is for.
    pub node: NodeName,
    /// Known to the two ends of this one connection and to nobody else (RFC 9266, `tls-exporter`). What is
    /// proved together with it is proved about this connection, and fits no other.
    pub exporter: [u8; 32],
}

impl Stream {
    /// A connection without security of its own.
    pub fn plain(
        reader: impl AsyncRead + Send + Unpin + 'static,
        writer: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        Self { reader: Box::new(reader), writer: Box::new(writer), secured: None }
    }
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").field("node", &self.node).finish_non_exhaustive()
    }
}

/// The door to other machines.
pub trait Net: Send + Sync + 'static {
    /// Begins to accept connections at an address; port 0 lets the system choose.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Opens a connection, and secures it if this net does.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>>;

    /// Secures a connection that was accepted, if this net does. Apart from accepting, since it takes as long
    /// as the other side likes: nobody else must have to wait for it, and whoever calls holds the deadline.
    fn secure(&self, stream: Stream) -> BoxFuture<'_, io::Result<Stream>> {
        Box::pin(async { Ok(stream) })
    }
}

/// Accepts connections.
pub trait Listener: Send {
    /// The next connection, and where it came from.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, String)>>;

    /// Where it listens.
    fn address(&self) -> String;
}
