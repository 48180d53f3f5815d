//! What a mesh is told at its start, checked once.

use std::net::SocketAddr;
use std::time::Duration;

use quorate_vocab::{Boot, ClusterId, NodeId, NodeName};

use crate::bucket::Rate;
use crate::outbox::FIRST_WINDOW_BYTES;
use crate::pulse::Patience;
use crate::wire::Terms;
use crate::{Cookies, MeshError, hello};

/// Who this node is.
#[derive(Clone, Debug)]
pub struct Me {
    /// Its identity.
    pub id: NodeId,
    /// What people call it.
    pub name: NodeName,
    /// Which life of it this is.
    pub boot: Boot,
}

/// How a mesh is to run.
#[derive(Clone, Debug)]
pub struct MeshConfig {
    /// Who this node is.
    pub me: Me,
    /// Which cluster it belongs to; `None` while it belongs to none, and then any cluster's nodes may link.
    pub cluster: Option<ClusterId>,
    /// Where to accept connections; port 0 lets the system choose.
    pub listen: String,
    /// Where others shall dial, when that is not where it listens.
    pub advertise: Option<String>,
    /// The secrets that all nodes of the cluster share. May be none where `channel` is [`Channel::Tls`].
    pub cookies: Cookies,
    /// How private connections have to be.
    pub channel: Channel,
    /// How much and how long.
    pub limits: Limits,
}

/// How private a mesh's connections have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Plain, while it listens on loopback only.
    Loopback,
    /// Plain wherever it listens: who can read packets on the way can read frames, and who can alter packets
    /// can alter frames. For networks where nobody can.
    Plain,
    /// Secured by the net, which then is [`Tls`](crate::Tls). What is not secured is refused.
    Tls,
}

/// The most connections that the data road to a peer has.
pub(crate) const STRANDS_MAX: usize = 4;

/// How much may be held and how long may be waited. All sizes in bytes unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest body that is sent or taken in.
    pub body_bytes_max: usize,
    /// How many bytes the long bodies may have together that come from one peer and are not whole yet.
    pub open_bytes_max: usize,
    /// How many bytes may be under way from one peer in each lane: high, normal, bulk.
    pub windows: [u32; 3],
    /// To how many bytes each of these may grow, where the peer is so far away that more has to be under way.
    pub window_max: u32,
    /// How many bytes may wait to be written to one road. Answers may use as much again, so that a flood of
    /// mail cannot keep a peer's calls from being answered. A single body may be longer, when less than half
    /// of it waits.
    pub queue_bytes_max: usize,
    /// How many calls of one peer may be under way. Beyond that its callers are told that this node is busy.
    pub calls_max: usize,
    /// How many of this node's own calls may wait for answers over one link.
    pub calls_waiting_max: usize,
    /// How long connecting may take, and how long the handshake after it.
    pub handshake: Duration,
    /// How many accepted connections may be in their handshake. One more, and the oldest is closed; from a
    /// quarter on, it is closed for a newcomer when it has taken longer than a moment.
    pub handshakes_max: usize,
    /// How many of these may come from one source, which is an address, or a /64 of IPv6. One more, and the
    /// source's own oldest is closed, and so on, as above.
    pub handshakes_per_source_max: usize,
    /// How many connections a source may open at once, after a rest.
    pub arrivals_per_source: usize,
    /// After how long a source may open one more.
    pub arrival_every: Duration,
    /// How many connections the data road to a peer may have, 1 to 4: each flow goes over one of them, always
    /// the same. Each is opened when something is to go over it, and all break together. More than one where
    /// a single connection does not fill the way.
    pub data_connections: usize,
    /// How many data roads this node opens, each connection counted.
    pub data_links_max: usize,
    /// How many data roads it opens in a second, when many are wanted at once.
    pub dials_per_second: u32,
    /// After how long without a body a data road is closed that nobody needs.
    pub idle_close: Duration,
    /// How many peers are remembered. A peer that is neither linked nor dialled makes room for a new one.
    pub peers_max: usize,
    /// After how long without a written byte a heartbeat is sent.
    pub idle: Duration,
    /// After how long without a received byte a peer is suspected at the earliest. One whose bytes usually
    /// come less regularly is given longer.
    pub suspect: Duration,
    /// After how long without a received byte a link is given up at the latest; at least three times
    /// `suspect`.
    pub silence: Duration,
    /// After how long without progress of a write a link is given up. A peer with `calls_max` calls under way
    /// does not read, so calls should end sooner than this.
    pub write_stall: Duration,
    /// The first wait before an address is dialled again.
    pub redial_min: Duration,
    /// The longest wait before an address is dialled again.
    pub redial_max: Duration,
}

