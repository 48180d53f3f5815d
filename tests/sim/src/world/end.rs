//! The end of a world: it must serve again, come to one state, and stand before the checkers.

use std::sync::Arc;
use std::time::Duration;

use quorate::Claiming;
use quorate_registry::{Query, Session, SessionOwner, snapshot};
use quorate_storage::Disk;
use quorate_vocab::{Index, Name, SessionId};

use super::client::outcome_of;
use super::seat::Alive;
use super::{Outcome, PATIENCE, Singletons, World, counting, lives, name, operators};
use crate::check::{Violation, linear};
use crate::clock;
use crate::history::{self, Answer, Ask, Mark};
use crate::net::Weather;
use quorate_drill::history::hash_of;

/// Within this time a healed cluster serves through every node, and comes to one state.
pub(super) const SOON: Duration = Duration::from_secs(10);
/// How old a node's state may be in peace.
const YOUNG: Duration = Duration::from_secs(2);
/// How long to wait before something is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How many steps the search for a legal order may take for one name.
const STEPS_MAX: u64 = 2_000_000;

impl World {
    /// Whether every node answers a registration within so long.
    pub(super) async fn serves_within(self: &Arc<Self>, span: Duration) -> bool {
        let until = clock::now() + span;
        let mut tasks = Vec::new();
        for nth in 0..self.seats.len() {
            let world = self.clone();
            tasks.push(quorate_env::spawn(async move {
                while clock::now() < until {
                    if let Some(alive) = world.alive(nth)
                        && world.registers(&alive).await
                    {
                        return true;
                    }
                    clock::pause(LOOK_AGAIN).await;
                }
                false
            }));
        }
        let mut all = true;
        for (nth, task) in tasks.into_iter().enumerate() {
            if !matches!(task.await, Ok(true)) {
                let host = &self.seats[nth].host;
                self.witness.violate("L1", format_args!("{host} did not serve within {span:?}"));
                all = false;
            }
        }
        all
    }

    async fn registers(&self, alive: &Alive) -> bool {
        let nth = self.history.moment().nth;
        let wanted = name(format!("probe/{}/{nth}", alive.host));
        let value = format!("probe {nth}").into_bytes();
        let ask = Ask::Register { value: Mark::of(&value), session: None, replace: None };
        let ticket = self.history.invoke("probe", &alive.host, &wanted, ask);
        let claiming = Claiming { value, ..Claiming::default() };
        let names = alive.node.names();
        let held = alive.ask(PATIENCE, names.claim(&wanted, claiming)).await;
        let read = |held: quorate::Held| Answer::Registered { epoch: held.epoch };
        let outcome = outcome_of(held.map(|held| held.map(read)));
        let served = matches!(outcome, history::Outcome::Done(_));
        self.history.end(ticket, outcome);
        served
    }

    /// Where each node stands, and the hash of its state. `None` while one is not there.
    fn standings(&self) -> Option<Vec<(Index, u64)>> {
        let standing = |alive: Alive| {
            alive.node.inspect(|machine, index| (index, hash_of(&snapshot::encode(machine))))
        };
        self.seats.iter().map(|seat| seat.alive().map(standing)).collect()
    }
}

/// After the heal the world serves through every node, and all nodes come to the same state.
pub(super) async fn settle(world: &Arc<World>) {
    world.serves_within(SOON).await;
    // For a while nothing is to move without a cause. Two links that lose what they carry at the same moment
    // are one, and so is a task that is held: a leader may lose its majority by it, and a node its lease.
    world.net.set_weather(Weather::fair());
    for alive in (0..world.seats.len()).filter_map(|nth| world.alive(nth)) {
        alive.life.hold_tasks(0);
    }
    operators::calm(world).await;
    operators::settle(world).await;
    let until = clock::now() + SOON;
    let mut standings = None;
    while clock::now() < until {
        clock::pause(LOOK_AGAIN).await;
        standings = world.standings();
        if let Some(standings) = &standings
            && standings.iter().all(|standing| *standing == standings[0])
        {
            expire(world).await;
            all_know_how_old_they_are(world).await;
            operators::look(world);
            world.net.set_weather(Weather::default());
            return;
        }
    }
    let what = format_args!("the nodes did not come to one state: {standings:?}");
    world.witness.violate("L1", what);
}

