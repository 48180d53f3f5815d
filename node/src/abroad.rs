//! What this node's processes have to do with other nodes: roads that are opened and closed by hand, round
//! trips, calls of functions by name, and process groups across nodes.
//!
//! Roads open by themselves when there is something to send. Process groups are the one thing here that
//! reaches out to every node, and only from when they are first asked for.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use quorate_actor::{Exit, NameError};
use quorate_otp::{Groups, StartError};
use quorate_rpc::{Functions, Roles, Rpc, RpcConfig};
use quorate_vocab::{Boot, NodeId, NodeName, Pid};

use crate::hall::Hall;
use crate::links;

/// After how long a node whose link broke is told again who is in which group.
const MEET_AGAIN: Duration = Duration::from_millis(500);

/// Another node could not be reached. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    /// No node of this name takes part.
    #[error("no node called {0} takes part")]
    NoSuchNode(NodeName),
    /// No way leads there now, or the rules do not allow one. Try again later.
    #[error("{0} cannot be reached from here")]
    Unreachable(NodeName),
    /// It did not answer in time.
    #[error("{0} did not answer in time")]
    Late(NodeName),
}

/// What this node's processes share with those of others, once it is asked for.
#[derive(Default)]
pub(crate) struct Company {
    groups: OnceLock<Groups>,
    rpc: OnceLock<Rpc>,
}

/// The roles of other nodes, by the registry.
pub(crate) struct ByRegistry(pub(crate) Weak<Hall>);

impl Roles for ByRegistry {
    fn role_of(&self, node: NodeId) -> Option<String> {
        let hall = self.0.upgrade()?;
        let voters = hall.group().status().voters;
        hall.group().read(|machine, _| {
            let node = machine.node(node)?;
            Some(links::facts(node, &voters).role().as_str().to_owned())
        })
    }
}

/// Opens the road to a node, as the first mail to it would.
pub(crate) fn connect(hall: &Hall, name: &NodeName) -> Result<(), ReachError> {
    let node = find(hall, name)?;
    hall.mesh().connect(node).map_err(|_| ReachError::Unreachable(name.clone()))
}

/// Closes the road to a node; whether it was open.
pub(crate) fn disconnect(hall: &Hall, name: &NodeName) -> Result<bool, ReachError> {
    find(hall, name).map(|node| hall.mesh().disconnect(node))
}

/// How long it takes to ask a node about a process that never was, and to be told so.
pub(crate) async fn ping(
    hall: &Hall,
    name: &NodeName,
    within: Duration,
) -> Result<Duration, ReachError> {
    let nobody = Pid { node: find(hall, name)?, boot: Boot(0), serial: 0 };
    let asked = quorate_env::now();
    let told = quorate_env::timeout(within, hall.actors().ended(nobody)).await;
    match told {
        Ok(Exit::NoProc) => Ok(quorate_env::now().since(asked)),
        Ok(_) => Err(ReachError::Unreachable(name.clone())),
        Err(_) => Err(ReachError::Late(name.clone())),
    }
}

/// The process groups; the first time, all nodes that are up are told of them.
pub(crate) async fn groups(hall: &Arc<Hall>) -> Result<Groups, StartError> {
    let company = &hall.company().groups;
    if let Some(groups) = company.get() {
        return Ok(groups.clone());
    }
    let groups = Groups::new();
    if company.set(groups.clone()).is_err() {
        // Somebody else was faster, and starts them.
        return Ok(company.get().expect("it has just been set").clone());
    }
    groups.start(hall.actors()).await?;
    let up: Vec<NodeId> = hall.group().read(|machine, _| {
        let up = machine.nodes().filter(|node| machine.session_of(node.id).is_some());
        up.map(|node| node.id).collect()
    });
    up.into_iter().for_each(|node| meet(hall, node));
    Ok(groups)
}

/// A node takes part.
pub(crate) fn meet(hall: &Hall, node: NodeId) {
    if let Some(groups) = hall.company().groups.get()
        && node != hall.id()
        // Where no way leads there now, the road tells when it opens.
        && hall.mesh().connect(node).is_ok()
    {
        groups.met(node);
    }
}

/// A road to a node is open.
pub(crate) fn met(hall: &Hall, node: NodeId) {
    if let Some(groups) = hall.company().groups.get() {
        groups.met(node);
    }
    if let Some(rpc) = hall.company().rpc.get() {
        rpc.met(node);
    }
}

/// The road to a node is open no more, whatever became of it.
pub(crate) fn parted(hall: &Hall, node: NodeId) {
    if let Some(rpc) = hall.company().rpc.get() {
        rpc.parted(node);
    }
}

/// From now on functions are called and served; the nodes to which roads are open are told which.
pub(crate) fn serve(
    hall: &Arc<Hall>,
    functions: Functions,
    config: RpcConfig,
) -> Result<Rpc, NameError> {
    let roles = Arc::new(ByRegistry(Arc::downgrade(hall)));
    let rpc = Rpc::start(hall.actors(), functions, config, roles)?;
    // There is one desk in a node's life, so this is the first.
    let _ = hall.company().rpc.set(rpc.clone());
    let roads = hall.mesh().peers().into_iter().filter(|peer| peer.data_up);
    roads.for_each(|peer| rpc.met(peer.id));
    Ok(rpc)
}

/// The road to a node broke.
pub(crate) fn lost(hall: &Arc<Hall>, node: NodeId) {
    let Some(groups) = hall.company().groups.get() else { return };
    groups.lost(node);
    let later = hall.clone();
    hall.run(async move {
        quorate_env::sleep(MEET_AGAIN).await;
        if later.group().read(|machine, _| machine.session_of(node).is_some()) {
            meet(&later, node);
        }
    });
}

fn find(hall: &Hall, name: &NodeName) -> Result<NodeId, ReachError> {
    hall.node_named(name).ok_or_else(|| ReachError::NoSuchNode(name.clone()))
}
