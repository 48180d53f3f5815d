//! A node: the rooms put together, and taken apart again.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Actors, ActorsConfig, Addr, Exit, Mailbox, Message, NameError};
use quorate_consensus::{Doors, Group, Recovery, Role, Watch};
use quorate_env::BoxFuture;
use quorate_mesh::{Counters, Me, Mesh, MeshConfig};
use quorate_otp::Groups;
use quorate_registry::{Command, Once, Op, Refusal, Verdict};
use quorate_rpc::{Functions, Rpc, RpcConfig};
use quorate_storage::{Log, LogConfig, Snapshots};
use quorate_vocab::{Index, NodeId, NodeName};

use crate::abroad::{self, ReachError};
use crate::available::{Available, exchange};
use crate::backup::Backup;
use crate::config::Config;
use crate::counters::Tallies;
use crate::error::{Error, NotDone, StartError};
use crate::ground::Ground;
use crate::hall::{Hall, Wires};
use crate::links::{self, Links};
use crate::locks::Locks;
use crate::names::{Names, draw_key};
use crate::nodes::{self, NodeInfo, NodeMonitor, Which};
use crate::progress::{self, Progress};
use crate::properties::Properties;
use crate::router::Router;
use crate::sessions::Sessions;
use crate::singletons::{Singletons, troupe};
use crate::status::{Disk, Member, MemberState, Status};
use crate::{disk, formation, keeper, memory, seeds, steward, tenancy, voters};

/// One node of a cluster. Cheap to clone; all clones are the same node.
#[derive(Clone)]
pub struct Node {
    hall: Arc<Hall>,
    recovery: Arc<Recovery>,
}

