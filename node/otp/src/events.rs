//! Event managers: a process that holds handlers, which come and go, and shows each event to each of them.
//!
//! Handlers run one after the other inside of the manager, in the order in which they were added. So they do
//! not wait: one that has to wait sends a message to a process that may. A handler that panics is removed,
//! its `removed` is not called (its state may be half changed), the panic is logged as an error with the
//! handler's name, and whoever supervises it is told. The manager and the other handlers go on.
//!
//! A manager ends, and takes leave of its handlers, when its parent ends or wants it to; one that was started
//! from outside ends by an exit signal from there.

mod board;

use std::any::{Any, type_name};
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use quorate_actor::{Actors, Addr, Exit, Mailbox, Message, ReplyTo, SendError};
use quorate_vocab::Pid;

use crate::{EventsError, Server, Start, StartError};
use board::{Board, Request, guarded};

/// What is shown the events of a manager.
pub trait Handler<E>: Any + Send {
    /// Handles an event.
    fn handle(&mut self, event: &E) -> Stay;

    /// Takes leave, for a reason other than a panic and than being taken out by a
    /// [`swap`](Events::swap).
    fn removed(&mut self, _why: &Gone) {}
}

/// Whether a handler goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// It handles the next event, too.
    Here,
    /// It is removed.
    Leave,
}

/// Why a handler is no longer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It left by itself.
    Left,
    /// It was removed by request.
    Removed,
    /// Another took its place.
    Swapped,
    /// It panicked, with these words.
    Panicked(String),
    /// The process that it was added for ended.
    OwnerEnded(Exit),
    /// Its manager ended.
    ManagerEnded(Exit),
}

/// One handler in one manager. It is not used again.
pub struct HandlerId<H> {
    number: u64,
    handler: PhantomData<fn() -> H>,
}

/// How an event manager is reached.
pub struct Events<E: Send + 'static> {
    addr: Addr<Request<E>>,
}

impl<E: Send + 'static> Events<E> {
    /// Starts a manager under nobody.
    pub async fn start(actors: &Actors, how: Start) -> Result<Self, StartError> {
        let addr = Board::<E>::start_with(actors, how, ()).await?;
        Ok(Self { addr })
    }

    /// Starts a manager linked to the process that has this mailbox, which becomes its parent.
    pub async fn start_link<P: Message>(
        parent: &mut Mailbox<P>,
        how: Start,
    ) -> Result<Self, StartError> {
        let addr = Board::<E>::start_link_with(parent, how, ()).await?;
        Ok(Self { addr })
    }

    /// The manager's process.
    pub fn pid(&self) -> Pid {
        self.addr.pid()
    }

    /// Shows an event to all handlers, sooner or later.
    pub fn notify(&self, event: E) -> Result<(), SendError> {
        self.addr.send(Request::Notify(event))
    }

    /// Shows an event to all handlers, and returns when all have seen it.
    pub async fn sync_notify(&self, within: Duration, event: E) -> Result<(), EventsError> {
        Ok(self.addr.call(within, |reply| Request::SyncNotify(event, reply)).await?)
    }

    /// Adds a handler behind the others. It stays until it is removed, leaves, or panics.
    pub async fn add<H: Handler<E>>(
        &self,
        within: Duration,
        handler: H,
    ) -> Result<HandlerId<H>, EventsError> {
        self.add_as(within, handler, None).await
    }

    /// Adds a handler for a process. When that process ends, the handler is removed; when the handler goes
    /// for any other reason, the process gets the message that `tell` makes.
    pub async fn add_supervised<H: Handler<E>, M: Message>(
        &self,
        within: Duration,
        owner: &Addr<M>,
        handler: H,
        tell: impl FnOnce(Gone) -> M + Send + 'static,
    ) -> Result<HandlerId<H>, EventsError> {
        let to = owner.clone();
        let tell = Box::new(move |why: Gone| {
            // An owner that cannot be told has ended, or takes no mail by its own choice.
            let _ = to.send(tell(why));
        });
        self.add_as(within, handler, Some(board::Owner { pid: owner.pid(), tell })).await
    }

    async fn add_as<H: Handler<E>>(
        &self,
        within: Duration,
        handler: H,
        owner: Option<board::Owner>,
    ) -> Result<HandlerId<H>, EventsError> {
        let (handler, name) = (Box::new(handler), type_name::<H>());
        let add = |reply| Request::Add { handler, name, owner, reply };
        Ok(HandlerId::new(self.addr.call(within, add).await?))
    }

    /// Removes a handler and gives it out, after it took leave.
    pub async fn remove<H: Handler<E>>(
        &self,
        within: Duration,
        id: HandlerId<H>,
    ) -> Result<H, EventsError> {
        let number = id.number;
        let taken = self.addr.call(within, |reply| Request::Remove { number, reply }).await?;
        let handler: Box<dyn Any> = taken?;
        Ok(*handler.downcast().expect("the number of a handler is of its type"))
    }

    /// Puts another handler into the place of one that is there. `make` is given the old one; no event comes
    /// between the two, and whoever supervised the old one supervises nothing any more.
    pub async fn swap<H: Handler<E>, N: Handler<E>>(
        &self,
        within: Duration,
        id: HandlerId<H>,
        make: impl FnOnce(H) -> N + Send + 'static,
    ) -> Result<HandlerId<N>, EventsError> {
        let make = Box::new(|old: Box<dyn Any>| -> Box<dyn Handler<E>> {
            Box::new(make(*old.downcast().expect("the number of a handler is of its type")))
        });
        let (number, name) = (id.number, type_name::<N>());
        let swap = |reply| Request::Swap { number, name, make, reply };
        Ok(HandlerId::new(self.addr.call(within, swap).await??))
    }

    /// Asks one handler something. If `ask` panics, so did the handler.
    pub async fn call<H: Handler<E>, R: Send + 'static>(
        &self,
        within: Duration,
        id: HandlerId<H>,
        ask: impl FnOnce(&mut H) -> R + Send + 'static,
    ) -> Result<R, EventsError> {
        let number = id.number;
        let call = |reply: ReplyTo<Result<R, EventsError>>| {
            let ask = Box::new(move |handler: Result<&mut dyn Any, EventsError>| {
                let asked = guarded(|| {
                    handler.map(|handler| {
                        ask(handler.downcast_mut().expect("the number of a handler is of its type"))
                    })
                });
                let (answer, panic) = match asked {
                    Ok(answer) => (answer, Ok(())),
                    Err(words) => (Err(EventsError::Panicked), Err(words)),
                };
                reply.send(answer);
                panic
            });
            Request::Call { number, ask }
        };
        self.addr.call(within, call).await?
    }

    /// The names of the types of the handlers, in their order.
    pub async fn handlers(&self, within: Duration) -> Result<Vec<&'static str>, EventsError> {
        Ok(self.addr.call(within, Request::Which).await?)
    }
}

impl<E: Send + 'static> Clone for Events<E> {
    fn clone(&self) -> Self {
        Self { addr: self.addr.clone() }
    }
}

impl<E: Send + 'static> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Events({})", self.pid())
    }
}

impl<H> HandlerId<H> {
    fn new(number: u64) -> Self {
        Self { number, handler: PhantomData }
    }
}

impl<H> Clone for HandlerId<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for HandlerId<H> {}

impl<H> fmt::Debug for HandlerId<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandlerId({}, {})", self.number, type_name::<H>())
    }
}
