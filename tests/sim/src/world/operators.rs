//! Operators and callers of singletons: who moves, stops and drains, and who asks them by name.
//!
//! Nobody forces anything: that is for whoever knows better than the cluster, and takes every promise back.

use std::sync::Arc;
use std::time::Duration;

use quorate::{Error, SingletonCallError};
use quorate_vocab::{Epoch, Name};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::task::JoinHandle;

use super::seat::Alive;
use super::troupe::Call;
use super::{PATIENCE, World};
use crate::check::calls::Told;
use crate::clock;

/// How long a caller waits for an owner, by its node's clock.
const CALL_WITHIN: Duration = Duration::from_millis(3_500);
/// Within this time after the heal somebody takes an operator's word.
const SOON: Duration = Duration::from_secs(20);
/// How often it is looked who runs.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Lets an operator begin, and a caller on every node.
pub(super) fn begin(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    let mut tasks = vec![quorate_env::spawn(operate(world.clone()))];
    for nth in 0..world.seats.len() {
        tasks.push(quorate_env::spawn(call(world.clone(), nth)));
    }
    tasks
}

/// One of the singletons.
fn some(world: &World, dice: &mut SmallRng) -> Name {
    world.parts[dice.random_range(0..world.parts.len())].name.clone()
}

async fn operate(world: Arc<World>) {
    let mut dice = world.dice("operator");
    while !world.is_closing() {
        clock::pause(Duration::from_millis(dice.random_range(300..=2_500))).await;
        let Some(alive) = world.alive(dice.random_range(0..world.seats.len())) else { continue };
        let one = some(&world, &mut dice);
        let node = world.seats[dice.random_range(0..world.seats.len())].name();
        let singletons = alive.node.singletons();
        let (what, done) = match dice.random_range(0..10) {
            0..3 => {
                ("move", alive.ask(PATIENCE, singletons.move_to(&one, Some(&node), None)).await)
            }
            3..5 => ("move away", alive.ask(PATIENCE, singletons.move_to(&one, None, None)).await),
            5..6 => ("stop", alive.ask(PATIENCE, singletons.stop(&one)).await),
            6..8 => ("start", alive.ask(PATIENCE, singletons.start(&one)).await),
            8..9 => {
                let why = Some("an operator says so".to_owned());
                ("drain", alive.ask(PATIENCE, singletons.drain(&node, why)).await)
            }
            _ => ("undrain", alive.ask(PATIENCE, singletons.drain(&node, None)).await),
        };
        world.trace.note(format_args!("operator {what} {one} {node}: {done:?}"));
    }
}

async fn call(world: Arc<World>, nth: usize) {
    let mut dice = world.dice(&format!("caller {nth}"));
    while !world.is_closing() {
        clock::pause(Duration::from_millis(dice.random_range(50..=600))).await;
        if let Some(alive) = world.alive(nth) {
            let to = some(&world, &mut dice);
            ask(&world, &alive, &to).await;
        }
    }
}

async fn ask(world: &World, alive: &Alive, to: &Name) {
    let number = world.witness.seen().calls.asked(to);
    let singletons = alive.node.singletons();
    let asking = singletons.call(to, CALL_WITHIN, |to| Call { number, to });
    let answer = alive.ask(2 * PATIENCE, asking).await;
    world.trace.note(format_args!("call {number} to {to} from {}: {answer:?}", alive.host));
    let told = match answer {
        Some(Ok(epoch)) => Epoch::from_shown(epoch).map_or(Told::Maybe, Told::Answered),
        Some(Err(
            SingletonCallError::NoOwner
            | SingletonCallError::Overloaded
            | SingletonCallError::Refused(_),
        )) => Told::NotSeen,
        _ => Told::Maybe,
    };
    world.witness.seen().calls.told(number, told);
}

/// Everything becomes whole: no node is drained any more, all singletons may run, and no disk keeps a node
/// from its lease. (Who heals the rest cannot end a stall.)
pub(super) async fn calm(world: &Arc<World>) {
    let until = clock::now() + SOON;
    for seat in &world.seats {
        let node = seat.name();
        insist(world, until, async |alive: &Alive| {
            alive.node.singletons().drain(&node, None).await
        })
        .await;
    }
    let stalls = world.seats.iter().map(|seat| seat.disk.stalls_for()).max();
    clock::pause(stalls.unwrap_or_default()).await;
    for part in &world.parts {
        insist(world, until, async |alive: &Alive| alive.node.singletons().start(&part.name).await)
            .await;
    }
}

async fn insist<T>(
    world: &Arc<World>,
    until: tokio::time::Instant,
    act: impl AsyncFn(&Alive) -> Result<T, Error>,
) {
    while clock::now() < until {
        for alive in (0..world.seats.len()).filter_map(|nth| world.alive(nth)) {
            if let Some(Ok(_)) = alive.ask(PATIENCE, act(&alive)).await {
                return;
            }
        }
        clock::pause(LOOK_AGAIN).await;
    }
    world.witness.violate("L1", format_args!("no operator's word was taken within {SOON:?}"));
}

/// Each singleton runs within its bound. That it stays where it is, the last look of all tells.
pub(super) async fn settle(world: &Arc<World>) {
    let whole = world.history.moment().at;
    world.witness.seen().again.whole(whole);
    while !look(world) {
        clock::pause(LOOK_AGAIN).await;
    }
}

/// Looks who runs now. Tells whether nothing has to be waited for.
pub(super) fn look(world: &Arc<World>) -> bool {
    let at = world.history.moment().at;
    let mut seen = world.witness.seen();
    let mut running = std::collections::BTreeMap::new();
    for part in &world.parts {
        let epoch = seen.turns.running(&part.name).map(|(_, turn)| turn.epoch);
        running.insert(part.name.clone(), epoch);
    }
    drop(seen);
    // One that is about to move does not run yet as it is to.
    let moves = (0..world.seats.len()).filter_map(|nth| world.alive(nth)).any(|alive| {
        let (rows, _) = alive.node.singletons().list("s/", None, 100);
        rows.iter().any(|one| one.state != quorate::SingletonState::Running)
    });
    seen = world.witness.seen();
    if moves {
        running.values_mut().for_each(|epoch| *epoch = None);
    }
    seen.again.saw(at, running)
}
