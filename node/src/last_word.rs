//! The last word of a life that was cut off: spoken in the next life of the same node, so that nobody waits
//! for a lease whose holder is known to be dead.
//!
//! The next life is drawn from the data directory, whose lock only a life that is over has let go; and the
//! others know which life speaks by its handshake. So nobody can bury who lives: to say it is to be its
//! successor.
//!
//! Not here: a node. This life takes part in nothing, holds nothing, and is over when it was heard.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_env::{BoxFuture, now, sleep};
use quorate_mesh::{Inbound, Me, Mesh, MeshConfig, Peer, Reason, Road, pulse};
use quorate_storage::Home;
use quorate_vocab::{Lane, NodeId};

use crate::config::Config;
use crate::error::StartError;
use crate::ground;
use crate::post::{self, Ask, Told};

/// However long a lease is: who did not listen until then is not there.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Says that the life before this one is over, to the first of these addresses that hears it; whether one
/// did.
///
/// For the process that is executed when a node's process has died ([`FencerConfig`](crate::FencerConfig)),
/// with the node's own config. Gives up after a lease and a second, when the session is over, and after ten
/// seconds at most.
pub async fn last_word(config: &Config, peers: &[String]) -> Result<bool, StartError> {
    let until = now() + config.patience().min(PATIENCE);
    let mesh = next_life(config).await?;
    for address in peers {
        mesh.greet(address);
    }
    let mut is_heard = false;
    while !is_heard && now() < until {
        for peer in mesh.peers().into_iter().filter(|peer| peer.control_up) {
            let body = post::wrap_ask(&Ask::Bury);
            let left = until.since(now());
            let told = mesh.call(peer.id, Lane::High, 0, body, left).await;
            is_heard |=
                matches!(told.ok().as_deref().and_then(post::unwrap_told), Some(Told::Buried));
        }
        sleep(LOOK_AGAIN).await;
    }
    mesh.close().await;
    Ok(is_heard)
}

/// The mesh of the next life, in which nothing else runs. Its directory is free for a further one at once.
async fn next_life(config: &Config) -> Result<Mesh, StartError> {
    let net = ground::net(config)?;
    let home = Home::succeed(&config.data)?;
    let me = Me { id: home.node(), name: config.name.clone(), boot: home.boot() };
    let host = config.listen.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host);
    let mesh = MeshConfig {
        me,
        cluster: home.cluster(),
        // The port is that of the life to come.
        listen: format!("{host}:0"),
        advertise: Some(config.advertise.clone().unwrap_or_else(|| config.listen.clone())),
        cookies: config.cookies.clone(),
        channel: config.channel(),
        limits: config.limits.clone(),
    };
    drop(home);
    Ok(Mesh::start(mesh, net, Arc::new(Deaf)).await?)
}

/// Answers nobody.
struct Deaf;

impl Inbound for Deaf {
    fn mail(&self, _: NodeId, _: &[u8]) {}

    fn call(&self, _: &Peer, _: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(std::future::ready(post::wrap_told(&Told::Declined)))
    }

    fn up(&self, _: &Peer, _: Road) {}

    fn down(&self, _: NodeId, _: Road, _: Reason) {}

    fn pulse(&self, _: NodeId, _: pulse::Verdict) {}

    fn needs(&self, _: NodeId) -> bool {
        false
    }
}
