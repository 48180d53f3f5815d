//! What an operator writes to say where the others are: addresses, or one spec for each source.

use std::fmt;

use crate::locator::{Locator, nearest, redacted};
use crate::source::present;
use crate::sources::{
    command, consul, dns, environment, file, fixed, gossip, hosts_erlang, kubernetes, webhook,
};
use crate::{Address, Source};

/// No list of specs is longer.
const SPECS_MAX: usize = 64;

/// Where to look for other nodes.
///
/// A value says where; nothing is opened, read or asked before its source is looked at.
#[derive(Clone, Debug)]
pub struct Spec {
    text: String,
    kind: Kind,
}

/// Who asks. Some sources make the asker known in their turn.
#[derive(Clone, Debug, Default)]
pub struct Asker {
    /// This node's name.
    pub name: String,
    /// Where it can be dialled; `None` only looks and makes nobody known.
    pub address: Option<Address>,
}

/// A spec is not understood. Nothing was asked; trying again without changing it is useless.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// Neither an address nor a scheme that there is.
    #[error("`{spec}` is not understood; the nearest that is: {wants}")]
    Unknown {
        /// What was written.
        spec: String,
        /// The nearest spec that would be understood.
        wants: &'static str,
    },
    /// The scheme is known, and something behind it is wrong.
    #[error("`{spec}`: {why}; it is written as {wants}")]
    Malformed {
        /// What was written.
        spec: String,
        /// What is wrong.
        why: String,
        /// What would be right.
        wants: &'static str,
    },
    /// There are too many.
    #[error("{0} sources are too many; {SPECS_MAX} are the most")]
    TooMany(usize),
}

#[derive(Clone, Debug)]
enum Kind {
    Fixed(Vec<Address>),
    File(file::Settings),
    HostsErlang(hosts_erlang::Settings),
    Environment(environment::Settings),
    Dns(dns::Settings),
    Kubernetes(kubernetes::Settings),
    Consul(consul::Settings),
    Gossip(gossip::Settings),
    Command(command::Settings),
    Webhook(webhook::Settings),
}

/// A scheme: what it is called, how it is written, its settings, and who reads it.
struct Scheme {
    name: &'static str,
    wants: &'static str,
    settings: &'static [&'static str],
    read: fn(&Locator) -> Result<Kind, SpecError>,
}

const SCHEMES: [Scheme; 12] = [
    Scheme {
        name: "file",
        wants: "file:///etc/quorate/nodes[?port=4747][&every=1s]",
        settings: &["port", "every"],
        read: |locator| file::Settings::read(locator).map(Kind::File),
    },
    Scheme {
        name: "hosts-erlang",
        wants: "hosts-erlang:///etc/.hosts.erlang?port=4747[&every=1s]",
        settings: &["port", "every"],
        read: |locator| hosts_erlang::Settings::read(locator).map(Kind::HostsErlang),
    },
    Scheme {
        name: "env",
        wants: "env://VARIABLE[?port=4747]",
        settings: &["port"],
        read: |locator| environment::Settings::read(locator).map(Kind::Environment),
    },
    Scheme {
        name: "dns",
        wants: "dns://nodes.example:4747[?server=10.0.0.53:53][&every=10s]",
        settings: &["server", "every"],
        read: |locator| dns::Settings::addresses(locator).map(Kind::Dns),
    },
    Scheme {
        name: "dns+srv",
        wants: "dns+srv://_quorate._tcp.example[?server=10.0.0.53:53][&every=10s]",
        settings: &["server", "every"],
        read: |locator| dns::Settings::services(locator).map(Kind::Dns),
    },
    Scheme {
        name: "k8s",
        wants: "k8s://NAMESPACE/SERVICE?port=4747 (or the port's name)[&api=https://HOST:PORT][&account=DIR]",
        settings: &["port", "api", "account", "every"],
        read: |locator| kubernetes::Settings::read(locator).map(Kind::Kubernetes),
    },
    Scheme {
        name: "consul",
        wants: "consul://127.0.0.1:8500/SERVICE[?dc=D][&tag=T][&port=P][&token-file=F][&tls=yes][&ca-file=F]",
        settings: &["dc", "tag", "port", "token-file", "tls", "ca-file", "wait"],
        read: |locator| consul::Settings::read(locator).map(Kind::Consul),
    },
    Scheme {
        name: "gossip",
        wants: "gossip://239.192.47.47:4749?secret-file=F[&interface=10.0.0.4][&peer=ADDR:PORT][&every=5s]",
        settings: &["secret-file", "interface", "peer", "every"],
        read: |locator| gossip::Settings::read(locator).map(Kind::Gossip),
    },
    Scheme {
        name: "exec",
        wants: "exec:///path/to/command[?arg=A][&arg=B][&port=4747][&timeout=10s][&every=30s]",
        settings: &["arg", "port", "timeout", "every"],
        read: |locator| command::Settings::read(locator).map(Kind::Command),
    },
    Scheme {
        name: "https",
        wants: "https://host/path[?query][#port=4747&every=30s&token-file=F&ca-file=F]",
        settings: &["port", "every", "token-file", "ca-file"],
        read: |locator| webhook::Settings::read(locator).map(Kind::Webhook),
    },
    Scheme {
        name: "http",
        wants: "http://host/path[?query][#port=4747&every=30s&token-file=F]",
        settings: &["port", "every", "token-file", "ca-file"],
        read: |locator| webhook::Settings::read(locator).map(Kind::Webhook),
    },
    Scheme {
        name: "static",
        wants: "HOST:PORT",
        settings: &[],
        read: |locator| match Address::parse(&locator.place) {
            Ok(address) => Ok(Kind::Fixed(vec![address])),
            Err(error) => Err(locator.wrong(error.to_string())),
        },
    },
];

