//! etcd under the same load: three members on loopback, asked through its JSON gateway by the same client.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use quorate::Name;
use quorate_env::{now, sleep};
use quorate_http::code;
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::load::Taker;
use super::ours::TTL;
use crate::fail::Fail;
use crate::wire::Wire;

/// How long three members may take to come up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Three members, each a process of its own. Dropped, it kills them.
pub(crate) struct Etcd {
    members: Vec<Child>,
    clients: Vec<String>,
}

/// A client of the JSON gateway.
pub(crate) struct EtcdTaker {
    wire: Wire,
    lease: String,
}

/// A client of the JSON gateway that gets keys.
pub(crate) struct EtcdSeeker {
    wire: Wire,
    wanted: Vec<Name>,
    at: usize,
}

/// The version of the etcd that is in PATH, if one is.
pub(crate) async fn version() -> Option<String> {
    let asked = Command::new("etcd").arg("--version").output().await.ok()?;
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    Some(text.lines().next()?.trim_start_matches("etcd Version:").trim().to_owned())
}

impl Etcd {
    pub(crate) async fn start(dir: &Path) -> Result<Self, Fail> {
        let failed = |why: String| Fail::new(code::BENCH_FAILED, format!("etcd: {why}"));
        let free = free_ports(6).map_err(|e| failed(e.to_string()))?;
        let (clients, peers) = free.split_at(3);
        let url = |port: &u16| format!("http://127.0.0.1:{port}");
        let cluster: Vec<String> =
            peers.iter().enumerate().map(|(at, peer)| format!("e{at}={}", url(peer))).collect();
        let cluster = cluster.join(",");
        let mut members = Vec::new();
        for (at, (client, peer)) in clients.iter().zip(peers).enumerate() {
            let (client, peer, name) = (url(client), url(peer), format!("e{at}"));
            let mut command = Command::new("etcd");
            command
                .args([
                    "--name",
                    &name,
                    "--initial-cluster",
                    &cluster,
                    "--initial-cluster-state",
                    "new",
                ])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--log-level", "error", "--data-dir"])
                .arg(dir.join(&name))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true);
            members.push(command.spawn().map_err(|e| failed(e.to_string()))?);
        }
        let clients: Vec<String> = clients.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let etcd = Self { members, clients };
        let until = now() + PATIENCE;
        for client in &etcd.clients {
            while !is_healthy(client).await {
                if now() >= until {
                    return Err(failed(format!("{client} is not healthy after {PATIENCE:?}")));
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(etcd)
    }

    /// Clients, spread over the members, each with a connection and a lease of its own.
    pub(crate) async fn takers(&self, count: usize) -> Result<Vec<EtcdTaker>, Fail> {
        let mut takers = Vec::new();
        for client in self.clients.iter().cycle().take(count) {
            let doing = format!("a lease of etcd at {client}");
            let mut wire = Wire::connect(client).await.map_err(Fail::io(&doing))?;
            let body = json!({ "TTL": TTL.as_secs() }).to_string();
            let (_, answer) =
                wire.ask("POST", "/v3/lease/grant", &body).await.map_err(Fail::io(&doing))?;
            let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
            let lease = answer["ID"].as_str().map(str::to_owned);
            let lease =
                lease.ok_or_else(|| Fail::new(code::BENCH_FAILED, format!("{doing}: {answer}")))?;
            takers.push(EtcdTaker { wire, lease });
        }
        Ok(takers)
    }

    /// Clients, spread over the members, that get keys linearizably, one after the other. The keys are put
    /// first.
    pub(crate) async fn seekers(
        &self,
        wanted: &[Name],
        count: usize,
    ) -> Result<Vec<EtcdSeeker>, Fail> {
        for taker in &mut self.takers(1).await? {
            for name in wanted {
                // In a later row they are there already.
                let _ = taker.take(name.as_str()).await;
            }
        }
        let mut seekers = Vec::new();
        for (at, client) in self.clients.iter().cycle().take(count).enumerate() {
            let doing = format!("connecting to etcd at {client}");
            let wire = Wire::connect(client).await.map_err(Fail::io(&doing))?;
            seekers.push(EtcdSeeker { wire, wanted: wanted.to_vec(), at });
        }
        Ok(seekers)
    }

    pub(crate) async fn stop(mut self) {
        for member in &mut self.members {
            // One that has ended needs no killing.
            let _ = member.kill().await;
        }
    }
}

impl Taker for EtcdSeeker {
    async fn take(&mut self, _: &str) -> Result<(), String> {
        self.at = (self.at + 1) % self.wanted.len();
        let key = base64(self.wanted[self.at].as_str().as_bytes());
        let body = format!(r#"{{"key":"{key}"}}"#);
        let asked = self.wire.ask("POST", "/v3/kv/range", &body).await;
        let (status, answer) = asked.map_err(|e| e.to_string())?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
        match status == 200 && answer["count"] == "1" {
            true => Ok(()),
            false => Err(format!("{status}: {answer}")),
        }
    }
}

impl Taker for EtcdTaker {
    async fn take(&mut self, name: &str) -> Result<(), String> {
        let (key, lease) = (base64(name.as_bytes()), &self.lease);
        let body = format!(
            r#"{{"compare":[{{"key":"{key}","target":"CREATE","create_revision":"0"}}],
            "success":[{{"requestPut":{{"key":"{key}","value":"dg==","lease":"{lease}"}}}}]}}"#
        );
        let (status, answer) =
            self.wire.ask("POST", "/v3/kv/txn", &body).await.map_err(|e| e.to_string())?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
        match status == 200 && answer["succeeded"] == true {
            true => Ok(()),
            false => Err(format!("{status}: {answer}")),
        }
    }
}

async fn is_healthy(client: &str) -> bool {
    let asked = async { Wire::connect(client).await?.ask("GET", "/health", "").await };
    matches!(asked.await, Ok((200, _)))
}

/// Ports that nobody listens on at the moment. Another may take one before it is used; then the start fails.
fn free_ports(count: usize) -> std::io::Result<Vec<u16>> {
    let listen = |_| std::net::TcpListener::bind("127.0.0.1:0");
    let listeners = (0..count).map(listen).collect::<Result<Vec<_>, _>>()?;
    listeners.iter().map(|listener| listener.local_addr().map(|address| address.port())).collect()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let block = three.iter().fold(0_u32, |block, byte| block << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[(block >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_as_base64() {
        for (bytes, text) in
            [("", ""), ("v", "dg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
