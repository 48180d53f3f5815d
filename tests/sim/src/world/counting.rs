//! Clients that count. Each asks under one key until it is answered, of any node, and gives up at some time.

use std::sync::Arc;
use std::time::Duration;

use quorate::Error;
use quorate_vocab::Name;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::task::JoinHandle;

use super::{PATIENCE, World, name};
use crate::clock;

/// How many clients count.
const CLIENTS: usize = 2;
/// How many counters there are.
pub(super) const COUNTERS: usize = 2;
/// How often a client asks under one key.
const TRIES: usize = 4;

/// A counter.
pub(super) fn name_of(nth: usize) -> Name {
    name(format!("n/{nth}"))
}

/// Lets the counting begin.
pub(super) fn begin(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    (0..CLIENTS).map(|nth| quorate_env::spawn(count(world.clone(), nth))).collect()
}

async fn count(world: Arc<World>, nth: usize) {
    let mut dice = world.dice(&format!("counting {nth}"));
    while !world.is_closing() {
        clock::pause(Duration::from_millis(dice.random_range(30..=150))).await;
        let counter = name_of(dice.random_range(0..COUNTERS));
        if dice.random_bool(0.8) {
            add(&world, &counter, &mut dice).await;
        } else {
            find(&world, &counter, &mut dice).await;
        }
    }
}

async fn add(world: &Arc<World>, counter: &Name, dice: &mut SmallRng) {
    let (add, key) = (dice.random_range(1..=9), Some(dice.random()));
    let asked = {
        let now = world.history.moment();
        world.witness.seen().counts.asked(counter, add, now)
    };
    let mut doubt = false;
    for _ in 0..TRIES {
        let Some(alive) = world.alive(dice.random_range(0..world.seats.len())) else {
            clock::pause(Duration::from_millis(100)).await;
            continue;
        };
        let tallies = alive.node.tallies();
        match alive.ask(PATIENCE, tallies.add(counter, add, None, key)).await {
            Some(Ok((value, index))) => {
                world.trace.note(format_args!("count {counter} {add} {value} {index}"));
                let now = world.history.moment();
                world.witness.seen().counts.answered(&asked, value, now);
                return;
            }
            Some(Err(Error::NotDone(_))) => {}
            _ => doubt = true,
        }
    }
    if !doubt {
        world.witness.seen().counts.not_done(&asked);
    }
}

async fn find(world: &Arc<World>, counter: &Name, dice: &mut SmallRng) {
    let Some(alive) = world.alive(dice.random_range(0..world.seats.len())) else { return };
    let tallies = alive.node.tallies();
    let invoked = world.history.moment();
    if let Some(Ok(tally)) = alive.ask(PATIENCE, tallies.find(counter)).await {
        let returned = world.history.moment();
        let value = tally.value.unwrap_or_default();
        world.witness.seen().counts.read(counter, invoked, returned, value);
    }
}
