//! What other nodes may ask of this one. The mesh has proven who they are; what they ask is still only asked.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use quorate_consensus::{ProposeError, ReadError};
use quorate_env::BoxFuture;
use quorate_mesh::pulse;
use quorate_mesh::{Inbound, Peer, Reason, Road, SendError};
use quorate_registry::{Command, Evidence, Once, Op, SessionOwner, Verdict};
use quorate_vocab::{Boot, NodeId};

use crate::hall::{Hall, not_sent};
use crate::post::{self, Ask, LOAD_MAX, Newcomer, Outcome, Post, Told};
use crate::singletons::tell_tail;
use crate::{abroad, available, formation, health, memory, progress, tenancy, verified, voters};

/// Joins the mesh to the inside.
pub(crate) struct Router(pub(crate) Weak<Hall>);

impl Inbound for Router {
    fn mail(&self, from: NodeId, body: &[u8]) {
        if let Some(hall) = self.0.upgrade()
            && let Err(error) = hall.actors().deliver(from, body)
        {
            tracing::debug!(%from, %error, "a letter was not delivered");
        }
    }

    fn long_mail(&self, from: NodeId, body: Bytes) {
        if let Some(hall) = self.0.upgrade()
            && let Err(error) = hall.actors().deliver_long(from, &body)
        {
            tracing::debug!(%from, %error, "a letter was not delivered");
        }
    }

    fn returned(&self, _to: NodeId, body: &[u8], error: SendError) {
        if let Some(hall) = self.0.upgrade() {
            hall.actors().returned(body, not_sent(error));
        }
    }

    fn call(&self, from: &Peer, body: Bytes) -> BoxFuture<'static, Bytes> {
        let Some(hall) = self.0.upgrade() else {
            return Box::pin(std::future::ready(post::wrap_told(&Told::Declined)));
        };
        match post::unwrap(&body) {
            Some(Post::Raft(request)) => hall.group().serve(from.id, &request),
            Some(Post::Ask(ask)) => {
                let (from, boot) = (from.id, from.boot);
                Box::pin(async move {
                    let told = match *ask {
                        Ask::Bury => bury(&hall, from, boot).await,
                        ask => answer(&hall, from, ask).await,
                    };
                    post::wrap_told(&told)
                })
            }
            None => {
                tracing::warn!(from = %from.name, "a request was not understood");
                Box::pin(std::future::ready(post::wrap_told(&Told::Declined)))
            }
        }
    }

    fn up(&self, peer: &Peer, road: Road) {
        if let Some(hall) = self.0.upgrade() {
            tracing::info!(peer = %peer.name, %road, "linked");
            health::up(&hall, peer.id);
            match road {
                Road::Data => abroad::met(&hall, peer.id),
                Road::Control => available::exchange::linked(&hall),
            }
        }
    }

    fn down(&self, peer: NodeId, road: Road, reason: Reason) {
        if let Some(hall) = self.0.upgrade() {
            tracing::info!(%peer, %road, %reason, "link lost");
            if road == Road::Data {
                abroad::parted(&hall, peer);
            }
            if road == Road::Data && reason != Reason::Unneeded {
                hall.actors().lost(peer, health::loss(&hall, peer));
                abroad::lost(&hall, peer);
            }
            health::down(&hall, peer, road, reason);
        }
    }

    fn pulse(&self, peer: NodeId, verdict: pulse::Verdict) {
        if let Some(hall) = self.0.upgrade() {
            health::pulse(&hall, peer, verdict);
        }
    }

    fn needs(&self, peer: NodeId) -> bool {
        self.0.upgrade().is_some_and(|hall| hall.actors().is_tied_to(peer))
    }
}

