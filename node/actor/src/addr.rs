//! Addresses: how a process is reached, near or far.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quorate_vocab::Pid;
use serde::de::DeserializeOwned;

use crate::letter::Gone;
use crate::mailbox::Queue;
use crate::reply::farewell;
use crate::{Actors, CallError, Message, ReplyTo, SendError};

/// A process that speaks `M`, near or far. It outlives the process; mail to the dead is refused.
pub struct Addr<M: Message> {
    pid: Pid,
    actors: Actors,
    way: Way<M>,
}

/// How mail gets there. Found once: a near pid that is not in the table now will never be in it.
pub(crate) enum Way<M> {
    /// Its queue is here.
    Near(Arc<Queue<M>>),
    /// It lives here and speaks another protocol.
    Wrong,
    /// It was here, or in an earlier life of this node, or never.
    Dead,
    /// It is another node's.
    Far,
}

impl<M: Message> Addr<M> {
    pub(crate) fn new(pid: Pid, actors: Actors, way: Way<M>) -> Self {
        Self { pid, actors, way }
    }

    /// Which process it is.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a message; never waits. A near one lies in the mailbox when this returns; a far one was taken by
    /// the carrier, and arrives at most once.
    pub fn send(&self, message: M) -> Result<(), SendError> {
        let (error, message) = match &self.way {
            Way::Far => return self.actors.post(self.pid, &message),
            Way::Near(queue) => match queue.push(message) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            },
            Way::Wrong => (SendError::Protocol, message),
            Way::Dead => (SendError::NoProc, message),
        };
        farewell(Gone::of(error), || drop(message));
        Err(error)
    }

    /// Asks, and waits for the answer, for the end of whoever should give it, for the loss of the link to it,
    /// or until the time is over. Dropping the future gives up; the answer then falls away.
    pub async fn call<R: DeserializeOwned + Send + 'static>(
        &self,
        within: Duration,
        make: impl FnOnce(ReplyTo<R>) -> M,
    ) -> Result<R, CallError> {
        let waiting = self.actors.open_call(self.pid.node)?;
        self.send(make(ReplyTo::new(self.actors.clone(), waiting.route())))?;
        match quorate_env::timeout(within, waiting.answer()).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Timeout),
        }
    }
}

// Derived, these would ask for a message that is `Clone`.
impl<M: Message> Clone for Addr<M> {
    fn clone(&self) -> Self {
        let way = match &self.way {
            Way::Near(queue) => Way::Near(queue.clone()),
            Way::Wrong => Way::Wrong,
            Way::Dead => Way::Dead,
            Way::Far => Way::Far,
        };
        Self { pid: self.pid, actors: self.actors.clone(), way }
    }
}

impl<M: Message> fmt::Debug for Addr<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addr({} of {})", self.pid, M::PROTOCOL)
    }
}
