//! Rules of the topology that change while the world runs, and what comes of them.
//!
//! Somebody sets other rules now and then, through any node. Each life of a node is looked at all the time:
//! what its rules forbid and which roads it has. In the end, when the world is whole, rules are set once
//! more, and every node writes to every other: what is lawful arrives, and what is not does not.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::{Addr, Exit, Mailbox, Message};
use quorate_registry::{Lanes, Rule, Rules, Selector, Stance};
use quorate_vocab::{Index, Pid};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::seat::Alive;
use super::{PATIENCE, World};
use crate::check::topology::{SETTLE, forbids};
use crate::clock;

/// How often a node's roads are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Within this time the last rules are everywhere, and what is lawful arrives.
const SOON: Duration = Duration::from_secs(20);

/// A ring at somebody's door, by the number of the one who rings.
#[derive(Serialize, Deserialize)]
struct Ring(u64);

impl Message for Ring {
    const WIRE: Option<quorate::Wire<Self>> = Some(quorate::Wire::new("sim.ring", 1));
}

/// Who has rung at whom, by their numbers.
type Rung = Arc<Mutex<BTreeSet<(u64, u64)>>>;

/// Lets rules change for as long as the world lasts.
pub(super) fn begin(world: &Arc<World>) -> JoinHandle<()> {
    let world = world.clone();
    quorate_env::spawn(async move {
        let mut dice = world.dice("rules");
        while !world.is_closing() {
            clock::pause(Duration::from_millis(dice.random_range(500..=6_000))).await;
            let rules = draw(&world, &mut dice);
            if let Some(alive) = world.alive(dice.random_range(0..world.seats.len())) {
                // Whether it comes to anything, what nodes apply will tell.
                let _ = set(&world, &alive, rules).await;
            }
        }
    })
}

/// None, or a few about single nodes; sometimes the last one shuts everything.
fn draw(world: &World, dice: &mut SmallRng) -> Rules {
    let somebody = |dice: &mut SmallRng| match dice.random_range(0..4) {
        0 => Selector::Any,
        _ => {
            let seat = &world.seats[dice.random_range(0..world.seats.len())];
            Selector::Node(seat.name())
        }
    };
    let rule = |from, to, stance| Rule { from, to, stance, lanes: Lanes::ALL, rates: [None; 3] };
    let mut rules = Vec::new();
    for _ in 0..dice.random_range(0..=4) {
        let stance = if dice.random_bool(0.7) { Stance::Deny } else { Stance::Allow };
        let (one, other) = (somebody(dice), somebody(dice));
        // Mostly both ways: what is shut in one direction only has a road still.
        if dice.random_bool(0.7) {
            rules.push(rule(other.clone(), one.clone(), stance));
        }
        rules.push(rule(one, other, stance));
    }
    if dice.random_bool(0.1) {
        rules.push(rule(Selector::Any, Selector::Any, Stance::Deny));
    }
    Rules::new(rules).expect("they are few")
}

async fn set(world: &World, alive: &Alive, rules: Rules) -> Option<Index> {
    let links = alive.node.links();
    let version = alive.ask(PATIENCE, links.set_rules(rules, None, None)).await?.ok()?;
    world.trace.note(format_args!("rules {version} through {}", alive.host));
    Some(version)
}

/// Looks at a life's roads for as long as it lasts.
pub(super) async fn watch(world: Arc<World>, alive: Alive) {
    loop {
        clock::pause(LOOK).await;
        let links = alive.node.links();
        let (rules, at) = (links.rules().rules, world.history.moment().at);
        let takes_part =
            alive.node.status().members.iter().any(|one| one.name.as_str() == &*alive.host);
        for link in links.list() {
            let (node, up) = ((&*alive.host, alive.number), link.data.is_some());
            // Rules are for those that take part: who was taken out minds and meets them when it is back.
            let rules = if takes_part && link.role.is_some() { rules.list() } else { &[] };
            let mut seen = world.witness.seen();
            seen.topology.saw(at, node, link.name.as_str(), rules, up);
        }
    }
}

