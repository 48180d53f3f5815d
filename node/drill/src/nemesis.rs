//! The nemesis: a seeded schedule of everything that goes wrong in a cluster, and heals again.
//!
//! It is a pure generator. It looks at the world and answers with a plan, a list of actions; somebody else
//! performs them. Every plan names what it does, and leaves the world whole: no cut, no slow cable, no node
//! down. What is not in it are faults that a node may answer by stopping for good (a failing disk, rotten
//! bits, lying syncs); those belong to tests of their own, which then expect the stop.
//!
//! The faults are those that found bugs elsewhere: Jepsen's grudges (halves, bridge, majorities ring, one-way
//! cuts), FoundationDB's swizzle (links heal one by one, in any order), power cuts of all nodes at once.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

mod action;

pub use action::{Action, DiskCall, Loss};

/// What the nemesis sees of the world.
#[derive(Clone, Debug, Default)]
pub struct WorldView {
    /// All nodes.
    pub nodes: Vec<NodeView>,
    /// Which of them leads, if any seems to.
    pub leader: Option<usize>,
    /// Which of them runs the singleton that is looked at, if one is.
    pub owner: Option<usize>,
}

/// What the nemesis sees of a node.
#[derive(Clone, Debug)]
pub struct NodeView {
    /// The host that it runs on.
    pub host: String,
    /// Whether it runs.
    pub up: bool,
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Two groups that do not hear each other.
    Halves,
    /// Nobody hears the leader, and it hears nobody.
    LeaderAlone,
    /// The leader hears nobody, and is heard.
    LeaderDeaf,
    /// Nobody hears the leader, and it hears everybody.
    LeaderMute,
    /// One direction between two nodes.
    OneWay,
    /// Two groups that do not hear each other, and one node that both hear.
    Bridge,
    /// Everybody hears a majority, and no two the same one.
    MajoritiesRing,
    /// A process dies.
    Crash,
    /// One machine loses its power.
    PowerLossOfOne,
    /// All machines lose their power at once.
    PowerLossOfAll,
    /// The leader comes and goes.
    Flapping,
    /// Some cables become slow.
    SlowLinks,
    /// Connections break.
    Resets,
    /// A disk does not answer for a while.
    DiskStall,
    /// A disk answers, and takes its time.
    DiskSlow,
    /// A disk has no room left.
    DiskFull,
    /// Somebody has another voter lead.
    HandOver,
    /// A process dies and is away for so long that others do its work.
    Absence,
    /// A process is stopped, and goes on later, or is ended meanwhile by whoever guards it.
    Pause,
    /// A process dies and is taken out; then somebody starts it after all, or another machine in its place.
    Removal,
    /// A node dies in the middle of what it does to its disk.
    DeathInACall,
    /// A process ends in order, and starts again.
    Restart,
    /// Much of what is sent has to be sent again.
    LossyLinks,
    /// A clock goes wrong.
    ClockRate,
    /// The time of day jumps.
    WallJump,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::Halves,
        Self::LeaderAlone,
        Self::LeaderDeaf,
        Self::LeaderMute,
        Self::OneWay,
        Self::Bridge,
        Self::MajoritiesRing,
        Self::Crash,
        Self::PowerLossOfOne,
        Self::PowerLossOfAll,
        Self::Flapping,
        Self::SlowLinks,
        Self::Resets,
        Self::DiskStall,
        Self::DiskSlow,
        Self::DiskFull,
        Self::HandOver,
        Self::Absence,
        Self::Removal,
        Self::Pause,
        Self::DeathInACall,
        Self::Restart,
        Self::LossyLinks,
        Self::ClockRate,
        Self::WallJump,
    ];

    /// Whether it stops nodes; such a fault is never joined with another of its kind.
    fn stops_nodes(self) -> bool {
        matches!(
            self,
            Self::Crash
                | Self::PowerLossOfOne
                | Self::PowerLossOfAll
                | Self::Absence
                | Self::Removal
                | Self::Pause
                | Self::DeathInACall
                | Self::Restart
        )
    }

    /// Whether it cuts cables.
    fn cuts(self) -> bool {
        matches!(
            self,
            Self::Halves
                | Self::LeaderAlone
                | Self::LeaderDeaf
                | Self::LeaderMute
                | Self::OneWay
                | Self::Bridge
                | Self::MajoritiesRing
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// How long things last.
#[derive(Clone, Debug)]
pub struct Tempo {
    /// A fault, at least and at most.
    pub fault: (Duration, Duration),
    /// The peace after it.
    pub peace: (Duration, Duration),
}

impl Default for Tempo {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Self { fault: (millis(500), millis(6_000)), peace: (millis(300), millis(4_000)) }
    }
}

/// How long a node is away when others are to do its work: longer than a session may be silent.
const AWAY: (Duration, Duration) = (Duration::from_millis(3_500), Duration::from_millis(8_000));

/// How long a session may be silent.
const LEASE_MS: u64 = 2_000;
/// Within what the protocol bears with, which is 1 %.
const CLOCK_PPM: i32 = 9_500;
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// A plan, and when its time came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Since trouble began.
    pub at: Duration,
    /// What is done, one after the other.
    pub actions: Vec<Action>,
}

