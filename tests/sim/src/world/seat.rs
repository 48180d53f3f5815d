//! A seat: where one node lives, life after life. The machine, not the process.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate::{Config, Cookie, Ground, Identity, Level, Node};
use quorate_env::{Life, LifeConfig, Net};
use quorate_storage::StorageError;
use quorate_vocab::{Boot, ClusterId, NodeId, NodeName};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Mutant, Settings, seed_of};
use crate::clock;
use crate::disk::{DiskFaults, SimDisk};
use crate::shelf::SimShelf;
use crate::trace::Trace;
use quorate_drill::nemesis::Loss;

/// Where every node's mesh listens.
const PORT: u16 = 4747;

/// How far the wall clocks of machines without a good time server are off.
const WALL_SKEWS_NANOS: std::ops::RangeInclusive<i64> = -5_000_000_000..=5_000_000_000;

/// Who rolls a newer build out comes to a machine when it has had so many lives.
const LIVES_OF_A_BUILD: u64 = 2;
/// How long the segments of journals are: short enough for a minute to see some come and go, and as they are.
const SEGMENT_BYTES: [u64; 4] = [16 << 10, 64 << 10, 256 << 10, 8 << 20];
/// After how many entries the shelf is visited: it lags behind the log, or leads where a power cut took that.
const SHELVE_EVERY: [u64; 3] = [2, 8, 32];

/// One node's machine: what outlives its process.
pub(super) struct Seat {
    pub(super) host: String,
    /// Its place among all, from 1.
    nth: usize,
    pub(super) disk: SimDisk,
    pub(super) shelf: SimShelf,
    /// How fast its clock runs, and by how much its time of day is off, when nothing more is wrong with it.
    clock_rate: f64,
    wall_skew_nanos: i64,
    /// How long its disk takes for a sync, at most, when nothing is wrong with it.
    sync_takes: Duration,
    state: Mutex<State>,
}

struct State {
    rng: SmallRng,
    /// What its data directory says about whose it is.
    id: NodeId,
    cluster: Arc<Mutex<Option<ClusterId>>>,
    boot: u64,
    /// How fast its clock runs now.
    clock_rate: f64,
    wall_skew_nanos: i64,
    /// What its build understands; another one is installed while it is down.
    level: Level,
    present: Option<Present>,
    /// The last crash may have damaged the shelf.
    lost_power: bool,
}

/// The present life, whose node may still be starting.
struct Present {
    life: Life,
    node: Option<Node>,
    gone: watch::Sender<bool>,
}

/// A node that runs, as a client holds it.
#[derive(Clone)]
pub(super) struct Alive {
    pub(super) host: String,
    /// Which life of its machine.
    pub(super) number: u64,
    pub(super) node: Node,
    pub(super) life: Life,
    gone: watch::Receiver<bool>,
}

/// What a start needs.
pub(super) struct Start {
    pub(super) life: Life,
    pub(super) number: u64,
    pub(super) config: Config,
    pub(super) ground: Ground,
}

impl Seat {
    pub(super) fn new(nth: usize, settings: &Settings, trace: &Trace) -> Self {
        let host = format!("n{nth}");
        let seed = |what: &str| seed_of(settings.seed, &format!("{what} {host}"));
        let mut rng = SmallRng::seed_from_u64(seed("seat"));
        let disk = SimDisk::new(&host, seed("disk"), trace.clone());
        // Some machines sync in a moment, some take their time.
        let sync_takes = Duration::from_millis([1, 4, 15][rng.random_range(0..3)]);
        let clock_rate = match settings.drifts {
            true => 1.0 + rng.random_range(-0.0095..=0.0095),
            false => 1.0,
        };
        // Drawn apart, so that what else a seed decides stays as it was.
        let wall_skew_nanos = match settings.drifts {
            true => SmallRng::seed_from_u64(seed("wall")).random_range(WALL_SKEWS_NANOS),
            false => 0,
        };
        let id = NodeId(seed("id") | 1);
        let state = State {
            rng,
            id,
            cluster: Arc::default(),
            boot: 0,
            clock_rate,
            wall_skew_nanos,
            level: settings.builds.first(seed("build")),
            present: None,
            lost_power: false,
        };
        let seat = Self {
            shelf: SimShelf::new(&host, seed("shelf"), trace.clone()),
            disk,
            clock_rate,
            wall_skew_nanos,
            sync_takes,
            state: Mutex::new(state),
            nth,
            host,
        };
        seat.slow_disk(Duration::ZERO);
        seat
    }

