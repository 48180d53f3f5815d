//! Scripts: what a drill does, step by step, to whoever leads or owns when a step begins.
//!
//! A step is a deed, whom it is done to, and for how long. [`plan`] makes actions of it for the world as it
//! is, and the actions that undo them; it draws where there is a choice, so a seed repeats it.
//!
//! Not here: what the words of a file mean (`node/cli`), and when a world is calm again.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::nemesis::{Action, Loss, WorldView, between};

/// A drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Script {
    /// What it is called.
    pub name: String,
    /// What it shows, in a sentence.
    pub about: String,
    /// How many nodes it is best shown on.
    pub nodes: usize,
    /// Disks keep what was not synced from the kernel, so that who is killed loses it.
    pub forgetful: bool,
    /// What is done, one after the other.
    pub steps: Vec<Step>,
}

/// One thing that is done and undone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What.
    pub deed: Deed,
    /// To whom.
    pub who: Who,
    /// For how long.
    pub lasts: Duration,
    /// How long the world is left alone once it is calm again.
    pub rest: Duration,
}

/// Whom a step is done to, when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// The node that runs the first singleton.
    Owner,
    /// The node that leads.
    Leader,
    /// One that neither leads nor owns, if there is such a one.
    Other,
    /// One of all.
    Any,
    /// As many as the others can do without, the owner among them.
    Minority,
    /// So many that the others are no majority.
    Majority,
    /// All.
    All,
    /// This one.
    Node(String),
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Deed {
    /// Its processes die, and start again when it is over.
    Kill,
    /// Its processes are stopped in their tracks, and go on.
    Pause,
    /// It ends in order, and starts again. One after the other, where there are several.
    Restart,
    /// Nobody hears it, and it hears nobody.
    Cut,
    /// It hears nobody, and is heard.
    Deafen,
    /// Nobody hears it, and it hears everybody.
    Mute,
    /// One other does not hear it.
    OneWay,
    /// Two groups that do not hear each other; it is in the smaller one.
    Halves,
    /// Two groups that do not hear each other, and it is heard by both.
    Bridge,
    /// It is cut off and heard again, many times.
    Flap,
    /// All that it sends and receives takes longer.
    Slow {
        /// How much longer, one way.
        by: Duration,
    },
    /// A share of what is sent to it has to be sent again.
    Lossy {
        /// Of a hundred segments.
        percent: u8,
    },
    /// Its clock goes faster, by so many millionths; below zero slower.
    Clock {
        /// How many.
        ppm: i32,
    },
    /// The time that it shows jumps.
    Jump {
        /// By so much; below zero back.
        ms: i64,
    },
    /// Its disk has no room left.
    FillDisk,
    /// Each sync of its disk takes so long.
    SlowDisk {
        /// How long.
        takes: Duration,
    },
    /// No sync of its disk is answered.
    StallDisk,
    /// Singletons leave it, and may come back.
    Drain,
    /// The first singleton moves to another node.
    Move,
    /// Another one leads.
    StepDown,
    /// All is saved and lost, and a new cluster begins with what was saved.
    Restore,
}

/// What is done, and undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Whom it concerns.
    pub on: Vec<String>,
    /// What is done.
    pub inject: Vec<Action>,
    /// What undoes it.
    pub heal: Vec<Action>,
}

impl Script {
    /// Whether a world can play it that has one log from its beginning to its end, as the simulation's have.
    pub fn keeps_the_log(&self) -> bool {
        self.steps.iter().all(|step| step.deed != Deed::Restore)
    }

    /// The first step that ends or stops processes, or loses what they wrote: what no cluster is asked to
    /// bear that others use.
    pub fn harms_processes(&self) -> Option<&Step> {
        self.steps.iter().find(|step| {
            matches!(step.deed, Deed::Kill | Deed::Pause | Deed::Restart | Deed::Restore)
        })
    }
}

impl Who {
    /// All who are not called by their own name.
    pub const ROLES: [Self; 7] = [
        Self::Owner,
        Self::Leader,
        Self::Other,
        Self::Any,
        Self::Minority,
        Self::Majority,
        Self::All,
    ];

    /// What they are called, in files.
    pub fn word(&self) -> &str {
        match self {
            Self::Owner => "owner",
            Self::Leader => "leader",
            Self::Other => "other",
            Self::Any => "any",
            Self::Minority => "minority",
            Self::Majority => "majority",
            Self::All => "all",
            Self::Node(name) => name,
        }
    }
}

