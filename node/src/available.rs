//! Available names: taken at once, on both sides of a cut, and made one again after it.
//!
//! ```text
//! let counter = node.spawn(count);
//! // After a cut there may be two counters. The one that goes hands over what it has counted.
//! let merge = Resolve::merge(|clash| async move {
//!     if let Ok(sum) = clash.loser.call(SOON, Count::Stop).await {
//!         let _ = clash.winner.send(Count::Add(sum));
//!     }
//! });
//! let claimed = node.available().register(&name, &counter, merge)?;
//! ```
//!
//! They promise less than the names of [`Names`](crate::Names). Whoever registers asks nobody: two nodes that
//! do it at the same moment, or on two sides of a cut, both succeed. As soon as word of both comes around,
//! one of the two processes stays, the same one on every node, and the other is dealt with as its [`Resolve`]
//! says. So during a cut, and for a moment at any time, two may hold a name; there is no fencing token; and
//! when a process gives way just as the one that it gives way to ends, nobody holds the name until it is
//! registered anew. Where one holder at a time is what matters, take a name of the other class.
//!
//! Which nodes are there the registry says, to a node that has a valid lease. One that has none goes by its
//! links, and by what its neighbours say of theirs. What nodes know of names goes over the control links that
//! they have anyway, to the voters and from them: no node needs a link to every other.
//!
//! Not here: what is right (`quorate_registry::available`). How word goes around is in `exchange.rs`, who
//! is told of what comes of it in `desk.rs`.

pub(crate) mod desk;
pub(crate) mod exchange;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_actor::{Addr, Exit, Message};
use quorate_env::BoxFuture;
use quorate_registry::available::{Order, Ordinal, Refused, Stake};
use quorate_vocab::{Name, Pid};
use tokio::sync::{Notify, oneshot};

use crate::hall::Hall;
use desk::GiveWay;

/// How long a process that lost its name may take to hand over before it is ended.
const MERGE_WITHIN: Duration = Duration::from_secs(30);

/// The available names. Cheap to clone.
#[derive(Clone)]
pub struct Available(Arc<Hall>);

/// What is to become of two processes that both hold a name when they learn of each other. Whoever claims a
/// name should say the same as the others who do.
pub enum Resolve<M: Message> {
    /// Both go on. The name is the newer one's; the other is told by its [`Claimed`].
    Keep,
    /// The older one stays, the newer one is ended.
    KillNewer,
    /// The newer one stays. This is run where the older one is, which is ended after it, at the latest 30 s
    /// later. It runs once for each process that loses.
    Merge(Arc<dyn Fn(Clash<M>) -> BoxFuture<'static, ()> + Send + Sync>),
}

/// Two processes held one name.
pub struct Clash<M: Message> {
    /// Which name.
    pub name: Name,
    /// The one that goes; a process of this node.
    pub loser: Addr<M>,
    /// The one that stays.
    pub winner: Addr<M>,
}

/// A name is not registered. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AvailableError {
    /// Somebody who is there holds it, by what this node knows. Wait for its release.
    #[error("{} holds it", .0.pid)]
    Taken(AvailableHolder),
    /// The processes of this node claim as many names as they may. Give some back first.
    #[error("the processes of one node claim {max} names at most")]
    TooMany {
        /// How many they may.
        max: usize,
    },
    /// It is not a process of this node. Register it at its own.
    #[error("{0} is not a process of this node")]
    Abroad(Pid),
}

/// Who holds a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvailableHolder {
    /// The process.
    pub pid: Pid,
    /// Orders the claims of a name. It fences nothing.
    pub ordinal: Ordinal,
}

/// What a lookup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvailableFound {
    /// Who holds the name, by what this node knows.
    pub holder: Option<AvailableHolder>,
    /// Whether this node has a valid lease. If not, there may be nodes that it does not hear of, and another
    /// holder among them.
    pub quorate: bool,
}

/// A name that was registered. It is given back when the process ends, not when this is dropped.
#[derive(Debug)]
pub struct Claimed {
    name: Name,
    ordinal: Ordinal,
    quorate: bool,
    told: oneshot::Receiver<Lost>,
}

/// How a process came to hold its name no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Another has a better claim.
    To(AvailableHolder),
    /// It was given back, or the process has ended.
    GivenBack,
}

/// Somebody else holds a name now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AvailableNews {
    /// Which name.
    pub name: Name,
    /// Who holds it, if anybody does.
    pub holder: Option<AvailableHolder>,
}

/// Tells of available names under a prefix. Whoever is slow hears less often of a name that changes often,
/// but always how it stands.
pub struct AvailableWatch {
    hall: Arc<Hall>,
    ear: Arc<Ear>,
}

/// Where names are noted that have changed: as many as there are names, however slow the listener is.
pub(crate) struct Ear {
    prefix: String,
    changed: Mutex<BTreeSet<Name>>,
    wake: Notify,
}

impl Available {
    pub(crate) fn new(hall: Arc<Hall>) -> Self {
        Self(hall)
    }

