//! A whole world: nodes, clients, faults and witnesses in one paused runtime, decided by one seed.
//!
//! ```text
//!   peace ──▶ faults, clients and processes, so many seconds ──▶ heal ──▶ serve ──▶ converge ──▶ judge
//! ```
//!
//! A node lives in its seat, which is its machine; a crash ends the life and leaves the seat. Clients are
//! outside of all nodes: they hold a node as a browser holds a server, lose it without being told why, and
//! count what they were not answered as unknown. What they ask and are told goes to the history; what nodes
//! apply goes to the witness; both are judged at the end.
//!
//! Not here: what a fault is (`nemesis`), and what is right (`check`).
//!
//! I1 to I8, I10 to I13 and linearizability are checked; that a healed cluster serves again within ten
//! seconds, and that its singletons run, is, too (L1). So is that the rules of the topology are obeyed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quorate::{Ground, Level, Node};
use quorate_drill::history::hash_of;
use quorate_drill::nemesis::{DiskCall, Fault, Loss, Planned, Tempo};
use quorate_drill::script::Script;
use quorate_vocab::Name;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::RngSeed;
use tokio::time::Instant;

use crate::check::Violation;
use crate::clock;
use crate::history::History;
use crate::net::{SimNet, Weather};
use crate::trace::{Keep, Trace};

mod available;
mod bearing;
mod client;
mod counting;
mod end;
mod fate;
mod guardian;
mod lives;
mod locking;
mod operators;
mod panics;
mod processes;
mod rare;
mod seat;
mod stage;
mod tenant;
mod topology;
mod troupe;
mod witness;

pub use available::Clashes;
use fate::Trouble;
use guardian::Guardian;
pub use rare::Rare;
use seat::{Alive, Seat, Start};
pub use stage::{Claimed, Ended, Stage};
use witness::Witness;

/// How long a client waits for a node, in true time: longer than a node's own patience.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a new cluster may take to begin, however many nodes begin in one moment.
const BEGINNING: Duration = Duration::from_secs(30);
/// When a node that found no room on its disk is started again.
const START_AGAIN: Duration = Duration::from_millis(250);

/// A deliberate bug.
#[cfg(feature = "mutants")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// The journal acknowledges before its sync.
    AckBeforeSync,
    /// A restarted leader goes on without an election.
    LeaderRestore,
    /// A follower believes to be as young as the last append of its leader.
    YoungByAppend,
    /// One of the hall's.
    Hall(quorate::Bug),
}

/// No deliberate bug is built in.
#[cfg(not(feature = "mutants"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {}

#[cfg(feature = "mutants")]
impl Mutant {
    /// All of them, each with its word on the command line.
    fn all() -> impl Iterator<Item = (Self, &'static str)> {
        let own = [
            (Self::AckBeforeSync, "ack-before-sync"),
            (Self::LeaderRestore, "leader-restore"),
            (Self::YoungByAppend, "young-by-append"),
        ];
        own.into_iter().chain(quorate::Bug::ALL.map(|(bug, word)| (Self::Hall(bug), word)))
    }

    /// Reads a word of the command line.
    pub fn from_word(word: &str) -> Result<Self, String> {
        let found = Self::all().find(|(_, one)| *one == word).map(|(mutant, _)| mutant);
        found.ok_or_else(|| {
            let words: Vec<_> = Self::all().map(|(_, word)| word).collect();
            format!("it is one of {words:?}")
        })
    }

    /// The word of the command line.
    pub fn word(self) -> &'static str {
        Self::all().find(|(mutant, _)| *mutant == self).map_or("", |(_, word)| word)
    }
}

#[cfg(not(feature = "mutants"))]
impl Mutant {
    /// Reads a word of the command line: there is none.
    pub fn from_word(_word: &str) -> Result<Self, String> {
        Err("this build has no bug to choose; build with --features mutants".to_owned())
    }

    /// The word of the command line.
    pub fn word(self) -> &'static str {
        match self {}
    }
}

