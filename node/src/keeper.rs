//! What a leader does beside leading: it ends sessions that fell silent, and lets nodes into the group.
//!
//! It decides nothing by being called a leader: an expiry goes through the log and is void in another term; a
//! renewal is answered after a majority confirmed the leader in a round that began after it came.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_consensus::{GroupStatus, ReadError, Role, Watch};
use quorate_registry::lease::{Grantor, Terms, grantor};
use quorate_registry::{
    Command, Effect, Evidence, Machine, NodeFacts, NodeRole, Once, Op, SessionOwner,
};
use quorate_vocab::{Index, NodeId};

use crate::hall::Hall;
use crate::post::{Renewal, Told};

/// What a holder needs to come to rest.
const GUARD: Duration = Duration::from_millis(100);
/// By how much the rate of a clock may differ from true.
const DRIFT: f64 = 0.01;
/// How often the members are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

pub(crate) struct Keeper(Mutex<Grantor>);

impl Keeper {
    pub(crate) fn new() -> Self {
        let terms = Terms::new(GUARD, DRIFT).expect("our own terms fit");
        Self(Mutex::new(Grantor::new(terms)))
    }

    /// Answers a renew, as the leader.
    pub(crate) async fn renew(&self, hall: &Hall, renewal: Renewal) -> Told {
        let session = renewal.session;
        self.step(hall, grantor::Input::Renewed { session });
        match hall.group().confirm().await {
            Ok(_) => {}
            Err(ReadError::NotLeader { leader }) => return Told::NotLeader { leader },
            Err(_) => return Told::NoQuorum,
        }
        let ttl_ms = hall.group().read(|machine, _| {
            let session = machine.session(session)?;
            let node = match session.owner {
                SessionOwner::Node { node, .. } => Some(node),
                SessionOwner::Client | SessionOwner::Name => None,
            };
            (node == renewal.node).then_some(session.ttl_ms)
        });

        match ttl_ms {
            None => Told::SessionEnded,
            // A session without a bound is never watched, and cannot expire.
            Some(0) => Told::Renewed { ttl_ms: 0 },
            Some(ttl_ms) if self.lock().admits(session) => Told::Renewed { ttl_ms },
            // Its expiry is on the way, or this leader does not watch over sessions yet.
            Some(_) => Told::NoQuorum,
        }
    }

