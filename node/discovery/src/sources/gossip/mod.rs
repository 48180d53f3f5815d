//! Gossip on a LAN: nodes that share a secret say into a multicast group who they are.
//!
//! Where there is no multicast, the spec names peers (or a broadcast address) and the address to listen at.

mod hearing;
mod packet;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use quorate_env::{BoxFuture, dice, now, sleep_until};
use quorate_vocab::Time;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use self::hearing::Hearing;
use self::packet::PACKET_BYTES_MAX;
use crate::locator::Locator;
use crate::source::present;
use crate::sources::file;
use crate::{Asker, Candidates, Pace, Sighting, Source, SpecError};

/// How long the first look listens: long enough for whoever is there to have answered.
const FIRST: Duration = Duration::from_millis(1500);

/// After this the same is told again.
const AGAIN: Duration = Duration::from_secs(5);

/// How many peers a spec may name, and to how many strangers a packet goes beside them.
const PEERS_MAX: usize = 64;

/// A short secret is one that can be guessed from a recorded packet.
const SECRET_BYTES_MIN: usize = 16;

/// Where to speak and listen.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// A multicast group, or the address to listen at.
    at: SocketAddr,
    secret_file: PathBuf,
    interface: Option<IpAddr>,
    peers: Vec<SocketAddr>,
    every: Duration,
}

/// Listens and speaks.
pub(crate) struct Ear {
    settings: Settings,
    me: Asker,
    open: Option<Open>,
}

struct Open {
    socket: UdpSocket,
    hearing: Hearing,
    /// Who asked from elsewhere, and is answered there.
    strangers: BTreeSet<SocketAddr>,
    /// What the last look gave.
    told: Option<Candidates>,
    tells_at: Time,
}

impl Settings {
    pub(crate) fn read(locator: &Locator) -> Result<Self, SpecError> {
        let address = |text: &str| {
            let parsed = text.parse::<SocketAddr>();
            parsed.map_err(|_| locator.wrong("it needs an IP address and a port"))
        };
        let at = address(&locator.place)?;
        let secret_file = locator.file("secret-file")?;
        let secret_file = secret_file.ok_or_else(|| locator.wrong("it needs a `secret-file`"))?;
        let interface = locator.one("interface")?.map(|text| {
            text.parse().map_err(|_| locator.wrong("`interface` is the IP address of one"))
        });
        let peers = locator.all("peer").iter().map(|text| address(text));
        let peers: Vec<SocketAddr> = peers.collect::<Result<_, _>>()?;
        if peers.len() > PEERS_MAX {
            return Err(locator.wrong(format!("{PEERS_MAX} peers are the most")));
        }
        if at.ip().is_multicast() && at.port() == 0 {
            return Err(locator.wrong("a group needs a port that all of it use"));
        }
        let every = locator.span("every", Duration::from_secs(5))?;
        Ok(Self { at, secret_file, interface: interface.transpose()?, peers, every })
    }

    /// A socket that hears the group, beside others on this machine that do.
    fn socket(&self) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(self.at), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(true)?;
        socket.set_broadcast(self.at.is_ipv4())?;
        if self.at.ip().is_multicast() {
            socket.set_reuse_address(true)?;
        }
        // Bound to the group itself, it hears nothing that was sent to this port otherwise.
        socket.bind(&self.at.into())?;
        match (self.at.ip(), self.interface) {
            (IpAddr::V4(group), interface) if group.is_multicast() => {
                let any = Ipv4Addr::UNSPECIFIED;
                let through = interface.map_or(any, |ip| match ip {
                    IpAddr::V4(ip) => ip,
                    IpAddr::V6(_) => any,
                });
                socket.join_multicast_v4(&group, &through)?;
                socket.set_multicast_if_v4(&through)?;
                socket.set_multicast_loop_v4(true)?;
                // Not beyond this LAN.
                socket.set_multicast_ttl_v4(1)?;
            }
            (IpAddr::V6(group), _) if group.is_multicast() => {
                socket.join_multicast_v6(&group, 0)?;
                socket.set_multicast_loop_v6(true)?;
            }
            _ => {}
        }
        UdpSocket::from_std(socket.into())
    }

    /// To whom everything is said.
    fn destinations(&self) -> Vec<SocketAddr> {
        let group = self.at.ip().is_multicast().then_some(self.at);
        group.into_iter().chain(self.peers.iter().copied()).collect()
    }
}