/// What kind of trouble a world has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Every fault that there is, some seconds apart.
    Everything,
    /// Power cuts of all machines in quick succession, stalled disks and slow cables: what a restart
    /// believes matters often.
    PowerCuts,
    /// More nodes than voters, of which one is away for long or taken out again and again: who votes
    /// changes often, and who leads.
    Spares,
    /// Some of all faults, drawn for each seed, at a tempo and with a load that are drawn, too. What never
    /// comes together where everything may happen comes together where little else does.
    Swarm,
    /// Twenty to fifty nodes, of which five vote.
    Crowd,
}

impl Plan {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Everything, Self::PowerCuts, Self::Spares, Self::Swarm, Self::Crowd];

    /// Reads a word of the command line.
    pub fn from_word(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|plan| plan.word() == word);
        found.ok_or_else(|| "it is everything, power-cuts, spares, swarm or crowd".to_owned())
    }

    /// The word of the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Everything => "everything",
            Self::PowerCuts => "power-cuts",
            Self::Spares => "spares",
            Self::Swarm => "swarm",
            Self::Crowd => "crowd",
        }
    }

    /// How many of so many nodes shall vote.
    fn voters(self, nodes: usize) -> usize {
        match self {
            Self::Spares => nodes.min(3),
            Self::Swarm | Self::Crowd => nodes.min(5),
            Self::Everything | Self::PowerCuts => nodes,
        }
    }

    fn faults(self) -> Vec<Fault> {
        match self {
            Self::Everything | Self::Swarm | Self::Crowd => Fault::ALL.to_vec(),
            Self::PowerCuts => vec![Fault::PowerLossOfAll, Fault::DiskStall, Fault::SlowLinks],
            Self::Spares => vec![
                Fault::Absence,
                Fault::Removal,
                Fault::HandOver,
                Fault::LeaderAlone,
                Fault::PowerLossOfAll,
                Fault::SlowLinks,
            ],
        }
    }

    fn tempo(self) -> Tempo {
        let millis = Duration::from_millis;
        match self {
            Self::Everything | Self::Spares | Self::Swarm | Self::Crowd => Tempo::default(),
            Self::PowerCuts => {
                Tempo { fault: (millis(100), millis(600)), peace: (millis(1_000), millis(3_000)) }
            }
        }
    }
}

/// Which builds nodes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builds {
    /// The newest everywhere.
    Newest,
    /// On some machines one that understands less. It is replaced when the machine is down for the second
    /// time, or when the trouble is over.
    Mixed,
}

impl Builds {
    /// What a machine begins with.
    fn first(self, seed: u64) -> Level {
        match self {
            Self::Mixed if seed.is_multiple_of(2) => Level::Three,
            _ => Level::NEWEST,
        }
    }
}

/// What a run is like. The seed decides the rest.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What kind of trouble there is; from it come the faults and the tempo.
    pub plan: Plan,
    /// How many nodes.
    pub nodes: usize,
    /// How many of them vote: 1, 3, 5 or 7.
    pub voters: usize,
    /// How long a voter may be without a session before another votes in its place.
    pub replace_after: Duration,
    /// For how long there are faults.
    pub seconds: u64,
    /// How many clients.
    pub clients: usize,
    /// Which faults there are.
    pub faults: Vec<Fault>,
    /// How long faults last.
    pub tempo: Tempo,
    /// What is done, if it is not to be drawn.
    pub plans: Option<Vec<Planned>>,
    /// The drill that is played instead of what the nemesis would do.
    pub script: Option<Script>,
    /// Whether the nodes' clocks run at different rates.
    pub drifts: bool,
    /// How often in a thousand polls a ready task is put behind the others.
    pub deferrals_per_mille: u32,
    /// How often in a million polls a ready task is held for a while.
    pub holds_per_million: u32,
    /// Which builds the nodes begin with.
    pub builds: Builds,
    /// The deliberate bug, if there is to be one.
    pub mutant: Option<Mutant>,
    /// How much of the trace is kept.
    pub keep: Keep,
}