    fn step(&self, hall: &Hall, input: grantor::Input) {
        let mut out = Vec::new();
        {
            let mut grantor = self.lock();
            grantor.step(quorate_env::now(), input, &mut out);
        }
        for grantor::Output::Expire { session, term } in out {
            tracing::info!(%session, "a session fell silent; proposing its end");
            let group = hall.group().clone();
            let op = Op::End { session, evidence: Evidence::Expired { term } };
            quorate_env::spawn(async move {
                // If it is not agreed, the grantor asks again.
                let _ = group.propose(Command { once: Once::Free, op }).await;
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Grantor> {
        self.0.lock().expect("nothing panics while it holds the grantor")
    }
}

/// Watches for this node becoming the leader, for as long as it lives.
pub(crate) async fn keep(hall: Arc<Hall>) {
    loop {
        let status = hall.group().status();
        if status.role == Role::Leader {
            lead(&hall, status.term).await;
            hall.keeper().step(&hall, grantor::Input::Deposed);
        }
        hall.group().status_changed(&status).await;
    }
}

/// Does a leader's work for one term.
async fn lead(hall: &Arc<Hall>, term: u64) {
    let leads = |status: &GroupStatus| status.role == Role::Leader && status.term == term;
    // Once this is confirmed, everything of earlier terms is applied here, the last expiries among it.
    while hall.group().confirm().await.is_err() {
        if !leads(&hall.group().status()) {
            return;
        }
        quorate_env::sleep(Duration::from_millis(10)).await;
    }
    let mut watch = begin(hall, term);
    loop {
        let status = hall.group().status();
        if !leads(&status) {
            return;
        }
        admit(hall, &status).await;
        let until = quorate_env::now() + LOOK_AGAIN;
        while quorate_env::now() < until {
            let deadline = hall.keeper().lock().deadline().map_or(until, |at| at.min(until));
            tokio::select! {
                biased;
                change = watch.next() => match change {
                    Ok(change) => follow(hall, &change.effects),
                    Err(_) => watch = begin(hall, term),
                },
                () = quorate_env::sleep_until(deadline) => {
                    hall.keeper().step(hall, grantor::Input::Tick);
                }
            }
        }
    }
}

/// Starts every wait anew.
fn begin(hall: &Hall, term: u64) -> Watch {
    let (sessions, index): (Vec<_>, Index) = hall.group().read(|machine, index| {
        let ttl = |ms| Duration::from_millis(ms);
        (machine.sessions().map(|s| (s.id, ttl(s.ttl_ms))).collect(), index)
    });
    hall.keeper().step(hall, grantor::Input::Elected { term, sessions });
    hall.group().watch(index)
}

fn follow(hall: &Hall, effects: &[Effect]) {
    for effect in effects {
        match *effect {
            Effect::SessionOpened { session, ttl_ms, .. } => {
                let ttl = Duration::from_millis(ttl_ms);
                hall.keeper().step(hall, grantor::Input::Opened { session, ttl });
            }
            Effect::SessionEnded { session, .. } => {
                hall.keeper().step(hall, grantor::Input::Ended { session });
            }
            _ => {}
        }
    }
}

/// Lets nodes of the registry follow the log, and gives votes as long as there are fewer voters than wanted.
async fn admit(hall: &Arc<Hall>, status: &GroupStatus) {
    let newcomer = hall.group().read(|machine, _| {
        let known = |node: &NodeId| status.voters.contains(node) || status.learners.contains(node);
        machine.nodes().map(|node| node.id).find(|node| !known(node))
    });
    if let Some(node) = newcomer {
        if let Err(error) = hall.group().add_learner(node).await {
            tracing::debug!(%node, %error, "a newcomer does not follow the log yet");
        }
        return;
    }
    let wanted = hall.config().voters.saturating_sub(status.voters.len());
    let ready = hall.group().read(|machine, _| ready(machine, &status.learners));
    // By pairs: an even number of voters bears no more losses than one fewer.
    let chosen: BTreeSet<NodeId> = ready.into_iter().take(wanted - wanted % 2).collect();
    if chosen.len() >= 2 && chosen.len().is_multiple_of(2) {
        match hall.group().promote(&chosen).await {
            Ok(()) => tracing::info!(?chosen, "more nodes vote"),
            Err(error) => tracing::debug!(%error, "the voters stay as they are for now"),
        }
    }
}

/// Learners that are alive. An edge is never among them: nobody is to lean on it.
fn ready(machine: &Machine, learners: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let alive = |node: &NodeId| machine.session_of(*node).is_some();
    let steady = |node: &NodeId| {
        let entry = machine.node(*node);
        entry.is_some_and(|node| NodeFacts { node, votes: false }.role() != NodeRole::Edge)
    };
    learners.iter().copied().filter(alive).filter(steady).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use quorate_registry::At;
    use quorate_vocab::Boot;

    use super::*;

    #[test]
    fn a_vote_goes_to_learners_that_live_and_are_no_edges() {
        let mut machine = Machine::new(0);
        let join = |id: u64, role: &str| Op::Join {
            node: NodeId(id),
            name: format!("n{id}").try_into().unwrap(),
            address: "10.0.0.1:1".to_owned(),
            labels: BTreeMap::from([("role".to_owned(), role.to_owned())]),
        };
        let open = |id: u64| {
            let owner = SessionOwner::Node { node: NodeId(id), boot: Boot(1) };
            Op::Open { owner, ttl_ms: 1 }
        };
        let ops = [join(1, "member"), join(2, "member"), join(3, "edge"), open(2), open(3)];
        for (op, index) in ops.into_iter().zip(1..) {
            let at = At { index: Index(index), term: 1 };
            machine.apply(at, Command { once: Once::Free, op }, &mut Vec::new());
        }
        let learners = BTreeSet::from([1, 2, 3].map(NodeId));
        assert_eq!(ready(&machine, &learners), [NodeId(2)]);
    }
}
