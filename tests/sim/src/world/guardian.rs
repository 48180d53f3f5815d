//! The guardian: a twin of the second process beside a node, which ends the first one at the time that it was
//! told last, also while that one is stopped.
//!
//! It goes by its machine's clock, as the node does, and belongs to no life: whatever stops the node does not
//! stop it. Somebody starts the node again some time after.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use quorate::Sentinel;
use quorate_env::{BoxFuture, Life};
use quorate_vocab::Time;
use tokio::sync::watch;
use tokio::time::Instant;

use super::World;
use crate::clock;
use quorate_drill::nemesis::Loss;

/// When a node is started again that its guardian has ended.
const START_AGAIN: Duration = Duration::from_millis(1_200);

/// What the node told last: when to end it, in true time.
pub(super) struct Guardian {
    life: Life,
    until: watch::Sender<Option<Instant>>,
}

impl Guardian {
    /// Begins to guard one life of a node, which has said nothing yet.
    pub(super) fn begin(world: &Arc<World>, nth: usize, number: u64, life: &Life) -> Arc<Self> {
        let until = watch::Sender::new(None);
        drop(quorate_env::spawn(keep(Arc::downgrade(world), nth, number, until.subscribe())));
        Arc::new(Self { life: life.clone(), until })
    }
}

impl Sentinel for Guardian {
    fn guard(&self, until: Option<Time>) -> BoxFuture<'_, bool> {
        let in_true_time = |until: Time| {
            clock::now() + until.since(self.life.now()).div_f64(self.life.clock_rate())
        };
        self.until.send_replace(until.map(in_true_time));
        Box::pin(std::future::ready(true))
    }
}

async fn keep(
    world: Weak<World>,
    nth: usize,
    number: u64,
    mut told: watch::Receiver<Option<Instant>>,
) {
    loop {
        let until = *told.borrow_and_update();
        let Some(until) = until else {
            // An error means that the node is gone.
            if told.changed().await.is_err() {
                return;
            }
            continue;
        };
        let left = until.duration_since(clock::now());
        if !left.is_zero() {
            // It may have been told another time meanwhile.
            clock::pause(left).await;
            continue;
        }
        let Some(world) = world.upgrade() else { return };
        let is_present = || world.seats[nth].number() == number && world.seats[nth].is_up();
        if !is_present() {
            return;
        }
        world.trace.note(format_args!("the guardian of {} ends it", world.seats[nth].host));
        world.ended_by_guardians.fetch_add(1, Ordering::Relaxed);
        world.stop(nth, Loss::Process);
        clock::pause(START_AGAIN).await;
        if world.seats[nth].number() == number && !world.seats[nth].is_up() {
            world.start(nth);
        }
        return;
    }
}