impl Ear {
    pub(crate) fn new(mut settings: Settings, asker: &Asker) -> Self {
        let is_group = settings.at.ip().is_multicast();
        if asker.address.is_none() && !is_group {
            // Who only looks must not take the port of the node that it looks for.
            settings.at = SocketAddr::new(unspecified(&settings.at), 0);
        }
        Self { settings, me: asker.clone(), open: None }
    }

    async fn candidates(&mut self) -> Result<Candidates, String> {
        if self.open.is_none() {
            self.open = Some(self.begin().await?);
        }
        let destinations = self.settings.destinations();
        let Some(open) = &mut self.open else { return Err("it is closed".to_owned()) };
        let ended = open.listen(&destinations).await;
        if ended.is_err() {
            // A network that comes and goes takes its sockets with it.
            self.open = None;
        }
        ended.map_err(|e| format!("gossip: {e}"))
    }

    async fn begin(&self) -> Result<Open, String> {
        let secret = file::secret(&self.settings.secret_file).await?.into_bytes();
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!("a secret of less than {SECRET_BYTES_MIN} bytes can be guessed"));
        }
        let socket = self.settings.socket().map_err(|e| format!("{}: {e}", self.settings.at))?;
        let every = self.settings.every;
        let hearing = Hearing::new(now(), self.me.clone(), secret, every, &mut dice());
        let (strangers, told) = (BTreeSet::new(), None);
        Ok(Open { socket, hearing, strangers, told, tells_at: now() + FIRST })
    }
}

impl Open {
    /// Listens and speaks until something has changed that is to be told, or was not told for a while.
    async fn listen(&mut self, destinations: &[SocketAddr]) -> io::Result<Candidates> {
        let mut bytes = [0; PACKET_BYTES_MAX];
        loop {
            if let Some(packet) = self.hearing.step(now(), &mut dice()) {
                self.speak(&packet, destinations).await?;
            }
            let found = present(self.hearing.addresses().cloned());
            let is_news = self.told.as_ref().is_some_and(|told| *told != found);
            if is_news || now() >= self.tells_at {
                self.tells_at = now() + AGAIN;
                self.told = Some(found.clone());
                return Ok(found);
            }
            let until = self.hearing.deadline().min(self.tells_at);
            tokio::select! {
                heard = self.socket.recv_from(&mut bytes) => {
                    let (length, from) = match heard {
                        Ok(heard) => heard,
                        // A peer that is not there yet is told to the next who listens.
                        Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => continue,
                        Err(e) => return Err(e),
                    };
                    let asked = self.hearing.hear(now(), &bytes[..length], &mut dice());
                    if asked && !destinations.contains(&from) && self.strangers.len() < PEERS_MAX {
                        self.strangers.insert(from);
                    }
                }
                () = sleep_until(until) => {}
            }
        }
    }

    /// Sends a packet to all. One who cannot be reached does not keep it from the others.
    async fn speak(&mut self, packet: &[u8], destinations: &[SocketAddr]) -> io::Result<()> {
        let strangers = std::mem::take(&mut self.strangers);
        let mut sent = Ok(());
        let mut reached = false;
        for to in destinations.iter().copied().chain(strangers) {
            match self.socket.send_to(packet, to).await {
                Ok(_) => reached = true,
                Err(error) => sent = Err(error),
            }
        }
        if reached { Ok(()) } else { sent }
    }
}

fn unspecified(like: &SocketAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

impl Source for Ear {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(async { self.candidates().await.into() })
    }

    fn pace(&self) -> Pace {
        // Resting is not listening, so there is as good as none.
        Pace { rest: Duration::from_millis(10), patience: Duration::from_secs(15) }
    }
}