impl Deed {
    /// What it is called, in files and on pages.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Restart => "restart",
            Self::Cut => "cut",
            Self::Deafen => "deafen",
            Self::Mute => "mute",
            Self::OneWay => "one-way",
            Self::Halves => "halves",
            Self::Bridge => "bridge",
            Self::Flap => "flap",
            Self::Slow { .. } => "slow",
            Self::Lossy { .. } => "lossy",
            Self::Clock { .. } => "clock",
            Self::Jump { .. } => "jump",
            Self::FillDisk => "fill-disk",
            Self::SlowDisk { .. } => "slow-disk",
            Self::StallDisk => "stall-disk",
            Self::Drain => "drain",
            Self::Move => "move",
            Self::StepDown => "step-down",
            Self::Restore => "restore",
        }
    }

    /// Whether it is an order that is carried out, rather than a fault that lasts.
    pub fn is_order(&self) -> bool {
        matches!(self, Self::Move | Self::StepDown | Self::Restore)
    }
}

impl Step {
    /// Whether it has to be let last, as what it comes to neither takes its time nor is over at once.
    pub fn has_to_last(&self, inject: &[Action]) -> bool {
        let takes_its_time = inject.iter().any(|action| matches!(action, Action::Wait(_)));
        !self.deed.is_order() && !takes_its_time
    }
}

/// What a step comes to in a world that looks like this.
pub fn plan(step: &Step, view: &WorldView, dice: &mut SmallRng) -> Plan {
    let all: Vec<&str> = view.nodes.iter().map(|node| node.host.as_str()).collect();
    let on = chosen(&step.who, view, &all, dice);
    let others: Vec<&str> = all.iter().copied().filter(|host| !on.contains(host)).collect();
    let mut plan =
        Plan { on: on.iter().map(|host| (*host).to_owned()).collect(), ..Plan::default() };
    let own = |action: &dyn Fn(String) -> Action| -> Vec<Action> {
        on.iter().map(|host| action((*host).to_owned())).collect()
    };
    let each_link = |action: &dyn Fn(String, String) -> Action| -> Vec<Action> {
        let all = links(&on, &others).into_iter();
        all.map(|(from, to)| action(from.to_owned(), to.to_owned())).collect()
    };
    match &step.deed {
        Deed::Kill => {
            plan.inject = own(&|host| Action::PowerLoss { host, loss: Loss::Unsynced });
            plan.heal = own(&|host| Action::Start { host });
        }
        Deed::Pause => {
            plan.inject = own(&|host| Action::Freeze { host });
            plan.heal = own(&|host| Action::Thaw { host });
        }
        Deed::Restart => {
            for host in &on {
                plan.inject.push(Action::Shut { host: (*host).to_owned() });
                plan.inject.push(Action::Wait(step.lasts));
                plan.inject.push(Action::Start { host: (*host).to_owned() });
                plan.inject.push(Action::Calm);
            }
        }
        Deed::Cut => plan.cut(links(&on, &others)),
        Deed::Deafen => plan.cut(pairs(&others, &on)),
        Deed::Mute => plan.cut(pairs(&on, &others)),
        Deed::OneWay => {
            let other = others.get(dice.random_range(0..others.len().max(1)));
            plan.cut(other.iter().flat_map(|other| pairs(&on[..1], &[other])).collect());
        }
        Deed::Halves => {
            let (few, many) = halves(&on, &others);
            plan.on = few.iter().map(|host| (*host).to_owned()).collect();
            plan.cut(between(&few, &many));
        }
        Deed::Bridge => {
            let (one, other) = others.split_at(others.len() / 2);
            plan.cut(between(one, other));
        }
        Deed::Flap => {
            let mut cut = Plan::default();
            cut.cut(links(&on, &others));
            let until = step.lasts.as_millis() as u64;
            let mut at = 0;
            while at < until {
                for part in [&cut.inject, &cut.heal] {
                    let span = dice.random_range(100..900);
                    plan.inject.extend(part.iter().cloned());
                    plan.inject.push(Action::Wait(Duration::from_millis(span)));
                    at += span;
                }
            }
        }
        Deed::Slow { by } => {
            let slow = |extra| each_link(&|from, to| Action::Slow { from, to, extra });
            (plan.inject, plan.heal) = (slow(*by), slow(Duration::ZERO));
        }
        Deed::Lossy { percent } => {
            let lossy = |percent| each_link(&|from, to| Action::Lossy { from, to, percent });
            (plan.inject, plan.heal) = (lossy(*percent), lossy(0));
        }
        Deed::Clock { ppm } => {
            plan.inject = own(&|host| Action::ClockRate { host, ppm: *ppm });
            plan.heal = own(&|host| Action::ClockRate { host, ppm: 0 });
        }
        Deed::Jump { ms } => {
            plan.inject = own(&|host| Action::WallJump { host, ms: *ms });
            plan.heal = own(&|host| Action::WallJump { host, ms: 0 });
        }
        Deed::FillDisk => {
            plan.inject = own(&|host| Action::FillDisk { host, room: Some(0) });
            plan.heal = own(&|host| Action::FillDisk { host, room: None });
        }
        Deed::SlowDisk { takes } => {
            plan.inject = own(&|host| Action::SlowDisk { host, takes: *takes });
            plan.heal = own(&|host| Action::SlowDisk { host, takes: Duration::ZERO });
        }
        Deed::StallDisk => {
            plan.inject = own(&|host| Action::StallDisk { host, span: step.lasts });
        }
        Deed::Drain => {
            plan.inject = own(&|host| Action::Drain { host });
            plan.heal = own(&|host| Action::Undrain { host });
        }
        Deed::Move => {
            let to = others.get(dice.random_range(0..others.len().max(1)));
            plan.inject.extend(to.map(|to| Action::Move { to: (*to).to_owned() }));
        }
        Deed::StepDown => plan.inject.push(Action::HandOver { to: None }),
        Deed::Restore => plan.inject.push(Action::Restore),
    }
    plan
}