/// Sets rules a last time, and has every node ring at every other.
pub(super) async fn settle(world: &Arc<World>) {
    let rules = draw(world, &mut world.dice("last rules"));
    let Some(everybody) = rule_all(world, &rules).await else {
        world.witness.violate("topology", format_args!("the last rules did not come to all"));
        return;
    };
    clock::pause(SETTLE).await;
    let rung = Rung::default();
    let mut houses = Vec::new();
    for (nth, alive) in (0..).zip(everybody) {
        houses.push(House::open(nth, alive, &rung).await);
    }
    let lawful: BTreeSet<(u64, u64)> = pairs(&houses)
        .filter(|(from, to)| !forbids(rules.list(), &from.alive.host, &to.alive.host))
        .map(|(from, to)| (from.nth, to.nth))
        .collect();
    let until = clock::now() + SOON;
    loop {
        for (from, to) in pairs(&houses) {
            from.ring_at(to).await;
        }
        // Whatever is under way comes meanwhile.
        clock::pause(LOOK).await;
        let rung = rung.lock().expect("nothing panics while it holds it").clone();
        let is_whole = rung.is_superset(&lawful);
        if !houses.iter().all(|house| follows(&house.alive, &rules)) {
            // Somebody's older proposal was in the log for so long; there is nothing to judge by.
            world.trace.note(format_args!("the last rules were not the last"));
            return;
        }
        if is_whole || clock::now() >= until {
            for (how, rings) in
                [("are missing", &lawful - &rung), ("are forbidden", &rung - &lawful)]
            {
                if !rings.is_empty() {
                    world.witness.violate("topology", format_args!("rings that {how}: {rings:?}"));
                }
            }
            return;
        }
    }
}

/// Has every node follow these rules. Gives the nodes.
async fn rule_all(world: &World, rules: &Rules) -> Option<Vec<Alive>> {
    let until = clock::now() + SOON;
    while clock::now() < until {
        let everybody = (0..world.seats.len()).map(|nth| world.alive(nth));
        if let Some(everybody) = everybody.collect::<Option<Vec<Alive>>>()
            && let Some(version) = set(world, &everybody[0], rules.clone()).await
        {
            world.trace.note(format_args!("the last rules are {version}"));
            // An older proposal of somebody else may come after; then they are set again.
            let set_again = clock::now() + SETTLE;
            while clock::now() < set_again {
                if everybody.iter().all(|alive| follows(alive, rules)) {
                    return Some(everybody);
                }
                clock::pause(LOOK).await;
            }
        }
        clock::pause(LOOK).await;
    }
    None
}

fn follows(alive: &Alive, rules: &Rules) -> bool {
    alive.node.links().rules().rules == *rules
}

/// A node, and a process of it at which others ring.
struct House {
    nth: u64,
    alive: Alive,
    door: Pid,
}

impl House {
    async fn open(nth: u64, alive: Alive, rung: &Rung) -> Self {
        let rung = rung.clone();
        let door = async move |mut mail: Mailbox<Ring>| -> Exit {
            loop {
                let Ring(from) = mail.receive().await;
                rung.lock().expect("nothing panics while it holds it").insert((from, nth));
            }
        };
        let opened = alive.ask(PATIENCE, async { alive.node.spawn(door).pid() }).await;
        let door = opened.expect("nobody dies after the heal");
        Self { nth, alive, door }
    }

    async fn ring_at(&self, other: &Self) {
        let bell: Addr<Ring> = self.alive.node.actors().addr(other.door);
        // Who is refused rings again.
        let _ = self.alive.ask(PATIENCE, async { bell.send(Ring(self.nth)) }).await;
    }
}

/// Each with each other.
fn pairs(houses: &[House]) -> impl Iterator<Item = (&House, &House)> {
    let others = |from| houses.iter().filter(move |to: &&House| to.nth != from);
    houses.iter().flat_map(move |from| others(from.nth).map(move |to| (from, to)))
}
