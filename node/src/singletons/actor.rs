//! What a program writes to be a singleton, and what it is given: a tenure.

use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use quorate_actor::{Actors, Exit, Incoming, Mailbox, Message, Spawn};
use quorate_env::BoxFuture;
use quorate_guard::{Bar, Refusal};
use quorate_registry::{Bond, Claim, Deed, Grant, Legacy, Op, Verdict};
use quorate_vocab::{Epoch, Index, Name, NodeId, Pid, SessionId, Time};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::legacy::Inherited;
use crate::error::{Error, NotDone};
use crate::hall::Hall;
use crate::marks;
use crate::names::no;

/// Something of which one runs in the whole cluster, under an epoch that only rises.
///
/// What has effects outside of the cluster must show the epoch there, and whoever is acted on must refuse an
/// older one than it has seen: between the look at a lease and the effect there is always a moment.
pub trait Singleton: Send + Sync + 'static {
    /// What it may be asked by its name.
    type Message: Message;

    /// Runs it, for one epoch. When it returns well, it has done what it was for, and is stopped; when it
    /// fails, it is started again as its spec says.
    ///
    /// It ends soon when [`Tenure::stopping`] says so; what still runs when the time is over is dropped at
    /// its next await, before the lease ends.
    fn run(&self, tenure: Tenure<Self::Message>) -> impl Future<Output = Exit> + Send;

    /// This node is to have it next, while another one still runs it: a moment to load what takes long. It
    /// has no authority yet.
    fn warm(&self) {}

    /// Whether it is well. It is asked every second while it runs; when it says no three times in a row, or
    /// does not answer for three seconds, it is ended as one that failed.
    fn is_well(&self) -> impl Future<Output = bool> + Send {
        std::future::ready(true)
    }

    /// Returns once nothing is left of what it started outside of this program. Whoever runs it next waits
    /// for this.
    fn gone(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// It ran here when this node lost its lease, and was ended. This is told once the node is back.
    fn lost(&self, lost: Lost) {
        let _ = lost;
    }
}

/// A turn that ended with the lease of its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Which singleton.
    pub name: Name,
    /// The epoch that it ran under.
    pub epoch: Epoch,
    /// The last state that it was to keep for its successor, if nobody acknowledged that.
    pub unsaved: Option<Vec<u8>>,
    /// Who holds it now, if somebody does.
    pub now: Option<Grant>,
}

/// The right to be the one, for as long as it lasts; and the mailbox that goes with it.
pub struct Tenure<M: Message> {
    /// What it is asked. Use [`Tenure::next`] to serve what waits before it ends.
    pub mail: Mailbox<M>,
    own: Own,
}

/// What a turn knows, without its mailbox. Cheap to clone, and of use outside of its process, too.
#[derive(Clone)]
pub struct Own {
    pub(super) hall: Weak<Hall>,
    pub(super) name: Name,
    pub(super) epoch: Epoch,
    pub(super) session: SessionId,
    pub(super) stopping: watch::Receiver<bool>,
    pub(super) left: Arc<Left>,
}

/// What a turn begins with, and what it leaves behind.
#[derive(Default)]
pub(super) struct Left {
    /// What it would begin with now.
    pub(super) inherited: Mutex<Inherited>,
    /// How many bytes were left to it that did not come here.
    pub(super) missed: Option<u64>,
    /// What it was to keep, until that is acknowledged.
    pub(super) unsaved: Mutex<Option<Vec<u8>>>,
    /// What its successor is to know, said with its end.
    pub(super) last: Mutex<Option<Vec<u8>>>,
    /// How it ended, if it returned.
    pub(super) exit: Mutex<Option<Exit>>,
}

/// A message that says under which epoch of a singleton it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<M> {
    /// Which singleton.
    pub from: Name,
    /// The epoch that it was held under.
    pub epoch: Epoch,
    /// What it says.
    pub message: M,
}

impl<M> Stamped<M> {
    /// Takes the message, unless one of a later turn was taken before. The check needs no clock, and nobody
    /// else: it holds however long a message was on its way.
    pub fn admit(self, bar: &mut Bar) -> Result<M, Refusal> {
        bar.admit(&self.from, self.epoch)?;
        Ok(self.message)
    }
}

