//! What must hold in every state, by the numbers of `docs/INVARIANTS.md`, and what must happen in some,
//! so that there is something to hold.
//!
//! Not here: I6, as no effect is sent here (`registry/tests`; at the receivers, with the singletons' own
//! tests); of I7, that what was acknowledged reaches the new side (`tests/sim`); I9, as no disk is lost
//! here (`storage/tests`, `node/tests/cluster/operating.rs`). I10 to I12 are about other things.

use stateright::Property;

use crate::ledger::{Entry, Op};
use crate::seat::{Place, Seat};
use crate::voter::Reign;
use crate::world::{Protocol, World};

type Law = Property<Protocol>;

pub(crate) fn all(protocol: &Protocol) -> Vec<Law> {
    let mut laws = always();
    laws.extend(sometimes(protocol));
    laws
}

fn always() -> Vec<Law> {
    vec![
        Law::always("I1 epochs rise", |_, world| world.ledger.is_rising()),
        Law::always("I2 a grant is held by a life that has not ended", |_, world: &World| {
            world.ledger.grant().is_none_or(|grant| world.ledger.lives_on(grant.session))
        }),
        Law::always("I3 no two run at once", |_, world: &World| {
            world.seats.iter().filter(|seat| seat.running.is_some()).count() <= 1
        }),
        Law::always("I4 a renew that was answered was of a session that lived", |_, world| {
            !world.seen.answered_over
        }),
        Law::always("I5 what is closed has ended", |_, world: &World| {
            let open = world.ledger.grant().map(|grant| (grant.session, grant.epoch));
            let is_open = |seat: &Seat| seat.session().zip(seat.running) == open;
            world.seats.iter().all(|seat| seat.running.is_none() || is_open(seat))
        }),
        Law::always("I5 a session that is over has no valid lease", |_, world: &World| {
            world.seats.iter().all(|seat| {
                let session = seat.session().filter(|_| seat.until().is_some());
                session.is_none_or(|session| world.ledger.lives_on(session))
            })
        }),
        Law::always("I8 a majority stands behind every answer", |_, world| {
            !world.seen.answered_alone
        }),
        Law::always("I11 all agree on what is agreed", |_, world| !world.seen.disagreed),
    ]
}

fn sometimes(protocol: &Protocol) -> Vec<Law> {
    let bounds = &protocol.bounds;
    let mut all = vec![Law::sometimes("a silent owner is expired", |_, world| {
        expiries(world).any(|counts| counts)
    })];
    if bounds.holders > 1 {
        all.push(Law::sometimes("a silent owner is expired, and another one runs", |_, world| {
            expiries(world).any(|counts| counts) && runs_anew(world)
        }));
    }
    if bounds.remember {
        all.push(Law::sometimes("a new leader ends a session before a whole wait", |_, world| {
            world.voters.iter().filter_map(|voter| voter.reign.as_ref()).any(Reign::condemned_early)
        }));
    }
    if bounds.entries > 1 || bounds.crashes > 0 {
        all.push(Law::sometimes("a node that lost its session holds a new one", |_, world| {
            world.seats.iter().any(
                |seat| matches!(seat.place, Place::Held(session, _) if world.is_new(session.0)),
            )
        }));
    }
    if bounds.elections > 0 {
        all.extend([
            Law::sometimes("two believe to lead", |_, world: &World| {
                world.voters.iter().filter(|voter| voter.leads()).count() == 2
            }),
            Law::sometimes("a new leader answers a renew", |_, world: &World| {
                let answers = |seat: &Seat| seat.asks.iter().any(|ask| ask.renewed);
                let mut reigns = world.voters.iter().filter(|voter| voter.leads());
                reigns.all(|voter| voter.term > 1) && world.seats.iter().any(answers)
            }),
            Law::sometimes("an expiry is void in another term", |_, world| {
                expiries(world).any(|counts| !counts)
            }),
            Law::sometimes("an expiry is handed down to the next leader", |_, world: &World| {
                world.voters.iter().any(|voter| {
                    let handed = voter.log.get(world.agreed.len()..).unwrap_or_default();
                    let mut handed = handed.iter().filter(|entry| entry.term < voter.term);
                    voter.leads() && handed.any(|entry| matches!(entry.op, Op::Expire { .. }))
                })
            }),
        ]);
    }
    if bounds.pauses > 0 {
        all.push(Law::sometimes("a fencer has somebody to kill", |_, world: &World| {
            world.seats.iter().any(Seat::is_overdue)
        }));
    }
    if bounds.moves > 0 {
        all.push(Law::sometimes("a singleton moves without a failure", |_, world: &World| {
            let ended = |entry: &Entry| matches!(entry.op, Op::Ended { .. });
            world.agreed.iter().any(ended) && runs_anew(world)
        }));
    }
    all
}

/// Of each expiry that is agreed, whether it counted.
fn expiries(world: &World) -> impl Iterator<Item = bool> {
    world.agreed.iter().filter_map(|entry| match entry.op {
        Op::Expire { term, .. } => Some(term == entry.term),
        _ => None,
    })
}

fn runs_anew(world: &World) -> bool {
    world.seats.iter().any(|seat| seat.running.is_some_and(|epoch| world.is_new(epoch)))
}
