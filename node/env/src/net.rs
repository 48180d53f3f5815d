//! The net: ordered byte streams between addresses, and nothing else. Frames, secrets and order of
//! importance are the mesh's business.

use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

/// A boxed future, where a door must be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Both halves of an open connection.
pub struct Stream {
    /// What the other side sends.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What this side sends.
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
}

/// The door to other machines.
pub trait Net: Send + Sync + 'static {
    /// Begins to accept connections at an address; port 0 lets the system choose.
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Opens a connection.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>>;
}

/// Accepts connections.
pub trait Listener: Send {
    /// The next connection, and where it came from.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, String)>>;

    /// Where it listens.
    fn address(&self) -> String;
}

/// The system's TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

/// How many unsent bytes may lie in the kernel before a writer has to wait. Small, so that what is urgent
/// does not queue behind what was written earlier.
const NOTSENT_LOWAT_BYTES: u32 = 128 * 1024;

impl Net for Tcp {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = tokio::net::TcpListener::bind(address).await?;
            Ok(Box::new(TcpDoor(listener)) as Box<dyn Listener>)
        })
    }

    #[expect(clippy::disallowed_types, reason = "this is the door")]
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move { opened(tokio::net::TcpStream::connect(address).await?) })
    }
}

struct TcpDoor(tokio::net::TcpListener);

impl Listener for TcpDoor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, String)>> {
        Box::pin(async move {
            let (stream, from) = self.0.accept().await?;
            Ok((opened(stream)?, from.to_string()))
        })
    }

    fn address(&self) -> String {
        self.0.local_addr().map_or_else(|_| String::new(), |address| address.to_string())
    }
}

#[expect(clippy::disallowed_types, reason = "this is the door")]
fn opened(stream: tokio::net::TcpStream) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&stream).set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
    let (reader, writer) = stream.into_split();
    Ok(Stream { reader: Box::new(reader), writer: Box::new(writer) })
}
