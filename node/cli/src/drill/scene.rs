//! A drill from curtain to curtain: the world comes up, load is put on it, the steps are done and undone, and
//! what was seen becomes a story with a verdict.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quorate_drill::lives::{Turns, wrongs};
use quorate_drill::script::{Deed, Plan, Script, Step, plan};
use quorate_drill::story::{Done as Deeds, Letters, Stale, Story, Turn};
use quorate_drill::verdict;
use quorate_env::{sleep, spawn, timeout};
use quorate_http::code;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use serde_json::json;
use tokio::task::JoinHandle;

use super::door::Door;
use super::live::Live;
use super::load::{CLIENTS, Client, FILLERS, fill, restored};
use super::notes::{HOMECOMING, Notes};
use super::post::{silent, take_down};
use super::watch::watch;
use super::world::{PATIENCE, SINGLETONS, World};
use crate::fail::{Done, Fail};
use crate::output;
use crate::singletons;

/// How soon all must run again when a lease is over: what its wait takes, an election that is not the first
/// one, a process that starts, and a machine that does other things besides.
const BEYOND_LEASE: Duration = Duration::from_secs(4);
/// How long load runs before anything is done.
const PRELUDE: Duration = Duration::from_secs(1);
/// Calls that are about as many as a page can show.
const CALLS: u32 = 12_000;
const FASTEST: Duration = Duration::from_millis(60);

/// On what terms a drill is played.
pub(super) struct Terms<'a> {
    /// How soon all must run again, if that is not left to the lease.
    pub(super) bound: Option<Duration>,
    /// Data and logs are kept.
    pub(super) retain: bool,
    /// The cluster that is drilled, if it is not a throw-away one.
    pub(super) live: Option<&'a Live>,
}

/// What goes on beside a drill. It ends with it at the latest, whyever that ends.
#[derive(Default)]
struct Tasks(Vec<JoinHandle<()>>);

impl Tasks {
    fn begin(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.push(spawn(task));
    }