/// The generator of plans.
#[derive(Clone, Debug)]
pub struct Nemesis {
    faults: Vec<Fault>,
    tempo: Tempo,
    told: BTreeMap<Fault, u64>,
}

/// One fault, and how it ends.
#[derive(Default)]
struct Blow {
    inject: Vec<Action>,
    heal: Vec<Action>,
}

impl Nemesis {
    /// A nemesis that knows these faults.
    pub fn new(faults: impl IntoIterator<Item = Fault>, tempo: Tempo) -> Self {
        Self { faults: faults.into_iter().collect(), tempo, told: BTreeMap::new() }
    }

    /// How often each fault was planned.
    pub fn told(&self) -> &BTreeMap<Fault, u64> {
        &self.told
    }

    /// The next plan. One plan in four joins two faults of different kinds.
    pub fn next(&mut self, rng: &mut SmallRng, view: &WorldView) -> Vec<Action> {
        let mut plan = Vec::new();
        let Some(first) = self.choose(rng, |_| true) else {
            return vec![Action::Wait(span(rng, self.tempo.peace))];
        };
        let mut heal = self.strike(first, rng, view, &mut plan);
        let differs = |other: Fault| {
            !(other.stops_nodes() && first.stops_nodes() || other.cuts() && first.cuts())
                && other != first
                && other != Fault::Flapping
        };
        if rng.random_range(0..4) == 0
            && let Some(second) = self.choose(rng, differs)
        {
            plan.push(Action::Wait(span(rng, self.tempo.fault) / 2));
            heal.extend(self.strike(second, rng, view, &mut plan));
        }
        plan.push(Action::Wait(span(rng, self.tempo.fault)));
        // Half of the plans heal at once, half one thing after the other in any order.
        if rng.random_bool(0.5) {
            plan.extend(heal);
        } else {
            heal.shuffle(rng);
            for action in heal {
                plan.push(action);
                plan.push(Action::Wait(span(rng, (Duration::ZERO, Duration::from_millis(300)))));
            }
        }
        plan.push(Action::Say("whole".to_owned()));
        plan.push(Action::Wait(span(rng, self.tempo.peace)));
        plan
    }

    fn choose(&self, rng: &mut SmallRng, fits: impl Fn(Fault) -> bool) -> Option<Fault> {
        let fitting: Vec<_> = self.faults.iter().copied().filter(|fault| fits(*fault)).collect();
        (!fitting.is_empty()).then(|| fitting[rng.random_range(0..fitting.len())])
    }

    /// Appends a fault to a plan; tells how it ends.
    fn strike(
        &mut self,
        fault: Fault,
        rng: &mut SmallRng,
        view: &WorldView,
        plan: &mut Vec<Action>,
    ) -> Vec<Action> {
        *self.told.entry(fault).or_default() += 1;
        let blow = blow(fault, rng, view);
        plan.push(Action::Say(format!("{fault}")));
        plan.extend(blow.inject);
        blow.heal
    }
}

