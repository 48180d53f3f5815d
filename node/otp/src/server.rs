//! Servers: a loop over a mailbox, with a callback for each thing that may come out of it.
//!
//! ```text
//!   init ─▶ started ─▶ ┌ handle ◀─ mail                     ┐
//!                      │ info   ◀─ Down, Exit, Timeout      │ ─▶ terminate ─▶ the process's exit
//!                      │ resume ◀─ Flow::Resume             │
//!                      └ timeout ◀─ Flow::Within, nothing   ┘
//! ```
//!
//! When `terminate` is called: after `Flow::Stop`, and when the parent of a server that traps exits ends or
//! tells it to. When it is not: after a kill or an exit signal that was not trapped, because there is no step
//! left in which to call it; and after a panic in a callback, because the state may be half changed then, and
//! nothing that was promised about it holds. Erlang can call `terminate` there only since a callback that
//! fails leaves the old state behind.

use std::future::{Future, ready};
use std::time::Duration;

use quorate_actor::{Actors, Addr, Exit, Mailbox, Message};

use crate::context::{Input, words};
use crate::start::{self, unbox};
use crate::{Context, News, Start, StartError};

/// What a server does after a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It takes what comes next.
    Next,
    /// It calls [`Server::resume`] before it takes anything.
    Resume,
    /// It takes what comes next, and calls [`Server::timeout`] if nothing came so long.
    Within(Duration),
    /// It calls [`Server::terminate`] and ends so.
    Stop(Exit),
}

/// A process that keeps a state and answers.
///
/// Messages are one enum: a cast is a variant, a call is a variant with a
/// [`ReplyTo`](quorate_actor::ReplyTo), which may be kept to answer later.
pub trait Server: Sized + Send + 'static {
    /// What it understands.
    type Message: Message;
    /// What its state is made from.
    type Args: Send + 'static;

    /// Makes the state. Who starts it waits for that, and is told by an error why it could not be.
    fn init(
        args: Self::Args,
        cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Result<Self, Exit>> + Send;

    /// Called once, when the starter has its address and before the first message is taken: the place for
    /// what `init` must not make the starter wait for.
    fn started(&mut self, _cx: &mut Context<Self::Message>) -> impl Future<Output = Flow> + Send {
        ready(Flow::Next)
    }

    /// Takes a message.
    fn handle(
        &mut self,
        message: Self::Message,
        cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Flow> + Send;

    /// Takes news: the end of what it monitors, a trapped exit, a timer of its own.
    fn info(
        &mut self,
        news: News,
        cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Flow> + Send {
        tracing::debug!(pid = %cx.pid(), news = words(news), "a server does not heed its news");
        ready(Flow::Next)
    }

    /// Goes on with what a callback left for after itself; what that is stands in the state.
    fn resume(&mut self, _cx: &mut Context<Self::Message>) -> impl Future<Output = Flow> + Send {
        ready(Flow::Next)
    }

    /// Nothing came for as long as [`Flow::Within`] said.
    fn timeout(&mut self, _cx: &mut Context<Self::Message>) -> impl Future<Output = Flow> + Send {
        ready(Flow::Next)
    }

    /// Its last words. What they are about stands in the header of this module.
    fn terminate(
        &mut self,
        _exit: &Exit,
        _cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Starts it under nobody. Its parent is the outside.
    fn start(
        actors: &Actors,
        args: Self::Args,
    ) -> impl Future<Output = Result<Addr<Self::Message>, StartError>> + Send {
        Self::start_with(actors, Start::default(), args)
    }

    /// As [`start`](Self::start), with a name, a bound or a mailbox of its own.
    fn start_with(
        actors: &Actors,
        how: Start,
        args: Self::Args,
    ) -> impl Future<Output = Result<Addr<Self::Message>, StartError>> + Send {
        let args = Box::new(args);
        start::start(actors, how, |cx| serve::<Self>(args, cx))
    }

    /// Starts it linked to the process that has this mailbox, which becomes its parent.
    fn start_link<P: Message>(
        parent: &mut Mailbox<P>,
        args: Self::Args,
    ) -> impl Future<Output = Result<Addr<Self::Message>, StartError>> + Send {
        Self::start_link_with(parent, Start::default(), args)
    }

    /// As [`start_link`](Self::start_link), with a name, a bound or a mailbox of its own.
    fn start_link_with<P: Message>(
        parent: &mut Mailbox<P>,
        how: Start,
        args: Self::Args,
    ) -> impl Future<Output = Result<Addr<Self::Message>, StartError>> + Send {
        let args = Box::new(args);
        start::start_link(parent, how, |cx| serve::<Self>(args, cx))
    }
}

/// What a server does next. Not a flow, which may hold an exit and would be as large as that all the time.
#[derive(Clone, Copy)]
enum Then {
    Start,
    Resume,
    Wait,
    WaitWithin(Duration),
}

/// A server's whole life.
///
/// Its size is what each server costs for as long as it lives. So it is a block, since an `async fn` would
/// keep its arguments twice, and what only some servers need at times lies in a box.
#[expect(clippy::manual_async_fn, reason = "it is smaller so")]
fn serve<S: Server>(
    args: Box<S::Args>,
    mut cx: Context<S::Message>,
) -> impl Future<Output = Exit> + Send {
    async move {
        if let Err(exit) = cx.begin() {
            return exit;
        }
        let mut server = match S::init(unbox(args), &mut cx).await {
            Ok(server) => server,
            Err(exit) => return cx.refuse(StartError::Ended { exit }),
        };
        cx.is_ready();
        let mut then = Then::Start;
        let exit = loop {
            let incoming = match then {
                Then::Wait => Some(cx.next().await),
                Then::WaitWithin(span) => Box::pin(cx.next_within(span)).await,
                Then::Start | Then::Resume => None,
            };
            let flow = match incoming.map(|incoming| cx.sort(incoming)) {
                Some(Input::Mail(message)) => server.handle(message, &mut cx).await,
                Some(Input::News(news)) => server.info(news, &mut cx).await,
                Some(Input::Parent(exit)) => break exit,
                None => match then {
                    Then::Start => server.started(&mut cx).await,
                    Then::Resume => server.resume(&mut cx).await,
                    Then::Wait | Then::WaitWithin(_) => server.timeout(&mut cx).await,
                },
            };
            then = match flow {
                Flow::Next => Then::Wait,
                Flow::Within(span) => Then::WaitWithin(span),
                Flow::Resume => Then::Resume,
                Flow::Stop(exit) => break exit,
            };
        };
        server.terminate(&exit, &mut cx).await;
        exit
    }
}