    /// Waits for those that know that they are to end.
    async fn come_home(mut self) {
        for task in &mut self.0 {
            let _ = timeout(HOMECOMING, task).await;
        }
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Plays it; an error is of the stage, and no verdict.
pub(super) async fn play(
    script: &Script,
    seed: u64,
    again: String,
    terms: Terms<'_>,
) -> Result<Story, Fail> {
    let mut world = match terms.live {
        None => World::begin(script.nodes, script.forgetful).await?,
        Some(live) => World::visit(live).await?,
    };
    let bound = terms.bound.unwrap_or(world.lease() + BEYOND_LEASE);
    let played = acts(&mut world, script, seed, again, bound).await;
    if let Some(kept) = world.end(terms.retain).await {
        output::talk(&format!("data and logs are in {}", kept.display()));
    }
    played
}

async fn acts(
    world: &mut World,
    script: &Script,
    seed: u64,
    again: String,
    bound: Duration,
) -> Result<Story, Fail> {
    let (notes, nodes) = (Notes::begin(), world.nodes());
    let length: Duration = script.steps.iter().map(|step| step.lasts + step.rest).sum();
    let pace = (length * u32::try_from(CLIENTS).unwrap_or(1) / CALLS).max(FASTEST);
    let mut tasks = Tasks::default();
    for door in nodes.clone() {
        tasks.begin(watch(notes.clone(), door.clone()));
        if world.is_own() {
            tasks.begin(take_down(notes.clone(), door));
        }
    }
    for number in 1..=CLIENTS {
        tasks.begin(Client::new(number, seed, notes.clone(), &nodes, pace).live());
    }
    let mut story = Story {
        drill: script.name.clone(),
        about: script.about.clone(),
        seed,
        again,
        nodes: nodes.iter().map(|door| door.name.clone()).collect(),
        lease_ms: world.lease().as_millis() as u64,
        bound_ms: bound.as_millis() as u64,
        ..Story::default()
    };
    world.wait(PRELUDE).await?;
    let mut dice = SmallRng::seed_from_u64(seed);
    for step in &script.steps {
        let done = act(world, &notes, step, &mut dice).await?;
        tell(&done);
        let never = done.calm.is_none();
        story.done.push(done);
        if never {
            // What comes after would say nothing that is not known by now.
            break;
        }
        world.sizes(&notes);
        late_writes(world, &notes, &nodes).await?;
        world.wait(step.rest).await?;
    }
    reader(world, &notes).read_all(bound).await;
    let silent = if world.is_own() { Some(silent(&notes, &nodes, bound).await) } else { None };
    notes.over();
    tasks.come_home().await;
    story.took_ms = notes.ms();
    let turns = world.turns()?;
    if world.is_own() {
        story.replicas = Some(world.replicas(bound).await);
    }
    story.accuse(&wrongs(&turns));
    story.turns = shown(&notes, &turns);
    let sheet = notes.take();
    (story.probes, story.reigns) = (sheet.probes, sheet.reigns);
    (story.calls, story.stale, story.sizes) = (sheet.calls, sheet.stale, sheet.sizes);
    story.letters = silent.map(|silent| {
        let (_, arrived) = sheet.mail.counts();
        let wrongs = sheet.mail.finish().into_iter().map(|wrong| wrong.what).collect();
        Letters { arrived, wrongs, silent }
    });
    story.checks = verdict::judge(&story, &sheet.records);
    Ok(story)
}

/// One step: it is done, lasts, is undone, and it is seen when all is calm again.
async fn act(
    world: &mut World,
    notes: &Notes,
    step: &Step,
    dice: &mut SmallRng,
) -> Result<Deeds, Fail> {
    let view = world.view(notes)?;
    let planned = plan(step, &view, dice);
    let Plan { on, inject, heal } = &planned;
    if inject.is_empty() {
        let why =
            format!("`{}` comes to nothing among {} nodes", step.deed.word(), view.nodes.len());
        return Err(Fail::new(code::DRILL_FAILED, why));
    }
    // What is younger than a backup is lost with all the rest, so nobody is to be told of such.
    let is_lost = step.deed == Deed::Restore;
    let mut before = None;
    if is_lost {
        notes.still(true);
        sleep(HOMECOMING / 2).await;
        let held = reader(world, notes).read_all(PATIENCE).await;
        before = Some((held, notes.moment()));
    }
    let from = notes.ms();
    for action in inject {
        world.perform(action, step.lasts).await?;
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mut fillers = Tasks::default();
    if step.deed == Deed::FillDisk {
        for number in 1..=FILLERS {
            fillers.begin(fill(number, world.nodes(), is_over.clone()));
        }
    }
    if step.has_to_last(inject) {
        world.wait(step.lasts).await?;
    }
    for action in heal {
        world.perform(action, step.lasts).await?;
    }
    is_over.store(true, Ordering::Relaxed);
    fillers.come_home().await;
    let until = notes.ms();
    let calm = world.calm(PATIENCE).await?.then(|| notes.ms());
    if let Some((before, asked)) = before {
        let began = notes.moment();
        let after = reader(world, notes).read_all(PATIENCE).await;
        restored(notes, &before, &after, asked, began);
        notes.still(false);
    }
    Ok(Deeds {
        deed: step.deed.word().to_owned(),
        what: told(&step.deed, on),
        on: on.clone(),
        from,
        until,
        calm,
        quorum: planned.leaves_quorum(&view),
    })
}

/// One more client, who only reads.
fn reader(world: &World, notes: &Notes) -> Client {
    Client::new(CLIENTS + 1, 0, notes.clone(), &world.nodes(), FASTEST)
}

fn told(deed: &Deed, on: &[String]) -> String {
    let whom = on.join(", ");
    match deed {
        Deed::Kill => format!("{whom} killed"),
        Deed::Pause => format!("{whom} stopped in its tracks"),
        Deed::Restart => format!("{whom} restarted"),
        Deed::Cut => format!("{whom} cut off"),
        Deed::Deafen => format!("{whom} hears nobody"),
        Deed::Mute => format!("nobody hears {whom}"),
        Deed::OneWay => format!("one does not hear {whom}"),
        Deed::Halves => format!("{whom} in the smaller half"),
        Deed::Bridge => format!("two halves, and {whom} hears both"),
        Deed::Flap => format!("the links of {whom} come and go"),
        Deed::Slow { by } => format!("the links of {whom} take {} ms longer", by.as_millis()),
        Deed::Lossy { percent } => format!("{percent} % lost on the links of {whom}"),
        Deed::Clock { ppm } => format!("the clock of {whom} off by {ppm} ppm"),
        Deed::Jump { ms } => format!("the time of day on {whom} off by {} s", ms / 1000),
        Deed::FillDisk => format!("the disk of {whom} full"),
        Deed::SlowDisk { takes } => format!("a sync on {whom} takes {} ms", takes.as_millis()),
        Deed::StallDisk => format!("the disk of {whom} does not answer"),
        Deed::Drain => format!("{whom} drained"),
        Deed::Move => format!("moved away from {whom}"),
        Deed::StepDown => "another one leads".to_owned(),
        Deed::Restore => "all lost, and restored".to_owned(),
    }
}

/// Says what was done, as it goes.
fn tell(done: &Deeds) {
    let after = match done.calm {
        Some(calm) => format!("calm after {:.1} s", (calm - done.until) / 1000.0),
        None => format!("not calm in {} s; --retain keeps the logs", PATIENCE.as_secs()),
    };
    let seconds = (done.until - done.from) / 1000.0;
    output::talk(&format!(
        "{:6.1}s  {} for {seconds:.1} s; {after}",
        done.from / 1000.0,
        done.what
    ));
}

/// Has the owner before the present one write what it may not any more.
async fn late_writes(world: &mut World, notes: &Notes, nodes: &[Door]) -> Done {
    let turns = world.turns()?;
    for name in SINGLETONS {
        let Some([.., former, _]) = turns.get(name).map(Vec::as_slice) else { continue };
        let path = format!("{}/checkpoint", singletons::path(name));
        let body = json!({ "epoch": former.epoch, "state": "late" }).to_string();
        for door in nodes {
            let answer = door.ask("PUT", &path, &body, HOMECOMING).await;
            let refused = answer.and_then(|(status, body)| match status {
                200 => Some(false),
                _ if body["code"] == code::NOT_GRANTED.name() => Some(true),
                _ => None,
            });
            let (name, epoch) = (name.to_owned(), former.epoch);
            notes.stale(Stale { at: notes.ms(), name, epoch, refused });
        }
    }
    Ok(())
}

fn shown(notes: &Notes, turns: &Turns) -> Vec<Turn> {
    let all = turns.iter().flat_map(|(name, turns)| turns.iter().map(move |turn| (name, turn)));
    all.map(|(name, turn)| Turn {
        name: name.clone(),
        epoch: turn.epoch,
        node: turn.node.clone(),
        from: notes.ms_of(turn.first.max(notes.began())),
        until: notes.ms_of(turn.last),
    })
    .collect()
}