fn blow(fault: Fault, rng: &mut SmallRng, view: &WorldView) -> Blow {
    let hosts: Vec<&str> = view.nodes.iter().map(|node| node.host.as_str()).collect();
    if hosts.len() < 2 && fault.cuts() || hosts.is_empty() {
        return Blow::default();
    }
    // When nobody leads, whom it hits is left to chance.
    let leader = view.leader.filter(|leader| *leader < hosts.len());
    let leader = hosts[leader.unwrap_or_else(|| rng.random_range(0..hosts.len()))];
    let others = || hosts.iter().copied().filter(|host| *host != leader);
    let mut shuffled = hosts.clone();
    shuffled.shuffle(rng);
    match fault {
        Fault::Halves => {
            let (one, other) = shuffled.split_at(rng.random_range(1..shuffled.len()));
            cuts(between(one, other))
        }
        Fault::LeaderAlone => cuts(between(&[leader], &others().collect::<Vec<_>>())),
        Fault::LeaderDeaf => cuts(others().map(|other| (other, leader)).collect()),
        Fault::LeaderMute => cuts(others().map(|other| (leader, other)).collect()),
        Fault::OneWay => cuts(vec![(shuffled[0], shuffled[1])]),
        Fault::Bridge => {
            let (_, rest) = shuffled.split_at(1);
            let (one, other) = rest.split_at(rest.len() / 2);
            cuts(between(one, other))
        }
        Fault::MajoritiesRing => cuts(ring(&shuffled)),
        Fault::Crash => stop(view, rng, 1, |host, _| Action::Crash { host }),
        Fault::PowerLossOfOne => stop(view, rng, 1, |host, loss| Action::PowerLoss { host, loss }),
        Fault::PowerLossOfAll => {
            stop(view, rng, usize::MAX, |host, loss| Action::PowerLoss { host, loss })
        }
        Fault::Flapping => flapping(rng, leader, &others().collect::<Vec<_>>()),
        Fault::SlowLinks => some_links(rng, &hosts, |rng, from, to| {
            let extra = span(rng, (Duration::from_millis(20), Duration::from_millis(1500)));
            [extra, Duration::ZERO].map(|extra| Action::Slow {
                from: from.clone(),
                to: to.clone(),
                extra,
            })
        }),
        Fault::Resets => resets(rng, &hosts),
        Fault::DiskStall => {
            let host = if rng.random_bool(0.5) { leader } else { shuffled[0] };
            let span = span(rng, (Duration::from_millis(500), Duration::from_secs(10)));
            let inject = vec![Action::StallDisk { host: host.to_owned(), span }];
            Blow { inject, heal: vec![] }
        }
        Fault::DiskSlow => {
            let takes = span(rng, (Duration::from_millis(20), Duration::from_millis(250)));
            machine(rng, leader, shuffled[0], |host, is_hurt| {
                let takes = if is_hurt { takes } else { Duration::ZERO };
                Action::SlowDisk { host, takes }
            })
        }
        Fault::DiskFull => {
            let room = rng.random_range(0..=64 * 1024);
            machine(rng, leader, shuffled[0], |host, is_hurt| {
                let room = is_hurt.then_some(room);
                Action::FillDisk { host, room }
            })
        }
        Fault::HandOver => hand_over(rng, &hosts),
        Fault::Absence => {
            let mut blow = stop(view, rng, 1, |host, _| Action::Crash { host });
            blow.inject.push(Action::Wait(span(rng, AWAY)));
            blow
        }
        Fault::Pause => pause(rng, leader, shuffled[0]),
        Fault::Removal => {
            let mut blow = stop(view, rng, 1, |host, _| Action::Crash { host });
            if let Some(Action::Crash { host }) = blow.inject.first().cloned() {
                let machine = rng.random_bool(0.5);
                blow.inject.push(Action::Remove { host, machine });
                blow.inject.push(Action::Wait(span(rng, AWAY)));
            }
            blow
        }
        Fault::DeathInACall => {
            let call = DiskCall::ALL[rng.random_range(0..DiskCall::ALL.len())];
            let often = matches!(call, DiskCall::Write | DiskCall::Sync);
            let after = rng.random_range(0..if often { 100 } else { 4 });
            let loss = [Loss::Process, Loss::Unsynced, Loss::Torn][rng.random_range(0..3)];
            stop(view, rng, 1, |host, _| Action::Trap { host, call, after, loss })
        }
        Fault::Restart => stop(view, rng, 1, |host, _| Action::Shut { host }),
        Fault::LossyLinks => {
            let percent = rng.random_range(1..30);
            some_links(rng, &hosts, |_, from, to| {
                [percent, 0].map(|percent| Action::Lossy {
                    from: from.clone(),
                    to: to.clone(),
                    percent,
                })
            })
        }
        Fault::ClockRate => {
            let ppm = rng.random_range(-CLOCK_PPM..=CLOCK_PPM);
            machine(rng, leader, shuffled[0], |host, is_hurt| {
                let ppm = if is_hurt { ppm } else { 0 };
                Action::ClockRate { host, ppm }
            })
        }
        Fault::WallJump => {
            let ms = rng.random_range(-HOUR_MS..=HOUR_MS);
            machine(rng, leader, shuffled[0], |host, is_hurt| {
                let ms = if is_hurt { ms } else { 0 };
                Action::WallJump { host, ms }
            })
        }
    }
}

/// Hurts one machine, half of the time the leader's.
fn machine(
    rng: &mut SmallRng,
    leader: &str,
    other: &str,
    action: impl Fn(String, bool) -> Action,
) -> Blow {
    let host = if rng.random_bool(0.5) { leader } else { other };
    let action = |is_hurt| vec![action(host.to_owned(), is_hurt)];
    Blow { inject: action(true), heal: action(false) }
}