    /// Registers a process of this node, unless this node knows of somebody who is there and holds the name.
    /// It asks nobody, and so does not wait. Said again of the same process, it changes nothing.
    pub fn register<M: Message>(
        &self,
        name: &Name,
        addr: &Addr<M>,
        resolve: Resolve<M>,
    ) -> Result<Claimed, AvailableError> {
        let pid = addr.pid();
        if pid.node != self.0.id() {
            return Err(AvailableError::Abroad(pid));
        }
        let order = resolve.order();
        let way = give_way(&self.0, name.clone(), addr.clone(), resolve);
        let (tell, told) = oneshot::channel();
        let registered = self.0.available().register(name, pid, order, way, tell);
        let ordinal = registered.map_err(|refused| match refused {
            Refused::Taken(stake) => AvailableError::Taken((&stake).into()),
            Refused::TooMany { max } => AvailableError::TooMany { max },
        })?;
        let (hall, name, ended) = (self.0.clone(), name.clone(), self.0.actors().ended(pid));
        let claimed = Claimed { name: name.clone(), ordinal, quorate: self.is_quorate(), told };
        self.0.run(async move {
            ended.await;
            hall.available().release(&name, pid);
        });
        Ok(claimed)
    }

    /// Gives a name back that a process of this node holds; whether it did.
    pub fn release<M: Message>(&self, name: &Name, addr: &Addr<M>) -> bool {
        self.0.available().release(name, addr.pid())
    }

    /// The process that holds a name, by what this node knows.
    pub fn whereis<M: Message>(&self, name: &Name) -> Option<Addr<M>> {
        self.find(name).holder.map(|holder| self.0.actors().addr(holder.pid))
    }

    /// Who holds a name, and whether this node's word is that of the cluster.
    pub fn find(&self, name: &Name) -> AvailableFound {
        let holder = self.0.available().table().holder(name).map(AvailableHolder::from);
        AvailableFound { holder, quorate: self.is_quorate() }
    }

    /// The names under a prefix that come after another one and are held, at most `limit` of them.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Vec<(Name, AvailableHolder)> {
        let table = self.0.available().table();
        let behind = table.list(prefix).filter(|(name, _)| after.is_none_or(|after| *name > after));
        behind.take(limit).map(|(name, stake)| (name.clone(), stake.into())).collect()
    }

    /// Tells of every name under a prefix that changes from now on.
    pub fn watch(&self, prefix: &str) -> AvailableWatch {
        let (changed, wake) = Default::default();
        let ear = Arc::new(Ear { prefix: prefix.to_owned(), changed, wake });
        self.0.available().listen(&ear);
        AvailableWatch { hall: self.0.clone(), ear }
    }

    /// Whether this node has a valid lease, so that its word is that of the cluster.
    pub fn is_quorate(&self) -> bool {
        self.0.tenancy().session().is_some()
    }
}

impl<M: Message> Resolve<M> {
    /// Hands over with this function what the older process has.
    pub fn merge<F, Fut>(hand_over: F) -> Self
    where
        F: Fn(Clash<M>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::Merge(Arc::new(move |clash| Box::pin(hand_over(clash))))
    }

    fn order(&self) -> Order {
        match self {
            Self::KillNewer => Order::Oldest,
            Self::Keep | Self::Merge(_) => Order::Newest,
        }
    }
}

/// What is done when the process has lost the name.
fn give_way<M: Message>(
    hall: &Arc<Hall>,
    name: Name,
    loser: Addr<M>,
    resolve: Resolve<M>,
) -> GiveWay {
    let hall = Arc::downgrade(hall);
    Box::new(move |to| {
        let Some(hall) = hall.upgrade() else { return };
        let exit = Exit::because("another process holds its available name");
        match resolve {
            Resolve::Keep => {}
            Resolve::KillNewer => {
                hall.actors().end(loser.pid(), exit);
            }
            Resolve::Merge(hand_over) => {
                let (pid, winner) = (loser.pid(), hall.actors().addr(to.pid));
                let after = hall.clone();
                hall.run(async move {
                    // On its own, so that the loser is ended even when its hand-over panics.
                    let merging = quorate_env::spawn(hand_over(Clash { name, loser, winner }));
                    let aborter = merging.abort_handle();
                    if quorate_env::timeout(MERGE_WITHIN, merging).await.is_err() {
                        aborter.abort();
                    }
                    after.actors().end(pid, exit);
                });
            }
        }
    })
}

impl Claimed {
    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// What the claim is ordered by.
    pub fn ordinal(&self) -> Ordinal {
        self.ordinal
    }

    /// Whether the node had a valid lease. If not, it is cut off, and the name may be held elsewhere, too.
    pub fn was_quorate(&self) -> bool {
        self.quorate
    }

    /// Waits until the process holds the name no more.
    pub async fn lost(self) -> Lost {
        // Nobody will say anything any more: the name was registered again, or the node is gone.
        self.told.await.unwrap_or(Lost::GivenBack)
    }
}

impl AvailableWatch {
    /// The next name that somebody else holds, or nobody. Nothing is lost when it is not waited for to the
    /// end.
    pub async fn next(&mut self) -> AvailableNews {
        loop {
            let next = self.ear.lock().pop_first();
            if let Some(name) = next {
                let holder = self.hall.available().table().holder(&name).map(AvailableHolder::from);
                return AvailableNews { name, holder };
            }
            self.ear.wake.notified().await;
        }
    }
}

impl Ear {
    fn hear(&self, name: &Name) {
        if name.as_str().starts_with(&self.prefix) {
            self.lock().insert(name.clone());
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Name>> {
        self.changed.lock().expect("nothing panics while it holds what has changed")
    }
}

impl From<&Stake> for AvailableHolder {
    fn from(stake: &Stake) -> Self {
        Self { pid: stake.pid, ordinal: stake.ordinal }
    }
}

// Derived, it would ask for a message that can be shown.
impl<M: Message> fmt::Debug for Resolve<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "Keep",
            Self::KillNewer => "KillNewer",
            Self::Merge(_) => "Merge",
        })
    }
}