impl MeshConfig {
    /// Checks what can be known before the start.
    pub fn validate(&self) -> Result<(), MeshError> {
        for address in [Some(&self.listen), self.advertise.as_ref()].into_iter().flatten() {
            if address.is_empty() || address.len() > hello::ADDRESS_BYTES_MAX {
                let most = hello::ADDRESS_BYTES_MAX;
                return refuse(format!("an address has 1 to {most} bytes, `{address}` has not"));
            }
        }
        if self.channel == Channel::Loopback && !is_loopback(&self.listen) {
            return refuse(format!(
                "`{}` is not an address of loopback, and the mesh is neither secured by TLS nor told \
                 that it may be plain",
                self.listen
            ));
        }
        if self.channel != Channel::Tls && self.cookies.is_empty() {
            return refuse("there is neither a cookie nor TLS, so anybody could come in".into());
        }
        self.limits.validate()
    }
}

/// Whether only this machine can reach an address. A name that would have to be looked up is none such.
fn is_loopback(address: &str) -> bool {
    match address.parse::<SocketAddr>() {
        Ok(address) => address.ip().to_canonical().is_loopback(),
        Err(_) => address.rsplit_once(':').is_some_and(|(host, _)| host == "localhost"),
    }
}

impl Limits {
    /// For nodes that are a few milliseconds apart.
    pub fn lan() -> Self {
        Self {
            body_bytes_max: 64 * 1024 * 1024 + 4096,
            open_bytes_max: 128 * 1024 * 1024,
            windows: [512 * 1024; 3],
            window_max: 64 * 1024 * 1024,
            queue_bytes_max: 8 * 1024 * 1024,
            calls_max: 4096,
            calls_waiting_max: 16_384,
            handshake: Duration::from_secs(5),
            // As many nodes as may come back at once.
            handshakes_max: 2048,
            handshakes_per_source_max: 512,
            // A cluster that starts anew behind one address is let in within seconds.
            arrivals_per_source: 1024,
            arrival_every: Duration::from_millis(4),
            data_connections: 1,
            data_links_max: 1024,
            dials_per_second: 200,
            idle_close: Duration::from_secs(60),
            peers_max: 16_384,
            idle: Duration::from_millis(500),
            suspect: Duration::from_secs(1),
            silence: Duration::from_secs(10),
            write_stall: Duration::from_secs(10),
            redial_min: Duration::from_millis(50),
            redial_max: Duration::from_secs(2),
        }
    }

