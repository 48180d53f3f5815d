//! Asks servers, one after the other, until one has answered what was asked.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use quorate_env::{Net, Tcp, dice, timeout};
use rand::RngExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UdpSocket;

use super::message::{self, Answer, Data, Kind, Record};
use super::settings::{Settings, in_hosts};
use crate::sources::file;

/// How many names may stand for one another.
const ALIASES_MAX: usize = 8;

/// How many packets that answer something else are passed over before an attempt is given up.
const STRAYS_MAX: usize = 64;

/// A client with its settings. Nothing is kept between two questions.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    settings: Settings,
    hosts: String,
}

/// What is known of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Services {
    /// The targets and their ports.
    pub(crate) targets: BTreeSet<(String, u16)>,
    /// The addresses of targets that came along.
    pub(crate) addresses: Vec<(String, IpAddr)>,
}

impl Client {
    /// A client of one server.
    pub(crate) fn of(server: SocketAddr) -> Self {
        Self { settings: Settings::of(vec![server]), hosts: String::new() }
    }

    /// A client as the system is configured at the moment.
    pub(crate) async fn of_system() -> Self {
        // Neither file has to be there.
        let read = async |path: &str| file::text(path.as_ref()).await.unwrap_or_default();
        let settings = Settings::read(&read("/etc/resolv.conf").await);
        Self { settings, hosts: read("/etc/hosts").await }
    }

    /// The IP addresses of a name; none when there is no such name. An error is that nobody could say.
    pub(crate) async fn addresses(&self, name: &str, kind: Kind) -> Result<Vec<IpAddr>, String> {
        let mut found = in_hosts(&self.hosts, name);
        if !found.is_empty() {
            found.retain(|ip| ip.is_ipv4() == (kind == Kind::A));
            return Ok(found);
        }
        for name in self.settings.names(name) {
            let found: Vec<IpAddr> = self
                .records(&name, kind)
                .await?
                .1
                .into_iter()
                .filter_map(|record| match record.data {
                    Data::Ip(ip) => Some(ip),
                    _ => None,
                })
                .collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Ok(Vec::new())
    }

    /// Where a service is; nowhere when there is no such name.
    pub(crate) async fn services(&self, name: &str) -> Result<Services, String> {
        for name in self.settings.names(name) {
            let (all, own) = self.records(&name, Kind::Srv).await?;
            let target = |record: Record| match record.data {
                // A dot alone says that the service is decidedly not there.
                Data::Srv { target, port } if !target.is_empty() && port != 0 => {
                    Some((target, port))
                }
                _ => None,
            };
            let targets: BTreeSet<(String, u16)> = own.into_iter().filter_map(target).collect();
            let address = |record: Record| match record.data {
                Data::Ip(ip) => Some((record.name, ip)),
                _ => None,
            };
            let addresses = all.into_iter().filter_map(address);
            let is_target = |(name, _): &(String, IpAddr)| targets.iter().any(|(t, _)| t == name);
            let addresses = addresses.filter(is_target).collect();
            if !targets.is_empty() {
                return Ok(Services { targets, addresses });
            }
        }
        Ok(Services::default())
    }

    /// All records of the last answer, and those of them that belong to the name or to what it stands for.
    async fn records(&self, name: &str, kind: Kind) -> Result<(Vec<Record>, Vec<Record>), String> {
        let mut name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        for _ in 0..ALIASES_MAX {
            let records = self.ask(&name, kind).await?.records;
            let own = |name: &str| records.iter().filter(|r| r.name == name).cloned().collect();
            let mut found: Vec<Record> = own(&name);
            // The server may have followed the names already.
            let mut hops = 0;
            while let Some(Data::Alias(other)) = found.first().map(|record| &record.data) {
                name.clone_from(other);
                hops += 1;
                found = own(&name);
                if hops == ALIASES_MAX {
                    return Err(format!("{name} stands for too many other names"));
                }
            }
            if hops == 0 || !found.is_empty() {
                return Ok((records, found));
            }
        }
        Err(format!("{name} stands for too many other names"))
    }

    /// Asks every server in turn, and each as often as the settings say.
    async fn ask(&self, name: &str, kind: Kind) -> Result<Answer, String> {
        let mut last = String::new();
        for _ in 0..self.settings.attempts {
            for server in &self.settings.servers {
                let asked = timeout(self.settings.patience, ask_one(*server, name, kind)).await;
                let why = match asked {
                    Ok(Ok(answer)) => match answer.code {
                        0 => return Ok(answer),
                        // There is no such name, and that is an answer.
                        3 => return Ok(Answer { records: Vec::new(), ..answer }),
                        2 => "it failed (SERVFAIL)".to_owned(),
                        5 => "it refused".to_owned(),
                        code => format!("it answered with code {code}"),
                    },
                    Ok(Err(why)) => why,
                    Err(_) => format!("no answer within {:?}", self.settings.patience),
                };
                last = format!("{server}: {why}");
            }
        }
        Err(last)
    }
}

async fn ask_one(server: SocketAddr, name: &str, kind: Kind) -> Result<Answer, String> {
    let id = dice().random();
    let question = message::question(id, name, kind);
    let fits = |answer: &Answer| {
        let (asked, of_kind, _) = &answer.question;
        answer.id == id && asked == name && *of_kind == kind as u16
    };
    let answer = over_udp(server, &question, fits).await?;
    if !answer.truncated {
        return Ok(answer);
    }
    let answer = over_tcp(server, &question).await?;
    if fits(&answer) { Ok(answer) } else { Err("an answer to another question".to_owned()) }
}

async fn over_udp(
    server: SocketAddr,
    question: &[u8],
    fits: impl Fn(&Answer) -> bool,
) -> Result<Answer, String> {
    let here = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let text = |e: std::io::Error| e.to_string();
    let socket = UdpSocket::bind(here).await.map_err(text)?;
    // Connected, the socket hears this server alone.
    socket.connect(server).await.map_err(text)?;
    socket.send(question).await.map_err(text)?;
    let mut bytes = [0; message::UDP_BYTES as usize];
    for _ in 0..STRAYS_MAX {
        let length = socket.recv(&mut bytes).await.map_err(text)?;
        // Whoever guesses at answers must not spoil the one that is on its way.
        if let Some(answer) = message::answer(&bytes[..length]).ok().filter(&fits) {
            return Ok(answer);
        }
    }
    Err("many answers to what was not asked".to_owned())
}

async fn over_tcp(server: SocketAddr, question: &[u8]) -> Result<Answer, String> {
    let text = |e: std::io::Error| format!("over TCP: {e}");
    let mut stream = Tcp.connect(&server.to_string()).await.map_err(text)?;
    let length = u16::try_from(question.len()).map_err(|_| "the question is too long")?;
    let framed = [&length.to_be_bytes(), question].concat();
    stream.writer.write_all(&framed).await.map_err(text)?;
    let length = stream.reader.read_u16().await.map_err(text)?;
    let mut bytes = vec![0; usize::from(length)];
    stream.reader.read_exact(&mut bytes).await.map_err(text)?;
    Ok(message::answer(&bytes)?)
}