    /// Lets the disk take up to so long for a sync; zero for as long as it usually takes.
    pub(super) fn slow_disk(&self, takes: Duration) {
        let most = takes.max(self.sync_takes);
        let sync_takes = Duration::ZERO..=most;
        self.disk.set_faults(DiskFaults { sync_takes, ..DiskFaults::default() });
    }

    /// Lets its clock be wrong by so many millionths, as none is by itself; zero ends it.
    pub(super) fn set_clock_ppm(&self, ppm: i32) {
        let rate = if ppm == 0 { self.clock_rate } else { 1.0 + f64::from(ppm) / 1e6 };
        let mut state = self.state();
        state.clock_rate = rate;
        if let Some(present) = &state.present {
            present.life.set_clock_rate(rate);
        }
    }

    /// Lets its time of day be off by so much more; zero ends it.
    pub(super) fn jump_wall(&self, ms: i64) {
        let mut state = self.state();
        state.wall_skew_nanos = self.wall_skew_nanos + ms * 1_000_000;
        if let Some(present) = &state.present {
            present.life.set_wall_skew(state.wall_skew_nanos);
        }
    }

    /// Installs the newest build, for its next life. Tells whether it had another.
    pub(super) fn upgrade(&self) -> bool {
        std::mem::replace(&mut self.state().level, Level::NEWEST) < Level::NEWEST
    }

    /// Another machine in the place of this one, which is down: its disk is empty, and nobody knows it.
    pub(super) fn replace_machine(&self) {
        self.disk.wipe();
        self.shelf.forget_all();
        let mut state = self.state();
        state.id = NodeId(state.rng.random::<u64>() | 1);
        state.cluster = Arc::default();
        state.lost_power = false;
    }

    /// What people call its node.
    pub(super) fn name(&self) -> NodeName {
        self.host.as_str().try_into().expect("a host's name is a node's name")
    }

    /// Whose data directory is on its disk.
    pub(super) fn id(&self) -> NodeId {
        self.state().id
    }

    /// Begins a life. Whoever calls lets the node start in it.
    pub(super) fn begin(&self, settings: &Settings, origin: Instant, net: Arc<dyn Net>) -> Start {
        let mut state = self.state();
        state.boot += 1;
        if state.boot > LIVES_OF_A_BUILD {
            state.level = Level::NEWEST;
        }
        let life = Life::begin(LifeConfig {
            seed: state.rng.random(),
            clock_rate: self.clock_rate,
            deferrals_per_mille: settings.deferrals_per_mille,
            origin,
            wall_skew_nanos: state.wall_skew_nanos,
        });
        if state.clock_rate != self.clock_rate {
            life.set_clock_rate(state.clock_rate);
        }
        life.hold_tasks(settings.holds_per_million);
        let shelf_replaced = self.visit_shelf(&mut state);
        let shelf = self.shelf.mount();
        let shelf = shelf.expect("the world never keeps a shelf from opening");
        state.present =
            Some(Present { life: life.clone(), node: None, gone: watch::Sender::new(false) });
        let identity =
            SimIdentity { node: state.id, boot: Boot(state.boot), cluster: state.cluster.clone() };
        let ground = Ground {
            identity: Arc::new(identity),
            disk: Arc::new(self.disk.mount()),
            shelf: Arc::new(shelf),
            shelf_replaced,
            net,
            sentinel: None,
        };
        let config = self.config(state.level, settings);
        Start { life, number: state.boot, config, ground }
    }

    /// After a power cut the shelf has sometimes forgotten everything, and only sometimes says so.
    fn visit_shelf(&self, state: &mut State) -> Option<String> {
        let lost_power = std::mem::take(&mut state.lost_power);
        if !lost_power || state.rng.random_range(0..6) > 0 {
            return None;
        }
        self.shelf.forget_all();
        let says_so = state.rng.random_bool(0.5);
        says_so.then(|| "it could not be opened (simulated)".to_owned())
    }

    fn config(&self, level: Level, settings: &Settings) -> Config {
        let cookie = Cookie::new("known to every node of this world").expect("it is long enough");
        let mut config = Config::new(self.name(), cookie);
        config.listen = format!("{}:{PORT}", self.host);
        config.insecure = true;
        config.level = level;
        config.join = (1..=settings.nodes)
            .map(|nth| format!("n{nth}:{PORT}"))
            .filter(|address| *address != config.listen)
            .collect();
        config.expect = settings.nodes;
        config.voters = settings.voters;
        config.replace_after = settings.replace_after;
        config.labels = super::troupe::labels(self.nth);
        // Small, so that a minute sees many snapshots, purges and visits to the shelf.
        config.group.snapshot_every = 200;
        config.group.log_kept = 50;
        config.group.shelve_every = SHELVE_EVERY[(settings.seed / 4 % 3) as usize];
        config.group.changes_kept = 512;
        config.group.proposals_bytes = 1 << 20;
        config.segment_bytes = SEGMENT_BYTES[(settings.seed % 4) as usize];
        apply(settings.mutant, &mut config);
        config
    }

