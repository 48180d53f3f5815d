//! Calls that wait: each has a slot under its number, until it is settled or its caller gives up.
//!
//! The slots are bounded in number, and a slot lives no longer than the future that waits for it.

use std::any::Any;
use std::collections::BTreeMap;
use std::mem;

use bytes::Bytes;
use quorate_vocab::{NodeId, Ref};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::letter::{Gone, Route};
use crate::{Actors, CallError, SendError, codec};

/// What a call ended with.
pub(crate) enum Outcome {
    /// An answer of this node, moved.
    Near(Box<dyn Any + Send>),
    /// An answer of another node, as it came.
    Far(Bytes),
    /// There will be no answer.
    Gone(Gone),
    /// Nobody will know.
    Lost,
}

/// The slots of all calls that wait.
#[derive(Default)]
pub(crate) struct Calls {
    slots: BTreeMap<Ref, Slot>,
    last: u64,
}

struct Slot {
    /// Where the request went; the loss of that link ends the call.
    to: NodeId,
    tell: oneshot::Sender<Outcome>,
}

impl Calls {
    /// Makes a slot; `None` when `calls_max` wait already.
    pub(crate) fn open(
        &mut self,
        to: NodeId,
        calls_max: usize,
    ) -> Option<(Ref, oneshot::Receiver<Outcome>)> {
        if self.slots.len() >= calls_max {
            return None;
        }
        self.last += 1;
        let (tell, told) = oneshot::channel();
        self.slots.insert(Ref(self.last), Slot { to, tell });
        Some((Ref(self.last), told))
    }

    /// Empties a slot. Whoever gets its sender uses or drops it after the lock on the slots.
    pub(crate) fn take(&mut self, call: Ref) -> Option<oneshot::Sender<Outcome>> {
        self.slots.remove(&call).map(|slot| slot.tell)
    }

    /// Empties the slots of all calls to a node, or of all.
    pub(crate) fn take_all(&mut self, to: Option<NodeId>) -> Vec<oneshot::Sender<Outcome>> {
        let slots = mem::take(&mut self.slots);
        let (taken, kept) = slots.into_iter().partition(|(_, s)| to.is_none_or(|to| s.to == to));
        self.slots = kept;
        let taken: BTreeMap<Ref, Slot> = taken;
        taken.into_values().map(|slot| slot.tell).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

/// A call's end of its slot. Dropped, it takes the slot along.
pub(crate) struct Waiting {
    pub(crate) actors: Actors,
    pub(crate) call: Ref,
    pub(crate) told: oneshot::Receiver<Outcome>,
}

impl Waiting {
    /// Where its answer is to go.
    pub(crate) fn route(&self) -> Route {
        self.actors.route(self.call)
    }

    /// Waits for the outcome.
    pub(crate) async fn answer<R: DeserializeOwned + Send + 'static>(
        mut self,
    ) -> Result<R, CallError> {
        match (&mut self.told).await {
            Ok(Outcome::Near(answer)) => {
                answer.downcast().map(|answer| *answer).map_err(|_| CallError::Answer)
            }
            Ok(Outcome::Far(bytes)) => codec::decode(&bytes).ok_or(CallError::Answer),
            Ok(Outcome::Gone(gone)) => Err(gone.into()),
            // A sender is used before it is dropped; were it not, this would still be true.
            Ok(Outcome::Lost) | Err(_) => Err(CallError::MaybeDelivered),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.actors.forget_call(self.call);
    }
}

impl From<Gone> for CallError {
    fn from(gone: Gone) -> Self {
        match gone {
            Gone::NoProc => Self::NoProc,
            Gone::NoReply => Self::NoReply,
            Gone::Full => Self::Full,
            Gone::Refused => Self::Protocol,
            Gone::Answer => Self::Answer,
        }
    }
}

impl Gone {
    /// What a caller is told when its request, handed on, was not sent.
    pub(crate) fn of(error: SendError) -> Self {
        match error {
            SendError::NoProc => Self::NoProc,
            SendError::Full => Self::Full,
            SendError::Protocol => Self::Refused,
            _ => Self::NoReply,
        }
    }
}