async fn answer(hall: &Arc<Hall>, from: NodeId, ask: Ask) -> Told {
    match ask {
        // One hop only: whoever asked looks for the leader itself, with its own bound.
        Ask::Propose(command) => match hall.group().propose(command).await {
            Ok((index, verdict)) => Told::Decided(index, verdict),
            Err(ProposeError::NotDone { leader }) => Told::NotLeader { leader },
            Err(ProposeError::Overloaded) => Told::Overloaded,
            // As good as none that leads: whoever asks finds the one that does next.
            Err(ProposeError::Disk) => Told::NotLeader { leader: None },
            Err(_) => Told::Unknown,
        },
        Ask::ProposeMany(commands) if commands.len() <= LOAD_MAX => {
            let outcomes = hall.group().propose_many(commands).await;
            Told::DecidedMany(outcomes.into_iter().map(told).collect())
        }
        Ask::ProposeMany(_) => Told::Declined,
        Ask::Confirm => match hall.group().confirm().await {
            Ok(index) => Told::Confirmed(index),
            Err(ReadError::NotLeader { leader }) => Told::NotLeader { leader },
            Err(_) => Told::NoQuorum,
        },
        Ask::Renew(renewal) if renewal.node.is_none_or(|node| node == from) => {
            hall.keeper().renew(hall, renewal).await
        }
        Ask::Renew(_) => Told::Declined,
        Ask::Admit(newcomer) if newcomer.id == from => admit(hall, newcomer).await,
        Ask::Admit(_) => Told::Declined,
        Ask::Hear(node) => Told::Heard(health::hears(hall, node)),
        Ask::HandOver(to) => voters::hand_over(hall, to).await,
        Ask::Progress => progress::tell(hall),
        Ask::Found(founding) => formation::agree(hall, from, &founding),
        Ask::WouldFound(founding) => formation::would_agree(hall, from, &founding),
        Ask::Tail(name) => tell_tail(hall, &name),
        Ask::Available(word) => available::exchange::answer(hall, from, word),
        // Which life asks is known only where it came in.
        Ask::Bury => Told::Declined,
        ask @ (Ask::Remember { .. } | Ask::Recall { .. }) => memory::answer(hall, from, &ask),
        Ask::Hand { name, epoch, letter } => verified::take_in(hall, from, &name, epoch, &letter),
    }
}

fn told(outcome: quorate_consensus::Outcome) -> Outcome {
    match outcome {
        Ok((index, verdict)) => Outcome::Decided(index, verdict),
        // A leader whose disk is stuck is as good as none.
        Err(ProposeError::NotDone { .. } | ProposeError::Disk) => Outcome::NotLeader,
        Err(ProposeError::Overloaded) => Outcome::Overloaded,
        Err(_) => Outcome::Unknown,
    }
}

/// A later life of a node says that the one before is over: what that held is released at once.
async fn bury(hall: &Arc<Hall>, node: NodeId, boot: Boot) -> Told {
    let within = hall.config().lease;
    if hall.confirm(within).await.is_err() {
        return Told::NoQuorum;
    }
    let before = hall.group().read(|machine, _| {
        let session = machine.session_of(node)?;
        let is_before =
            |owner| matches!(owner, SessionOwner::Node { boot: held, .. } if held < boot);
        is_before(session.owner).then_some(session.id)
    });
    let Some(session) = before else { return Told::Buried };
    let op = Op::End { session, evidence: Evidence::ProvenDead };
    match hall.propose(Command { once: Once::Free, op }, within).await {
        Ok((_, Verdict::Refused(_))) | Err(_) => Told::Unknown,
        Ok(_) => Told::Buried,
    }
}

/// Any member that reaches a leader lets a newcomer in, by proposing it. One that does not says so at once:
/// the newcomer asks one peer after the other, and many may be as new as itself.
async fn admit(hall: &Arc<Hall>, newcomer: Newcomer) -> Told {
    if !tenancy::reaches_leader(hall) {
        return Told::Declined;
    }
    let command = Command { once: Once::Free, op: newcomer.into_op() };
    match hall.propose(command, hall.config().lease).await {
        Ok((_, Verdict::Joined)) => hall.group().read(|machine, at| {
            let nodes = machine.nodes().map(|node| (node.id, node.address.clone()));
            let voters = hall.group().status().voters;
            Told::Admitted { at, nodes: nodes.collect(), voters }
        }),
        Ok((index, refused)) => Told::Decided(index, refused),
        Err(_) => Told::Declined,
    }
}
