//! The far node: a member with the processes that the near one plays against.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use quorate::{Message, Name, Node};
use quorate_actor::{Addr, Exit, Mailbox};
use quorate_env::now;

use super::words::{Ack, Ball, CLERK, ECHO, Next, Read, SERVER, SINK, ToEcho, ToSink};
use super::{Standing, certificates, config, start, unbounded};
use crate::error::BenchError;
use crate::mesh::far::say_ready;

/// Is the far node until it is over.
pub(crate) async fn serve(
    address: &str,
    secret: &str,
    dir: &str,
    is_secured: bool,
    over: impl Future<Output = ()>,
) -> Result<(), BenchError> {
    let mut over = pin!(over);
    let node = tokio::select! {
        biased;
        // The near process may end before this one has found it.
        () = &mut over => return Ok(()),
        node = settle(address, secret, dir.as_ref(), is_secured) => node?,
    };
    say_ready().await?;
    over.await;
    node.shutdown().await;
    Ok(())
}

/// Takes part, and registers the processes that the near node plays against.
async fn settle(
    address: &str,
    secret: &str,
    dir: &Path,
    is_secured: bool,
) -> Result<Node, BenchError> {
    let mut config = config("far", secret)?;
    config.data = dir.into();
    config.tls =
        dir.parent().filter(|_| is_secured).map(|beside| certificates::files(beside, "far"));
    config.join = vec![address.to_owned()];
    let node = start(config).await?;
    let actors = node.actors();
    register(&node, ECHO, &actors.spawn_with(unbounded(), echo)).await?;
    register(&node, SERVER, &actors.spawn_with(unbounded(), server)).await?;
    register(&node, SINK, &actors.spawn_with(unbounded(), sink)).await?;
    let of_clerk = node.clone();
    register(&node, CLERK, &node.spawn(move |own| clerk(own, of_clerk))).await?;
    Ok(node)
}

async fn register<M: Message>(node: &Node, name: &str, addr: &Addr<M>) -> Result<(), BenchError> {
    let no_node = |why: String| BenchError::NoNode { why };
    let name = Name::new(name).map_err(|e| no_node(e.to_string()))?;
    node.names().register(&name, addr).await.map(drop).map_err(|e| no_node(e.to_string()))
}

async fn echo(mut own: Mailbox<ToEcho>) -> Exit {
    let mut home: Option<Addr<Ball>> = None;
    loop {
        match own.receive().await {
            ToEcho::Home(pid) => home = Some(own.actors().addr(pid)),
            ToEcho::Ball(number) => {
                // A ball that does not get home is missed there.
                let _ = home.as_ref().map(|home| home.send(Ball(number)));
            }
        }
    }
}

async fn server(mut own: Mailbox<Next>) -> Exit {
    loop {
        let Next(number, reply) = own.receive().await;
        reply.send(number + 1);
    }
}

/// What came of one sender.
struct Tally {
    home: Addr<Ack>,
    every: u64,
    come: u64,
}

async fn sink(mut own: Mailbox<ToSink>) -> Exit {
    let mut tallies: BTreeMap<u8, Tally> = BTreeMap::new();
    loop {
        let (sender, is_last) = match own.receive().await {
            ToSink::Open { sender, home, every } => {
                let home = own.actors().addr(home);
                tallies.insert(sender, Tally { home, every, come: 0 });
                continue;
            }
            ToSink::Small(sender, _) | ToSink::Bulk(sender, _) => (sender, false),
            ToSink::Close(sender) => (sender, true),
        };
        let Some(tally) = tallies.get_mut(&sender) else { continue };
        tally.come += u64::from(!is_last);
        if is_last || tally.come.is_multiple_of(tally.every) {
            // One that is lost is made good by the next, and a missing last one is noticed.
            let _ = tally.home.send(Ack(tally.come));
        }
    }
}

async fn clerk(mut own: Mailbox<Read>, node: Node) -> Exit {
    let Ok(name) = Name::new(SINK) else { return Exit::Normal };
    loop {
        let Read(millis, reply) = own.receive().await;
        let (mut took, standing) = (Vec::new(), Standing::of(&node));
        let until = now() + Duration::from_millis(millis);
        let mut unanswered = 0;
        loop {
            let began = now();
            if began >= until && (!took.is_empty() || unanswered > 0) {
                break;
            }
            match node.names().find(&name).await {
                Ok(_) => {
                    let micros = now().since(began).as_micros();
                    took.push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
                Err(_) => unanswered += 1,
            }
        }
        reply.send((took, standing.lost_since(&node) + unanswered));
    }
}
