//! Calls to a singleton by its name, wherever it is, across every failover.
//!
//! A call is put to a desk that its owner keeps for one epoch. What no owner has seen goes to the next one;
//! what one may have seen is never put twice, and the caller is told so.

use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{CallError, Message, ReplyTo, SendError};
use quorate_registry::Phase;
use quorate_vocab::{Name, Time};
use tokio::sync::Semaphore;

use super::{Singletons, troupe};
use crate::reads;

/// How long to wait before an owner is asked again that has not begun, or has just ended.
const ASK_AGAIN: Duration = Duration::from_millis(1);
const ASK_AGAIN_MAX: Duration = Duration::from_millis(50);
/// How many calls of one node may wait for owners at once.
const CALLERS_MAX: usize = 16_384;

/// How many calls may wait.
pub(crate) struct Callers(Semaphore);

impl Default for Callers {
    fn default() -> Self {
        Self(Semaphore::new(CALLERS_MAX))
    }
}

/// A call to a singleton has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SingletonCallError {
    /// No owner took the call in its time. None has seen it; call again.
    #[error("nobody ran the singleton in time; it has not seen the request")]
    NoOwner,
    /// An owner has the call, or had it when it ended. It may have acted on it, once. Call again only if a
    /// repetition is harmless.
    #[error("the singleton may have acted on the request, and did not answer: {0}")]
    MaybeDelivered(CallError),
    /// Too many calls of this node wait for owners already. Nobody has seen it; call again after a while.
    #[error("too many calls wait for singletons already")]
    Overloaded,
    /// The call cannot be put, now or later. Nobody has seen it.
    #[error("the request cannot be put: {0}")]
    Refused(CallError),
}

impl Singletons {
    /// Asks a singleton, and waits for whoever runs it, across a failover if there is one. `make` is called
    /// again for each owner that has not seen the request. At most one of them acts on it, as long as none
    /// hands it on to another process.
    pub async fn call<M, R>(
        &self,
        name: &Name,
        within: Duration,
        mut make: impl FnMut(ReplyTo<R>) -> M,
    ) -> Result<R, SingletonCallError>
    where
        M: Message,
        R: Send + 'static,
    {
        let until = quorate_env::now() + within;
        let mut pause = ASK_AGAIN;
        let mut place = None;
        loop {
            let desk = self.desk(name, until).await.ok_or(SingletonCallError::NoOwner)?;
            let addr = self.hall.actors().named::<M>(desk.0, &desk.1);
            let failed = match addr.call(until.since(quorate_env::now()), &mut make).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            match failed {
                CallError::NoProc | CallError::NotSent(_) | CallError::Full | CallError::Busy => {}
                CallError::Protocol | CallError::TooLong { .. } | CallError::Unencodable => {
                    return Err(SingletonCallError::Refused(failed));
                }
                #[cfg(feature = "mutants")]
                _ if crate::bugs::has(self.hall.config(), crate::Bug::RepeatsCalls) => {}
                failed => return Err(SingletonCallError::MaybeDelivered(failed)),
            }
            if place.is_none() {
                let callers = &self.hall.troupe().callers.0;
                place = Some(callers.try_acquire().map_err(|_| SingletonCallError::Overloaded)?);
            }
            if until.since(quorate_env::now()) <= pause {
                return Err(SingletonCallError::NoOwner);
            }
            quorate_env::sleep(pause).await;
            pause = (pause * 2).min(ASK_AGAIN_MAX);
        }
    }

    /// Where calls for the present owner arrive, once there is one that is not about to end.
    async fn desk(&self, name: &Name, until: Time) -> Option<(quorate_vocab::NodeId, String)> {
        let hall = Arc::clone(&self.hall);
        let owner = reads::until(&hall, |machine| {
            let grant = machine.singleton(name.as_str())?.grant?;
            (grant.phase == Phase::Active).then(|| (grant.node, troupe::desk(name, grant.epoch)))
        });
        quorate_env::timeout(until.since(quorate_env::now()), owner).await.ok()
    }
}

impl From<SendError> for SingletonCallError {
    fn from(error: SendError) -> Self {
        Self::Refused(error.into())
    }
}
