//! What is done to a world in a round, and undone after it.

use std::time::Duration;

use crate::world::{Dice, World, called};

/// One kind of trouble. `The owner` is the node on which a singleton runs that was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Move,
    StepDown,
    IsolateOwner,
    IsolateLeader,
    IsolateLeadingOwner,
    Halves,
    OwnerHearsNobody,
    NobodyHearsOwner,
    Bridge,
    KillAgent,
    KillRunner,
    KillLeader,
    KillFencer,
    KillSentinel,
    KillAgentAndRunner,
    KillLeadingOwner,
    StopAgent,
    StopRunner,
    StopBoth,
}

use Fault::*;

/// All of them, and what they are called.
pub(crate) const FAULTS: [(Fault, &str); 19] = [
    (Move, "planned move"),
    (StepDown, "step-down"),
    (IsolateOwner, "cut: owner"),
    (IsolateLeader, "cut: leader"),
    (IsolateLeadingOwner, "cut: leader that owns"),
    (Halves, "cut: halves"),
    (OwnerHearsNobody, "cut: owner hears nobody"),
    (NobodyHearsOwner, "cut: nobody hears owner"),
    (Bridge, "cut: bridge"),
    (KillAgent, "kill: owner's agent"),
    (KillRunner, "kill: owner's runner"),
    (KillLeader, "kill: leader"),
    (KillFencer, "kill: owner's fencer"),
    (KillSentinel, "kill: fencer of owner's agent"),
    (KillAgentAndRunner, "kill: agent and runner"),
    (KillLeadingOwner, "kill: leader that owns and its runner"),
    (StopAgent, "stop: owner's agent"),
    (StopRunner, "stop: owner's runner"),
    (StopBoth, "stop: agent and runner"),
];

impl Fault {
    pub(crate) fn name(self) -> &'static str {
        FAULTS.iter().find(|(fault, _)| *fault == self).expect("all have one").1
    }

    /// How long it lasts: from shorter than a lease to longer than one.
    pub(crate) fn lasts(self, dice: &mut Dice, most: Duration) -> Duration {
        let least = Duration::from_millis(500);
        let span = most.saturating_sub(least).as_millis() as usize;
        match self {
            Move | StepDown => Duration::ZERO,
            _ => least + Duration::from_millis(dice.below(span.max(1)) as u64),
        }
    }

    /// Sees to it that who leads owns, where that is meant; and that it does not, where a row is to be of the
    /// owner alone.
    pub(crate) fn prepare(self, world: &mut World, name: &str) {
        let (owner, leader) = (world.owner(name), world.leader());
        match self {
            IsolateLeadingOwner | KillLeadingOwner if owner != leader => {
                world.tell(leader, &["singleton", "move", name, &called(leader)]);
            }
            IsolateOwner | KillAgent | KillAgentAndRunner | StopBoth if owner == leader => {
                world.tell(owner, &["leader", "step-down"]);
            }
            _ => return,
        }
        world.settle();
    }

    /// Does it to the owner of a name, or to the leader.
    pub(crate) fn begin(self, world: &mut World, name: &str) {
        let owner = world.owner(name);
        match self {
            Move => {
                let other = another(world, owner);
                world.tell(owner, &["singleton", "move", name, &called(other)]);
            }
            StepDown => drop(world.tell(owner, &["leader", "step-down"])),
            IsolateOwner => cut(world, &[owner], Ways::Both),
            IsolateLeader | IsolateLeadingOwner => cut(world, &[world.leader()], Ways::Both),
            Halves => {
                let few: Vec<usize> = (0..(world.count() - 1) / 2).collect();
                let first = world.dice.below(world.count());
                let few: Vec<usize> =
                    few.iter().map(|node| (node + first) % world.count()).collect();
                cut(world, &few, Ways::Both);
            }
            OwnerHearsNobody => cut(world, &[owner], Ways::In),
            NobodyHearsOwner => cut(world, &[owner], Ways::Out),
            Bridge => bridge(world),
            KillAgent => world.kill(world.agent(owner)),
            KillRunner => world.kill(world.runner(owner, name)),
            KillLeader => world.kill(world.agent(world.leader())),
            KillFencer | KillSentinel => {
                let guarded =
                    if self == KillFencer { world.runner(owner, name) } else { world.agent(owner) };
                // Without one it is about to get a new one.
                if let Some(fencer) = world.fencer_of(guarded) {
                    world.kill(fencer);
                }
            }
            KillAgentAndRunner | KillLeadingOwner => {
                world.kill(world.agent(owner));
                world.kill(world.runner(owner, name));
            }
            StopAgent => world.stop(world.agent(owner)),
            StopRunner => world.stop(world.runner(owner, name)),
            StopBoth => {
                world.stop(world.agent(owner));
                world.stop(world.runner(owner, name));
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Ways {
    Both,
    In,
    Out,
}

fn another(world: &mut World, node: usize) -> usize {
    let count = world.count();
    (node + 1 + world.dice.below(count - 1)) % count
}

/// Cuts some off from all others.
fn cut(world: &mut World, some: &[usize], ways: Ways) {
    for inside in some {
        for outside in (0..world.count()).filter(|node| !some.contains(node)) {
            if !matches!(ways, Ways::In) {
                world.places.cut(*inside, outside);
            }
            if !matches!(ways, Ways::Out) {
                world.places.cut(outside, *inside);
            }
        }
    }
}

/// Two halves that do not hear each other, and one node that hears both.
fn bridge(world: &mut World) {
    let count = world.count();
    let first = world.dice.below(count);
    let node = |at: usize| (first + at) % count;
    for left in 1..=count / 2 {
        for right in count / 2 + 1..count {
            world.places.cut(node(left), node(right));
            world.places.cut(node(right), node(left));
        }
    }
}
