//! Our side: two nodes, the near one the cluster's only voter, the far one a member.
//!
//! The far node's processes are found by their global names, and from then on are plain addresses.

mod certificates;
mod clients;
mod senders;
mod station;
mod words;

use std::future::Future;
use std::process::Command;
use std::time::Duration;

use quorate::{Config, Cookie, Message, Name, Node, SessionId};
use quorate_actor::{Actors, ActorsConfig, Addr, Capacity, Exit, Mailbox, Spawn};
use quorate_env::{dice, sleep};
use rand::Rng;
use tokio::sync::oneshot;

use super::far::Far;
use super::game::{Game, Match, PATIENCE, Terms, lost};
use super::latencies::micros;
use crate::error::BenchError;
use crate::probe::{millis, rate};

pub(crate) use station::serve;

/// What the far process is told to be.
pub(crate) const PLAIN: &str = "quorate";
/// The same with certificates, which lie beside its directory.
pub(crate) const SECURED: &str = "quorate-tls";

/// The largest message of the stream that a node lets through, up to 64 MiB.
pub fn large_bytes_max() -> usize {
    const ROOM_FOR_THE_REST: usize = 256;
    let bytes_max = ActorsConfig::default().message_bytes_max.saturating_sub(ROOM_FOR_THE_REST);
    bytes_max.min(64 << 20)
}

pub(crate) async fn play(terms: Terms, far: Command) -> Result<Vec<f64>, BenchError> {
    let secret =
        format!("{:032x}", u128::from(dice().next_u64()) << 64 | u128::from(dice().next_u64()));
    let mut config = config("near", &secret)?;
    config.data = terms.dir.join("near");
    config.expect = 1;
    if terms.is_secured {
        certificates::issue(&terms.dir)?;
        config.tls = Some(certificates::files(&terms.dir, "near"));
    }
    let near = start(config).await?;
    let player = if terms.is_secured { SECURED } else { PLAIN };
    let (address, dir) = (near.address(), terms.dir.join("far"));
    let told = format!("{player} {address} {secret} {}", dir.display());
    let far = Far::start(far, &told).await?;
    let figures = play_on(&near, &terms).await;
    far.end().await;
    near.shutdown().await;
    figures
}

async fn play_on(near: &Node, terms: &Terms) -> Result<Vec<f64>, BenchError> {
    let (span, large) = (terms.span, terms.large);
    match terms.game {
        Game::PingPong => {
            let echo = find(near, words::ECHO).await?;
            let waits = lead(near.actors(), move |own| {
                clients::pings(own, echo, Match::begin(span), Duration::ZERO)
            });
            let waits = waits.await?;
            let count = waits.count();
            let [p50, ..] = waits.spread()?;
            Ok(vec![rate(count, span), micros(p50)])
        }
        Game::PingIdle => {
            let echo = find(near, words::ECHO).await?;
            let pause = super::game::PAUSE;
            let waits = lead(near.actors(), move |own| {
                clients::pings(own, echo, Match::begin(span), pause)
            });
            let [p50, ..] = waits.await?.spread()?;
            Ok(vec![micros(p50)])
        }
        Game::Call(count) => {
            let server = find(near, words::SERVER).await?;
            let calls = lead(near.actors(), move |own| {
                clients::calls(own, server, count, Match::begin(span))
            });
            Ok(vec![rate(calls.await?, span)])
        }
        Game::OneWay { senders, bytes } => {
            let sink = find(near, words::SINK).await?;
            senders::pour(near.actors(), &sink, senders, bytes, span / 5).await?;
            let poured = senders::pour(near.actors(), &sink, senders, bytes, span).await?;
            Ok(vec![rate(poured.messages, poured.took)])
        }
        Game::Stream => {
            let sink = find(near, words::SINK).await?;
            senders::pour(near.actors(), &sink, 1, large, span / 5).await?;
            Ok(vec![senders::pour(near.actors(), &sink, 1, large, span).await?.gib_per_second()])
        }
        Game::PingUnderStream => {
            let (echo, sink) = (find(near, words::ECHO).await?, find(near, words::SINK).await?);
            let game = Match::begin(span);
            let pinging =
                lead(near.actors(), move |own| clients::pings(own, echo, game, Duration::ZERO));
            let streaming = senders::pour(near.actors(), &sink, 1, large, span * 6 / 5);
            let (waits, poured) = tokio::join!(pinging, streaming);
            let [p50, p99, max] = waits?.spread()?.map(millis);
            Ok(vec![p50, p99, max, poured?.gib_per_second()])
        }
        Game::ControlUnderStream => {
            let (clerk, sink) = (find(near, words::CLERK).await?, find(near, words::SINK).await?);
            let standing = Standing::of(near);
            let reading = clients::reads(&clerk, span);
            let streaming = senders::pour(near.actors(), &sink, 1, large, span * 6 / 5);
            let (read, poured) = tokio::join!(reading, streaming);
            poured?;
            let (waits, lost_far) = read?;
            let [p50, p99, max] = waits.spread()?.map(millis);
            Ok(vec![p50, p99, max, (standing.lost_since(near) + lost_far) as f64])
        }
        Game::Idle => {
            // What the start caused has been said by then.
            sleep(span / 5).await;
            let bytes = || {
                let counters = near.counters();
                let roads = [counters.control, counters.data];
                roads.iter().map(|road| road.bytes_in + road.bytes_out).sum::<u64>()
            };
            let before = bytes();
            sleep(span).await;
            Ok(vec![rate(bytes() - before, span)])
        }
    }
}