impl<M: Message> Tenure<M> {
    /// The next message; none once it is to end and nothing waits any more.
    pub async fn next(&mut self) -> Option<M> {
        let Self { mail, own } = self;
        tokio::select! {
            biased;
            message = mail.receive() => return Some(message),
            () = own.until_stopping() => {}
        }
        // Nothing new comes any more, but something may have come between the two looks.
        let is_mail = |incoming: &Incoming<M>| matches!(incoming, Incoming::Mail(_)).then_some(());
        match mail.select(is_mail, Some(Duration::ZERO)).await {
            Some(((), Incoming::Mail(message))) => Some(message),
            _ => None,
        }
    }

    /// What it knows of itself, to be taken along.
    pub fn own(&self) -> &Own {
        &self.own
    }
}

impl<M: Message> std::ops::Deref for Tenure<M> {
    type Target = Own;

    fn deref(&self) -> &Own {
        &self.own
    }
}

impl Own {
    /// Which singleton.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Its fencing number: greater than that of every turn before.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What the turns before said for this one, and how far that is their last word. After the first
    /// [`Own::save`] it is what was saved last here.
    ///
    /// Until then the node keeps it, so that a run that fails is started again with the same.
    pub fn inherited(&self) -> Inherited {
        self.left.inherited.lock().expect("a mere slot").clone()
    }

    /// How many bytes a turn before left that did not come here, so that this one begins with what was saved
    /// before that.
    pub fn missed(&self) -> Option<u64> {
        self.left.missed
    }

    /// Whether it is still the one for certain, by this node's own clock.
    pub fn is_valid(&self) -> bool {
        self.hall.upgrade().is_some_and(|hall| hall.tenancy().session() == Some(self.session))
    }

    /// When everything has to have ended if nothing is heard of the cluster until then. It moves on as the
    /// lease is renewed.
    pub fn deadline(&self) -> Option<Time> {
        let hall = self.hall.upgrade()?;
        hall.tenancy().end_of(self.session)
    }

    /// Whether it is to end.
    pub fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Returns once it is to end.
    pub async fn stopping(&self) {
        self.clone().until_stopping().await;
    }

    async fn until_stopping(&mut self) {
        // An error means that nobody is left who could say more.
        let _ = self.stopping.wait_for(|stopping| *stopping).await;
    }

    /// The node that is to have it next, if that is known.
    pub fn successor(&self) -> Option<NodeId> {
        let hall = self.hall.upgrade()?;
        hall.group().read(|machine, _| {
            let grant = machine.singleton(self.name.as_str())?.grant?;
            let quorate_registry::Phase::Yielding { to: Some(to) } = grant.phase else {
                return None;
            };
            machine.candidates(&self.name).find(|one| one.session == to).map(|one| one.node)
        })
    }

    /// Keeps a state of at most 64 KiB for whoever comes after. Once this is acknowledged, it is what the
    /// successor begins with, whatever happens here; an older epoch cannot change it any more.
    pub async fn save(&self, state: impl Into<Vec<u8>>) -> Result<Index, Error> {
        let state = state.into();
        *self.left.unsaved.lock().expect("a mere slot") = Some(state.clone());
        let (name, epoch) = (self.name.clone(), self.epoch);
        match self.decide(Op::Checkpoint { name, epoch, state }).await? {
            (index, Verdict::Amended { .. }) => {
                let saved = self.left.unsaved.lock().expect("a mere slot").take();
                if let Some(saved) = saved {
                    let saved = Inherited::Saved(Bytes::from(saved));
                    *self.left.inherited.lock().expect("a mere slot") = saved;
                }
                if let Some(hall) = self.hall.upgrade() {
                    hall.troupe().let_go(&self.name, self.epoch);
                }
                Ok(index)
            }
            (_, other) => Err(no(other)),
        }
    }

    /// Leaves a state of at most 256 MiB for whoever comes after, with the end of this turn: it costs no
    /// entry of its own. It is lost if this node is before the turn has ended.
    ///
    /// Up to 64 KiB go with the entry that ends the turn, and are kept as what was saved is. What is longer
    /// goes from this node to the next one before that, while callers wait, and is kept in its memory: if
    /// it does not get there the move is undone, and this turn goes on here with what it left. Asked to move
    /// once more, it goes without; so does one that is stopped, unless it starts again on this node. Whoever
    /// comes after then begins with what was saved last, and is [told so](Own::missed).
    pub fn leave(&self, state: impl Into<Vec<u8>>) -> Result<(), Error> {
        let state = state.into();
        if state.len() > Legacy::BYTES_MAX {
            let (bytes, bytes_max) = (state.len() as u64, Legacy::BYTES_MAX as u64);
            let what = "what is left".to_owned();
            return Err(Error::Refused(quorate_registry::Refusal::TooLarge {
                what,
                bytes,
                bytes_max,
            }));
        }
        *self.left.last.lock().expect("a mere slot") = Some(state);
        Ok(())
    }