impl Settings {
    /// A minute of trouble; how many clients there are, and how clocks and schedules are, the seed says.
    pub fn new(seed: u64, nodes: usize, plan: Plan) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed_of(seed, "settings"));
        let drawn = Self {
            seed,
            plan,
            nodes,
            voters: plan.voters(nodes),
            replace_after: Duration::from_secs(3),
            seconds: 60,
            clients: rng.random_range(3..=6),
            faults: plan.faults(),
            tempo: plan.tempo(),
            plans: None,
            script: None,
            drifts: rng.random_bool(0.7),
            deferrals_per_mille: [0, 5, 20, 80][rng.random_range(0..4)],
            holds_per_million: 0,
            builds: Builds::Newest,
            mutant: None,
            keep: Keep::Nothing,
        };
        if plan == Plan::Swarm { drawn.swarmed() } else { drawn }
    }

    /// With some of the faults, and a tempo and a load of its own.
    fn swarmed(mut self) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed_of(self.seed, "swarm"));
        let share = rng.random_range(0.1..0.9);
        self.faults.retain(|_| rng.random_bool(share));
        if self.faults.is_empty() {
            self.faults.push(Fault::ALL[rng.random_range(0..Fault::ALL.len())]);
        }
        let mut span = |least: u64, most: u64| {
            let first = rng.random_range(least..most);
            (Duration::from_millis(first), Duration::from_millis(rng.random_range(first..=most)))
        };
        self.tempo = Tempo { fault: span(50, 8_000), peace: span(50, 8_000) };
        self.clients = rng.random_range(1..=10);
        self.holds_per_million = [0, 0, 20, 200][rng.random_range(0..4)];
        if rng.random_bool(0.3) {
            self.builds = Builds::Mixed;
        }
        self.replace_after = Duration::from_secs(rng.random_range(2..=20));
        if self.nodes == 7 && rng.random_bool(0.5) {
            self.voters = 7;
        }
        self
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The hash of all that happened.
    pub hash: u64,
    /// How much happened.
    pub events: u64,
    /// What must not have been.
    pub violations: Vec<Violation>,
    /// How the clients' operations ended.
    pub operations: Operations,
    /// How many letters were sent to names, and how many arrived.
    pub letters: (u64, u64),
    /// How many local reads knew how old they were, and how many did not.
    pub ages: (u64, u64),
    /// What became of singletons.
    pub singletons: Singletons,
    /// What became of available names.
    pub clashes: Clashes,
    /// How often each fault was done.
    pub faults: BTreeMap<Fault, u64>,
    /// What was done, and when.
    pub plans: Vec<Planned>,
    /// How often what is rare came.
    pub rare: BTreeMap<Rare, u64>,
    /// How many lives the nodes had together.
    pub lives: u64,
    /// Up to which index the log was applied.
    pub entries: u64,
    /// How much time passed in the world.
    pub simulated: Duration,
    /// The trace, as far as it was kept.
    pub lines: Vec<String>,
}

/// What became of singletons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Singletons {
    /// How many grants there were.
    pub grants: u64,
    /// How many turns.
    pub turns: u64,
    /// How many calls were answered, were never seen, and are in doubt.
    pub calls: [u64; 3],
    /// How many deeds took effect, and how many were refused as stale.
    pub deeds: (u64, u64),
    /// How often a guardian ended its node.
    pub ended: u64,
    /// How long it took after the heal until all ran, at most.
    pub again: Duration,
}

/// How operations ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// With an answer that did or found something.
    pub answered: u64,
    /// With a refusal by the registry.
    pub refused: u64,
    /// Certainly without effect.
    pub not_done: u64,
    /// Nobody knows.
    pub unknown: u64,
}

/// Runs one world from its beginning to its judgement.
pub fn run(settings: Settings) -> Outcome {
    within(settings, async |world: &Arc<World>| fate::rule(world).await)
}

/// Runs one world whose trouble is not drawn, but told: `story` does what it does, and then everything is
/// healed and judged as ever.
pub fn tell(settings: Settings, story: impl AsyncFnOnce(Stage)) -> Outcome {
    within(settings, async |world: &Arc<World>| {
        story(Stage::new(world.clone())).await;
        fate::heal(world);
        Trouble::default()
    })
}

