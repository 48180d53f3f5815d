//! Performs what the log decided, as far as it concerns this node: knows where the others are, gives back the
//! names of processes that end, and ends processes whose names are lost with the session.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_actor::{Actors, Exit};
use quorate_registry::{Command, Effect, Once, Op};
use quorate_vocab::{Epoch, Name, NodeId, Pid, SessionId};

use crate::error::Error;
use crate::hall::Hall;
use crate::health;
use crate::names::Held;

const TRY_AGAIN: Duration = Duration::from_millis(100);

/// The registrations that processes of this node hold.
#[derive(Default)]
pub(crate) struct Steward(Mutex<BTreeMap<(Epoch, Name), (SessionId, Pid)>>);

impl Steward {
    /// Ends the processes whose names went with a session: others may hold the names by now.
    pub(crate) fn fence(&self, actors: &Actors, session: SessionId) {
        let lost: Vec<Pid> = self
            .lock()
            .extract_if(.., |_, (of, _)| *of == session)
            .map(|(_, (_, pid))| pid)
            .collect();
        for pid in lost {
            let why = "its node lost the session that held its name";
            actors.end(pid, Exit::because(why));
        }
    }

    /// Under which session a process of this node holds a name, if one does under this epoch.
    pub(crate) fn holds(&self, name: &Name, epoch: Epoch) -> Option<SessionId> {
        self.lock().get(&(epoch, name.clone())).map(|(session, _)| *session)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Epoch, Name), (SessionId, Pid)>> {
        self.0.lock().expect("nothing panics while it holds what is kept")
    }
}

/// A process holds a name from now on; when it ends, the name is given back.
pub(crate) fn keep(hall: &Arc<Hall>, held: &Held, session: SessionId, pid: Pid) {
    let key = (held.epoch, held.name.clone());
    hall.steward().lock().insert(key.clone(), (session, pid));
    // Between the registration and now the session may have been lost, and its fencing missed this process.
    if hall.tenancy().session() != Some(session) {
        hall.steward().fence(hall.actors(), session);
    }
    let ended = hall.actors().ended(pid);
    let keeper = hall.clone();
    hall.run(async move {
        ended.await;
        let (epoch, name) = key.clone();
        if keeper.steward().lock().remove(&key).is_none() {
            // It was fenced: the end of the session releases the name.
            return;
        }
        let op = Op::Release { name, epoch: Some(epoch) };
        let command = Command { once: Once::Free, op };
        // Harmless to repeat: the epoch is the registration's own, so a late copy frees nobody else's.
        while let Err(Error::NotDone(_) | Error::Unknown) =
            keeper.propose(command.clone(), keeper.config().lease).await
        {
            quorate_env::sleep(TRY_AGAIN).await;
        }
    });
}

/// Follows the log for as long as the node lives.
pub(crate) async fn attend(hall: Arc<Hall>) {
    loop {
        let (nodes, index): (Vec<_>, _) = hall.group().read(|machine, index| {
            (machine.nodes().map(|node| (node.id, node.address.clone())).collect(), index)
        });
        for (node, address) in nodes {
            learn(&hall, node, &address);
        }
        health::recall(&hall);
        let mut watch = hall.group().watch(index);
        // Ends when this node fell so far behind that it has to look at the whole again.
        while let Ok(change) = watch.next().await {
            for effect in &change.effects {
                health::learn(&hall, change.index, effect);
                match effect {
                    Effect::NodeJoined(node) => learn(&hall, node.id, &node.address),
                    Effect::NodeLeft(node) => hall.mesh().forget(*node),
                    _ => {}
                }
            }
        }
    }
}

/// Keeps control links to the voters, and to nobody else, for as long as the node lives.
pub(crate) async fn keep_to_voters(hall: Arc<Hall>) {
    loop {
        let status = hall.group().status();
        // Before the group has begun, whoever is met may become one.
        if !status.voters.is_empty() {
            hall.mesh().keep(&status.voters);
        }
        hall.group().status_changed(&status).await;
    }
}

fn learn(hall: &Hall, node: NodeId, address: &str) {
    if node != hall.id() {
        hall.mesh().learn(node, address);
    }
}