/// Nobody renews any more, and somebody leads: every life but the nodes' ends within its bound, and with it
/// all that was bound to it.
async fn expire(world: &Arc<World>) {
    clock::pause(lives::over_within()).await;
    for alive in (0..world.seats.len()).filter_map(|nth| world.alive(nth)) {
        let is_node = |session: &&Session| matches!(session.owner, SessionOwner::Node { .. });
        let everything = Query::under("");
        let (late, orphans) = alive.node.inspect(|machine, _| {
            let late = machine.sessions().filter(|session| !is_node(session));
            let late: Vec<SessionId> = late.map(|session| session.id).collect();
            (late, machine.properties(&everything, None).count())
        });
        if !late.is_empty() || orphans > 0 {
            let host = &alive.host;
            let what = format_args!(
                "nobody renews {late:?}, and {host} has them still; it has {orphans} properties"
            );
            world.witness.violate("expiry", what);
        }
        let counters: Vec<(Name, i64)> = alive.node.inspect(|machine, _| {
            let known = (0..counting::COUNTERS).map(counting::name_of);
            known
                .filter_map(|name| machine.counter(name.as_str()).map(|value| (name, value)))
                .collect()
        });
        for (name, value) in counters {
            world.witness.seen().counts.stands(&name, value);
        }
    }
}

/// In peace every node knows how old its state is, and that is not much.
async fn all_know_how_old_they_are(world: &Arc<World>) {
    for alive in (0..world.seats.len()).filter_map(|nth| world.alive(nth)) {
        let age = alive.ask(PATIENCE, async { alive.node.status().stale }).await;
        if age.is_none_or(|age| age > YOUNG) {
            let what = format_args!("in peace {} says that its state is {age:?} old", alive.host);
            world.witness.violate("I13", what);
        }
    }
}

/// Lets every checker speak.
pub(super) fn judge(world: &Arc<World>, outcome: &mut Outcome) {
    for seat in &world.seats {
        if let Ok(names) = seat.disk.mount().list() {
            world.witness.seen().rare.files(&names);
        }
        if let Some(alive) = seat.alive() {
            let shown = |machine: &_, index| world.witness.shown(&alive, machine, index);
            alive.node.inspect(shown);
            let index = alive.node.inspect(|_, index| index.0);
            outcome.entries = outcome.entries.max(index);
        }
    }
    let seen = world.witness.take();
    let records = world.history.records();
    outcome.letters = seen.mail.counts();
    outcome.ages = seen.ages.counts();
    outcome.clashes = world.clashes.read();
    let linear = linear::check(&records, &world.history.endings(), &seen.hints, STEPS_MAX);
    outcome.rare = seen.rare.seen().clone();
    outcome.violations = seen.violations;
    // What nobody could judge was not shown to hold.
    outcome.violations.extend(linear.undecided.iter().map(|(name, why)| {
        Violation::new("undecided", format_args!("{name} was too hard to judge: {why}"))
    }));
    outcome.singletons = Singletons {
        grants: seen.grants.count(),
        turns: seen.turns.count(),
        calls: seen.calls.counts(),
        deeds: seen.stale.counts(),
        ended: world.ended_by_guardians.load(std::sync::atomic::Ordering::Relaxed),
        again: seen.again.took(),
    };
    for found in [
        seen.epochs.finish(&records),
        seen.holders.finish(),
        seen.bodies.finish(),
        seen.renewals.finish(),
        seen.turns.finish(&seen.grants),
        seen.stale.finish(&seen.grants),
        seen.handoffs.finish(&seen.grants),
        seen.grants.finish(),
        seen.calls.finish(),
        seen.again.finish(),
        seen.minority.finish(&records),
        seen.lost.finish(&records),
        seen.same.finish(),
        seen.mail.finish(),
        seen.ages.finish(),
        seen.topology.finish(),
        seen.counts.finish(),
        seen.bearers.finish(&world.history.endings()),
        linear.violations,
        linear::versions::check(&records, &seen.said),
    ] {
        outcome.violations.extend(found);
    }
    for record in &records {
        let count = match &record.outcome {
            history::Outcome::Done(
                Answer::Registered { .. }
                | Answer::Released { .. }
                | Answer::Amended { .. }
                | Answer::Confirmed
                | Answer::Found(_)
                | Answer::FoundAmended { .. },
            ) => &mut outcome.operations.answered,
            history::Outcome::Done(_) => &mut outcome.operations.refused,
            history::Outcome::NotDone => &mut outcome.operations.not_done,
            history::Outcome::Unknown => &mut outcome.operations.unknown,
        };
        *count += 1;
    }
    outcome.lives = world.lives.load(std::sync::atomic::Ordering::Relaxed);
    outcome.simulated = clock::now().duration_since(world.origin);
    outcome.hash = world.trace.hash();
    outcome.events = world.trace.count();
    outcome.lines = world.trace.lines();
}