fn within(settings: Settings, trouble: impl AsyncFnOnce(&Arc<World>) -> Trouble) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&settings.seed.to_le_bytes()))
        .build()
        .expect("a runtime without drivers needs nothing from the system");
    let panics = panics::watch();
    let mut outcome = runtime.block_on(World::live(settings, trouble));
    // What is left of the nodes goes with the runtime, and must not panic either.
    drop(runtime);
    for what in panics.seen() {
        let violation = Violation::new("panic", format_args!("{what}"));
        outcome.violations.push(violation);
    }
    outcome
}

/// Everything that all parts of a world share.
struct World {
    settings: Settings,
    origin: Instant,
    trace: Trace,
    history: History,
    net: SimNet,
    seats: Vec<Arc<Seat>>,
    witness: Witness,
    clashes: available::Tally,
    /// The singletons that every node offers to run.
    parts: Vec<troupe::Part>,
    /// How often a guardian ended its node.
    ended_by_guardians: AtomicU64,
    /// Clients and processes come to an end.
    closing: AtomicBool,
    lives: AtomicU64,
}

impl World {
    fn new(settings: Settings) -> Arc<Self> {
        let trace = Trace::new(settings.keep);
        let history = History::new(trace.clone());
        let weather = Weather::default();
        let net = SimNet::new(seed_of(settings.seed, "net"), weather, trace.clone());
        let seats: Vec<_> =
            (1..=settings.nodes).map(|nth| Arc::new(Seat::new(nth, &settings, &trace))).collect();
        let hosts: BTreeSet<String> = seats.iter().map(|seat| seat.host.clone()).collect();
        let witness = Witness::new(trace.clone(), history.clone(), hosts, settings.voters);
        let origin = clock::begin();
        let mut dice = SmallRng::seed_from_u64(seed_of(settings.seed, "parts"));
        let parts = troupe::parts(&mut dice, settings.nodes);
        Arc::new(Self {
            settings,
            origin,
            trace,
            history,
            net,
            seats,
            witness,
            clashes: available::Tally::default(),
            parts,
            ended_by_guardians: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            lives: AtomicU64::new(0),
        })
    }

    async fn live(settings: Settings, trouble: impl AsyncFnOnce(&Arc<Self>) -> Trouble) -> Outcome {
        let world = Self::new(settings);
        for nth in 0..world.seats.len() {
            world.start(nth);
        }
        let mut outcome = Outcome::default();
        if world.serves_within(BEGINNING).await {
            let begun = [
                client::begin(&world),
                tenant::begin(&world),
                counting::begin(&world),
                locking::begin(&world),
                processes::begin(&world),
                available::begin(&world),
                operators::begin(&world),
                vec![bearing::begin(&world), topology::begin(&world)],
            ];
            Trouble { faults: outcome.faults, plans: outcome.plans } = trouble(&world).await;
            world.closing.store(true, Ordering::Relaxed);
            for task in begun.into_iter().flatten() {
                if let Err(error) = task.await {
                    world.witness.violate("world", format_args!("a client ended with {error}"));
                }
            }
            end::settle(&world).await;
            available::settle(&world).await;
            topology::settle(&world).await;
        } else {
            world.witness.violate("L1", format_args!("the cluster did not begin"));
        }
        end::judge(&world, &mut outcome);
        world.seats.iter().for_each(|seat| seat.leave());
        outcome
    }

    /// Begins a life in a seat.
    fn start(self: &Arc<Self>, nth: usize) {
        let seat = self.seats[nth].clone();
        let door = self.net.host(&seat.host);
        let Start { life, number, config, mut ground } =
            seat.begin(&self.settings, self.origin, door);
        ground.sentinel = Some(Guardian::begin(self, nth, number, &life));
        self.lives.fetch_add(1, Ordering::Relaxed);
        self.trace.note(format_args!("life {} {number} begins", seat.host));
        self.look_at_cables();
        let world = self.clone();
        quorate_env::spawn(life.scope(async move {
            let host = &world.seats[nth].host;
            let started = loop {
                match Node::start_on(config.clone(), again(&ground)).await {
                    // Its disk was filled while it was down. It is started again until there is room.
                    Err(error) if world.seats[nth].disk.is_limited() => {
                        world
                            .trace
                            .note(format_args!("life {host} {number} does not start: {error}"));
                        clock::pause(START_AGAIN).await;
                    }
                    started => break started,
                }
            };
            match started {
                Ok(node) => world.started(nth, number, node),
                Err(error) => {
                    let what = format_args!("life {number} of {host} did not start: {error}");
                    world.witness.violate("start", what);
                }
            }
        }));
    }

