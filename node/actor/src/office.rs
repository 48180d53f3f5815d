//! The post office between this node's processes and the carrier: mail and answers, outward and inward.
//!
//! No lock is held while a message is dropped, a letter is posted or foreign code runs: each of these may
//! come back in.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use quorate_vocab::{Lane, NodeId, Pid};

use crate::call::{Busy, Slot};
use crate::codec::BODY_BYTES_CEILING;
use crate::letter::{self, Gone, Letter, Mail, Route};
use crate::sheet::{Sheet, on_a_sheet};
use crate::{
    Actors, CallError, LetterError, Message, NotSent, Postage, SendError, Wire, blob, here, reply,
};

impl Actors {
    /// Takes in a letter that another node's carrier was given; it is decoded from where it lies. A letter
    /// that is refused is counted, and whoever waits for an answer to it is told.
    pub fn deliver(&self, from: NodeId, letter: &[u8]) -> Result<(), LetterError> {
        let delivered = match letter::read(letter, self.0.config.message_bytes_max) {
            Ok(Letter::Mail(mail)) => self.deliver_mail(Mail { sender: from, ..mail }),
            Ok(Letter::Answer { route, outcome }) => self.deliver_answer(route, outcome),
            Ok(Letter::Notice(notice)) => self.deliver_notice(from, notice),
            Err(error) => Err(error),
        };
        if let Err(error) = delivered {
            self.0.letters_refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%from, %error, "a letter was refused");
        }
        delivered
    }

    /// The same with a long letter, which a [`Blob`](crate::Blob) in it may keep.
    pub fn deliver_long(&self, from: NodeId, letter: &Bytes) -> Result<(), LetterError> {
        blob::keeping(letter, |letter| self.deliver(from, letter))
    }

    fn deliver_mail(&self, mail: Mail<'_>) -> Result<(), LetterError> {
        if mail.target.node != self.0.node {
            return Err(LetterError::NotMine);
        }
        let target = match mail.name {
            "" => Some(mail.target),
            name => self.whereis(name),
        };
        match target.and_then(|pid| self.find(pid)) {
            Some(process) => process.accept(mail),
            None => {
                self.dismiss_all(mail.routes, Gone::NoProc);
                Err(LetterError::NoProc)
            }
        }
    }

    fn deliver_answer(
        &self,
        route: Route,
        outcome: Result<&[u8], Gone>,
    ) -> Result<(), LetterError> {
        if route.node != self.0.node {
            return Err(LetterError::NotMine);
        }
        self.settle(route, outcome.map_err(CallError::from));
        Ok(())
    }

    /// Sends a message to a process of another node, or to whoever has a name there.
    pub(crate) fn post<M: Message>(
        &self,
        to: Pid,
        name: &str,
        wire: Wire<M>,
        message: &M,
    ) -> Result<(), SendError> {
        let (protocol, version) = wire.id;
        on_a_sheet(|letter| {
            let routes = letter::write_mail(to, name, protocol, version, letter, |letter| {
                reply::encode_message(self, to.node, wire, message, letter)
            })?;
            let postage = match name {
                "" => Postage::between(wire.lane, here::serial(), to),
                name => Postage::to_name(wire.lane, here::serial(), name),
            };
            self.hand_over(to.node, postage, letter).map_err(|why| {
                // The rights to answer are in the letter, and only there.
                self.dismiss_all(routes, Gone::NoReply);
                why.into()
            })
        })
    }

    /// Gives a letter to the carrier.
    fn hand_over(&self, to: NodeId, postage: Postage, letter: &mut Sheet) -> Result<(), NotSent> {
        match letter.take_parts() {
            None => self.0.carrier.post(to, postage, &mut letter.text),
            Some(parts) => self.0.carrier.post_parts(to, postage, parts),
        }
    }

    /// Learns that a letter to another node, which the carrier had taken, was not sent after all; the link
    /// stays. Callers that wait for answers to it are told why, and so is one whose answer it was.
    pub fn returned(&self, letter: &[u8], why: NotSent) {
        match letter::read(letter, BODY_BYTES_CEILING) {
            Ok(Letter::Mail(mail)) => {
                tracing::warn!(to = %mail.target, %why, "a message was not sent");
                let (own, others): (Vec<_>, Vec<_>) =
                    mail.routes.into_iter().partition(|route| route.node == self.0.node);
                own.into_iter().for_each(|route| self.settle(route, Err(CallError::NotSent(why))));
                self.dismiss_all(others, Gone::NoReply);
            }
            Ok(Letter::Answer { route, .. }) => {
                tracing::warn!(to = %route.node, %why, "an answer was not sent");
                self.dismiss(route, Gone::Answer);
            }
            // Notices are short, and find their way.
            Ok(Letter::Notice(_)) | Err(_) => {}
        }
    }

    /// Writes down a message to a process of another node, for somebody who takes it there otherwise than the
    /// carrier does. It keeps no order with what the carrier takes. Who does not get it delivered for certain
    /// gives it [back](Self::take_back).
    pub fn write<M: Message>(&self, to: Pid, message: &M) -> Result<Vec<u8>, SendError> {
        let wire = M::WIRE.ok_or(SendError::Protocol)?;
        let (protocol, version) = wire.id;
        let mut letter = Sheet::default();
        letter::write_mail(to, "", protocol, version, &mut letter, |letter| {
            reply::encode_message(self, to.node, wire, message, letter)
        })?;
        Ok(letter.into_bytes().into())
    }

    /// Takes back a letter that was not delivered: who waits for an answer to it is told that none comes.
    pub fn take_back(&self, letter: &[u8]) {
        if let Ok(Letter::Mail(mail)) = letter::read(letter, self.0.config.message_bytes_max) {
            self.dismiss_all(mail.routes, Gone::NoReply);
        }
    }

    /// Waits until there may be room on the way to another node.
    pub(crate) async fn room(&self, to: NodeId) {
        self.0.carrier.room(to).await;
    }

    /// Tells a caller of any node that there will be no answer.
    pub(crate) fn dismiss(&self, route: Route, gone: Gone) {
        if route.node == self.0.node {
            self.settle(route, Err(gone.into()));
        } else {
            self.post_answer(route, Lane::High, |sheet| {
                letter::write_gone(route, gone, &mut sheet.text);
            });
        }
    }

    pub(crate) fn dismiss_all(&self, routes: impl IntoIterator<Item = Route>, gone: Gone) {
        routes.into_iter().for_each(|route| self.dismiss(route, gone));
    }

    /// Makes a slot for an answer from another node, and says where the answer is to go.
    pub(crate) fn open_call(&self, to: NodeId, slot: Box<dyn Slot>) -> Result<Route, Busy> {
        let call = self.next_ref();
        self.calls().open(call, to, slot, self.0.config.calls_max)?;
        Ok(Route { node: self.0.node, boot: self.0.boot, call })
    }

    /// Sends an answer's letter, or takes it in when the caller is of this node after all.
    pub(crate) fn post_answer(&self, route: Route, lane: Lane, write: impl FnOnce(&mut Sheet)) {
        on_a_sheet(|letter| {
            write(letter);
            let postage = Postage::of_answer(lane, route.call, letter.len());
            if route.node == self.0.node {
                // It was written here and is whole.
                let _ = self.deliver_long(self.0.node, &std::mem::take(letter).into_bytes());
            } else if self.hand_over(route.node, postage, letter).is_err() {
                self.0.answers_unsent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }

    /// Ends a call of this node. An answer to an earlier life, or to a call that nobody waits for, falls
    /// away.
    fn settle(&self, route: Route, answer: Result<&[u8], CallError>) {
        let slot = match route.boot == self.0.boot {
            true => self.calls().take(route.call),
            false => None,
        };
        if !slot.is_some_and(|slot| slot.settle(answer)) {
            self.0.answers_late.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn settle_as_lost(&self, to: Option<NodeId>) {
        let slots = self.calls().take_all(to);
        for slot in slots {
            // A caller that gave up at this moment needs no telling.
            slot.settle(Err(CallError::MaybeDelivered));
        }
    }
}
