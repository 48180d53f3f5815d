//! Calls whose answer has to come from another node: each has a slot under its number, until it is settled.
//!
//! A call within the node needs none of this: its answer goes straight to its caller. Only when the right to
//! answer leaves the node does it become a number in a letter, and leave its way back here. The slots are
//! bounded in number; one whose caller gave up is swept when room is short.

use std::collections::BTreeMap;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_vocab::{NodeId, Ref};
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use crate::letter::Gone;
use crate::{CallError, SendError, codec};

/// What a caller is told.
pub(crate) type Answer<R> = Result<R, CallError>;

/// A caller that waits for an answer from far.
pub(crate) trait Slot: Send {
    /// Tells it; whether it still waited.
    fn settle(self: Box<Self>, answer: Answer<&[u8]>) -> bool;

    /// Whether it waits no more.
    fn is_abandoned(&self) -> bool;
}

impl<R: DeserializeOwned + Send + 'static> Slot for oneshot::Sender<Answer<R>> {
    fn settle(self: Box<Self>, answer: Answer<&[u8]>) -> bool {
        let read = |bytes: &[u8]| {
            let read = catch_unwind(AssertUnwindSafe(|| codec::decode(bytes)));
            read.ok().flatten().ok_or(CallError::Answer)
        };
        self.send(answer.and_then(read)).is_ok()
    }

    fn is_abandoned(&self) -> bool {
        self.is_closed()
    }
}

/// The slots of all calls that wait for other nodes.
#[derive(Default)]
pub(crate) struct Calls {
    slots: BTreeMap<Ref, (NodeId, Box<dyn Slot>)>,
}

/// Too many calls wait already; the slot comes back.
pub(crate) struct Busy(pub(crate) Box<dyn Slot>);

impl Calls {
    /// Makes a slot for an answer from `to`; the loss of the link to it ends the call.
    pub(crate) fn open(
        &mut self,
        call: Ref,
        to: NodeId,
        slot: Box<dyn Slot>,
        calls_max: usize,
    ) -> Result<(), Busy> {
        if self.slots.len() >= calls_max {
            self.slots.retain(|_, (_, slot)| !slot.is_abandoned());
        }
        if self.slots.len() >= calls_max {
            return Err(Busy(slot));
        }
        self.slots.insert(call, (to, slot));
        Ok(())
    }

    /// Empties a slot. Whoever gets it uses or drops it after the lock on the slots.
    pub(crate) fn take(&mut self, call: Ref) -> Option<Box<dyn Slot>> {
        self.slots.remove(&call).map(|(_, slot)| slot)
    }

    /// Empties the slots of all calls to a node, or of all.
    pub(crate) fn take_all(&mut self, to: Option<NodeId>) -> Vec<Box<dyn Slot>> {
        let slots = mem::take(&mut self.slots);
        let (taken, kept): (Vec<_>, Vec<_>) =
            slots.into_iter().partition(|(_, (node, _))| to.is_none_or(|to| *node == to));
        self.slots = kept.into_iter().collect();
        taken.into_iter().map(|(_, (_, slot))| slot).collect()
    }

    /// Whether a caller waits for this node.
    pub(crate) fn wait_for(&self, node: NodeId) -> bool {
        self.slots.values().any(|(to, slot)| *to == node && !slot.is_abandoned())
    }

    /// How many callers wait.
    pub(crate) fn len(&self) -> usize {
        self.slots.values().filter(|(_, slot)| !slot.is_abandoned()).count()
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
            Gone::Died => Self::Died,
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