    /// The node of a life has started. Tells whether that life still lasts.
    pub(super) fn started(&self, number: u64, node: Node) -> bool {
        let mut state = self.state();
        let fits = state.boot == number;
        if let Some(present) = state.present.as_mut().filter(|_| fits) {
            present.node = Some(node);
            return true;
        }
        false
    }

    /// Ends the present life, as far as the machine is concerned; its cables are the net's.
    pub(super) fn crash(&self, loss: Loss) {
        let mut state = self.state();
        let present = state.present.take();
        state.lost_power |= loss != Loss::Process;
        drop(state);
        if let Some(present) = present {
            present.life.end();
            self.disk.crash(loss);
            self.shelf.crash(loss);
            // Whoever waits for this node learns it now, as from a broken connection.
            present.gone.send_replace(true);
        }
    }

    /// Stops the present life, if there is one.
    pub(super) fn freeze(&self) {
        if let Some(present) = &self.state().present {
            present.life.stop();
        }
    }

    /// Lets the present life go on, if it was stopped.
    pub(super) fn thaw(&self) {
        let life = self.state().present.as_ref().map(|present| present.life.clone());
        // Outside of the lock: whoever wakes up may ask for this seat.
        if let Some(life) = life {
            life.resume();
        }
    }

    /// How many lives there were.
    pub(super) fn number(&self) -> u64 {
        self.state().boot
    }

    /// Lets go of the node, which would hold the world as the world holds it.
    pub(super) fn leave(&self) {
        let present = self.state().present.take();
        drop(present);
    }

    pub(super) fn is_up(&self) -> bool {
        self.state().present.is_some()
    }

    /// The node, if it runs and has started.
    pub(super) fn alive(&self) -> Option<Alive> {
        let state = self.state();
        let present = state.present.as_ref()?;
        Some(Alive {
            host: self.host.clone(),
            number: state.boot,
            node: present.node.clone()?,
            life: present.life.clone(),
            gone: present.gone.subscribe(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds a seat")
    }
}

impl Alive {
    /// Does something as part of the node's life. `None` if the node died meanwhile, or so much true time
    /// has passed.
    pub(super) async fn ask<F: Future>(&self, within: Duration, future: F) -> Option<F::Output> {
        let mut gone = self.gone.clone();
        tokio::select! {
            biased;
            // An error means that the seat has begun another life.
            _ = gone.wait_for(|gone| *gone) => None,
            answer = self.life.scope(future) => Some(answer),
            () = clock::pause(within) => None,
        }
    }

    /// Whether the node has died.
    pub(super) fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// Lets something run as part of the node's life, to its end or the node's.
    pub(super) fn run(&self, future: impl Future<Output = ()> + Send + 'static) {
        quorate_env::spawn(self.life.scope(future));
    }
}

#[cfg(feature = "mutants")]
fn apply(mutant: Option<Mutant>, config: &mut Config) {
    match mutant {
        None => {}
        Some(Mutant::AckBeforeSync) => config.ack_before_sync = true,
        Some(Mutant::LeaderRestore) => config.group.leader_restore = true,
        Some(Mutant::YoungByAppend) => config.group.young_by_append = true,
        Some(Mutant::Hall(bug)) => config.bug = Some(bug),
    }
}

#[cfg(not(feature = "mutants"))]
fn apply(mutant: Option<Mutant>, _config: &mut Config) {
    if let Some(never) = mutant {
        match never {}
    }
}

/// What a data directory says about whose it is.
struct SimIdentity {
    node: NodeId,
    boot: Boot,
    cluster: Arc<Mutex<Option<ClusterId>>>,
}

impl SimIdentity {
    fn kept(&self) -> MutexGuard<'_, Option<ClusterId>> {
        self.cluster.lock().expect("nothing panics while it holds this")
    }
}

impl Identity for SimIdentity {
    fn node(&self) -> NodeId {
        self.node
    }

    fn boot(&self) -> Boot {
        self.boot
    }

    fn cluster(&self) -> Option<ClusterId> {
        *self.kept()
    }

    fn adopt(&self, theirs: ClusterId) -> Result<(), StorageError> {
        let mut kept = self.kept();
        match *kept {
            Some(ours) if ours != theirs => Err(StorageError::OtherCluster { ours, theirs }),
            _ => {
                *kept = Some(theirs);
                Ok(())
            }
        }
    }
}
