//! How the other nodes stand, seen from this one: what links, pulses, voters and the registry say of each.
//!
//! When a link becomes quiet the voters are asked whether they hear its node, since one node that does not
//! hear another has learned about a road, not about a death. Only the end of a session in the registry makes
//! a node down; then whatever is tied to its processes learns it, also without a link to it.
//!
//! Not here: judgement. [`quorate_mesh::standing`] says what the facts amount to, and nothing is moved
//! because of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_actor::Loss;
use quorate_mesh::pulse::Verdict;
use quorate_mesh::standing::{Lease, LeaseEnd, Sight, Sightings, Standing};
use quorate_mesh::{Reason, Road};
use quorate_registry::{Effect, Evidence, SessionOwner};
use quorate_vocab::{Index, NodeId, SessionId};

use crate::abroad;
use crate::hall::Hall;
use crate::post::{Ask, Told};

/// How many voters are asked about a node that is not heard.
const ASKED_MAX: usize = 3;

/// How long a voter's answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// What was seen of each node.
#[derive(Default)]
pub(crate) struct Health(Mutex<Known>);

#[derive(Default)]
struct Known {
    nodes: BTreeMap<NodeId, Sightings>,
    /// Whose the sessions are that live.
    owners: BTreeMap<SessionId, NodeId>,
}

impl Health {
    /// How a node stands and why; `None` when nothing is known of it.
    pub(crate) fn of(&self, node: NodeId) -> Option<quorate_mesh::standing::Evidence> {
        let known = self.lock();
        known.nodes.get(&node).map(|seen| seen.evidence(quorate_env::now()))
    }

    fn see(&self, node: NodeId, sight: Sight) -> Option<Standing> {
        let now = quorate_env::now();
        let mut known = self.lock();
        let seen = known.nodes.entry(node).or_insert_with(|| Sightings::new(now));
        let change = seen.see(now, sight)?;
        let evidence = seen.evidence(now);
        drop(known);
        match change.to {
            Standing::Up => tracing::debug!(%node, %evidence, "a node stands otherwise"),
            _ => tracing::info!(%node, %evidence, "a node stands otherwise"),
        }
        Some(change.to)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("nothing panics while it holds what is known")
    }
}

/// A road to a node is open.
pub(crate) fn up(hall: &Hall, node: NodeId) {
    hall.health().see(node, Sight::Linked);
}

/// A road to a node has ended, or could not be opened.
pub(crate) fn down(hall: &Arc<Hall>, node: NodeId, road: Road, reason: Reason) {
    let other = match road {
        Road::Control => Road::Data,
        Road::Data => Road::Control,
    };
    let links = hall.mesh().links();
    if links.iter().any(|link| link.node == node && link.road == other) {
        return;
    }
    let sight = match reason {
        Reason::Unneeded => Sight::Parted,
        Reason::Unreachable => Sight::DialFailed,
        _ => Sight::Broken,
    };
    if hall.health().see(node, sight) == Some(Standing::Suspect) {
        inquire(hall, node);
    }
}

/// A link to a node is quiet for longer than usual, or is heard again.
pub(crate) fn pulse(hall: &Arc<Hall>, node: NodeId, verdict: Verdict) {
    let last = quorate_env::now();
    if hall.health().see(node, Sight::Pulse { verdict, last }) == Some(Standing::Suspect) {
        inquire(hall, node);
    }
}

/// What becomes of a node when the road to it is lost, by what is known now.
pub(crate) fn loss(hall: &Hall, node: NodeId) -> Loss {
    let is_down = hall
        .group()
        .read(|machine, _| machine.node(node).is_some() && machine.session_of(node).is_none());
    if is_down { Loss::Node } else { Loss::Link }
}

/// Whether this node hears another: what a voter is asked.
pub(crate) fn hears(hall: &Hall, node: NodeId) -> bool {
    hall.mesh().links().iter().any(|link| link.node == node && !link.is_suspect)
}

/// Asks voters whether they hear a node.
fn inquire(hall: &Arc<Hall>, node: NodeId) {
    let voters: Vec<NodeId> = hall
        .group()
        .status()
        .voters
        .into_iter()
        .filter(|voter| *voter != node && *voter != hall.id())
        .take(ASKED_MAX)
        .collect();
    hall.health().see(node, Sight::Asked { voters: voters.len() as u32 });
    for voter in voters {
        let asker = hall.clone();
        hall.run(async move {
            if let Ok(Told::Heard(hears)) = asker.ask(voter, &Ask::Hear(node), ANSWER_WITHIN).await
            {
                asker.health().see(node, Sight::Answered { voter, hears });
            }
        });
    }
}

/// The registry's part, at the beginning and whenever it is looked at anew.
pub(crate) fn recall(hall: &Hall) {
    let (sessions, gone): (Vec<_>, Vec<_>) = hall.group().read(|machine, _| {
        let session =
            |node: &quorate_registry::Node| Some((node.id, machine.session_of(node.id)?.id));
        let gone = machine.nodes().filter(|node| machine.session_of(node.id).is_none());
        (machine.nodes().filter_map(session).collect(), gone.map(|node| node.id).collect())
    });
    for (node, session) in sessions {
        hall.health().lock().owners.insert(session, node);
        hall.health().see(node, Sight::Lease(Lease::Held { session }));
    }
    for node in gone {
        hall.health().see(node, Sight::Lease(Lease::Unknown));
    }
}

/// The registry's part, change by change.
pub(crate) fn learn(hall: &Hall, at: Index, effect: &Effect) {
    match effect {
        Effect::SessionOpened { session, owner: SessionOwner::Node { node, .. }, .. } => {
            hall.health().lock().owners.insert(*session, *node);
            hall.health().see(*node, Sight::Lease(Lease::Held { session: *session }));
            abroad::meet(hall, *node);
        }
        Effect::SessionEnded { session, evidence } => {
            let owner = hall.health().lock().owners.remove(session);
            let Some(node) = owner else { return };
            let end = match evidence {
                Evidence::Stopped => LeaseEnd::Stopped,
                Evidence::Superseded { .. } => LeaseEnd::Superseded,
                Evidence::Expired { .. } | Evidence::ProvenDead => LeaseEnd::Expired,
                _ => LeaseEnd::Left,
            };
            hall.health().see(node, Sight::Lease(Lease::Over { session: *session, at, end }));
            if matches!(end, LeaseEnd::Expired | LeaseEnd::Left) && node != hall.id() {
                hall.actors().lost(node, Loss::Node);
            }
        }
        Effect::NodeLeft(node) => {
            hall.health().lock().nodes.remove(node);
        }
        _ => {}
    }
}
