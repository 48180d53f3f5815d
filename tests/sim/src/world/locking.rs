//! Locks: on each node somebody takes one now and then, holds it for a while by the node's own clock, and
//! gives it back, or loses it with the node's session.

use std::sync::Arc;
use std::time::Duration;

use quorate::Guard;
use quorate_vocab::Name;
use rand::RngExt;
use tokio::task::JoinHandle;

use super::client::outcome_of;
use super::seat::Alive;
use super::{PATIENCE, World, name};
use crate::clock;
use crate::history::{Answer, Ask};

/// How many locks there are.
const LOCKS: usize = 2;
/// How often it is looked whether a lock is still held.
const LOOK: Duration = Duration::from_millis(20);

/// Lets somebody begin on every node.
pub(super) fn begin(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    (0..world.seats.len()).map(|nth| quorate_env::spawn(contend(world.clone(), nth))).collect()
}

async fn contend(world: Arc<World>, nth: usize) {
    let mut dice = world.dice(&format!("locking {nth}"));
    while !world.is_closing() {
        clock::pause(Duration::from_millis(dice.random_range(200..=1_500))).await;
        let Some(alive) = world.alive(nth) else { continue };
        let wanted = name(format!("l/{}", dice.random_range(0..LOCKS)));
        let who = format!("l@{}", alive.host);
        let ticket = world.history.invoke(&who, &alive.host, &wanted, Ask::Lock);
        let locks = alive.node.locks();
        let mut guard = None;
        let taken = alive.ask(PATIENCE, locks.try_lock(&wanted)).await;
        let read = |taken: Guard| {
            let epoch = taken.epoch();
            guard = Some(taken);
            Answer::Registered { epoch }
        };
        let outcome = outcome_of(taken.map(|taken| taken.map(read)));
        world.history.end(ticket, outcome);
        if let Some(guard) = guard {
            let span = Duration::from_millis(dice.random_range(50..=2_000));
            hold(&world, &alive, &wanted, guard, span).await;
        }
    }
}

/// Whoever holds a lock believes itself to be the one for as long as the guard says so.
async fn hold(world: &World, alive: &Alive, wanted: &Name, guard: Guard, span: Duration) {
    let body = {
        let now = world.history.moment();
        let mut seen = world.witness.seen();
        let body = seen.bodies.told(wanted, guard.epoch(), now);
        seen.bodies.ended(&body, now);
        body
    };
    let until = clock::now() + span;
    // What drops a guard outside of its node's life would act in nobody's name.
    let holding = async {
        while clock::now() < until && guard.is_valid() {
            let now = world.history.moment();
            world.witness.seen().bodies.ended(&body, now);
            clock::pause(LOOK).await;
        }
        guard.unlock().await
    };
    let _ = alive.ask(span + PATIENCE, holding).await;
}