impl Plan {
    fn cut(&mut self, links: Vec<(&str, &str)>) {
        for (from, to) in links {
            let (from, to) = (from.to_owned(), to.to_owned());
            self.inject.push(Action::Cut { from: from.clone(), to: to.clone() });
            self.heal.push(Action::Heal { from, to });
        }
    }

    /// Whether some majority of these nodes can still talk, each with each, while it lasts.
    pub fn leaves_quorum(&self, view: &WorldView) -> bool {
        let (mut out, mut cuts) = (BTreeSet::new(), BTreeSet::new());
        for action in &self.inject {
            match action {
                Action::Crash { host }
                | Action::PowerLoss { host, .. }
                | Action::Freeze { host }
                | Action::StallDisk { host, .. }
                | Action::FillDisk { host, room: Some(_) } => drop(out.insert(host.as_str())),
                Action::Cut { from, to } => {
                    cuts.insert((from.as_str(), to.as_str()));
                }
                // Mended at once, as flapping links are.
                Action::Heal { from, to } => drop(cuts.remove(&(from.as_str(), to.as_str()))),
                Action::Restore => return false,
                _ => {}
            }
        }
        let nodes = || view.nodes.iter().map(|node| node.host.as_str());
        let talk = |a: &str, b: &str| !cuts.contains(&(a, b)) && !cuts.contains(&(b, a));
        let majority = view.nodes.len() / 2 + 1;
        nodes().filter(|node| !out.contains(node)).any(|centre| {
            let near = nodes().filter(|node| !out.contains(node) && talk(centre, node));
            near.count() >= majority
        })
    }
}

/// All links, in each direction, of these with each other and with the others.
fn links<'a>(on: &[&'a str], others: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let mut links = between(on, others);
    links.extend(pairs(on, on).into_iter().filter(|(from, to)| from != to));
    links
}

fn pairs<'a>(from: &[&'a str], to: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    from.iter().flat_map(|a| to.iter().map(move |b| (*a, *b))).collect()
}

/// The smaller half has those that are meant, and others until it is as large as it may be.
fn halves<'a>(on: &[&'a str], others: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let few = (on.len() + others.len() - 1) / 2;
    let all: Vec<&str> = on.iter().chain(others).copied().collect();
    let (few, many) = all.split_at(few.max(1).min(all.len()));
    (few.to_vec(), many.to_vec())
}

fn chosen<'a>(
    who: &Who,
    view: &'a WorldView,
    all: &[&'a str],
    dice: &mut SmallRng,
) -> Vec<&'a str> {
    let mut drawn = all.to_vec();
    drawn.shuffle(dice);
    let at = |place: Option<usize>| place.and_then(|place| all.get(place).copied());
    let (owner, leader) = (at(view.owner), at(view.leader));
    let first = |host: Option<&'a str>| host.or(drawn.first().copied()).into_iter().collect();
    let with_owner = |count: usize| {
        let mut some = drawn.clone();
        some.sort_by_key(|host| Some(*host) != owner);
        some.truncate(count);
        some
    };
    match who {
        Who::Owner => first(owner),
        Who::Leader => first(leader),
        Who::Other => {
            let other = |host: &&&str| Some(**host) != owner && Some(**host) != leader;
            first(drawn.iter().find(other).copied())
        }
        Who::Any => first(None),
        Who::Minority => with_owner((all.len() - 1) / 2),
        Who::Majority => with_owner(all.len() / 2 + 1),
        Who::All => all.to_vec(),
        Who::Node(name) => all.iter().copied().filter(|host| host == name).collect(),
    }
}

mod built_in;

pub use built_in::{built_in, churn};