    /// For nodes on different continents.
    pub fn wan() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(1),
            suspect: Duration::from_millis(2500),
            silence: Duration::from_secs(30),
            write_stall: Duration::from_secs(20),
            redial_max: Duration::from_secs(5),
            ..Self::lan()
        }
    }

    /// For tests on one machine: everything is noticed sooner.
    pub fn test() -> Self {
        Self {
            handshake: Duration::from_secs(1),
            idle: Duration::from_millis(100),
            suspect: Duration::from_millis(300),
            silence: Duration::from_secs(1),
            write_stall: Duration::from_secs(2),
            redial_min: Duration::from_millis(10),
            redial_max: Duration::from_millis(200),
            ..Self::lan()
        }
    }

    /// How many roads may be opened, and how many of them at once.
    pub(crate) fn dials(&self) -> Rate {
        let per_second = u64::from(self.dials_per_second);
        Rate { per_second, burst: per_second.div_ceil(10) }
    }

    /// How long a peer may be silent.
    pub(crate) fn patience(&self) -> Patience {
        Patience::new(self.suspect, self.silence).expect("it was checked at the start")
    }

    /// What this side tells a peer that it takes in.
    pub(crate) fn terms(&self) -> Terms {
        Terms {
            windows: self.windows,
            body_bytes_max: self.body_bytes_max as u64,
            open_bytes_max: self.open_bytes_max as u64,
        }
    }

    fn validate(&self) -> Result<(), MeshError> {
        let counts = [
            ("body_bytes_max", self.body_bytes_max),
            ("queue_bytes_max", self.queue_bytes_max),
            ("data_links_max", self.data_links_max),
            ("dials_per_second", self.dials_per_second as usize),
            ("calls_max", self.calls_max),
            ("calls_waiting_max", self.calls_waiting_max),
            ("handshakes_max", self.handshakes_max),
            ("handshakes_per_source_max", self.handshakes_per_source_max),
            ("arrivals_per_source", self.arrivals_per_source),
            ("peers_max", self.peers_max),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return refuse(format!("{name} is 0"));
        }
        if !(1..=STRANDS_MAX).contains(&self.data_connections) {
            let asked = self.data_connections;
            return refuse(format!("data_connections is {asked}; it must be 1 to {STRANDS_MAX}"));
        }
        if self.open_bytes_max < self.body_bytes_max {
            let (open, body) = (self.open_bytes_max, self.body_bytes_max);
            return refuse(format!("a body of {body} does not fit open_bytes_max of {open}"));
        }
        if let Some(window) = self.windows.iter().find(|window| **window < FIRST_WINDOW_BYTES) {
            let least = FIRST_WINDOW_BYTES;
            return refuse(format!("a window of {window} is less than {least}"));
        }
        if let Some(window) = self.windows.iter().find(|window| **window > self.window_max) {
            let most = self.window_max;
            return refuse(format!("a window of {window} is more than window_max of {most}"));
        }
        // One heartbeat may be late by as much as it is apart from the next, and is still heard in time.
        if self.idle.is_zero() || self.idle.saturating_mul(2) > self.suspect {
            let (idle, suspect) = (self.idle, self.suspect);
            return refuse(format!("suspect {suspect:?} is less than twice idle {idle:?}, or 0"));
        }
        if let Err(error) = Patience::new(self.suspect, self.silence) {
            return refuse(format!("suspect and silence: {error}"));
        }
        if self.idle_close.is_zero() || self.handshake.is_zero() || self.write_stall.is_zero() {
            return refuse("idle_close, handshake or write_stall is 0".into());
        }
        if self.redial_min.is_zero() || self.redial_min > self.redial_max {
            let (least, most) = (self.redial_min, self.redial_max);
            return refuse(format!("redial_min {least:?} is 0 or above redial_max {most:?}"));
        }
        Ok(())
    }
}

fn refuse<T>(why: String) -> Result<T, MeshError> {
    Err(MeshError::Config(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_presets_fit_and_what_does_not_fit_says_why() {
        for limits in [Limits::lan(), Limits::wan(), Limits::test()] {
            limits.validate().unwrap();
        }
        let deaf = Limits { suspect: Duration::from_millis(999), ..Limits::lan() };
        assert!(deaf.validate().unwrap_err().to_string().contains("less than twice idle"));
        let narrow = Limits { open_bytes_max: 1024, ..Limits::lan() };
        assert!(narrow.validate().unwrap_err().to_string().contains("does not fit open_bytes_max"));
        let wide = Limits { window_max: 128 * 1024, ..Limits::lan() };
        assert!(wide.validate().unwrap_err().to_string().contains("more than window_max"));
        for count in [0, STRANDS_MAX + 1] {
            let many = Limits { data_connections: count, ..Limits::lan() };
            assert!(many.validate().unwrap_err().to_string().contains("data_connections"));
        }
        let shut = Limits { handshakes_max: 0, ..Limits::lan() };
        assert!(shut.validate().unwrap_err().to_string().contains("handshakes_max"));
    }

    #[test]
    fn plain_text_stays_on_loopback_unless_the_config_says_otherwise() {
        let at = |listen: &str, channel, cookies| MeshConfig {
            me: Me { id: NodeId(1), name: "n1".try_into().unwrap(), boot: Boot(1) },
            cluster: None,
            listen: listen.into(),
            advertise: None,
            cookies,
            channel,
            limits: Limits::lan(),
        };
        let cookie = || Cookies::from(crate::Cookie::new([7; 16]).unwrap());
        for near in ["127.0.0.1:1", "127.8.9.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1"]
        {
            at(near, Channel::Loopback, cookie()).validate().unwrap();
        }
        for far in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "host:1", "localhost.evil:1", "127.0.0.1"]
        {
            let refused = at(far, Channel::Loopback, cookie()).validate().unwrap_err();
            assert!(refused.to_string().contains("not an address of loopback"), "{far}");
            at(far, Channel::Plain, cookie()).validate().unwrap();
            at(far, Channel::Tls, Cookies::none()).validate().unwrap();
        }
        for channel in [Channel::Loopback, Channel::Plain] {
            let open = at("127.0.0.1:1", channel, Cookies::none()).validate().unwrap_err();
            assert!(open.to_string().contains("neither a cookie nor TLS"));
        }
    }
}
