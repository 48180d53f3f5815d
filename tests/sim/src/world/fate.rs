//! Fate: performs what the nemesis plans, or what a drill's script says.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quorate::{Node, NodeName, Role};
use quorate_drill::nemesis::{Action, Fault, Loss, Nemesis, NodeView, Planned, WorldView};
use quorate_drill::script::{self, Script};
use tokio::time::Instant;

use super::end::SOON;
use super::{PATIENCE, World};
use crate::clock;

/// How often somebody tries to take a node out whose session is not over.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// A script takes as long as it takes.
const A_LONG_TIME: Duration = Duration::from_secs(24 * 3600);

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
    } else if let Some(script) = &world.settings.script {
        play(world, script, &mut trouble).await;
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

/// Plays a drill. After each step the world has to serve again.
async fn play(world: &Arc<World>, script: &Script, trouble: &mut Trouble) {
    let (begun, mut dice) = (clock::now(), world.dice("script"));
    for step in &script.steps {
        let at = clock::now().duration_since(begun);
        let planned = script::plan(step, &view(world).await, &mut dice);
        let mut actions = vec![Action::Say(format!("{} {:?}", step.deed.word(), planned.on))];
        actions.extend(planned.inject);
        if step.has_to_last(&actions) {
            actions.push(Action::Wait(step.lasts));
        }
        actions.extend(planned.heal);
        actions.extend([Action::Calm, Action::Wait(step.rest)]);
        carry_out(world, &actions, clock::now() + A_LONG_TIME).await;
        trouble.plans.push(Planned { at, actions });
    }
}

/// Does what was planned, if there is time for it.
async fn carry_out(world: &Arc<World>, actions: &[Action], until: Instant) -> bool {
    for action in actions {
        match action {
            Action::Wait(span) => {
                let left = until.duration_since(clock::now());
                clock::pause((*span).min(left)).await;
            }
            Action::Calm => {
                world.serves_within(SOON).await;
            }
            Action::Shut { host } => shut(world, host).await,
            action => perform(world, action.clone()),
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
    let owner = world
        .witness
        .seen()
        .turns
        .running(&world.parts[0].name)
        .map(|(_, turn)| turn.life.0.clone());
    let owner = owner.and_then(|host| world.seats.iter().position(|seat| seat.host == host));
    WorldView { nodes, leader: leader.map(|(_, nth)| nth), owner }
}

/// Ends a node in order, if it does not take too long.
async fn shut(world: &Arc<World>, host: &str) {
    let nth = world.place(host);
    if let Some(alive) = world.alive(nth) {
        let shut = alive.ask(PATIENCE, alive.node.shutdown()).await;
        world.trace.note(format_args!("{host} has shut itself down: {}", shut.is_some()));
    }
    world.stop(nth, Loss::Process);
}

fn perform(world: &Arc<World>, action: Action) {
    let nth = |host: &str| world.place(host);
    let name = |host: &str| world.seats[world.place(host)].name();
    match action {
        Action::Say(what) => world.trace.note(format_args!("nemesis {what}")),
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
        Action::Trap { host, call, after, loss } => world.trap(nth(&host), call, after, loss),
        Action::Start { host } => {
            let nth = nth(&host);
            world.seats[nth].disk.untrap();
            // A guardian's machine may have started it meanwhile, or no trap was sprung.
            if !world.seats[nth].is_up() {
                world.start(nth);
            }
        }
        Action::Freeze { host } => world.freeze(nth(&host)),
        Action::Thaw { host } => world.thaw(nth(&host)),
        Action::StallDisk { host, span } => world.seats[nth(&host)].disk.stall(span),
        Action::SlowDisk { host, takes } => world.seats[nth(&host)].slow_disk(takes),
        Action::FillDisk { host, room } => world.seats[nth(&host)].disk.set_room(room),
        Action::HandOver { to } => {
            let to = to.map(|host| name(&host));
            order(world, async move |node| drop(node.step_down(to.as_ref()).await));
        }
        Action::Remove { host, machine } => {
            drop(quorate_env::spawn(remove(world.clone(), nth(&host), machine)));
        }
        Action::Lossy { from, to, percent } => world.net.lossy(&from, &to, percent),
        Action::ClockRate { host, ppm } => world.seats[nth(&host)].set_clock_ppm(ppm),
        Action::WallJump { host, ms } => world.seats[nth(&host)].jump_wall(ms),
        Action::Drain { host } => drain(world, name(&host), Some("a drill".to_owned())),
        Action::Undrain { host } => drain(world, name(&host), None),
        Action::Move { to } => {
            let (one, to) = (world.parts[0].name.clone(), name(&to));
            order(world, async move |node| {
                drop(node.singletons().move_to(&one, Some(&to), None).await);
            });
        }
        Action::Wait(_) | Action::Calm | Action::Shut { .. } => {}
        Action::Restore => {
            panic!("a world has one log: who wants another one has to be told before")
        }
    }
}

fn drain(world: &World, whom: NodeName, why: Option<String>) {
    order(world, async move |node| drop(node.singletons().drain(&whom, why).await));
}

/// Has any node see to something. Whether it comes to anything, what nodes apply will tell.
fn order<F, Fut>(world: &World, act: F)
where
    F: FnOnce(Node) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    if let Some(asked) = world.seats.iter().find_map(|seat| seat.alive()) {
        asked.run(act(asked.node.clone()));
    }
}

/// Takes a node out that is down. It is tried for as long as it stays down, as its session has to end first.
async fn remove(world: Arc<World>, nth: usize, machine: bool) {
    let seat = world.seats[nth].clone();
    let name = seat.name();
    while !seat.is_up() {
        for alive in world.seats.iter().filter_map(|seat| seat.alive()) {
            if let Some(Ok(index)) = alive.ask(PATIENCE, alive.node.remove(&name)).await {
                world.trace.note(format_args!("{name} is taken out at {index}"));
                // Whoever is left may agree on what its build does not understand, and it may be up again.
                if seat.upgrade() && seat.is_up() {
                    world.stop(nth, Loss::Process);
                    world.start(nth);
                }
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
        seat.disk.untrap();
        seat.slow_disk(Duration::ZERO);
        seat.set_clock_ppm(0);
        seat.jump_wall(0);
        world.thaw(nth);
        if seat.upgrade() {
            // The newest build is installed where it is not yet.
            world.stop(nth, Loss::Process);
        }
        if !seat.is_up() {
            world.start(nth);
        }
    }
}
