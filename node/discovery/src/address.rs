//! An address at which another node may be: `HOST:PORT`, in one spelling.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// No host name is longer (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// How much of a wrong text is repeated in an error.
const SHOWN_CHARS_MAX: usize = 80;

/// `HOST:PORT`, where the host is a name or an IP address (IPv6 in brackets) and the port is not 0.
///
/// Two spellings of one address are equal: names are in lower case and without a dot at the end, IP addresses
/// are as the system writes them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

/// A text is no address. Nothing was done with it; trying again with the same text is useless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not HOST:PORT")]
pub struct AddressError(String);

impl Address {
    /// Understands `HOST:PORT`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        Self::with_port(text, None)
    }

    /// Understands `HOST:PORT`, and `HOST` alone where a port is known.
    pub fn with_port(text: &str, port: Option<u16>) -> Result<Self, AddressError> {
        let wrong = || AddressError(shown(text));
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let (Some(port), Ok(ip)) = (port, bare.parse::<IpAddr>()) {
            return Self::at(ip, port).ok_or_else(wrong);
        }
        let (host, port) = match (text.rsplit_once(':'), port) {
            (Some((host, port)), _) => (host, port.parse().map_err(|_| wrong())?),
            (None, Some(port)) => (text, port),
            (None, None) => return Err(wrong()),
        };
        let inside = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let ip = match inside {
            Some(inside) => Some(inside.parse::<Ipv6Addr>().map_err(|_| wrong())?.into()),
            None => host.parse::<IpAddr>().ok().filter(IpAddr::is_ipv4),
        };
        match ip {
            Some(ip) => Self::at(ip, port),
            None => Self::named(host, port),
        }
        .ok_or_else(wrong)
    }

    /// The address of an IP address and a port; none for port 0, which nobody can dial.
    pub fn at(ip: IpAddr, port: u16) -> Option<Self> {
        // An IPv4 address in the clothes of an IPv6 one is the same node.
        (port != 0).then(|| Self(SocketAddr::new(ip.to_canonical(), port).to_string()))
    }

    /// The address of a host name and a port; none if it is not one.
    pub fn named(host: &str, port: u16) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_label = |label: &str| (1..=63).contains(&label.len()) && label.chars().all(fits);
        let is_host = host.len() <= HOST_BYTES_MAX && host.split('.').all(is_label);
        (is_host && port != 0).then(|| Self(format!("{}:{port}", host.to_ascii_lowercase())))
    }

    /// Its text, fit to be dialled.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text from outside as it may stand in a message: short, and without what moves a cursor.
pub(crate) fn shown(text: &str) -> String {
    let printed = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c });
    let mut shown: String = printed.take(SHOWN_CHARS_MAX).collect();
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_address_has_one_spelling() {
        let text = |text: &str| Address::parse(text).unwrap().to_string();
        assert_eq!(text("N1.Example.:4747"), "n1.example:4747");
        assert_eq!(text("[0:0::1]:1"), "[::1]:1");
        assert_eq!(text("[::ffff:10.0.0.1]:1"), "10.0.0.1:1");
        let with_port = |text: &str| Address::with_port(text, Some(7)).unwrap().to_string();
        assert_eq!(with_port("fe80::1"), "[fe80::1]:7");
        assert_eq!((with_port("10.0.0.1"), with_port("a")), ("10.0.0.1:7".into(), "a:7".into()));
        assert_eq!(with_port("a:8"), "a:8", "a port of its own goes over the known one");
    }

    #[test]
    fn what_cannot_be_dialled_is_no_address() {
        let long = format!("{}:1", "a.".repeat(127) + "a");
        for wrong in [
            "",
            "n1",
            ":1",
            "n1:",
            "n1:0",
            "n1:99999",
            "n1:-1",
            "a b:1",
            "::1:1",
            "[x]:1",
            "a..b:1",
            "http://n1:1",
            "n1:1\n",
            "ü:1",
            "[10.0.0.1]:1",
            &long,
        ] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_that_reads_back_or_an_error(text in ".{0,300}") {
            match Address::parse(&text) {
                Ok(address) => prop_assert_eq!(Address::parse(address.as_str()), Ok(address)),
                Err(error) => prop_assert!(error.to_string().chars().count() < 120),
            }
        }
    }
}
