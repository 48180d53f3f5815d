//! Addresses by name: whoever holds the name when a message is sent gets it, across every failover.

use std::marker::PhantomData;
use std::time::Duration;

use quorate_actor::{Addr, CallError, Message, ReplyTo, SendError};
use quorate_registry::{Holding, Refusal};
use quorate_vocab::{Name, Pid};

use crate::error::Error;
use crate::names::{Held, Names};

/// An address that follows the holder of a name. Cheap to clone.
pub struct ByName<M> {
    names: Names,
    name: Name,
    speaks: PhantomData<fn(M)>,
}

/// Whose a name is after one was asked to take it or to find it.
#[derive(Debug)]
pub enum Located<M: Message> {
    /// It was free, and is now the asker's.
    Mine(Held),
    /// A process holds it already.
    Held {
        /// The process.
        addr: Addr<M>,
        /// Under which epoch.
        by: Holding,
    },
    /// It is held by no process, or reserved.
    Elsewhere(Holding),
}

impl Names {
    /// The name as an address.
    pub fn via<M: Message>(&self, name: &Name) -> ByName<M> {
        ByName { names: self.clone(), name: name.clone(), speaks: PhantomData }
    }

    /// Registers a process of this node, or says who holds the name: one step, and one of the two is so.
    pub async fn register_or_locate<M: Message>(
        &self,
        name: &Name,
        addr: &Addr<M>,
    ) -> Result<Located<M>, Error> {
        match self.register(name, addr).await {
            Ok(held) => Ok(Located::Mine(held)),
            Err(Error::Refused(Refusal::Taken(by))) => Ok(match by.holder {
                Some(pid) => Located::Held { addr: self.hall.actors().addr(pid), by },
                None => Located::Elsewhere(by),
            }),
            Err(error) => Err(error),
        }
    }
}

impl<M: Message> ByName<M> {
    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Who holds the name now, by what this node knows.
    pub fn holder(&self) -> Option<Addr<M>> {
        self.names
            .peek(&self.name)
            .registration
            .and_then(|held| held.holder)
            .map(|pid| self.at(pid))
    }

    /// Sends to whoever holds the name now, by what this node knows. At most once, and never waits.
    pub fn send(&self, message: M) -> Result<(), SendError> {
        self.names.send(&self.name, message)
    }

    /// Asks whoever holds the name, and waits for a holder before if there is none. The question is put once:
    /// when its holder dies with it, that is told, and the next call goes to the next holder.
    pub async fn call<R: Send + 'static>(
        &self,
        within: Duration,
        make: impl FnOnce(ReplyTo<R>) -> M,
    ) -> Result<R, CallError> {
        let until = quorate_env::now() + within;
        // A process of this node that is known to have ended only waits to be released.
        let alive =
            |pid: Pid| pid.node != self.names.hall.id() || self.names.hall.actors().is_alive(pid);
        let holder = self.names.until_it_is(&self.name, |held| {
            held.and_then(|held| held.holder).filter(|pid| alive(*pid))
        });
        let pid = quorate_env::timeout(within, holder).await.map_err(|_| CallError::NoProc)?;
        self.at(pid).call(until.since(quorate_env::now()), make).await
    }

    fn at(&self, pid: Pid) -> Addr<M> {
        self.names.hall.actors().addr(pid)
    }
}

// Derived, it would ask for a message that is `Clone`.
impl<M> Clone for ByName<M> {
    fn clone(&self) -> Self {
        Self { names: self.names.clone(), name: self.name.clone(), speaks: PhantomData }
    }
}
