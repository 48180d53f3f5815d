//! The bearer: brings what a turn left to the node that is to have the singleton next, before that has it.
//!
//! ```text
//!   the turn ends ──▶ piece after piece ──▶ the log: it is another's, and what was left adds up to this
//!        │                    │
//!        │ its callers wait   └─ the target dies, or cannot be reached: undone, it goes on where it was
//! ```
//!
//! Pieces go over the data road, in the lane for what is large, so that no heartbeat waits for them; a few
//! are under way at once. What arrives is believed only if it adds up to what the log says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quorate_actor::{Blob, CallError, Mailbox, Message, NotSent, ReplyTo, Spawn, Wire};
use quorate_registry::{Ending, Grant, Legacy, Op, Phase};
use quorate_vocab::{Epoch, Lane, Name, NodeId, SessionId};
use serde::{Deserialize, Serialize};

use super::legacy::Whole;
use super::troupe::Offer;
use super::turn::{self, TRY_AGAIN};
use crate::hall::Hall;

/// Where pieces arrive.
const DESK: &str = "singleton legacies";
/// How long all of them may take, and how long one of them.
const BRING_WITHIN: Duration = Duration::from_secs(60);
const PIECE_WITHIN: Duration = Duration::from_secs(10);

/// A piece of what a turn leaves.
#[derive(Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) name: Name,
    pub(super) epoch: Epoch,
    /// A later one is of something that was left later under the same epoch.
    pub(super) attempt: u64,
    pub(super) legacy: Legacy,
    pub(super) nth: u32,
    pub(super) piece: Blob,
    to: ReplyTo<Taken>,
}

/// What became of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Taken {
    /// It is here, and others are not yet.
    Partly,
    /// All are here, and add up to what was announced.
    Wholly,
    /// Not now: this node has not heard that it is to have it, or has too much of others' already.
    NotNow,
}

impl Message for Piece {
    const WIRE: Option<Wire<Self>> = Some(Wire::new("quorate.legacy", 1).lane(Lane::Bulk));
}

/// How a turn goes on that left something.
pub(super) enum After {
    /// It is over.
    Over,
    /// The move was undone: it goes on here, with what it left.
    GoesOn,
    /// The lease of the node was about to end before anybody had it.
    Fenced,
}

/// Takes in what others bring, for as long as the node lives.
pub(super) fn open_desk(hall: &Arc<Hall>) {
    let taker = Arc::downgrade(hall);
    let desk = hall
        .actors()
        .spawn_with(Spawn::labelled("singleton legacies"), move |mail| take_in(taker, mail));
    // Nobody else takes this name.
    let _ = hall.actors().register(DESK, desk.pid());
}

async fn take_in(hall: Weak<Hall>, mut mail: Mailbox<Piece>) -> quorate_actor::Exit {
    loop {
        let piece = mail.receive().await;
        let Some(hall) = hall.upgrade() else { return quorate_actor::Exit::Normal };
        let taken = hall.troupe().take_in(&hall, &piece);
        piece.to.send(taken);
    }
}

/// Ends a turn that left something long: whoever is to have it next gets it first.
pub(super) async fn hand_on(
    hall: &Arc<Hall>,
    offer: &mut Offer,
    grant: &Grant,
    whole: Whole,
    undone: &mut u32,
) -> After {
    let name = offer.name.clone();
    // Until somebody has it, it is kept here.
    let attempt = hall.troupe().keep(&name, whole.clone());
    loop {
        let Some(now) = turn::grant_now(offer, grant) else { return After::Over };
        let to = match now.phase {
            Phase::Yielding { to } => to,
            Phase::Active if turn::stays(hall, offer, grant) => return After::GoesOn,
            Phase::Active => None,
        };
        let brought = async {
            match to {
                Some(to) => bring(hall, &name, to, &whole, attempt).await,
                None => true,
            }
        };
        let brought = tokio::select! {
            biased;
            () = hall.tenancy().until_over(grant.session) => return After::Fenced,
            () = offer.changes_from(&now) => continue,
            brought = brought => brought,
        };
        // Whoever insists on a move that was undone gets it without what is left.
        let op = if brought || *undone > 0 {
            let ending = Ending::Left { to, legacy: whole.legacy };
            Op::EndGrant { name: name.clone(), epoch: grant.epoch, ending }
        } else {
            *undone += 1;
            tracing::warn!(%name, epoch = %grant.epoch, "what it left cannot be brought over; it stays");
            Op::Move { name: name.clone(), to: Some(hall.id()), expected: Some(grant.epoch) }
        };
        // If it is refused, something else was decided before, and is about to be heard of here. Not for
        // ever: what was decided may have been undone by now, and look the same.
        let decided = async {
            turn::insist(hall, op).await;
            let _ = quorate_env::timeout(hall.config().lease, offer.changes_from(&now)).await;
        };
        tokio::select! {
            biased;
            () = hall.tenancy().until_over(grant.session) => return After::Fenced,
            () = decided => {}
        }
    }
}

/// Brings all of it to a life of a node; whether it is there.
async fn bring(hall: &Arc<Hall>, name: &Name, to: SessionId, whole: &Whole, attempt: u64) -> bool {
    let node = hall.group().read(|machine, _| {
        machine.candidates(name).find(|one| one.session == to).map(|one| one.node)
    });
    let Some(node) = node else { return false };
    let begun = quorate_env::now();
    let next = AtomicUsize::new(0);
    let carry = async || {
        let mut is_there = false;
        loop {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= whole.count() {
                return Some(is_there);
            }
            is_there |= carry_one(hall, node, (name, attempt), whole, nth).await?;
        }
    };
    // As many as cover the way there and back to a node that is not near.
    let all =
        async { tokio::try_join!(some(carry()), some(carry()), some(carry()), some(carry())) };
    let is_there = match quorate_env::timeout(BRING_WITHIN, all).await {
        Ok(Ok((a, b, c, d))) => a || b || c || d,
        Ok(Err(())) | Err(_) => false,
    };
    if is_there {
        let (bytes, took) = (whole.legacy.bytes, quorate_env::now().since(begun));
        tracing::info!(%name, %node, bytes, ?took, "what a singleton left is with its successor");
    }
    is_there
}

async fn some<T>(carried: impl Future<Output = Option<T>>) -> Result<T, ()> {
    carried.await.ok_or(())
}

/// Brings one piece, as often as it needs; whether all are there then. None if it cannot be brought.
async fn carry_one(
    hall: &Arc<Hall>,
    node: NodeId,
    (name, attempt): (&Name, u64),
    whole: &Whole,
    nth: usize,
) -> Option<bool> {
    let desk = hall.actors().named::<Piece>(node, DESK);
    let number = u32::try_from(nth).ok()?;
    let (epoch, legacy) = (whole.epoch, whole.legacy);
    let make = |to| Piece {
        name: name.clone(),
        epoch,
        attempt,
        legacy,
        nth: number,
        piece: Blob(whole.piece(nth)),
        to,
    };
    let brought = async {
        loop {
            match desk.call(PIECE_WITHIN, make).await {
                Ok(Taken::Partly) => return Some(false),
                Ok(Taken::Wholly) => return Some(true),
                Err(CallError::NotSent(NotSent::Denied) | CallError::Protocol) => return None,
                Ok(Taken::NotNow) | Err(_) => quorate_env::sleep(TRY_AGAIN).await,
            }
        }
    };
    quorate_env::timeout(PIECE_WITHIN, brought).await.ok().flatten()
}
