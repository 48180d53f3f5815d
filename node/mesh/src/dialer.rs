//! The dialer: keeps control links to those nodes to which they are to be kept, opens data roads when there
//! is something to send, and asks at greeted addresses who is there.
//!
//! Roads that are wanted at the same moment are opened one after another, at a bounded rate and in no
//! foreseeable order, so that many nodes that come back do not fall upon one.
//!
//! Each dial is a task that ends when the table drops what it watches. Between two attempts it rests, longer
//! each time and never for a foreseeable span, so that nodes which lost each other at the same moment do
//! not come back at the same moment.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quorate_env::{dice, now, sleep, spawn, timeout};
use quorate_vocab::NodeId;
use rand::RngExt;
use tokio::sync::watch;

use crate::door::{Opened, connected, keys, open};
use crate::handshake::{Failure, Handshake, Role};
use crate::mesh::Shared;
use crate::{Limits, Reason, Road};

/// Begins to keep the control link to a node.
pub(crate) fn keep(shared: &Arc<Shared>, node: NodeId, address: &watch::Receiver<String>) {
    let mut dial = Dial::new(shared.clone(), node, Road::Control, address.clone());
    spawn(async move { while dial.turn().await.is_some() {} });
}

/// Opens a strand of the data road to a node, unless somebody is about it.
pub(crate) fn reach(shared: &Arc<Shared>, node: NodeId, strand: usize) {
    if !shared.table().begin_reaching(node, strand) {
        return;
    }
    let shared = shared.clone();
    spawn(async move {
        loop {
            let reached = tokio::select! {
                biased;
                () = shared.closing.wait() => Err(Reason::Closing.into()),
                reached = reaching(&shared, node, strand) => reached,
            };
            let Err(failure) = reached else {
                // It may have ended already, and something wait again.
                if shared.table().is_reached(node, strand) {
                    return;
                }
                continue;
            };
            let address = shared.table().address_of(node).unwrap_or_default();
            shared.tally.closed(failure, &address);
            let unsent = shared.table().unreached(node, strand, failure.reason, now());
            if let Some(outbox) = unsent {
                shared.tally.unsent(outbox.close());
            }
            shared.announce();
            return;
        }
    });
}

async fn reaching(shared: &Arc<Shared>, node: NodeId, strand: usize) -> Result<(), Failure> {
    let limits = &shared.config.limits;
    make_room(shared, node, strand).await?;
    while let Err(wait) = shared.take_dial() {
        sleep(wait.mul_f64(dice().random_range(1.0..2.0))).await;
    }
    if !shared.table().is_wanted(node, strand) {
        // The other side was quicker.
        return Ok(());
    }
    // What waits would be lost, so it is tried for as long as another handshake, or a link that the other
    // side has not noticed to be lost, can be in the way.
    let until = now() + limits.handshake * 2 + limits.redial_max;
    let mut backoff = Backoff::new(limits);
    while shared.table().is_wanted(node, strand) {
        if now() >= until {
            return Err(Reason::Late.into());
        }
        let address = shared.table().address_of(node).ok_or(Reason::Unreachable)?;
        let way = Way { road: Some(Road::Data), strand, expected: Some(node), dial: None };
        let Err(failure) = connect(shared, &address, way).await else { return Ok(()) };
        // The other side is about to open it as well, and its connection stays; or it has an old one.
        let is_theirs =
            failure.reason == Reason::Duplicate || failure.told == Some(Reason::Duplicate.code());
        if !is_theirs {
            return Err(failure);
        }
        sleep(backoff.next()).await;
    }
    Ok(())
}

/// Asks the data road that was used the longest ago to end, when there are too many.
async fn make_room(shared: &Arc<Shared>, node: NodeId, strand: usize) -> Result<(), Reason> {
    let limits = &shared.config.limits;
    let until = now() + limits.handshake;
    loop {
        let opening = shared.table().begin_opening(node, strand);
        let Err(oldest) = opening else { return Ok(()) };
        if now() >= until {
            return Err(Reason::TooManyPeers);
        }
        if let Some(oldest) = oldest {
            oldest.hurry();
        }
        sleep(limits.redial_min).await;
    }
}

/// Begins to ask at an address who is there.
pub(crate) fn greet(shared: &Arc<Shared>, address: &str, alive: watch::Receiver<()>) {
    let (shared, address) = (shared.clone(), address.to_owned());
    spawn(async move {
        let mut alive = alive;
        let greeting = greeting(&shared, &address);
        tokio::select! {
            biased;
            // Nothing is ever sent, so this is the end of the greeting.
            _ = alive.changed() => {}
            () = shared.closing.wait() => {}
            () = greeting => {}
        }
    });
}

