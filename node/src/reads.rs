//! Four ways to look a name up: at once, with a bound on its age, linearizably, and by waiting for it. A
//! fifth is to let the holder's own node judge: `verified.rs`.

use std::fmt;
use std::time::Duration;

use quorate_actor::{Addr, Message, SendError};
use quorate_registry::{Effect, Holding, Machine, Registration};
use quorate_vocab::{Epoch, Index, Name};

use crate::error::Error;
use crate::hall::Hall;
use crate::names::{Found, Listing, Names};

/// What this node knows is older than was asked for. Nothing was looked up; ask again, another node, or
/// linearizably.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what this node knows is {}, and may be {age:?} old at most", Old(*stale))]
pub struct TooStale {
    /// How old it is; [`Duration::MAX`] where this node cannot say.
    pub stale: Duration,
    /// How old it may be.
    pub age: Duration,
}

struct Old(Duration);

impl fmt::Display for Old {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Duration::MAX => f.write_str("of an age that nobody here can say"),
            stale => write!(f, "{stale:?} old"),
        }
    }
}

impl Names {
    /// Looks a name up, linearizably: sees every registration that was acknowledged before the call.
    pub async fn find(&self, name: &Name) -> Result<Found, Error> {
        self.hall.confirm(self.within).await?;
        Ok(Found { stale: Duration::ZERO, ..self.peek(name) })
    }

    /// Looks a name up in what this node knows, at once.
    pub fn peek(&self, name: &Name) -> Found {
        // First: what is read after it is not older than it says.
        let stale = self.hall.group().age();
        let (registration, index) = self.hall.group().look(name.as_str());
        Found { registration, index, stale }
    }

    /// Looks a name up in what this node knows, at once, if that is not older than `age`.
    pub fn recent(&self, name: &Name, age: Duration) -> Result<Found, TooStale> {
        let found = self.peek(name);
        match found.stale {
            stale if stale <= age && stale < Duration::MAX => Ok(found),
            stale => Err(TooStale { stale, age }),
        }
    }

    /// Waits until somebody holds a name, as this node hears of it, and says who; a name that is only
    /// reserved is waited for. None when the time is over.
    pub async fn until(&self, name: &Name, within: Duration) -> Option<Registration> {
        let held = self.until_it_is(name, |held| held.filter(|held| !held.reserved).cloned());
        quorate_env::timeout(within, held).await.ok()
    }

    /// Waits until nobody holds or reserves a name that was refused because it is held so, as this node hears
    /// of it. It may be held again by then.
    pub async fn until_free(&self, name: &Name, by: &Holding) {
        // This node may not have heard of that yet, and would find the name free. What was held before a
        // backup was restored has an index of another log, and is in all that was restored.
        let generation = self.hall.group().read(|machine, _| machine.generation());
        if Epoch::new(generation, by.epoch.index()) == Some(by.epoch) {
            self.hall.group().reached(by.epoch.index()).await;
        }
        self.until_it_is(name, |held| held.is_none().then_some(())).await;
    }

    /// Waits until something is so of a name.
    pub(crate) async fn until_it_is<T>(
        &self,
        name: &Name,
        mut so: impl FnMut(Option<&Registration>) -> Option<T>,
    ) -> T {
        loop {
            let (found, index) =
                self.hall.group().read(|machine, at| (so(machine.find(name.as_str())), at));
            if let Some(found) = found {
                return found;
            }
            let mut watch = self.hall.group().watch(index);
            let touches = |effect: &Effect| match effect {
                Effect::Registered(held) | Effect::Amended(held) => held.name == *name,
                Effect::Released { name: released, .. } => released == name,
                _ => false,
            };
            // One that fell too far behind looks at the present state, as after every change.
            while let Ok(change) = watch.next().await {
                if change.effects.iter().any(touches) {
                    break;
                }
            }
        }
    }

    /// Sends a message to the process that holds a name, wherever it is, by what this node knows. At most
    /// once; a holder that has just changed may be missed.
    pub fn send<M: Message>(&self, name: &Name, message: M) -> Result<(), SendError> {
        let pid = self.peek(name).registration.and_then(|held| held.holder);
        self.hall.actors().addr::<M>(pid.ok_or(SendError::NoProc)?).send(message)
    }

    /// The process that holds a name, as an address; none when nobody or no process does.
    pub async fn whereis<M: Message>(&self, name: &Name) -> Result<Option<Addr<M>>, Error> {
        let holder = self.find(name).await?.registration.and_then(|held| held.holder);
        Ok(holder.map(|pid| self.hall.actors().addr::<M>(pid)))
    }

    /// Names that begin with a prefix, in order, after a name, at most `limit`; by what this node knows.
    pub fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Listing {
        let stale = self.hall.group().age();
        // Whoever applies waits for no listing.
        let (state, index): (_, Index) =
            self.hall.group().read(|machine, index| (machine.freeze(), index));
        let mut registrations: Vec<Registration> =
            state.list(prefix, after).take(limit.saturating_add(1)).cloned().collect();
        let more = registrations.len() > limit;
        registrations.truncate(limit);
        Listing { registrations, index, more, stale }
    }

    /// Like [`Names::list`], but linearizable.
    pub async fn list_confirmed(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Listing, Error> {
        self.hall.confirm(self.within).await?;
        Ok(Listing { stale: Duration::ZERO, ..self.list(prefix, after, limit) })
    }
}

/// Waits until something is so of the singletons, or of the lives and nodes that they depend on.
pub(crate) async fn until<T>(hall: &Hall, mut so: impl FnMut(&Machine) -> Option<T>) -> T {
    loop {
        let (found, index) = hall.group().read(|machine, at| (so(machine), at));
        if let Some(found) = found {
            return found;
        }
        let mut watch = hall.group().watch(index);
        let touches = |effect: &Effect| {
            matches!(
                effect,
                Effect::Granted { .. }
                    | Effect::GrantPhase { .. }
                    | Effect::GrantClosed { .. }
                    | Effect::SingletonChanged(_)
                    | Effect::Drained { .. }
                    | Effect::SessionEnded { .. }
            )
        };
        // One that fell too far behind looks at the present state, as after every change.
        while let Ok(change) = watch.next().await {
            if change.effects.iter().any(touches) {
                break;
            }
        }
    }
}
