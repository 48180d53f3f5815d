//! A real node with a real face, and a client that sees every byte.

#![allow(dead_code, reason = "each test file uses its part")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use quorate::{Config, Cookie, Limits, Node};
use quorate_faults::Faults;
use quorate_http::{Face, FaceConfig};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

#[expect(clippy::disallowed_types, reason = "a client stands outside of every node")]
type Tcp = tokio::net::TcpStream;

pub(crate) struct Rig {
    pub(crate) node: Node,
    pub(crate) face: Face,
    _data: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) text: String,
}

/// One event of a watch.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) event: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

pub(crate) struct Watcher {
    lines: BufReader<Tcp>,
    /// As a browser keeps it: moved by every id, also by one that comes without an event.
    pub(crate) last_id: Option<String>,
}

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Rig {
    pub(crate) async fn start() -> Self {
        Self::start_quorate(None, |_| ()).await
    }

    /// A node that is a cluster by itself.
    pub(crate) async fn start_quorate(
        token: Option<&str>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let alone = |config: &mut Config| {
            config.expect = 1;
            change(config);
        };
        let rig = Self::start_with(token, alone).await;
        assert!(rig.node.quorate_within(PATIENCE).await);
        rig
    }

    pub(crate) async fn start_with(token: Option<&str>, change: impl FnOnce(&mut Config)) -> Self {
        Self::open(token, None, change).await
    }

    /// A node with a face that lets it be drilled. Its doors are not wrapped.
    pub(crate) async fn start_drilled(token: Option<&str>, faults: Faults) -> Self {
        Self::open(token, Some(faults), |_| ()).await
    }

    async fn open(
        token: Option<&str>,
        faults: Option<Faults>,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        let cookie = Cookie::new("a cookie for tests only").unwrap();
        let mut config = Config::new("n1".try_into().unwrap(), cookie);
        config.listen = "127.0.0.1:0".into();
        config.data = data.path().join("n1");
        // Longer than a busy machine may let the node stand still: it stays quorate, and calls are patient.
        config.lease = Duration::from_secs(10);
        config.limits = Limits::test();
        change(&mut config);
        let node = Node::start(config).await.unwrap();
        let token = token.map(str::to_owned);
        let face = FaceConfig { listen: "127.0.0.1:0".into(), token, allow_exec: false, faults };
        let face = Face::start(node.clone(), face).await.unwrap();
        Self { node, face, _data: data }
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.ask_with(method, path, &[], body).await
    }

    pub(crate) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        ask(self.face.address(), method, path, headers, body).await
    }

    pub(crate) async fn watch(&self, path: &str, last_id: Option<&str>) -> Watcher {
        let mut tcp = Tcp::connect(self.face.address()).await.unwrap();
        let resume = last_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{resume}\r\n");
        tcp.write_all(head.as_bytes()).await.unwrap();
        let mut lines = BufReader::new(tcp);
        let (status, headers) = head_of(&mut lines).await;
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["quorate-node"], "n1");
        Watcher { lines, last_id: None }
    }

    pub(crate) async fn stop(self) {
        self.face.close().await;
        self.node.shutdown().await;
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    /// The code of a problem, which must be complete.
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        let body = self.json();
        assert_eq!(body["status"], self.status);
        for member in ["code", "title", "detail", "hint", "outcome"] {
            assert!(!body[member].as_str().unwrap().is_empty(), "{member} in {body}");
        }
        body["code"].as_str().unwrap().to_owned()
    }
}

impl Watcher {
    /// The next event with data; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        let (mut event, mut id, mut data) = (String::new(), None, String::new());
        loop {
            let line = self.line().await?;
            if let Some(text) = line.strip_prefix("event: ") {
                event = text.to_owned();
            } else if let Some(text) = line.strip_prefix("id: ") {
                id = Some(text.to_owned());
                self.last_id = id.clone();
            } else if let Some(text) = line.strip_prefix("data: ") {
                data.push_str(text);
            } else if line.is_empty() && !data.is_empty() {
                let data = serde_json::from_str(&data).unwrap();
                return Some(Told { event, id, data });
            } else if line.starts_with(':') {
                // A comment: the heartbeat.
                event.clear();
            }
        }
    }

    /// Waits, without a single event, until heartbeats have moved the id to an index or past it.
    pub(crate) async fn is_quiet_up_to(&mut self, index: u64) {
        let reached = |id: &String| id.parse::<u64>().unwrap() >= index;
        while !self.last_id.as_ref().is_some_and(reached) {
            let line = self.line().await.expect("the stream goes on");
            assert!(!line.starts_with("data: "), "{line}");
            if let Some(id) = line.strip_prefix("id: ") {
                self.last_id = Some(id.to_owned());
            }
        }
    }

    /// The next line; `None` when the stream has ended.
    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = quorate_env::timeout(PATIENCE, self.lines.read_line(&mut line));
        let read = read.await.expect("a heartbeat comes sooner").unwrap_or(0);
        let line = line.trim_end();
        (read > 0 && line != "0").then(|| line.to_owned())
    }
}

pub(crate) async fn ask(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let mut tcp = Tcp::connect(to).await.unwrap();
    let mut head = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Host") {
        head.push_str(&format!("Host: {to}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    tcp.write_all(head.as_bytes()).await.unwrap();
    tcp.write_all(body.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(tcp);
    let (status, headers) = head_of(&mut lines).await;
    let mut text = String::new();
    lines.read_to_string(&mut text).await.unwrap();
    Answer { status, headers, text }
}

async fn head_of(lines: &mut BufReader<Tcp>) -> (u16, BTreeMap<String, String>) {
    let mut line = String::new();
    lines.read_line(&mut line).await.unwrap();
    let status = line.split(' ').nth(1).unwrap_or_else(|| panic!("{line:?}")).parse().unwrap();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        lines.read_line(&mut line).await.unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    (status, headers)
}