struct Dial {
    node: NodeId,
    road: Road,
    shared: Arc<Shared>,
    address: watch::Receiver<String>,
    backoff: Backoff,
}

impl Dial {
    fn new(
        shared: Arc<Shared>,
        node: NodeId,
        road: Road,
        address: watch::Receiver<String>,
    ) -> Self {
        let backoff = Backoff::new(&shared.config.limits);
        Self { node, road, backoff, shared, address }
    }

    /// One wait or one attempt. `None`: the dial has ended.
    async fn turn(&mut self) -> Option<()> {
        let Self { shared, address, backoff, .. } = self;
        let (node, road) = (self.node, self.road);
        let occupant = shared.table().occupant(node, road);
        let target = address.borrow_and_update().clone();
        let attempt = async {
            if let Some(occupant) = occupant {
                occupant.ended().await;
                return Ok(());
            }
            // A copy of its own, for what the attempt asks is only whether the dial has ended.
            let dial = address.clone();
            let way = Way { road: Some(road), strand: 0, expected: Some(node), dial: Some(&dial) };
            connect(shared, &target, way).await.map(|_| ())
        };
        let mut changes = address.clone();
        let ended = tokio::select! {
            biased;
            () = shared.closing.wait() => return None,
            changed = changes.changed() => {
                backoff.reset();
                return changed.ok();
            }
            ended = attempt => ended,
        };
        match ended {
            Ok(()) => backoff.reset(),
            Err(failure) => shared.tally.closed(failure, &target),
        }
        tokio::select! {
            biased;
            () = shared.closing.wait() => None,
            changed = changes.changed() => {
                backoff.reset();
                changed.ok()
            }
            () = sleep(backoff.next()) => Some(()),
        }
    }
}

async fn greeting(shared: &Arc<Shared>, address: &str) {
    let mut backoff = Backoff::new(&shared.config.limits);
    loop {
        if shared.table().is_settled() {
            sleep(backoff.next()).await;
            continue;
        }
        let found = shared.table().found(address);
        let linked = found.and_then(|node| shared.table().occupant(node, Road::Control));
        if let Some(link) = linked {
            link.ended().await;
            backoff.reset();
        }
        let way = Way { road: None, strand: 0, expected: None, dial: None };
        match connect(shared, address, way).await {
            Ok(Opened::Greeted(peer)) => {
                shared.tally.closed(Reason::Greeted.into(), address);
                let learned = shared.table().find(address, peer.node);
                if let Some(learned) = learned {
                    keep(shared, peer.node, &learned);
                }
            }
            Ok(Opened::Linked) => {}
            Err(failure) => shared.tally.closed(failure, address),
        }
        sleep(backoff.next()).await;
    }
}

/// What a connection is opened for.
struct Way<'a> {
    road: Option<Road>,
    strand: usize,
    expected: Option<NodeId>,
    dial: Option<&'a watch::Receiver<String>>,
}

async fn connect(shared: &Arc<Shared>, address: &str, way: Way<'_>) -> Result<Opened, Failure> {
    let within = shared.config.limits.handshake;
    let stream = connected(shared, address).await?;
    let (ours, keys) = (shared.hello(way.road, way.strand), keys(shared, &stream)?);
    let mut first = BytesMut::new();
    let handshake = Handshake::dial(ours, keys, way.expected, &mut first);
    let opening = open(shared, stream, handshake, first, Role::Dialler, way.dial);
    timeout(within, opening).await.unwrap_or_else(|_| Err(Reason::Late.into()))
}

/// How long to rest before the next attempt.
struct Backoff {
    span: Duration,
    least: Duration,
    most: Duration,
}

impl Backoff {
    fn new(limits: &Limits) -> Self {
        let (least, most) = (limits.redial_min, limits.redial_max);
        Self { span: least, least, most }
    }

    fn reset(&mut self) {
        self.span = self.least;
    }

    /// Half of the span for sure, and some of the other half.
    fn next(&mut self) -> Duration {
        let half = self.span / 2;
        self.span = self.span.saturating_mul(2).min(self.most);
        half + half.mul_f64(dice().random_range(0.0..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_the_longest_and_begin_anew_after_a_success() {
        let limits = Limits::lan();
        let mut backoff = Backoff::new(&limits);
        let mut span = limits.redial_min;
        for _ in 0..20 {
            let rest = backoff.next();
            assert!(rest >= span / 2 && rest <= span, "{rest:?} is not within {span:?}");
            span = (span * 2).min(limits.redial_max);
        }
        assert_eq!(span, limits.redial_max);
        backoff.reset();
        assert!(backoff.next() <= limits.redial_min);
    }
}
