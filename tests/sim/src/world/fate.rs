//! Fate: performs what the nemesis plans.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate::{NodeName, Role};

use super::{PATIENCE, World};
use crate::clock;
use quorate_drill::nemesis::Loss;
use quorate_drill::nemesis::{Action, Fault, Nemesis, NodeView, Planned, WorldView};
use tokio::time::Instant;

/// How often somebody tries to take a node out whose session is not over.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What was done to a world.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// How often each fault was drawn.
    pub(super) faults: BTreeMap<Fault, u64>,
    /// All of it.
    pub(super) plans: Vec<Planned>,
}

/// Lets the nemesis rule for as long as the settings say, or does what they say instead; then everything is
/// whole again.
pub(super) async fn rule(world: &Arc<World>) -> Trouble {
    let begun = clock::now();
    let until = begun + Duration::from_secs(world.settings.seconds);
    let mut trouble = Trouble::default();
    if let Some(plans) = world.settings.plans.clone() {
        for planned in plans {
            clock::pause((begun + planned.at).duration_since(clock::now())).await;
            // As it was when this was drawn: to look at the world takes part in what happens.
            view(world).await;
            carry_out(world, &planned.actions, until).await;
            trouble.plans.push(planned);
        }
        clock::pause(until.duration_since(clock::now())).await;
    } else {
        let settings = &world.settings;
        let mut nemesis = Nemesis::new(settings.faults.iter().copied(), settings.tempo.clone());
        let mut dice = world.dice("nemesis");
        loop {
            let at = clock::now().duration_since(begun);
            let actions = nemesis.next(&mut dice, &view(world).await);
            let is_over = !carry_out(world, &actions, until).await;
            trouble.plans.push(Planned { at, actions });
            if is_over {
                break;
            }
        }
        trouble.faults = nemesis.told().clone();
    }
    heal(world);
    trouble
}

/// Does what was planned, if there is time for it.
async fn carry_out(world: &Arc<World>, actions: &[Action], until: Instant) -> bool {
    for action in actions {
        if let Action::Wait(span) = action {
            let left = until.duration_since(clock::now());
            clock::pause((*span).min(left)).await;
        } else {
            perform(world, action.clone());
        }
        if clock::now() >= until {
            return false;
        }
    }
    true
}

pub(super) async fn view(world: &Arc<World>) -> WorldView {
    let mut nodes = Vec::new();
    let mut leader: Option<(u64, usize)> = None;
    for (nth, seat) in world.seats.iter().enumerate() {
        nodes.push(NodeView { host: seat.host.clone(), up: seat.is_up() });
        let Some(alive) = seat.alive() else { continue };
        let asked = async { alive.node.status().group };
        let Some(group) = alive.ask(Duration::from_secs(1), asked).await else {
            continue;
        };
        if group.role == Role::Leader {
            // A deposed leader may not know it yet; its term is older.
            leader = leader.max(Some((group.term, nth)));
        }
    }
    WorldView { nodes, leader: leader.map(|(_, nth)| nth), owner: None }
}

fn perform(world: &Arc<World>, action: Action) {
    let nth = |host: &str| {
        let place = world.seats.iter().position(|seat| seat.host == *host);
        place.expect("the nemesis knows only our hosts")
    };
    match action {
        Action::Say(what) => world.trace.note(format_args!("nemesis {what}")),
        Action::Wait(_) => {}
        Action::Cut { from, to } => {
            world.net.cut(&from, &to);
            world.look_at_cables();
        }
        Action::Heal { from, to } => {
            world.net.heal(&from, &to);
            world.look_at_cables();
        }
        Action::Slow { from, to, extra } => world.net.slow(&from, &to, extra),
        Action::Reset { a, b } => world.net.reset(&a, &b),
        Action::Crash { host } => world.stop(nth(&host), Loss::Process),
        Action::PowerLoss { host, loss } => world.stop(nth(&host), loss),
        // A guardian's machine may have started it meanwhile.
        Action::Start { host } if world.seats[nth(&host)].is_up() => {}
        Action::Start { host } => world.start(nth(&host)),
        Action::Freeze { host } => world.freeze(nth(&host)),
        Action::Thaw { host } => world.thaw(nth(&host)),
        Action::StallDisk { host, span } => world.seats[nth(&host)].disk.stall(span),
        Action::SlowDisk { host, takes } => world.seats[nth(&host)].slow_disk(takes),
        Action::FillDisk { host, room } => world.seats[nth(&host)].disk.set_room(room),
        Action::HandOver { to } => {
            let asked = world.seats.iter().find_map(|seat| seat.alive());
            let to = to.map(|host| NodeName::try_from(host).expect("a host's name is a node's"));
            if let Some(asked) = asked {
                let asking = asked.clone();
                // Whether it comes to anything, what nodes apply will tell.
                asked.run(async move { drop(asking.node.step_down(to.as_ref()).await) });
            }
        }
        Action::Remove { host, machine } => {
            drop(quorate_env::spawn(remove(world.clone(), nth(&host), machine)));
        }
        // Scripts of drills have more, for real processes.
        other => world.trace.note(format_args!("fate has no way to {other:?}")),
    }
}

/// Takes a node out that is down. It is tried for as long as it stays down, as its session has to end first.
async fn remove(world: Arc<World>, nth: usize, machine: bool) {
    let seat = world.seats[nth].clone();
    let name = NodeName::try_from(seat.host.as_str()).expect("a host's name is a node's");
    while !seat.is_up() {
        for alive in world.seats.iter().filter_map(|seat| seat.alive()) {
            if let Some(Ok(index)) = alive.ask(PATIENCE, alive.node.remove(&name)).await {
                world.trace.note(format_args!("{name} is taken out at {index}"));
                if machine && !seat.is_up() {
                    seat.replace_machine();
                }
                return;
            }
        }
        clock::pause(LOOK_AGAIN).await;
    }
}

/// Heals everything and starts whoever is down.
pub(super) fn heal(world: &Arc<World>) {
    world.trace.note(format_args!("fate heals everything"));
    world.net.heal_all();
    world.look_at_cables();
    for (nth, seat) in world.seats.iter().enumerate() {
        seat.disk.set_room(None);
        seat.slow_disk(Duration::ZERO);
        world.thaw(nth);
        if !seat.is_up() {
            world.start(nth);
        }
    }
}