/// What may be lost under load.
pub(crate) struct Standing {
    links_lost: u64,
    session: Option<SessionId>,
}

impl Standing {
    fn of(node: &Node) -> Self {
        let counters = node.counters();
        let losses = [quorate::Reason::Silent, quorate::Reason::WriteStalled];
        let links_lost = losses.into_iter().map(|reason| counters.closed_for(reason)).sum();
        Self { links_lost, session: node.status().session }
    }

    /// How many links, and whether the session, were lost since.
    fn lost_since(&self, node: &Node) -> u64 {
        let present = Self::of(node);
        present.links_lost - self.links_lost + u64::from(present.session != self.session)
    }
}

fn config(name: &str, secret: &str) -> Result<Config, BenchError> {
    let no_node = |why: String| BenchError::NoNode { why };
    let name =
        name.to_owned().try_into().map_err(|e: quorate::NameError| no_node(e.to_string()))?;
    let mut config = Config::new(name, Cookie::new(secret).map_err(|e| no_node(e.to_string()))?);
    config.listen = "127.0.0.1:0".to_owned();
    config.voters = 1;
    Ok(config)
}

async fn start(config: Config) -> Result<Node, BenchError> {
    let node = Node::start(config).await;
    let node = node.map_err(|e| BenchError::NoNode { why: e.to_string() })?;
    match node.quorate_within(PATIENCE).await {
        true => Ok(node),
        false => Err(BenchError::NoNode { why: "it found no quorum".to_owned() }),
    }
}

/// The far process that holds a name.
async fn find<M: Message>(node: &Node, name: &str) -> Result<Addr<M>, BenchError> {
    let no_node = |why: String| BenchError::NoNode { why };
    let name = Name::new(name).map_err(|e| no_node(e.to_string()))?;
    let found = node.names().whereis(&name).await.map_err(|e| no_node(e.to_string()))?;
    found.ok_or_else(|| no_node(format!("nobody holds {name}")))
}

/// Runs the body as a process, and waits for what comes of it.
async fn lead<M, F, Fut, T>(actors: &Actors, body: F) -> Result<T, BenchError>
where
    M: Message,
    F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, BenchError>> + Send + 'static,
    T: Send + 'static,
{
    let (tell, told) = oneshot::channel();
    actors.spawn_with(unbounded(), |own| async move {
        // Nobody has to wait for it.
        let _ = tell.send(body(own).await);
        Exit::Normal
    });
    told.await.unwrap_or(Err(lost("a process that has ended")))
}

/// A mailbox that never refuses: what is sent is bounded by who sends.
fn unbounded() -> Spawn {
    Spawn { label: Some("bench"), mailbox: Some(Capacity::Unbounded) }
}