/// Stops a process a few times, half of the time the leader's: mostly for a moment, sometimes beyond its
/// lease.
fn pause(rng: &mut SmallRng, leader: &str, other: &str) -> Blow {
    let host = if rng.random_bool(0.5) { leader } else { other };
    let mut blow = Blow::default();
    for _ in 0..rng.random_range(1..4) {
        let most = [300, 2_500, 3 * LEASE_MS][rng.random_range(0..3)];
        blow.inject.push(Action::Freeze { host: host.to_owned() });
        blow.inject.push(Action::Wait(Duration::from_millis(rng.random_range(10..=most))));
        blow.inject.push(Action::Thaw { host: host.to_owned() });
        blow.inject.push(Action::Wait(span(rng, (Duration::ZERO, Duration::from_millis(800)))));
    }
    blow
}

/// A few changes of leadership, to somebody or to nobody in particular.
fn hand_over(rng: &mut SmallRng, hosts: &[&str]) -> Blow {
    let mut inject = Vec::new();
    for _ in 0..rng.random_range(1..5) {
        let to = hosts[rng.random_range(0..hosts.len())].to_owned();
        inject.push(Action::HandOver { to: Some(to).filter(|_| rng.random_bool(0.5)) });
        inject.push(Action::Wait(span(rng, (Duration::ZERO, Duration::from_millis(1_500)))));
    }
    Blow { inject, heal: vec![] }
}

pub(crate) fn between<'a>(one: &[&'a str], other: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (*a, *b)));
    pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
}

/// Everybody keeps its neighbours on a ring, as many on each side as make a majority with itself.
fn ring<'a>(hosts: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    let count = hosts.len();
    let reach = (count / 2).div_ceil(2);
    let mut links = Vec::new();
    for from in 0..count {
        for to in 0..count {
            let apart = (to + count - from) % count;
            if apart.min(count - apart) > reach {
                links.push((hosts[from], hosts[to]));
            }
        }
    }
    links
}

fn cuts(links: Vec<(&str, &str)>) -> Blow {
    let mut blow = Blow::default();
    for (from, to) in links {
        let (from, to) = (from.to_owned(), to.to_owned());
        blow.inject.push(Action::Cut { from: from.clone(), to: to.clone() });
        blow.heal.push(Action::Heal { from, to });
    }
    blow
}

/// Stops so many nodes of those that run, at most.
fn stop(
    view: &WorldView,
    rng: &mut SmallRng,
    count: usize,
    how: impl Fn(String, Loss) -> Action,
) -> Blow {
    let mut running: Vec<_> = view.nodes.iter().filter(|node| node.up).collect();
    running.shuffle(rng);
    // Half of the time it is the leader that goes first.
    if let Some(leader) = view.leader.and_then(|leader| view.nodes.get(leader))
        && rng.random_bool(0.5)
    {
        running.sort_by_key(|node| node.host != leader.host);
    }
    let mut blow = Blow::default();
    for node in running.into_iter().take(count) {
        let loss = if rng.random_bool(0.5) { Loss::Torn } else { Loss::Unsynced };
        blow.inject.push(how(node.host.clone(), loss));
        blow.heal.push(Action::Start { host: node.host.clone() });
    }
    blow
}

fn flapping(rng: &mut SmallRng, leader: &str, others: &[&str]) -> Blow {
    let mut inject = Vec::new();
    for _ in 0..rng.random_range(3..9) {
        for part in [cuts(between(&[leader], others)).inject, cuts(between(&[leader], others)).heal]
        {
            inject.extend(part);
            let short = (Duration::from_millis(50), Duration::from_millis(700));
            inject.push(Action::Wait(span(rng, short)));
        }
    }
    Blow { inject, heal: vec![] }
}

/// Hurts some directions, each in its own way, and heals them.
fn some_links(
    rng: &mut SmallRng,
    hosts: &[&str],
    mut both: impl FnMut(&mut SmallRng, String, String) -> [Action; 2],
) -> Blow {
    let mut blow = Blow::default();
    for from in hosts {
        for to in hosts.iter().filter(|to| *to != from) {
            if rng.random_bool(0.4) {
                let [inject, heal] = both(rng, (*from).to_owned(), (*to).to_owned());
                blow.inject.push(inject);
                blow.heal.push(heal);
            }
        }
    }
    blow
}

fn resets(rng: &mut SmallRng, hosts: &[&str]) -> Blow {
    let mut inject = Vec::new();
    for _ in 0..rng.random_range(1..6) {
        for (nth, a) in hosts.iter().enumerate() {
            for b in &hosts[nth + 1..] {
                if rng.random_bool(0.5) {
                    inject.push(Action::Reset { a: (*a).to_owned(), b: (*b).to_owned() });
                }
            }
        }
        inject.push(Action::Wait(span(rng, (Duration::ZERO, Duration::from_millis(400)))));
    }
    Blow { inject, heal: vec![] }
}

fn span(rng: &mut SmallRng, (least, most): (Duration, Duration)) -> Duration {
    rng.random_range(least..=most)
}
