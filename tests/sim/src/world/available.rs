//! Available names through all of it: taken on both sides of every cut, and one again after the heal.
//!
//! On each node somebody puts a process under one of a few names now and then, one name for each way to
//! resolve a clash. In the end, when the world is whole, all nodes must name the same process for each name,
//! and it must live.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::{Exit, Lost, Mailbox, Message, Resolve};
use quorate_vocab::{Name, Pid};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::seat::Alive;
use super::{PATIENCE, World, name};
use crate::clock;

/// Within this time after the heal all nodes say the same.
const SOON: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// No node is frozen for so long.
const LONGEST: Duration = Duration::from_secs(60);

/// What is handed over by a process that gives way.
#[derive(Serialize, Deserialize)]
struct Handover;

impl Message for Handover {
    const WIRE: Option<quorate::Wire<Self>> = Some(quorate::Wire::new("sim.handover", 1));
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clashes {
    /// Names that were registered.
    pub registered: u64,
    /// Those of them that were registered without a lease.
    pub alone: u64,
    /// Processes that gave way to others.
    pub lost: u64,
    /// Those of them that handed over what they had.
    pub merged: u64,
}

/// Counts for a whole world.
#[derive(Default)]
pub(super) struct Tally(Mutex<Clashes>);

impl Tally {
    pub(super) fn read(&self) -> Clashes {
        *self.0.lock().expect("nothing panics while it counts")
    }

    fn count(&self, count: impl FnOnce(&mut Clashes)) {
        count(&mut self.0.lock().expect("nothing panics while it counts"));
    }
}

/// The ways to resolve a clash, each with a name of its own.
#[derive(Clone, Copy, Debug)]
enum Way {
    Keep,
    KillNewer,
    Merge,
}

impl Way {
    const ALL: [Self; 3] = [Self::Keep, Self::KillNewer, Self::Merge];

    fn name(self) -> Name {
        name(format!("a/{self:?}"))
    }

    fn resolve(self, world: &Arc<World>) -> Resolve<Handover> {
        let world = world.clone();
        match self {
            Self::Keep => Resolve::Keep,
            Self::KillNewer => Resolve::KillNewer,
            Self::Merge => Resolve::merge(move |clash| {
                let world = world.clone();
                async move {
                    world.clashes.count(|seen| seen.merged += 1);
                    // The other may be beyond reach again by now.
                    let _ = clash.winner.send(Handover);
                }
            }),
        }
    }
}

/// Lets processes stand for the names on every node.
pub(super) fn begin(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    (0..world.seats.len()).map(|nth| quorate_env::spawn(stand(world.clone(), nth))).collect()
}

async fn stand(world: Arc<World>, nth: usize) {
    let mut dice = world.dice(&format!("available {nth}"));
    while !world.is_closing() {
        clock::pause(Duration::from_millis(dice.random_range(200..=1_500))).await;
        let way = Way::ALL[dice.random_range(0..Way::ALL.len())];
        if let Some(alive) = world.alive(nth) {
            hold(&world, &alive, way, &mut dice).await;
        }
    }
}

/// Holds a name for a while, if nobody is known to hold it.
async fn hold(world: &Arc<World>, alive: &Alive, way: Way, dice: &mut SmallRng) {
    let Some((pid, claimed)) = register(world, alive, way).await else { return };
    world.clashes.count(|seen| {
        seen.registered += 1;
        seen.alone += u64::from(!claimed.was_quorate());
    });
    let life = Duration::from_millis(dice.random_range(500..=10_000));
    let lost = alive.ask(life, claimed.lost()).await;
    if let Some(Lost::To(winner)) = lost {
        world.trace.note(format_args!("{pid} gave way to {} for {way:?}", winner.pid));
        world.clashes.count(|seen| seen.lost += 1);
    }
    let is_ended_for_it = matches!((lost, way), (Some(Lost::To(_)), Way::KillNewer | Way::Merge));
    let ended = async {
        if !is_ended_for_it {
            alive.node.actors().kill(pid);
        }
        tokio::select! {
            biased;
            _ = alive.node.actors().ended(pid) => true,
            () = running_for(PATIENCE) => false,
        }
    };
    if alive.ask(LONGEST, ended).await == Some(false) {
        world.witness.violate("available", format_args!("{pid} gave way, and lives on"));
    }
}

/// Returns once the node has run for so long: while it is frozen, nothing ends on it.
async fn running_for(span: Duration) {
    let mut passed = Duration::ZERO;
    while passed < span {
        let begun = clock::now();
        quorate_env::sleep(LOOK_AGAIN).await;
        if clock::now() < begun + LOOK_AGAIN * 2 {
            passed += LOOK_AGAIN;
        }
    }
}

async fn register(world: &Arc<World>, alive: &Alive, way: Way) -> Option<(Pid, quorate::Claimed)> {
    let body = async |mut mail: Mailbox<Handover>| -> Exit {
        loop {
            let Handover = mail.receive().await;
        }
    };
    let registering = async {
        let addr = alive.node.spawn(body);
        let registered = alive.node.available().register(&way.name(), &addr, way.resolve(world));
        if registered.is_err() {
            alive.node.actors().kill(addr.pid());
        }
        Some((addr.pid(), registered.ok()?))
    };
    alive.ask(PATIENCE, registering).await?
}

/// After the heal every name has one holder, which lives, and every node knows it.
pub(super) async fn settle(world: &Arc<World>) {
    let until = clock::now() + SOON;
    let mut holders = Vec::new();
    for way in Way::ALL {
        // Whoever holds it already keeps it, and if there are several, they are about to meet.
        for nth in 0..world.seats.len() {
            if let Some(alive) = world.alive(nth) {
                // It stays under the name for as long as its process lives.
                let _ = register(world, &alive, way).await;
            }
        }
    }
    while clock::now() < until {
        holders = Way::ALL.map(|way| (way, shown(world, way))).to_vec();
        if holders.iter().all(|(_, holders)| are_one(world, holders)) {
            return;
        }
        clock::pause(LOOK_AGAIN).await;
    }
    world.witness.violate("available", format_args!("after the heal: {holders:?}"));
}

/// Whom each node names, and whether it has a lease.
fn shown(world: &World, way: Way) -> Vec<Option<(bool, Pid)>> {
    let shown = |alive: Alive| {
        let found = alive.node.available().find(&way.name());
        found.holder.map(|holder| (found.quorate, holder.pid))
    };
    world.seats.iter().map(|seat| seat.alive().and_then(shown)).collect()
}

fn are_one(world: &World, holders: &[Option<(bool, Pid)>]) -> bool {
    let Some(Some((_, pid))) = holders.first().copied() else { return false };
    let lives = world
        .seats
        .iter()
        .filter(|seat| seat.id() == pid.node)
        .any(|seat| seat.alive().is_some_and(|alive| alive.node.actors().is_alive(pid)));
    lives && holders.iter().all(|shown| *shown == Some((true, pid)))
}
