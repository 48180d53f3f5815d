//! How a cluster begins, once: the expected number of nodes see each other, agree on its identity, and one of
//! them writes the first entry.
//!
//! Each founder promises, on its disk, to belong to this cluster and no other before the first entry is
//! written. The cluster's identity follows from who founds it, so a founding that was interrupted is taken up
//! again as the same one, and two foundings that overlap can never both complete.
//!
//! A promise cannot be taken back, so all are asked first whether they would give it: one of them may be a
//! node that only joins, and those that promised to begin with it could begin with nobody else.
//!
//! Deliberately not here: agreement among more nodes than are expected. If five nodes start at once and each
//! expects three, two overlapping threes may each hold promises that the other lacks, and then nothing
//! begins. Expect as many as are started together; later ones join.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use quorate_mesh::Peer;
use quorate_vocab::{ClusterId, NodeId, NodeName};
use sha2::{Digest, Sha256};

use crate::hall::Hall;
use crate::post::{Ask, Founding, Told};

const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Looks for the cluster to belong to, or for who would found it with this node, until it has begun.
///
/// Peers are looked at again and again, for one that had no cluster when it was met may have one now.
pub(crate) async fn form(hall: Arc<Hall>) {
    while let Ok(false) = hall.group().is_bootstrapped().await {
        found(&hall).await;
        quorate_env::sleep(LOOK_AGAIN).await;
    }
}

/// Answers another node that wants to know whether this one would begin a cluster with it.
pub(crate) fn would_agree(hall: &Hall, from: NodeId, founding: &Founding) -> Told {
    let is_free = hall.identity().cluster().is_none_or(|ours| ours == founding.cluster);
    if is_free && fits(hall, from, founding) { Told::Agreed } else { Told::Declined }
}

/// Answers another node that wants to begin a cluster with this one.
pub(crate) fn agree(hall: &Arc<Hall>, from: NodeId, founding: &Founding) -> Told {
    if !fits(hall, from, founding) || !adopt(hall, founding.cluster) {
        return Told::Declined;
    }
    for (node, address) in founding.founders.iter().filter(|(node, _)| *node != hall.id()) {
        hall.mesh().learn(*node, address);
    }
    Told::Agreed
}

fn fits(hall: &Hall, from: NodeId, founding: &Founding) -> bool {
    let founders: BTreeSet<NodeId> = founding.founders.iter().map(|(node, _)| *node).collect();
    founders.contains(&hall.id())
        && founders.contains(&from)
        && founders.len() == hall.config().expect
        && identity_of(&founders) == founding.cluster
}

/// Tries to begin the cluster, if that falls to this node.
async fn found(hall: &Arc<Hall>) {
    let peers = hall.mesh().peers();
    let founders = candidates(hall, &peers);
    if let Some(cluster) = peers.iter().find_map(|peer| peer.cluster)
        && founders.as_ref().is_none_or(|founders| identity_of(founders) != cluster)
    {
        // Others have a cluster, or are founding one without this node: it belongs there as a newcomer.
        adopt(hall, cluster);
        return;
    }
    let Some(founders) = founders else { return };
    let name_of = |node: &NodeId| -> Option<NodeName> {
        if *node == hall.id() {
            return Some(hall.config().name.clone());
        }
        peers.iter().find(|peer| peer.id == *node).map(|peer| peer.name.clone())
    };
    // Exactly one of them writes the first entry: the one whose name comes first.
    if founders.iter().min_by_key(|node| (name_of(node), **node)) != Some(&hall.id()) {
        return;
    }
    let cluster = identity_of(&founders);
    let address_of = |node: NodeId| {
        let peer = peers.iter().find(|peer| peer.id == node);
        peer.map_or_else(|| hall.mesh().address().to_owned(), |peer| peer.address.clone())
    };
    let founding = Founding {
        cluster,
        founders: founders.iter().map(|node| (*node, address_of(*node))).collect(),
    };
    for ask in [Ask::WouldFound(founding.clone()), Ask::Found(founding)] {
        for node in founders.iter().filter(|node| **node != hall.id()) {
            match hall.ask(*node, &ask, hall.config().lease).await {
                Ok(Told::Agreed) => hall.mesh().learn(*node, &address_of(*node)),
                _ => return,
            }
        }
    }
    // Last, so that a founding that others declined leaves this node free to join theirs.
    if !adopt(hall, cluster) {
        return;
    }
    let mut by_name: Vec<(Option<NodeName>, NodeId)> =
        founders.iter().map(|node| (name_of(node), *node)).collect();
    by_name.sort();
    let voters = by_name.into_iter().take(hall.config().voters).map(|(_, node)| node).collect();
    match hall.group().bootstrap(&voters).await {
        Ok(()) => tracing::info!(%cluster, founders = founders.len(), "a new cluster begins"),
        Err(error) => tracing::debug!(%error, "the cluster has begun already"),
    }
}

/// The nodes that this node would found a cluster with: itself and those it sees that belong to none or to
/// the very cluster that they would found; the first ones by name, if enough are there. None for a node that
/// expects nobody: it joins.
fn candidates(hall: &Arc<Hall>, peers: &[Peer]) -> Option<BTreeSet<NodeId>> {
    let mut seen: Vec<(NodeName, NodeId)> = peers
        .iter()
        .filter(|peer| peer.control_up)
        .map(|peer| (peer.name.clone(), peer.id))
        .collect();
    seen.push((hall.config().name.clone(), hall.id()));
    seen.sort();
    let expect = hall.config().expect;
    (seen.len() >= expect)
        .then(|| seen.into_iter().take(expect).map(|(_, node)| node).collect::<BTreeSet<_>>())
        .filter(|founders| {
            let ours = identity_of(founders);
            founders.contains(&hall.id()) && hall.identity().cluster().is_none_or(|c| c == ours)
        })
}

fn identity_of(founders: &BTreeSet<NodeId>) -> ClusterId {
    let mut hash = Sha256::new();
    for node in founders {
        hash.update(node.0.to_le_bytes());
    }
    let digest = hash.finalize();
    let first = digest[..8].try_into().expect("a digest has more than eight bytes");
    ClusterId(u64::from_le_bytes(first))
}

/// Belongs to a cluster, durably; false if this node belongs to another or could not write that down.
fn adopt(hall: &Arc<Hall>, cluster: ClusterId) -> bool {
    match hall.identity().cluster() {
        Some(ours) => ours == cluster,
        None => match hall.identity().adopt(cluster) {
            Ok(()) => {
                hall.mesh().adopt(cluster);
                true
            }
            Err(error) => {
                tracing::error!(%error, "this node could not write down where it belongs");
                false
            }
        },
    }
}