    fn started(self: &Arc<Self>, nth: usize, number: u64, node: Node) {
        let seat = &self.seats[nth];
        let recovery = node.recovery();
        self.trace.note(format_args!("life {} {number} runs from {recovery:?}", seat.host));
        if !seat.started(number, node) {
            return;
        }
        let Some(alive) = seat.alive() else { return };
        alive.run(witness::follow(self.clone(), alive.clone()));
        alive.run(witness::feel_pulse(self.clone(), alive.clone()));
        alive.run(topology::watch(self.clone(), alive.clone()));
        alive.run(troupe::offer(Arc::downgrade(self), nth, alive.clone()));
    }

    /// A node is stopped, and with `power` its whole machine.
    fn stop(&self, nth: usize, loss: Loss) {
        let seat = &self.seats[nth];
        if !seat.is_up() {
            return;
        }
        self.trace.note(format_args!("life {} ends by {loss:?}", seat.host));
        if loss == Loss::Process {
            self.net.crash(&seat.host);
        } else {
            self.net.vanish(&seat.host);
        }
        let life = (seat.host.clone(), seat.number());
        seat.crash(loss);
        self.witness.died(&life);
        self.look_at_cables();
    }

    /// A node dies in the middle of a call of its disk.
    fn trap(self: &Arc<Self>, nth: usize, call: DiskCall, after: u32, loss: Loss) {
        let sprung = self.seats[nth].disk.trap(call, after);
        let world = Arc::downgrade(self);
        drop(quorate_env::spawn(async move {
            // An error means that the trap was taken away.
            if let (Ok(()), Some(world)) = (sprung.await, world.upgrade()) {
                world.witness.seen().rare.died_in(call);
                world.stop(nth, loss);
            }
        }));
    }

    /// A node is stopped, as SIGSTOP does it: nothing of it runs, and its connections stay.
    fn freeze(&self, nth: usize) {
        self.trace.note(format_args!("{} is frozen", self.seats[nth].host));
        self.seats[nth].freeze();
    }

    /// A node that was stopped goes on, if nobody has ended it meanwhile.
    fn thaw(&self, nth: usize) {
        let host = &self.seats[nth].host;
        self.trace.note(format_args!("{host} goes on"));
        // What it looked at last is older than it knows.
        self.witness.seen().topology.woke(host);
        self.seats[nth].thaw();
    }

    /// Tells the witness who can speak to whom now.
    fn look_at_cables(&self) {
        let down = |seat: &&Arc<Seat>| !seat.is_up();
        let down = self.seats.iter().filter(down);
        let down = down.map(|seat| seat.host.clone()).collect();
        let cuts = self.net.cuts().into_iter().collect();
        self.witness.connected(&down, &cuts);
    }

    /// Which seat is on a host.
    fn place(&self, host: &str) -> usize {
        let place = self.seats.iter().position(|seat| seat.host == *host);
        place.expect("who plans knows only our hosts")
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    fn alive(&self, nth: usize) -> Option<Alive> {
        self.seats[nth].alive()
    }

    /// A generator of its own for each part of the world, so that one drawing more changes no other.
    fn dice(&self, part: &str) -> SmallRng {
        SmallRng::seed_from_u64(seed_of(self.settings.seed, part))
    }
}

fn seed_of(seed: u64, part: &str) -> u64 {
    hash_of(format!("{seed}/{part}").as_bytes())
}

fn name(text: impl AsRef<str>) -> Name {
    Name::new(text).expect("the world's own names are names")
}

/// The same doors, for another start.
fn again(ground: &Ground) -> Ground {
    let Ground { identity, disk, shelf, shelf_replaced, net, sentinel } = ground;
    Ground {
        identity: identity.clone(),
        disk: disk.clone(),
        shelf: shelf.clone(),
        shelf_replaced: shelf_replaced.clone(),
        net: net.clone(),
        sentinel: sentinel.clone(),
    }
}
