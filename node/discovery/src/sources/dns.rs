//! Names of the domain name system: the addresses of a host (a headless service of Kubernetes is one), and
//! services by SRV.
//!
//! Where one of the questions that belong to an answer fails and another does not, the last good answer to
//! the failed one is used: half an answer would look like loss.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use quorate_env::BoxFuture;

use crate::dns::{Client, Kind, is_name};
use crate::locator::Locator;
use crate::source::{CANDIDATES_MAX, present};
use crate::{Address, Candidates, Pace, Sighting, Source, SpecError};

/// How many targets of a service are looked up at once.
const AT_ONCE: usize = 8;

/// What to ask for.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    name: String,
    /// The port of every address; without one it is a service.
    port: Option<u16>,
    server: Option<SocketAddr>,
    every: Duration,
}

/// Names under watch.
pub(crate) struct Names {
    settings: Settings,
    /// The last good answers for what is still asked for.
    remembered: BTreeMap<(String, Kind), Vec<IpAddr>>,
}

impl Settings {
    /// `NAME:PORT`, for the addresses of a host.
    pub(crate) fn addresses(locator: &Locator) -> Result<Self, SpecError> {
        let parts = locator.place.rsplit_once(':');
        let port = |text: &str| text.parse().ok().filter(|port: &u16| *port != 0);
        let (name, port) = parts
            .and_then(|(name, text)| Some((name, port(text)?)))
            .ok_or_else(|| locator.wrong("it needs a name and a port"))?;
        Self::of(locator, name, Some(port))
    }

    /// `_SERVICE._tcp.NAME`, for services.
    pub(crate) fn services(locator: &Locator) -> Result<Self, SpecError> {
        Self::of(locator, &locator.place, None)
    }

    fn of(locator: &Locator, name: &str, port: Option<u16>) -> Result<Self, SpecError> {
        if !is_name(name) {
            return Err(locator.wrong("its name is none"));
        }
        let server = |text: &str| {
            let with_port =
                text.parse().or_else(|_| text.parse().map(|ip| SocketAddr::new(ip, 53)));
            with_port.map_err(|_| locator.wrong("`server` is no IP address"))
        };
        let server = locator.one("server")?.map(server).transpose()?;
        let every = locator.span("every", Duration::from_secs(10))?;
        Ok(Self { name: name.to_owned(), port, server, every })
    }
}

impl Names {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, remembered: BTreeMap::new() }
    }

    async fn candidates(&mut self) -> Result<Candidates, String> {
        let client = match self.settings.server {
            Some(server) => Client::of(server),
            // Read anew each time: whoever moves to another network gets other servers.
            None => Client::of_system().await,
        };
        match self.settings.port {
            Some(port) => self.host(&client, port).await,
            None => self.service(&client).await,
        }
    }

    async fn host(&mut self, client: &Client, port: u16) -> Result<Candidates, String> {
        let name = self.settings.name.clone();
        let (v4, v6) = both(client, &name).await;
        let found = self.or_remembered(&name, v4, v6)?;
        Ok(present(found.into_iter().filter_map(|ip| Address::at(ip, port))))
    }

    async fn service(&mut self, client: &Client) -> Result<Candidates, String> {
        let services = client.services(&self.settings.name).await?;
        let targets: Vec<(String, u16)> =
            services.targets.into_iter().take(CANDIDATES_MAX).collect();
        let mut known: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
        for (target, ip) in services.addresses {
            known.entry(target).or_default().push(ip);
        }
        let mut asked: Vec<&String> = targets.iter().map(|(target, _)| target).collect();
        asked.dedup();
        asked.retain(|target| !known.contains_key(*target));
        let asked = stream::iter(asked.into_iter().cloned());
        let looked = asked.map(async |target| {
            let (v4, v6) = both(client, &target).await;
            (target, v4, v6)
        });
        let looked: Vec<_> = looked.buffer_unordered(AT_ONCE).collect().await;
        self.remembered.retain(|(name, _), _| targets.iter().any(|(target, _)| target == name));
        for (target, v4, v6) in looked {
            // A target that nobody can look up is proposed by its name; the dial may know better.
            let found = self.or_remembered(&target, v4, v6).unwrap_or_default();
            known.insert(target, found);
        }
        let mut found = Vec::new();
        for (target, port) in targets {
            match known.get(&target).filter(|ips| !ips.is_empty()) {
                Some(ips) => found.extend(ips.iter().filter_map(|ip| Address::at(*ip, port))),
                None => found.extend(Address::named(&target, port)),
            }
        }
        Ok(present(found))
    }

    /// The addresses of both kinds, with what is remembered in the place of what failed.
    fn or_remembered(&mut self, name: &str, v4: Looked, v6: Looked) -> Looked {
        let mut found = Vec::new();
        let mut failure = None;
        for (kind, looked) in [(Kind::A, v4), (Kind::Aaaa, v6)] {
            let key = (name.to_owned(), kind);
            match looked {
                Ok(ips) => {
                    found.extend(&ips);
                    self.remembered.insert(key, ips);
                }
                Err(why) => {
                    found.extend(self.remembered.get(&key).into_iter().flatten());
                    failure = Some(why);
                }
            }
        }
        match failure {
            Some(why) if found.is_empty() => Err(why),
            _ => Ok(found),
        }
    }
}

type Looked = Result<Vec<IpAddr>, String>;

async fn both(client: &Client, name: &str) -> (Looked, Looked) {
    join(client.addresses(name, Kind::A), client.addresses(name, Kind::Aaaa)).await
}

impl Source for Names {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(async { self.candidates().await.into() })
    }

    fn pace(&self) -> Pace {
        Pace { rest: self.settings.every, patience: Duration::from_secs(30) }
    }
}
