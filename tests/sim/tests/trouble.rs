//! Three whole nodes, and one whose disk takes nothing: the others go on, nothing that was acknowledged is
//! lost, and the node comes back by itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::{
    Claiming, Config, Cookie, DiskStanding, Epoch, Error, Ground, Identity, Name, Node, NotDone,
    Role, Status,
};
use quorate_env::{Life, LifeConfig};
use quorate_sim::clock;
use quorate_sim::disk::{DiskFaults, SimDisk};
use quorate_sim::net::{SimNet, Weather};
use quorate_sim::shelf::SimShelf;
use quorate_sim::trace::{Keep, Trace};
use quorate_storage::StorageError;
use quorate_vocab::{Boot, ClusterId, NodeId};

/// Longer than anything takes in a world that works.
const SOON: Duration = Duration::from_secs(30);
/// How long a disk is in trouble.
const TROUBLE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A machine and the node on it.
struct Machine {
    disk: SimDisk,
    life: Life,
    node: Node,
}

/// Whose a disk is.
struct Named(NodeId, Mutex<Option<ClusterId>>);

impl Identity for Named {
    fn node(&self) -> NodeId {
        self.0
    }

    fn boot(&self) -> Boot {
        Boot(1)
    }

    fn cluster(&self) -> Option<ClusterId> {
        *self.1.lock().unwrap()
    }

    fn adopt(&self, cluster: ClusterId) -> Result<(), StorageError> {
        *self.1.lock().unwrap() = Some(cluster);
        Ok(())
    }
}

impl Machine {
    async fn start(nth: u64, net: &SimNet) -> Self {
        let (host, trace) = (format!("n{nth}"), Trace::new(Keep::Nothing));
        let disk = SimDisk::new(&host, nth, trace.clone());
        let life = Life::begin(LifeConfig {
            seed: nth,
            clock_rate: 1.0,
            deferrals_per_mille: 0,
            origin: clock::now(),
            wall_skew_nanos: 0,
        });
        let ground = Ground {
            identity: Arc::new(Named(NodeId(nth), Mutex::default())),
            disk: Arc::new(disk.mount()),
            shelf: Arc::new(SimShelf::new(&host, nth, trace).mount().unwrap()),
            shelf_replaced: None,
            net: net.host(&host),
            sentinel: None,
        };
        let node = life.scope(Node::start_on(config(&host), ground)).await.unwrap();
        Self { disk, life, node }
    }

    /// Does something as part of the node's life.
    async fn does<F: Future>(&self, what: F) -> F::Output {
        self.life.scope(what).await
    }

    async fn claims(&self, name: &Name) -> Result<Epoch, Error> {
        let names = self.node.names();
        self.does(names.claim(name, Claiming::default())).await.map(|held| held.epoch)
    }

    /// What it finds under a name, by a confirmed read.
    async fn finds(&self, name: &Name) -> Option<Epoch> {
        let names = self.node.names().within(SOON);
        let found = self.does(names.find(name)).await.expect("a majority is well");
        found.registration.map(|registration| registration.epoch)
    }

    /// What it says of itself, by its own clock.
    async fn status(&self) -> Status {
        self.does(async { self.node.status() }).await
    }

    /// Waits for something to become so.
    async fn until(&self, what: &str, is_so: impl Fn(&Status) -> bool) {
        let until = clock::now() + SOON;
        loop {
            let status = self.status().await;
            if is_so(&status) {
                return;
            }
            assert!(clock::now() < until, "{}: {what}; {status:?}", self.node.name());
            clock::pause(LOOK_AGAIN).await;
        }
    }
}

fn config(host: &str) -> Config {
    let cookie = Cookie::new("known to every node of this world").unwrap();
    let mut config = Config::new(host.try_into().unwrap(), cookie);
    config.listen = format!("{host}:4747");
    config.insecure = true;
    let all = (1..=3).map(|nth| format!("n{nth}:4747"));
    config.join = all.filter(|address| *address != config.listen).collect();
    (config.expect, config.voters) = (3, 3);
    config.group.snapshot_every = 100;
    config
}

fn name(text: String) -> Name {
    Name::new(text).unwrap()
}

/// Lets a story happen in a world of three nodes, in its own time.
fn world(story: impl AsyncFnOnce(&[Machine], usize)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let net = SimNet::new(1, Weather::default(), Trace::new(Keep::Nothing));
        let mut machines = Vec::new();
        for nth in 1..=3 {
            machines.push(Machine::start(nth, &net).await);
        }
        for machine in &machines {
            machine.until("takes part", |status| status.quorate).await;
        }
        let leads = machines[0].status().await.leader.expect("somebody leads");
        let leader = machines.iter().position(|machine| *machine.node.name() == leads);
        story(&machines, leader.expect("it is one of them")).await;
        machines.iter().for_each(|machine| machine.life.end());
    });
}

/// Claims some names through a machine, and notes what was acknowledged.
async fn claim_some(machine: &Machine, what: &str, acknowledged: &mut BTreeMap<Name, Epoch>) {
    for nth in 0..20 {
        let name = name(format!("{what}/{}/{nth}", machine.node.name()));
        let epoch = machine.claims(&name).await.expect("a majority is well");
        acknowledged.insert(name, epoch);
    }
}

