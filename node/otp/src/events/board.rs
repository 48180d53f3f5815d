//! The process of an event manager: a server with a row of handlers.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};

use quorate_actor::{Exit, Message, ReplyTo};
use quorate_vocab::{Pid, Ref};

use super::{Gone, Handler, Stay};
use crate::{Context, EventsError, Flow, News, Server};

/// What a manager is asked. It holds closures and handlers, so it stays at home.
pub(super) enum Request<E> {
    Notify(E),
    SyncNotify(E, ReplyTo<()>),
    Add {
        handler: Box<dyn Handler<E>>,
        name: &'static str,
        owner: Option<Owner>,
        reply: ReplyTo<u64>,
    },
    Remove {
        number: u64,
        reply: ReplyTo<Result<Box<dyn Any + Send>, EventsError>>,
    },
    Swap {
        number: u64,
        name: &'static str,
        make: Make<E>,
        reply: ReplyTo<Result<u64, EventsError>>,
    },
    Call {
        number: u64,
        ask: Ask,
    },
    Which(ReplyTo<Vec<&'static str>>),
}

/// Answers whoever asks, and gives out the words of a panic.
type Ask = Box<dyn FnOnce(Result<&mut dyn Any, EventsError>) -> Result<(), String> + Send>;

type Make<E> = Box<dyn FnOnce(Box<dyn Any>) -> Box<dyn Handler<E>> + Send>;

impl<E: Send + 'static> Message for Request<E> {}

/// For whom a handler was added, and how to tell it that the handler is gone.
pub(super) struct Owner {
    pub(super) pid: Pid,
    pub(super) tell: Box<dyn FnOnce(Gone) + Send>,
}

pub(super) struct Board<E> {
    row: Vec<Seat<E>>,
    last: u64,
}

struct Seat<E> {
    number: u64,
    name: &'static str,
    handler: Box<dyn Handler<E>>,
    owner: Option<(Ref, Owner)>,
}

impl<E: Send + 'static> Server for Board<E> {
    type Message = Request<E>;
    type Args = ();

    async fn init((): (), cx: &mut Context<Request<E>>) -> Result<Self, Exit> {
        // So that its handlers can take leave.
        cx.trap_exit(true);
        Ok(Self { row: Vec::new(), last: 0 })
    }

    async fn handle(&mut self, request: Request<E>, cx: &mut Context<Request<E>>) -> Flow {
        match request {
            Request::Notify(event) => self.show(&event, cx),
            Request::SyncNotify(event, reply) => {
                self.show(&event, cx);
                reply.send(());
            }
            Request::Add { handler, name, owner, reply } => {
                let owner = owner.map(|owner| (cx.monitor(owner.pid), owner));
                self.last += 1;
                self.row.push(Seat { number: self.last, name, handler, owner });
                reply.send(self.last);
            }
            Request::Remove { number, reply } => reply.send(self.remove(number, cx)),
            Request::Swap { number, name, make, reply } => {
                reply.send(self.swap(number, name, make, cx));
            }
            Request::Call { number, ask } => self.call(number, ask, cx),
            Request::Which(reply) => reply.send(self.row.iter().map(|seat| seat.name).collect()),
        }
        Flow::Next
    }

    async fn info(&mut self, news: News, cx: &mut Context<Request<E>>) -> Flow {
        if let News::Down(down) = news {
            let owned = |seat: &Seat<E>| {
                seat.owner.as_ref().is_some_and(|(monitor, _)| *monitor == down.monitor)
            };
            if let Some(at) = self.row.iter().position(owned) {
                self.dismiss(at, Gone::OwnerEnded(down.exit), cx);
            }
        }
        Flow::Next
    }

    async fn terminate(&mut self, exit: &Exit, cx: &mut Context<Request<E>>) {
        while !self.row.is_empty() {
            self.dismiss(0, Gone::ManagerEnded(exit.clone()), cx);
        }
    }
}

impl<E: Send + 'static> Board<E> {
    fn at(&self, number: u64) -> Result<usize, EventsError> {
        self.row.iter().position(|seat| seat.number == number).ok_or(EventsError::NoHandler)
    }

    fn show(&mut self, event: &E, cx: &mut Context<Request<E>>) {
        let mut at = 0;
        while let Some(seat) = self.row.get_mut(at) {
            match guarded(|| seat.handler.handle(event)) {
                Ok(Stay::Here) => at += 1,
                Ok(Stay::Leave) => drop(self.dismiss(at, Gone::Left, cx)),
                Err(words) => self.discard(at, words, cx),
            }
        }
    }

    fn remove(
        &mut self,
        number: u64,
        cx: &mut Context<Request<E>>,
    ) -> Result<Box<dyn Any + Send>, EventsError> {
        let at = self.at(number)?;
        let handler = self.dismiss(at, Gone::Removed, cx).ok_or(EventsError::Panicked)?;
        Ok(handler)
    }

    fn swap(
        &mut self,
        number: u64,
        name: &'static str,
        make: Make<E>,
        cx: &mut Context<Request<E>>,
    ) -> Result<u64, EventsError> {
        let at = self.at(number)?;
        let old = self.row.remove(at);
        match guarded(|| make(old.handler)) {
            Ok(handler) => {
                settle(old.owner, Gone::Swapped, cx);
                self.last += 1;
                self.row.insert(at, Seat { number: self.last, name, handler, owner: None });
                Ok(self.last)
            }
            Err(words) => {
                tracing::error!(handler = name, panic = words, "a handler panicked in a swap");
                settle(old.owner, Gone::Panicked(words), cx);
                Err(EventsError::Panicked)
            }
        }
    }

    fn call(&mut self, number: u64, ask: Ask, cx: &mut Context<Request<E>>) {
        let at = self.at(number);
        let handler = at.clone().map(|at| -> &mut dyn Any { &mut *self.row[at].handler });
        if let (Err(words), Ok(at)) = (ask(handler), at) {
            self.discard(at, words, cx);
        }
    }

    /// Lets a handler take leave, and gives it out unless it panicked over that.
    fn dismiss(
        &mut self,
        at: usize,
        why: Gone,
        cx: &mut Context<Request<E>>,
    ) -> Option<Box<dyn Handler<E>>> {
        if let Err(words) = guarded(|| self.row[at].handler.removed(&why)) {
            self.discard(at, words, cx);
            return None;
        }
        let seat = self.row.remove(at);
        settle(seat.owner, why, cx);
        Some(seat.handler)
    }

    /// Drops a handler that panicked.
    fn discard(&mut self, at: usize, words: String, cx: &mut Context<Request<E>>) {
        let seat = self.row.remove(at);
        tracing::error!(handler = seat.name, panic = words, "a handler panicked and is removed");
        // What it holds may panic, too, as it is dropped; there is nobody left to whom that matters.
        let _ = guarded(|| drop(seat.handler));
        settle(seat.owner, Gone::Panicked(words), cx);
    }
}

/// Tells a handler's owner that it is gone, unless it is the owner that is.
fn settle<E: Send + 'static>(owner: Option<(Ref, Owner)>, why: Gone, cx: &mut Context<Request<E>>) {
    if let Some((monitor, owner)) = owner {
        cx.demonitor(monitor);
        if !matches!(why, Gone::OwnerEnded(_)) {
            (owner.tell)(why);
        }
    }
}

/// Runs a handler's code; a panic comes out as its words.
pub(super) fn guarded<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|words| {
        let exit = Exit::from_panic(&*words);
        // Words that panic when they are dropped would end the manager.
        mem::forget(words);
        match exit {
            Exit::Panic(said) => said,
            other => other.to_string(),
        }
    })
}
