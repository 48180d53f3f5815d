//! Ours under load: three nodes in this process, asked from Rust, and three agents, asked over HTTP.

use std::path::Path;
use std::time::Duration;

use quorate::{Bond, Claiming, Config, Cookie, Name, Names, Node, SessionId};
use quorate_http::code;
use serde_json::{Value, json};

use super::load::Taker;
use crate::dev::cluster::{Cluster, Plan};
use crate::fail::Fail;
use crate::secrets;
use crate::wire::Wire;

/// No session ends while it is measured: the names of many would be released in the middle of another run.
pub(crate) const TTL: Duration = Duration::from_secs(3600);

/// How long three nodes may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// Three nodes in this process, over real TCP and real disks.
pub(crate) struct Nodes(Vec<Node>);

/// A client in this process.
pub(crate) struct RustTaker {
    names: Names,
    session: SessionId,
}

/// A client over HTTP.
pub(crate) struct HttpTaker {
    wire: Wire,
    session: u64,
}

/// A client over HTTP that looks names up.
pub(crate) struct HttpSeeker {
    wire: Wire,
    wanted: Vec<Name>,
    at: usize,
}

impl Nodes {
    pub(crate) async fn start(dir: &Path) -> Result<Self, Fail> {
        let failed = |why: String| {
            Fail::new(code::BENCH_FAILED, format!("three nodes in this process: {why}"))
        };
        let cookie = Cookie::new(secrets::random()).map_err(|e| failed(e.to_string()))?;
        let mut nodes: Vec<Node> = Vec::new();
        for number in 1..=3 {
            let join = nodes.iter().map(|node| node.address().to_owned()).collect();
            let config = config(dir, number, &cookie, join)?;
            nodes.push(Node::start(config).await.map_err(|e| failed(e.to_string()))?);
        }
        for node in &nodes {
            if !node.quorate_within(PATIENCE).await {
                return Err(failed(format!("{} is not quorate after {PATIENCE:?}", node.name())));
            }
        }
        Ok(Self(nodes))
    }

    /// Clients, spread over the nodes, each with a session of its own.
    pub(crate) async fn takers(&self, count: usize) -> Result<Vec<RustTaker>, Fail> {
        let mut takers = Vec::new();
        for node in self.0.iter().cycle().take(count) {
            let opened = node.sessions().open(TTL, None).await;
            let (session, _) = opened
                .map_err(|e| Fail::new(code::BENCH_FAILED, format!("opening a session: {e}")))?;
            takers.push(RustTaker { names: node.names(), session });
        }
        Ok(takers)
    }

    /// The names as each node knows them.
    pub(crate) fn names(&self) -> impl Iterator<Item = Names> {
        self.0.iter().map(Node::names)
    }

    pub(crate) async fn stop(self) {
        for node in &self.0 {
            node.shutdown().await;
        }
    }
}

/// One of three nodes on loopback, each with its data in a directory of its own.
pub(crate) fn config(
    dir: &Path,
    number: usize,
    cookie: &Cookie,
    join: Vec<String>,
) -> Result<Config, Fail> {
    let name = format!("n{number}");
    let data = dir.join(&name);
    let name = name.try_into().map_err(|e: quorate::NameError| super::because(e))?;
    let mut config = Config::new(name, cookie.clone());
    config.listen = "127.0.0.1:0".to_owned();
    config.data = data;
    config.expect = 3;
    config.join = join;
    Ok(config)
}

impl Taker for RustTaker {
    async fn take(&mut self, name: &str) -> Result<(), String> {
        let name = Name::new(name).map_err(|e| e.to_string())?;
        let claiming = Claiming {
            bond: Bond::Session(self.session),
            value: b"v".to_vec(),
            ..Claiming::default()
        };
        self.names.claim(&name, claiming).await.map(drop).map_err(|e| e.to_string())
    }
}

/// Three agents, each a process of its own.
pub(crate) async fn agents(dir: &Path) -> Result<Cluster, Fail> {
    let root = Some(dir.to_owned());
    let mut cluster = Cluster::new(Plan { nodes: 3, http_port: 0, root, wan: None, flags: &[] })?;
    cluster.come_up(PATIENCE).await?;
    Ok(cluster)
}

/// Clients over HTTP, spread over the agents, each with a connection and a session of its own.
pub(crate) async fn http_takers(cluster: &Cluster, count: usize) -> Result<Vec<HttpTaker>, Fail> {
    let addresses: Vec<&str> = cluster.https().collect();
    let mut takers = Vec::new();
    for address in addresses.iter().cycle().take(count) {
        let doing = format!("opening a session at {address}");
        let mut wire = Wire::connect(address).await.map_err(Fail::io(&doing))?;
        let body = json!({ "ttl_ms": TTL.as_millis() as u64 }).to_string();
        let (_, answer) =
            wire.ask("POST", "/v1/sessions", &body).await.map_err(Fail::io(&doing))?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        let session = answer["session"].as_u64();
        let session =
            session.ok_or_else(|| Fail::new(code::BENCH_FAILED, format!("{doing}: {answer}")))?;
        takers.push(HttpTaker { wire, session });
    }
    Ok(takers)
}

/// Clients over HTTP that find names linearizably, one after the other. The names are registered first.
pub(crate) async fn http_seekers(
    cluster: &Cluster,
    wanted: &[Name],
    count: usize,
) -> Result<Vec<HttpSeeker>, Fail> {
    for taker in &mut http_takers(cluster, 1).await? {
        for name in wanted {
            // In a later row they are held already.
            let _ = taker.take(name.as_str()).await;
        }
    }
    let mut seekers = Vec::new();
    let addresses: Vec<&str> = cluster.https().collect();
    for (at, address) in addresses.iter().cycle().take(count).enumerate() {
        let wire = Wire::connect(address).await;
        let wire = wire.map_err(Fail::io(format!("connecting to {address}")))?;
        seekers.push(HttpSeeker { wire, wanted: wanted.to_vec(), at });
    }
    Ok(seekers)
}

impl Taker for HttpSeeker {
    async fn take(&mut self, _: &str) -> Result<(), String> {
        self.at = (self.at + 1) % self.wanted.len();
        let path = format!("/v1/names/{}?consistency=linearizable", self.wanted[self.at]);
        match self.wire.ask("GET", &path, "").await.map_err(|e| e.to_string())? {
            (200, _) => Ok(()),
            (status, body) => Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
        }
    }
}

impl Taker for HttpTaker {
    async fn take(&mut self, name: &str) -> Result<(), String> {
        let body = format!(r#"{{"session":{},"value":"v"}}"#, self.session);
        let asked = self.wire.ask("PUT", &format!("/v1/names/{name}"), &body).await;
        match asked.map_err(|e| e.to_string())? {
            (201, _) => Ok(()),
            (status, body) => Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
        }
    }
}