/// The leader's disk gets into trouble and out of it, and everybody looks at what that does.
async fn live_through(
    machines: &[Machine],
    leader: usize,
    begin: impl Fn(&SimDisk),
    end: impl AsyncFnOnce(&SimDisk),
) {
    let mut acknowledged = BTreeMap::new();
    for machine in machines {
        claim_some(machine, "before", &mut acknowledged).await;
    }
    let (ill, others): (Vec<_>, Vec<_>) =
        machines.iter().enumerate().partition(|(nth, _)| *nth == leader);
    let ill = ill[0].1;
    let sessions = async || {
        let mut sessions = Vec::new();
        for (_, machine) in &others {
            sessions.push(machine.status().await.session);
        }
        sessions
    };
    let (its_session, their_sessions) = (ill.status().await.session, sessions().await);

    begin(&ill.disk);
    // So that there is something to write.
    let doomed = name("doomed".to_owned());
    let doomed = ill.claims(&doomed);
    let led = async {
        for (_, machine) in &others {
            let me = ill.node.name().clone();
            let another =
                |status: &Status| status.leader.as_ref().is_some_and(|leader| *leader != me);
            machine.until("another leads", another).await;
        }
    };
    let (doomed, ()) = tokio::join!(doomed, led);
    if let Ok(epoch) = doomed {
        // The others made it durable.
        acknowledged.insert(name("doomed".to_owned()), epoch);
    }
    ill.until("its disk is stuck", |status| status.disk.stuck).await;
    ill.until("its lease ends", |status| !status.quorate).await;
    let refused = ill.claims(&name("refused".to_owned())).await;
    assert_eq!(refused, Err(Error::NotDone(NotDone::Disk)), "it cannot know who leads");
    for (_, machine) in &others {
        claim_some(machine, "meanwhile", &mut acknowledged).await;
    }
    assert_eq!(sessions().await, their_sessions, "a hung disk ends nobody else's lease");

    end(&ill.disk).await;
    ill.until("it comes back", |status| status.quorate).await;
    ill.until("its disk is well", |status| status.disk.standing.is_healthy()).await;
    assert_ne!(ill.status().await.session, its_session, "its old lease ended");
    claim_some(ill, "after", &mut acknowledged).await;
    for machine in machines {
        for (name, epoch) in &acknowledged {
            assert_eq!(machine.finds(name).await, Some(*epoch), "{name} was acknowledged");
        }
    }
}

#[test]
fn a_cluster_goes_on_when_its_leader_s_disk_hangs_and_the_node_comes_back() {
    world(async |machines, leader| {
        let hang = |disk: &SimDisk| disk.stall(TROUBLE);
        let pass = async |_: &SimDisk| clock::pause(TROUBLE).await;
        live_through(machines, leader, hang, pass).await;
    });
}

#[test]
fn a_cluster_goes_on_when_its_leader_s_disk_takes_no_writes_and_the_node_comes_back() {
    world(async |machines, leader| {
        let refuse = |disk: &SimDisk| {
            disk.set_faults(DiskFaults { read_only: true, ..DiskFaults::default() });
        };
        let take = async |disk: &SimDisk| disk.set_faults(DiskFaults::default());
        live_through(machines, leader, refuse, take).await;
    });
}

#[test]
fn a_leader_whose_disk_has_no_room_for_a_snapshot_hands_over_and_keeps_all_else() {
    world(async |machines, leader| {
        let (mut acknowledged, ill) = (BTreeMap::new(), &machines[leader]);
        ill.disk.set_room(Some(0));
        let session = ill.status().await.session;
        for round in 0..6 {
            claim_some(ill, &format!("round {round}").replace(' ', "-"), &mut acknowledged).await;
        }
        ill.until("it says so", |status| status.disk.standing == DiskStanding::Full).await;
        ill.until("another leads", |status| status.group.role == Role::Follower).await;
        assert!(!ill.status().await.disk.stuck, "its journal has room");
        claim_some(ill, "through-it", &mut acknowledged).await;
        assert_eq!(ill.status().await.session, session, "its lease is as good as before");

        ill.disk.set_room(None);
        ill.until("its disk is well", |status| status.disk.standing.is_healthy()).await;
        ill.until("it has a snapshot", |status| status.group.snapshot.0 > 0).await;
        for (name, epoch) in &acknowledged {
            assert_eq!(ill.finds(name).await, Some(*epoch), "{name} was acknowledged");
        }
    });
}

#[test]
fn a_leader_that_lost_its_disk_refuses_what_it_is_asked_by_name_of_the_reason() {
    world(async |machines, leader| {
        // Nobody can take over, and so this one leads for as long as anybody asks.
        for machine in machines {
            machine.disk.set_faults(DiskFaults { read_only: true, ..DiskFaults::default() });
        }
        let ill = &machines[leader];
        // What is under way as the disk refuses is in doubt; what comes later is not.
        let _ = ill.claims(&name("first".to_owned())).await;
        ill.until("its disk is stuck", |status| status.disk.stuck).await;
        let refused = ill.claims(&name("second".to_owned())).await;
        assert_eq!(refused, Err(Error::NotDone(NotDone::Disk)));
        for machine in machines {
            machine.disk.set_faults(DiskFaults::default());
        }
        for machine in machines {
            machine.until("it comes back", |status| status.quorate).await;
        }
        let second = name("second".to_owned());
        let epoch = ill.claims(&second).await.expect("all is well again");
        assert_eq!(machines[0].finds(&second).await, Some(epoch));
    });
}
