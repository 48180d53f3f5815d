//! Locks and elections: thin shapes over names, since people come for them.
//!
//! A lock is a name that this node's session holds for whoever has the guard; an election is a name that a
//! process holds. Both have the epoch of the name, which is the fencing token, and both end with the session
//! of the node at the latest. Whoever acts outside of the cluster must show the epoch there: a lock by itself
//! does not stop one that sleeps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use quorate_actor::{Addr, Message};
use quorate_registry::{Bond, Claim, Command, Once, Op, Refusal};
use quorate_vocab::{Epoch, Name, SessionId};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::hall::Hall;
use crate::marks::{Mark, Number};
use crate::names::{self, Held, Names, Unheard, registered};

/// Locks and elections of the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Locks(Names);

/// A lock that is held. When it is dropped, as it is when the process ends that owns it, the lock is given
/// back.
pub struct Guard {
    hall: Arc<Hall>,
    held: Held,
    session: SessionId,
    /// Tells the task that gives the lock back when the guard is gone; said, it was given back.
    done: oneshot::Sender<()>,
}

impl Locks {
    pub(crate) fn new(names: Names) -> Self {
        Self(names)
    }

    /// Takes a lock, if nobody has it. Dropping the future takes nothing, and neither does an answer that
    /// nobody knows: what was decided all the same is given back.
    pub async fn try_lock(&self, name: &Name) -> Result<Guard, Error> {
        let hall = &self.0.hall;
        let number = Number::next(hall, self.0.within).await?;
        let (tell, told) = oneshot::channel();
        hall.run(take(self.0.clone(), name.clone(), number, tell));
        // A node that is closed says nothing any more. What was decided by then ends with its session.
        told.await.unwrap_or(Err(Error::Unknown))
    }

    /// Takes a lock, and waits for it for as long as the future is not dropped.
    pub async fn lock(&self, name: &Name) -> Result<Guard, Error> {
        loop {
            match self.try_lock(name).await {
                Err(Error::Refused(Refusal::Taken(by))) => self.0.until_free(name, &by).await,
                decided => return decided,
            }
        }
    }

    /// Makes a process of this node the leader under a name, and waits for it for as long as the future is
    /// not dropped. It leads until it ends, or its node loses its session; then the process is ended, too.
    /// Dropping the future elects nobody: what was decided all the same is given back.
    pub async fn elect<M: Message>(&self, name: &Name, addr: &Addr<M>) -> Result<Held, Error> {
        loop {
            let take = names::take(name, None);
            match self.0.hold(name, addr.pid(), Unheard::GivenBack, take).await {
                Err(Error::Refused(Refusal::Taken(by))) => self.0.until_free(name, &by).await,
                decided => return decided,
            }
        }
    }
}

/// Takes a lock for whoever listens, and gives it back when the guard is gone, which it is at once when
/// nobody listens any more.
async fn take(
    names: Names,
    name: Name,
    number: Number,
    tell: oneshot::Sender<Result<Guard, Error>>,
) {
    let session = number.session();
    let bond = Bond::Session(session);
    let claim = Claim { bond, holder: None, value: Vec::new(), meta: BTreeMap::new() };
    let op = names::take(&name, None)(claim);
    let mut tell = Some(tell);
    let doubt = || drop(tell.take().map(|tell| tell.send(Err(Error::Unknown))));
    let decided = Mark::Number(number).settle(&names.hall, op, names.within, doubt).await;
    let held = match decided.and_then(|answer| registered(&name, answer)) {
        Ok(held) => held,
        Err(error) => {
            let _ = tell.map(|tell| tell.send(Err(error)));
            return;
        }
    };
    let (hall, command) = (names.hall.clone(), give_back(&held));
    if let Some(tell) = tell {
        let (done, until_done) = oneshot::channel();
        let _ = tell.send(Ok(Guard { hall: hall.clone(), held, session, done }));
        if until_done.await.is_ok() {
            return;
        }
    }
    let again = hall.config().lease / 10;
    while let Err(Error::NotDone(_) | Error::Unknown) =
        hall.propose(command.clone(), names.within).await
    {
        quorate_env::sleep(again).await;
    }
}

fn give_back(held: &Held) -> Command {
    let op = Op::Release { name: held.name.clone(), epoch: Some(held.epoch) };
    // Harmless to repeat: the epoch is this lock's own, so a late copy frees nobody else's.
    Command { once: Once::Free, op }
}

impl Guard {
    /// The fencing token.
    pub fn epoch(&self) -> Epoch {
        self.held.epoch
    }

    /// Whether the lock is still held for certain, by this node's own clock.
    pub fn is_valid(&self) -> bool {
        self.hall.tenancy().session() == Some(self.session)
    }

    /// Gives the lock back, and waits until that is certain. When it does not become so, it is tried on and
    /// on, as after a drop.
    pub async fn unlock(self) -> Result<(), Error> {
        let within = self.hall.config().patience();
        self.hall.propose(give_back(&self.held), within).await?;
        let _ = self.done.send(());
        Ok(())
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Guard").field(&self.held).finish()
    }
}