    /// Registers a value under a name, in the name of this singleton: refused once it is not the one any
    /// more.
    pub async fn register(
        &self,
        name: &Name,
        value: Vec<u8>,
        replace: Option<Epoch>,
    ) -> Result<Epoch, Error> {
        let (bond, meta) = (Bond::Durable, std::collections::BTreeMap::new());
        let claim = Claim { bond, holder: None, value, meta };
        let deed = Deed::Register { name: name.clone(), claim, replace };
        match self.act(deed).await? {
            (_, Verdict::Registered { epoch }) => Ok(epoch),
            (_, other) => Err(no(other)),
        }
    }

    /// Changes the registry in the name of this singleton: refused once it is not the one any more (I6).
    pub async fn act(&self, deed: Deed) -> Result<(Index, Verdict), Error> {
        let (name, epoch) = (self.name.clone(), self.epoch);
        match self.decide(Op::ActUnder { name, epoch, deed }).await? {
            (_, Verdict::Refused(refusal)) => Err(Error::Refused(refusal)),
            decided => Ok(decided),
        }
    }

    /// A message that says under which epoch it was sent, for receivers that refuse those of turns that are
    /// over.
    pub fn stamp<T>(&self, message: T) -> Stamped<T> {
        Stamped { from: self.name.clone(), epoch: self.epoch, message }
    }

    async fn decide(&self, op: Op) -> Result<(Index, Verdict), Error> {
        let hall = self.hall.upgrade().ok_or(Error::NotDone(NotDone::Closing))?;
        if hall.tenancy().session() != Some(self.session) {
            return Err(Error::NotDone(NotDone::NoSession));
        }
        let within = hall.config().patience();
        marks::decide(&hall, op, None, within).await
    }
}

/// A singleton whose messages nobody needs to know.
pub(crate) trait Part: Send + Sync {
    /// Starts a turn as a process of this node.
    fn start(&self, actors: &Actors, own: Own) -> Pid;
    fn warm(&self);
    fn is_well(&self) -> BoxFuture<'_, bool>;
    fn gone(&self) -> BoxFuture<'_, ()>;
    fn lost(&self, lost: Lost);
}

struct Cast<S>(Arc<S>);

pub(crate) fn part<S: Singleton>(singleton: S) -> Arc<dyn Part> {
    Arc::new(Cast(Arc::new(singleton)))
}

impl<S: Singleton> Part for Cast<S> {
    fn start(&self, actors: &Actors, own: Own) -> Pid {
        let singleton = self.0.clone();
        let left = own.left.clone();
        let body = move |mail| async move {
            let exit = singleton.run(Tenure { mail, own }).await;
            *left.exit.lock().expect("a mere slot") = Some(exit.clone());
            exit
        };
        actors.spawn_with::<S::Message, _, _>(Spawn::labelled("singleton"), body).pid()
    }

    fn warm(&self) {
        self.0.warm();
    }

    fn is_well(&self) -> BoxFuture<'_, bool> {
        Box::pin(self.0.is_well())
    }

    fn gone(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.gone())
    }

    fn lost(&self, lost: Lost) {
        self.0.lost(lost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_a_turn_that_is_over_is_refused_once_a_later_one_was_taken() {
        let stamped = |epoch, message| Stamped {
            from: Name::new("billing").unwrap(),
            epoch: Epoch::from_shown(epoch).unwrap(),
            message,
        };
        let mut bar = Bar::new(10);
        assert_eq!(stamped(7, "first").admit(&mut bar), Ok("first"));
        assert_eq!(stamped(7, "again").admit(&mut bar), Ok("again"));
        assert_eq!(stamped(9, "next").admit(&mut bar), Ok("next"));
        let (shown, newest) = (Epoch::from_shown(7).unwrap(), Epoch::from_shown(9).unwrap());
        assert_eq!(stamped(7, "late").admit(&mut bar), Err(Refusal::Stale { shown, newest }));
        let other = Stamped { from: Name::new("other").unwrap(), ..stamped(7, "other's") };
        assert_eq!(other.admit(&mut bar), Ok("other's"), "epochs of two names are not compared");
    }
}
