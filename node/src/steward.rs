//! Performs what the log decided, as far as it concerns this node: knows where the others are, gives back the
//! names of processes that end and takes their properties away, and ends processes whose names are lost with
//! the session.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_actor::{Actors, Exit};
use quorate_registry::{Bearer, Command, Effect, Once, Op};
use quorate_vocab::{Epoch, Name, NodeId, Pid, SessionId};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::hall::Hall;
use crate::health;
use crate::names::Held;
use crate::singletons::troupe;
use crate::tenancy;

const TRY_AGAIN: Duration = Duration::from_millis(100);

/// What processes of this node hold and say.
#[derive(Default)]
pub(crate) struct Steward(Mutex<Estate>);

#[derive(Default)]
struct Estate {
    held: BTreeMap<(Epoch, Name), Kept>,
    /// Processes that lost their names with a session and have not ended yet.
    ending: BTreeSet<Pid>,
    /// What is taken away when its bearer ends; each is waited for once, however often it is set.
    said: BTreeSet<(Bearer, Name)>,
}

/// A registration that a process holds.
struct Kept {
    session: SessionId,
    pid: Pid,
    /// Dropped with this, it tells whoever waits for the process that there is nothing to wait for.
    _waited_for: oneshot::Sender<()>,
}

impl Steward {
    /// Ends the processes whose names go with a session, and returns once they have ended: others may hold
    /// the names then.
    pub(crate) async fn fence(&self, actors: &Actors, session: SessionId) {
        let lost: Vec<Pid> = {
            let mut estate = self.lock();
            let lost = estate.held.extract_if(.., |_, kept| kept.session == session);
            let lost: Vec<Pid> = lost.map(|(_, kept)| kept.pid).collect();
            estate.ending.extend(&lost);
            lost
        };
        // All are told before the first is waited for.
        let ends: Vec<_> = lost
            .into_iter()
            .map(|pid| {
                let ended = actors.ended(pid);
                end(actors, pid);
                (pid, ended)
            })
            .collect();
        for (pid, ended) in ends {
            ended.await;
            self.lock().ending.remove(&pid);
        }
    }

    /// Whether a process of this node holds a name, or did and has not ended yet.
    pub(crate) fn has_holders(&self) -> bool {
        let estate = self.lock();
        !estate.held.is_empty() || !estate.ending.is_empty()
    }

    /// No process of this node lives any more.
    pub(crate) fn clear(&self) {
        let mut estate = self.lock();
        estate.held.clear();
        estate.ending.clear();
    }

    /// Under which session a process of this node holds a name, if one does under this epoch.
    pub(crate) fn holds(&self, name: &Name, epoch: Epoch) -> Option<SessionId> {
        self.lock().held.get(&(epoch, name.clone())).map(|kept| kept.session)
    }

    fn lock(&self) -> MutexGuard<'_, Estate> {
        self.0.lock().expect("nothing panics while it holds what is kept")
    }
}

/// A process holds a name from now on; when it ends, the name is given back.
pub(crate) fn keep(hall: &Arc<Hall>, held: &Held, session: SessionId, pid: Pid) {
    let (waited_for, given_up) = oneshot::channel();
    let kept = Kept { session, pid, _waited_for: waited_for };
    tenancy::watch_over(hall);
    {
        let mut estate = hall.steward().lock();
        // Who fences comes for what is held after this, and may have missed this process before.
        if hall.tenancy().session() != Some(session) {
            return end(hall.actors(), pid);
        }
        estate.held.insert((held.epoch, held.name.clone()), kept);
    }
    let ended = hall.actors().ended(pid);
    let (keeper, held) = (hall.clone(), held.clone());
    hall.run(async move {
        tokio::select! {
            biased;
            // It was fenced, and the end of the session releases the name; or it was given back.
            _ = given_up => {}
            _ = ended => give_back(&keeper, &held).await,
        }
    });
}

fn end(actors: &Actors, pid: Pid) {
    actors.end(pid, Exit::because("its node lost the session that held its name"));
}

/// Gives a name of a process back, until that is certain, and waits for its end no longer.
pub(crate) async fn give_back(hall: &Arc<Hall>, held: &Held) {
    let Held { name, epoch, .. } = held.clone();
    hall.steward().lock().held.remove(&(epoch, name.clone()));
    // Harmless to repeat: the epoch is the registration's own, so a late copy frees nobody else's.
    insist(hall, Op::Release { name, epoch: Some(epoch) }).await;
}

/// A process says something under a key from now on; when it ends, that goes.
pub(crate) fn keep_said(hall: &Arc<Hall>, key: &Name, bearer: Bearer, pid: Pid) {
    let said = (bearer, key.clone());
    if !hall.steward().lock().said.insert(said.clone()) {
        return;
    }
    let ended = hall.actors().ended(pid);
    let keeper = hall.clone();
    hall.run(async move {
        ended.await;
        // First, so that what a late answer shows to have been said by then is taken away by itself.
        keeper.steward().lock().said.remove(&said);
        let (bearer, key) = said;
        // Harmless to repeat: the bearer never says anything again.
        insist(&keeper, Op::DropProperty { key, bearer }).await;
    });
}

/// Proposes what is harmless to repeat until it is decided.
async fn insist(hall: &Arc<Hall>, op: Op) {
    let command = Command { once: Once::Free, op };
    while let Err(Error::NotDone(_) | Error::Unknown) =
        hall.propose(command.clone(), hall.config().lease).await
    {
        quorate_env::sleep(TRY_AGAIN).await;
    }
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
        troupe::recall(&hall);
        let mut watch = hall.group().watch(index);
        // Ends when this node fell so far behind that it has to look at the whole again.
        while let Ok(change) = watch.next().await {
            for effect in &change.effects {
                health::learn(&hall, change.index, effect);
                troupe::learn(&hall, effect);
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use quorate_actor::Mailbox;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_fences_waits_for_a_holder_that_is_far_from_its_next_await() {
        let actors = Actors::alone();
        let (steward, over) = (Steward::default(), Arc::new(AtomicBool::new(false)));
        let (begun, begins) = oneshot::channel();
        let (says_over, session) = (over.clone(), SessionId(7));
        let holder = actors.spawn(async move |_: Mailbox<()>| {
            begun.send(()).expect("somebody waits");
            std::thread::sleep(Duration::from_millis(300));
            says_over.store(true, Ordering::Release);
            std::future::pending().await
        });
        begins.await.expect("it runs");
        let (_waited_for, _) = oneshot::channel();
        let kept = Kept { session, pid: holder.pid(), _waited_for };
        let held =
            (Epoch::from_shown(3).expect("it is one"), Name::new("till").expect("it is a name"));
        steward.lock().held.insert(held, kept);

        steward.fence(&actors, SessionId(6)).await;
        assert!(steward.has_holders() && !over.load(Ordering::Acquire), "another's");
        steward.fence(&actors, session).await;
        assert!(over.load(Ordering::Acquire), "it still ran");
        assert!(!steward.has_holders());
    }
}
