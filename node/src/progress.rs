//! How far the others are behind the leader, which alone knows it.

use std::collections::BTreeMap;

use quorate_consensus::Role;
use quorate_vocab::{Index, NodeId};

use crate::error::{Error, NotDone};
use crate::hall::Hall;
use crate::post::{Ask, Told};

/// Up to where the leader knows that the others have its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The last entry of the leader's own log.
    pub last: Index,
    /// The last entry of each node that follows it, itself included.
    pub matched: BTreeMap<NodeId, Index>,
}

impl Progress {
    /// By how many entries a node is behind; none if the leader does not know it.
    pub fn lag(&self, node: NodeId) -> Option<u64> {
        self.matched.get(&node).map(|matched| self.last.0.saturating_sub(matched.0))
    }
}

/// What this node knows as the leader.
pub(crate) fn tell(hall: &Hall) -> Told {
    let mut status = hall.group().status();
    if status.role != Role::Leader {
        return Told::NotLeader { leader: status.leader };
    }
    status.matched.insert(hall.id(), status.last_index);
    Told::Progress { last: status.last_index, matched: status.matched }
}

/// Asks whoever leads.
pub(crate) async fn ask(hall: &Hall) -> Result<Progress, Error> {
    let told = match hall.group().leader() {
        None => return Err(Error::NotDone(NotDone::NoLeader)),
        Some(leader) if leader == hall.id() => tell(hall),
        Some(leader) => {
            let asked = hall.ask(leader, &Ask::Progress, hall.config().lease / 2).await;
            asked.map_err(|_| Error::NotDone(NotDone::NoLeader))?
        }
    };
    match told {
        Told::Progress { last, matched } => Ok(Progress { last, matched }),
        _ => Err(Error::NotDone(NotDone::NoLeader)),
    }
}