impl Node {
    /// Starts a node on this machine: its data directory and TCP.
    pub fn start(config: Config) -> BoxFuture<'static, Result<Self, StartError>> {
        Box::pin(async move {
            config.validate()?;
            let ground = Ground::real(&config)?;
            Self::assemble(config, ground).await
        })
    }

    /// Starts a node on other doors, as the simulator does.
    pub fn start_on(
        config: Config,
        ground: Ground,
    ) -> BoxFuture<'static, Result<Self, StartError>> {
        // Boxed, so that a node is compiled here once, and not again into each program that awaits this.
        Box::pin(Self::assemble(config, ground))
    }

    async fn assemble(config: Config, ground: Ground) -> Result<Self, StartError> {
        config.validate()?;
        let Ground { identity, disk, shelf, shelf_replaced, net, sentinel } = ground;
        let (id, boot) = (identity.node(), identity.boot());
        let log_config = LogConfig {
            journal: id.0,
            segment_bytes: config.segment_bytes,
            #[cfg(feature = "mutants")]
            ack_before_sync: config.ack_before_sync,
            ..LogConfig::default()
        };
        let (log, scribe) = Log::open(disk.clone(), log_config).await?;
        // Nobody waits for the scribe's end: it ends when the last handle on the log is gone.
        let _ended = quorate_env::aside("quorate-scribe", scribe.run())?;
        let snapshots = Arc::new(Snapshots::open(disk)?);
        let wires = Arc::new(Wires::default());
        let doors = Doors { log, snapshots, shelf };
        let (group, mut recovery) = Group::open(id, &config.group, doors, wires.clone()).await?;
        recovery.repaired = shelf_replaced.or(recovery.repaired);
        if let Some(why) = &recovery.repaired {
            tracing::warn!(why, "the shelf was rebuilt; nothing is lost");
        }
        if let Some(last) = recovery.dropped {
            let applied = recovery.applied;
            tracing::info!(%applied, %last, "what the log held otherwise than decided was dropped");
        }
        let actors = Actors::new(id, boot, wires.clone(), ActorsConfig::default());
        let mesh_config = MeshConfig {
            me: Me { id, name: config.name.clone(), boot },
            cluster: identity.cluster(),
            listen: config.listen.clone(),
            advertise: config.advertise.clone(),
            cookies: config.cookies.clone(),
            channel: config.channel(),
            limits: config.limits.clone(),
        };
        let hall = Arc::new(Hall::new(config, identity, wires.clone(), group, actors, sentinel));
        let inbound = Arc::new(Router(Arc::downgrade(&hall)));
        wires.connect(Mesh::start(mesh_config, net, inbound).await?);
        for address in hall.config().join.iter().filter(|join| !seeds::is_source(join)) {
            hall.mesh().greet(address);
        }
        hall.run(seeds::seek(hall.clone()));
        hall.run(formation::form(hall.clone()));
        hall.run(steward::attend(hall.clone()));
        hall.run(steward::keep_to_voters(hall.clone()));
        hall.run(keeper::keep(hall.clone()));
        hall.run(memory::attend(hall.clone()));
        hall.run(disk::follow(hall.clone()));
        hall.run(links::follow(hall.clone()));
        hall.run(tenancy::reside(hall.clone()));
        hall.run(exchange::attend(hall.clone()));
        Ok(Self { hall, recovery: Arc::new(recovery) })
    }

    /// Which node this is.
    pub fn id(&self) -> NodeId {
        self.hall.id()
    }

    /// What people call it.
    pub fn name(&self) -> &NodeName {
        &self.hall.config().name
    }

    /// Where other nodes can dial it.
    pub fn address(&self) -> &str {
        self.hall.mesh().address()
    }

    /// What its start found on the disk.
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// The cluster's names.
    pub fn names(&self) -> Names {
        Names::new(self.hall.clone())
    }

    /// Names that are taken without asking a majority, on both sides of a cut.
    pub fn available(&self) -> Available {
        Available::new(self.hall.clone())
    }

    /// What many say under one key.
    pub fn properties(&self) -> Properties {
        Properties::new(self.hall.clone())
    }

    /// Durable numbers under names.
    pub fn tallies(&self) -> Tallies {
        Tallies::new(self.hall.clone())
    }

    /// Locks and elections.
    pub fn locks(&self) -> Locks {
        Locks::new(self.names())
    }

    /// The clients' sessions.
    pub fn sessions(&self) -> Sessions {
        Sessions::new(self.hall.clone())
    }

    /// Things of which there is one.
    pub fn singletons(&self) -> Singletons {
        Singletons::new(self.hall.clone())
    }

    /// This node's links, and the rules of all.
    pub fn links(&self) -> Links {
        Links::new(self.hall.clone())
    }

    /// The other nodes that are up, edges left out.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        self.nodes_of(Which::Visible)
    }

    /// Other nodes.
    pub fn nodes_of(&self, which: Which) -> Vec<NodeInfo> {
        nodes::nodes(&self.hall, which)
    }

    /// Tells of other nodes that come and go from now on.
    pub fn monitor_nodes(&self, which: Which) -> NodeMonitor {
        NodeMonitor::new(self.hall.clone(), which)
    }

    /// Opens the road to another node, as the first mail to it would.
    pub fn connect(&self, node: &NodeName) -> Result<(), ReachError> {
        abroad::connect(&self.hall, node)
    }

    /// Closes the road to another node, and says whether it was open. What was under way may be lost; links
    /// and monitors across it fire. The next mail opens it again.
    pub fn disconnect(&self, node: &NodeName) -> Result<bool, ReachError> {
        abroad::disconnect(&self.hall, node)
    }

    /// Asks another node whether it is there; gives the time of the round trip, roads that had to be opened
    /// included.
    pub async fn ping(&self, node: &NodeName, within: Duration) -> Result<Duration, ReachError> {
        abroad::ping(&self.hall, node, within).await
    }

    /// Lets other nodes call these functions here by their names, and calls theirs. Once in a node's life.
    pub fn rpc(&self, functions: Functions, config: RpcConfig) -> Result<Rpc, NameError> {
        abroad::serve(&self.hall, functions, config)
    }

    /// The process groups of all nodes that ask for them: processes under a name that each node knows.
    pub async fn groups(&self) -> Result<Groups, quorate_otp::StartError> {
        abroad::groups(&self.hall).await
    }

    /// Spawns a process on this node.
    pub fn spawn<M, F, Fut>(&self, body: F) -> Addr<M>
    where
        M: Message,
        F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        self.hall.actors().spawn(body)
    }

    /// This node's processes.
    pub fn actors(&self) -> &Actors {
        self.hall.actors()
    }

    /// What went over its links.
    pub fn counters(&self) -> Counters {
        self.hall.mesh().counters()
    }

    /// What it sees at the moment.
    pub fn status(&self) -> Status {
        let hall = &self.hall;
        // First: what is read after it is not older than it says.
        let stale = hall.group().age();
        let group = hall.group().status();
        let session = hall.tenancy().session();
        let peers = hall.mesh().peers();
        let linked = |node: NodeId| {
            node == hall.id() || peers.iter().any(|peer| peer.id == node && peer.control_up)
        };
        let (members, names, sessions) = hall.group().read(|machine, _| {
            let member = |node: &quorate_registry::Node| Member {
                id: node.id,
                name: node.name.clone(),
                address: node.address.clone(),
                votes: group.voters.contains(&node.id),
                role: links::facts(node, &group.voters).role(),
                leads: group.leader == Some(node.id),
                state: match machine.session_of(node.id) {
                    Some(_) => MemberState::Up,
                    None => MemberState::Down,
                },
                linked: linked(node.id),
            };
            let members: Vec<Member> = machine.nodes().map(member).collect();
            (members, machine.names_held() as u64, machine.sessions().count() as u64)
        });
        let leader = members.iter().find(|member| member.leads).map(|member| member.name.clone());
        Status {
            node: hall.id(),
            name: hall.config().name.clone(),
            cluster: hall.identity().cluster(),
            quorate: session.is_some(),
            lease: hall.config().lease,
            session,
            leader,
            term: group.term,
            index: group.applied,
            stale,
            names,
            sessions,
            disk: Disk::of(hall.group().disk()),
            members,
            group,
        }
    }

    /// How far the others are behind the leader, which is asked.
    pub async fn progress(&self) -> Result<Progress, Error> {
        progress::ask(&self.hall).await
    }

    /// Takes a backup that has everything which was acknowledged before the call.
    pub async fn backup(&self) -> Result<Backup, Error> {
        self.hall.confirm(self.hall.config().patience()).await?;
        self.backup_local()
    }

    /// Takes a backup of what this node knows, quorate or not.
    pub fn backup_local(&self) -> Result<Backup, Error> {
        Backup::take(&self.hall)
    }

    /// The applied state as it is here and now, with its index: for tools and tests, which know the registry.
    pub fn inspect<R>(&self, inspect: impl FnOnce(&quorate_registry::Machine, Index) -> R) -> R {
        self.hall.group().read(inspect)
    }

    /// Has another voter lead: the one that is named, or whoever has most of the log. Gives the one that
    /// leads then.
    pub async fn step_down(&self, to: Option<&NodeName>) -> Result<NodeName, Error> {
        let node = |name| self.hall.node_named(name).ok_or(Error::NotDone(NotDone::NoSuccessor));
        let to = to.map(node).transpose()?;
        let leads = voters::step_down(&self.hall, to).await?;
        let name =
            self.hall.group().read(|machine, _| machine.node(leads).map(|node| node.name.clone()));
        name.ok_or(Error::Unknown)
    }

    /// Takes a node out that has ended and will not come back: its vote, if it has one, goes to another.
    pub async fn remove(&self, name: &NodeName) -> Result<Index, Error> {
        let within = self.hall.config().patience();
        self.hall.confirm(within).await?;
        let node = self.hall.node_named(name).ok_or(Error::Refused(Refusal::NoNode))?;
        if self.hall.group().read(|machine, _| machine.session_of(node).is_some()) {
            return Err(Error::NotDone(NotDone::NodeLives));
        }
        let command = Command { once: Once::Key(draw_key()), op: Op::Leave { node } };
        match self.hall.propose(command, within).await? {
            (index, Verdict::Left) => Ok(index),
            (_, Verdict::Refused(refusal)) => Err(Error::Refused(refusal)),
            (_, _) => Err(Error::Unknown),
        }
    }

    /// Every change after an index, sessions and nodes included.
    pub fn changes(&self, from: Index) -> Watch {
        self.hall.group().watch(from)
    }

    /// Returns once this node holds a valid lease, or the time is up; whether it does.
    pub async fn quorate_within(&self, within: Duration) -> bool {
        let until = quorate_env::now() + within;
        while self.hall.tenancy().session().is_none() {
            if quorate_env::now() >= until {
                return false;
            }
            quorate_env::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// Resolves if this node stops by itself, with the reason: its disk failed, or it disproved itself. Being
    /// shut down is neither.
    pub async fn stopped(&self) -> String {
        loop {
            let status = self.hall.group().status();
            match (status.role, &status.fault) {
                (_, Some(fault)) => return fault.clone(),
                (Role::Stopped, None) => std::future::pending().await,
                (_, None) => self.hall.group().status_changed(&status).await,
            }
        }
    }

    /// Lets another lead, ends the processes, gives up the session, stops taking part and writes down what
    /// makes the next start short.
    pub async fn shutdown(&self) {
        let hall = &self.hall;
        // Should nobody take over in time, the others elect a leader once this one is silent.
        let _ = voters::hand_over(hall, None).await;
        troupe::hand_all_over(hall, hall.config().patience()).await;
        tenancy::rest(hall).await;
        hall.close();
        hall.actors().close().await;
        hall.steward().clear();
        if let Some(session) = hall.tenancy().session() {
            tenancy::leave(hall, session).await;
        }
        if let Some(sentinel) = hall.sentinel() {
            sentinel.release().await;
        }
        hall.group().close().await;
        hall.mesh().close().await;
    }
}