impl Spec {
    /// Understands one spec, or one address.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let text = text.trim();
        let Some((name, _)) = text.split_once("://") else {
            let address = Address::parse(text).map_err(|_| unknown(text, "static"))?;
            return Ok(Self { text: address.to_string(), kind: Kind::Fixed(vec![address]) });
        };
        let found = SCHEMES.iter().find(|scheme| scheme.name == name);
        let scheme = found.ok_or_else(|| unknown(text, name))?;
        let reader = if name.starts_with("http") { Locator::foreign } else { Locator::read };
        let locator = reader(text, scheme.settings, scheme.wants)?;
        Ok(Self { text: redacted(text), kind: (scheme.read)(&locator)? })
    }

    /// Understands many; the plain addresses among them are one source together.
    pub fn parse_all<T: AsRef<str>>(texts: &[T]) -> Result<Vec<Self>, SpecError> {
        let mut addresses = Vec::new();
        let mut specs = Vec::new();
        for text in texts.iter().map(|text| text.as_ref().trim()).filter(|text| !text.is_empty()) {
            match Self::parse(text)? {
                Self { kind: Kind::Fixed(more), .. } => addresses.extend(more),
                spec => specs.push(spec),
            }
        }
        if !addresses.is_empty() {
            let kind = Kind::Fixed(addresses);
            specs.insert(0, Self { text: "addresses".to_owned(), kind });
        }
        match specs.len() {
            many if many > SPECS_MAX => Err(SpecError::TooMany(many)),
            _ => Ok(specs),
        }
    }

    /// The addresses, if it is nothing but addresses. They need no source, and work without sockets.
    pub fn addresses(&self) -> Option<&[Address]> {
        match &self.kind {
            Kind::Fixed(addresses) => Some(addresses),
            _ => None,
        }
    }

    /// The source that it names. Opening does nothing yet; trouble is told by the looks.
    pub fn open(&self, asker: &Asker) -> Box<dyn Source> {
        match self.kind.clone() {
            Kind::Fixed(addresses) => Box::new(fixed::Fixed(present(addresses))),
            Kind::File(settings) => Box::new(file::Watched::new(settings)),
            Kind::HostsErlang(settings) => Box::new(settings.open()),
            Kind::Environment(settings) => Box::new(settings),
            Kind::Dns(settings) => Box::new(dns::Names::new(settings)),
            Kind::Kubernetes(settings) => Box::new(kubernetes::Slices::new(settings)),
            Kind::Consul(settings) => Box::new(consul::Health::new(settings)),
            Kind::Gossip(settings) => Box::new(gossip::Ear::new(settings, asker)),
            Kind::Command(settings) => Box::new(settings),
            Kind::Webhook(settings) => Box::new(settings),
        }
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What people call a scheme that is called otherwise here.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("kubernetes", "k8s"),
    ("command", "exec"),
    ("script", "exec"),
    ("multicast", "gossip"),
    ("environment", "env"),
    ("srv", "dns+srv"),
];

