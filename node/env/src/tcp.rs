//! The net of the operating system: TCP, as it is or with a congestion control of one's choice.

use std::io;

use crate::{BoxFuture, Listener, Net, Stream};

/// The system's TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tcp;

/// The system's TCP, where what is sent is paced by a congestion control that was asked for. It may be
/// another one at each end, for each paces what it sends.
#[derive(Clone, Debug)]
pub struct PacedTcp {
    control: String,
}

/// Why a congestion control cannot be had. Nothing was opened; it is of no use to try again before the
/// machine was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CongestionError {
    /// The kernel has none of this name.
    #[error(
        "the kernel has no congestion control `{asked}`: it has {has}; others are modules \
         (modprobe tcp_{asked})"
    )]
    Unknown {
        /// What was asked for.
        asked: String,
        /// What there is.
        has: String,
    },
    /// This user may not choose it.
    #[error(
        "only root may choose the congestion control `{asked}`: others may choose {allowed}, which is \
         said by net.ipv4.tcp_allowed_congestion_control"
    )]
    Forbidden {
        /// What was asked for.
        asked: String,
        /// What may be chosen.
        allowed: String,
    },
    /// The kernel cannot be asked.
    #[error("the congestion control `{asked}` cannot be chosen: {why}")]
    Refused {
        /// What was asked for.
        asked: String,
        /// What the system said.
        why: String,
    },
}

impl PacedTcp {
    /// TCP with this congestion control (`bbr`, `cubic`), once a socket has shown that it can be had.
    pub fn new(control: &str) -> Result<Self, CongestionError> {
        let refused = |error: &io::Error| refusal(control, error);
        let probe = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .map_err(|error| refused(&error))?;
        pace(&socket2::SockRef::from(&probe), control).map_err(|error| refused(&error))?;
        Ok(Self { control: control.to_owned() })
    }

    /// What it is called.
    pub fn control(&self) -> &str {
        &self.control
    }
}

impl Net for Tcp {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(listen(address, None))
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(connect(address, None))
    }
}

impl Net for PacedTcp {
    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(listen(address, Some(&self.control)))
    }

    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(connect(address, Some(&self.control)))
    }
}

/// How many unsent bytes may lie in the kernel before a writer has to wait. Small, so that what is urgent
/// does not queue behind what was written earlier.
const NOTSENT_LOWAT_BYTES: u32 = 128 * 1024;

struct TcpDoor {
    listener: tokio::net::TcpListener,
    control: Option<String>,
}

impl Listener for TcpDoor {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Stream, String)>> {
        Box::pin(async move {
            let (stream, from) = self.listener.accept().await?;
            Ok((opened(stream, self.control.as_deref())?, from.to_string()))
        })
    }

    fn address(&self) -> String {
        self.listener.local_addr().map_or_else(|_| String::new(), |address| address.to_string())
    }
}

async fn listen(address: &str, control: Option<&str>) -> io::Result<Box<dyn Listener>> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(Box::new(TcpDoor { listener, control: control.map(str::to_owned) }))
}

#[expect(clippy::disallowed_types, reason = "this is the door")]
async fn connect(address: &str, control: Option<&str>) -> io::Result<Stream> {
    opened(tokio::net::TcpStream::connect(address).await?, control)
}

#[expect(clippy::disallowed_types, reason = "this is the door")]
fn opened(stream: tokio::net::TcpStream, control: Option<&str>) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(&stream);
    #[cfg(target_os = "linux")]
    socket.set_tcp_notsent_lowat(NOTSENT_LOWAT_BYTES)?;
    if let Some(control) = control {
        pace(&socket, control)?;
    }
    let (reader, writer) = stream.into_split();
    Ok(Stream::plain(reader, writer))
}

#[cfg(target_os = "linux")]
fn pace(socket: &socket2::SockRef<'_>, control: &str) -> io::Result<()> {
    socket.set_tcp_congestion(control.as_bytes())
}

#[cfg(not(target_os = "linux"))]
fn pace(_: &socket2::SockRef<'_>, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn refusal(asked: &str, error: &io::Error) -> CongestionError {
    let listed = |which: &str| {
        let file = format!("/proc/sys/net/ipv4/tcp_{which}_congestion_control");
        std::fs::read_to_string(file)
            .map_or_else(|_| "others".into(), |text| text.trim().to_owned())
    };
    let asked = asked.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => CongestionError::Unknown { asked, has: listed("available") },
        io::ErrorKind::PermissionDenied => {
            CongestionError::Forbidden { asked, allowed: listed("allowed") }
        }
        _ => CongestionError::Refused { asked, why: error.to_string() },
    }
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    /// One that this kernel lets everybody choose, and another one than it takes unasked if there is such.
    fn another() -> String {
        let listed =
            |which| std::fs::read_to_string(format!("/proc/sys/net/ipv4/tcp_{which}")).unwrap();
        let (allowed, unasked) =
            (listed("allowed_congestion_control"), listed("congestion_control"));
        let mut allowed = allowed.split_whitespace();
        let other = allowed.clone().find(|control| *control != unasked.trim());
        other.or(allowed.next()).unwrap().to_owned()
    }

    #[tokio::test]
    async fn both_ends_of_a_connection_are_paced_as_was_asked() {
        let control = another();
        assert_eq!(PacedTcp::new(&control).unwrap().control(), control);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dialled, accepted) = tokio::join!(
            tokio::net::TcpSocket::new_v4().unwrap().connect(address),
            listener.accept()
        );
        for stream in [dialled.unwrap(), accepted.unwrap().0] {
            let socket = socket2::SockRef::from(&stream).try_clone().unwrap();
            let _open = opened(stream, Some(&control)).unwrap();
            let paced = socket.tcp_congestion().unwrap();
            assert_eq!(String::from_utf8(paced).unwrap().trim_end_matches('\0'), control);
        }
    }

    #[test]
    fn a_congestion_control_that_the_kernel_lacks_is_refused_and_it_says_what_there_is() {
        for absent in ["no_such_one", "", "a-name-that-is-much-too-long-for-any"] {
            let error = PacedTcp::new(absent).unwrap_err();
            assert!(error.to_string().contains(&format!("`{absent}`")), "{error}");
        }
        let error = PacedTcp::new("no_such_one").unwrap_err().to_string();
        assert!(error.contains("reno"), "{error}");
    }
}
