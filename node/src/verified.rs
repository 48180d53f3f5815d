//! Sending that the holder's own node judges: a message is taken in there only if the name is held under that
//! very epoch by its own table, and its lease is valid by its own clock.
//!
//! Every other lookup says who held a name a moment ago. This closes the moment: when it succeeds, the holder
//! had authority as the message came into its mailbox.

use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Message, SendError};
use quorate_mesh::CallError;
use quorate_vocab::{Epoch, Name, NodeId, Pid};

use crate::hall::Hall;
use crate::names::Names;
use crate::post::{Ask, Told};

/// The longest letter that is handed over.
const LETTER_BYTES_MAX: usize = 512 * 1024;

/// A message was not handed over, or nobody can say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifiedError {
    /// It was not delivered: no process holds the name under that epoch. Look the name up again.
    #[error("no process holds the name under that epoch")]
    NotHolder {
        /// What it is held under, as far as whoever refused knows.
        present: Option<Epoch>,
    },
    /// It was not delivered. Why says whether to send it again.
    #[error(transparent)]
    NotSent(#[from] SendError),
    /// The holder's node could not be reached. It was not delivered; send it again later.
    #[error("the holder's node cannot be reached")]
    Unreachable,
    /// No answer came. It may have been delivered, once.
    #[error("no answer came in time; the message may have been delivered")]
    Unknown,
}

impl Names {
    /// Sends a message to the process that holds a name under an epoch; it is refused by a receiver that does
    /// not hold the name under that epoch now. It keeps no order with other mail to the same process.
    pub async fn send_verified<M: Message>(
        &self,
        name: &Name,
        epoch: Epoch,
        message: M,
    ) -> Result<(), VerifiedError> {
        let held = self.peek(name).registration;
        let present = held.as_ref().map(|held| held.epoch);
        let pid = held.filter(|held| held.epoch == epoch).and_then(|held| held.holder);
        let pid = pid.ok_or(VerifiedError::NotHolder { present })?;
        if pid.node == self.hall.id() {
            judge(&self.hall, name, epoch)
                .map_err(|present| VerifiedError::NotHolder { present })?;
            return Ok(self.hall.actors().addr::<M>(pid).send(message)?);
        }
        self.hand_over(name, epoch, pid, &message).await
    }

    async fn hand_over<M: Message>(
        &self,
        name: &Name,
        epoch: Epoch,
        pid: Pid,
        message: &M,
    ) -> Result<(), VerifiedError> {
        let actors = self.hall.actors();
        let letter = actors.write(pid, message)?;
        if letter.len() > LETTER_BYTES_MAX {
            actors.take_back(&letter);
            return Err(SendError::TooLong { bytes_max: LETTER_BYTES_MAX }.into());
        }
        let ask = Ask::Hand { name: name.clone(), epoch, letter: letter.clone() };
        let failed = match self.ask_holder(pid.node, &ask).await {
            Ok(Told::Handed) => return Ok(()),
            Ok(Told::NotHolder { present }) => VerifiedError::NotHolder { present },
            Ok(Told::Declined) => VerifiedError::NotSent(SendError::NoProc),
            Err(CallError::NotSent(_) | CallError::Busy) => VerifiedError::Unreachable,
            // An answer to a question in it may still come.
            Ok(_) | Err(_) => return Err(VerifiedError::Unknown),
        };
        actors.take_back(&letter);
        Err(failed)
    }

    async fn ask_holder(&self, node: NodeId, ask: &Ask) -> Result<Told, CallError> {
        let within: Duration = self.within;
        self.hall.ask(node, ask, within).await
    }
}

/// Another node hands over a letter for a name that this node should hold.
pub(crate) fn take_in(
    hall: &Arc<Hall>,
    from: NodeId,
    name: &Name,
    epoch: Epoch,
    letter: &[u8],
) -> Told {
    // Nothing waits between the judgement and the mailbox.
    match judge(hall, name, epoch) {
        Err(present) => Told::NotHolder { present },
        Ok(()) => match hall.actors().deliver(from, letter) {
            Ok(()) => Told::Handed,
            // Who waits for an answer to it was told.
            Err(_) => Told::Declined,
        },
    }
}

/// Whether a process of this node holds a name under an epoch now; if not, under which one somebody does.
fn judge(hall: &Hall, name: &Name, epoch: Epoch) -> Result<(), Option<Epoch>> {
    let (present, applied) = hall
        .group()
        .read(|machine, applied| (machine.find(name.as_str()).map(|held| held.epoch), applied));
    // What was acknowledged to this node may be applied here a moment later.
    let is_yet_to_come = present < Some(epoch) && applied < epoch.index();
    let session = hall.steward().holds(name, epoch);
    let is_bound = session.is_some() && session == hall.tenancy().session();
    match is_bound && (present == Some(epoch) || is_yet_to_come) {
        true => Ok(()),
        false => Err(present),
    }
}