fn unknown(text: &str, scheme: &str) -> SpecError {
    let scheme = scheme.to_ascii_lowercase();
    let names = SCHEMES.iter().map(|scheme| scheme.name);
    let names: Vec<&str> = names.chain(OTHER_NAMES.map(|(other, _)| other)).collect();
    let nearest = nearest(&scheme, &names).unwrap_or_default();
    let other = OTHER_NAMES.iter().find(|(other, _)| *other == nearest);
    let name = other.map_or(nearest, |(_, name)| name);
    let scheme = SCHEMES.iter().find(|scheme| scheme.name == name).unwrap_or(&SCHEMES[0]);
    let spec = crate::address::shown(&redacted(text));
    SpecError::Unknown { spec, wants: scheme.wants }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_scheme_is_understood_and_shown_without_secrets() {
        for text in [
            "file:///etc/nodes?port=1",
            "hosts-erlang:///etc/.hosts.erlang?port=4747",
            "env://NODES",
            "dns://nodes.example:4747",
            "dns+srv://_quorate._tcp.example?server=127.0.0.1:53",
            "k8s://default/quorate?port=mesh",
            "consul://127.0.0.1:8500/quorate?tag=a&dc=b",
            "gossip://239.192.47.47:4749?secret-file=/s",
            "exec:///bin/nodes?arg=-x&arg=y&timeout=1s",
            "n1:4747",
        ] {
            let spec = Spec::parse(text).unwrap();
            assert_eq!(spec.to_string(), text);
        }
        let spec = Spec::parse("https://u:p@h/nodes?key=k#every=1m").unwrap();
        assert_eq!(spec.to_string(), "https://…@h/nodes?…");
        let specs = Spec::parse_all(&["a:1", " env://X", "", "b:2"]).unwrap();
        assert_eq!(specs.len(), 2);
        assert_eq!(specs[0].addresses().unwrap().len(), 2);
    }

    #[test]
    fn a_wrong_spec_names_the_nearest_scheme_and_what_it_wants() {
        let why = |text: &str| Spec::parse(text).unwrap_err().to_string();
        assert!(
            why("dns-srv://x").contains("dns+srv://_quorate._tcp.example"),
            "{}",
            why("dns-srv://x")
        );
        assert!(why("kubernetes://x").contains("k8s://NAMESPACE"), "{}", why("kubernetes://x"));
        assert!(why("consull://x").contains("consul://"));
        assert!(why("n1").contains("HOST:PORT"));
        assert!(why("dns://nodes").contains("dns://nodes.example:4747"));
        assert!(why("gossip://239.1.1.1:1").contains("secret-file"));
        assert!(why("k8s://a/b").contains("port"));
        for wrong in [
            "",
            "://",
            "file://",
            "env://",
            "env://A=B",
            "exec://",
            "dns+srv://",
            "dns+srv://a..b",
            "consul://h/",
            "consul://h:1",
            "k8s://a?port=1",
            "k8s://a/b/c?port=1",
            "k8s://A/b?port=1",
            "gossip://x:1?secret-file=s",
            "gossip://239.1.1.1:0?secret-file=s",
            "http://",
            "https:///x",
            "dns://a:1?server=x",
            "hosts-erlang://x",
            "file:///x?prot=1",
            "http://h/#evry=1s",
        ] {
            assert!(Spec::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_a_spec_or_an_error(
            scheme in "(file|env|dns|dns\\+srv|k8s|consul|gossip|exec|https?|hosts-erlang|[a-z]{0,4})",
            rest in "[a-zA-Z0-9._:/?&=#%\\[\\]@ -]{0,60}",
        ) {
            let _ = Spec::parse(&format!("{scheme}://{rest}"));
        }
    }
}
