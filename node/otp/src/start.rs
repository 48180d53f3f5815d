//! How a process becomes ready, and who hears of it when it does not.
//!
//! A start ends in exactly one of two ways. The process is ready, and its address is given out; or it has
//! ended, its name is free again, and the starter has the reason as an error. A starter that is linked is
//! told by the error alone when `init` refuses, so it need not trap exits to survive that; a panic in
//! `init`, or a kill, takes a starter that does not trap exits down over the link, as any end of a linked
//! process does.

use std::future::Future;
use std::time::Duration;

use quorate_actor::{Actors, Addr, Exit, Incoming, Mailbox, Message, Spawn};
use quorate_env::timeout;
use quorate_vocab::Pid;
use tokio::sync::oneshot;

use crate::{Context, StartError};

/// How a process is started. The default has no name, no bound on its time, and the actors' own mailbox.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The local name that it is to have before its `init` runs.
    pub name: Option<String>,
    /// How long its `init` may take; without end if it is not said.
    pub within: Option<Duration>,
    /// Its label and its mailbox.
    pub spawn: Spawn,
}

impl Start {
    /// With a local name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }
}

/// Takes out what is in a box, and frees the box at once. What a process is started with waits in a box, so
/// that the place it had does not stay with the process for its whole life.
#[expect(clippy::boxed_local, reason = "to take it out of its box is what this is for")]
pub(crate) fn unbox<T>(boxed: Box<T>) -> T {
    *boxed
}

/// What a process says to its starter, once.
type Begun = Result<(), StartError>;

/// Starts a process that belongs to no other.
pub(crate) async fn start<M, F, Fut>(
    actors: &Actors,
    how: Start,
    body: F,
) -> Result<Addr<M>, StartError>
where
    M: Message,
    F: FnOnce(Context<M>) -> Fut + Send + 'static,
    Fut: Future<Output = Exit> + Send + 'static,
{
    let (starter, begun) = oneshot::channel();
    let (body, ended) = watched(move |mailbox: Mailbox<M>| {
        let outside = outside(mailbox.pid());
        body(Context::new(mailbox, outside, starter, how.name.as_deref()))
    });
    let addr = actors.spawn_with(how.spawn, body);
    let failed = match readiness(how.within, begun).await {
        Readiness::Ready => return Ok(addr),
        Readiness::Failed(why) => why,
        Readiness::Late => {
            actors.kill(addr.pid());
            Some(StartError::Late)
        }
    };
    let exit = ended.await;
    Err(failed.unwrap_or(StartError::Ended { exit }))
}

/// Starts a process that is linked to another, which is its parent.
pub(crate) async fn start_link<P, M, F, Fut>(
    parent: &mut Mailbox<P>,
    how: Start,
    body: F,
) -> Result<Addr<M>, StartError>
where
    P: Message,
    M: Message,
    F: FnOnce(Context<M>) -> Fut + Send + 'static,
    Fut: Future<Output = Exit> + Send + 'static,
{
    let (starter, begun) = oneshot::channel();
    let from = parent.pid();
    let (body, ended) = watched(move |mailbox: Mailbox<M>| {
        body(Context::new(mailbox, from, starter, how.name.as_deref()))
    });
    let addr = parent.spawn_link(how.spawn, body);
    let failed = match readiness(how.within, begun).await {
        Readiness::Ready => return Ok(addr),
        Readiness::Failed(why) => why,
        Readiness::Late => {
            parent.unlink(addr.pid());
            parent.actors().kill(addr.pid());
            Some(StartError::Late)
        }
    };
    // Links are told before those who only watch: what the link has to say lies here when this is over.
    let exit = ended.await;
    Box::pin(forget(parent, addr.pid())).await;
    Err(failed.unwrap_or(StartError::Ended { exit }))
}

/// A body, and how its process ends. The process is watched from within its spawn on: who asks only after
/// that may come too late for the reason.
pub(crate) fn watched<M, F, Fut>(
    body: F,
) -> (impl FnOnce(Mailbox<M>) -> Fut + Send + 'static, impl Future<Output = Exit> + Send + 'static)
where
    M: Message,
    F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
    Fut: Future<Output = Exit> + Send + 'static,
{
    let (tell, told) = oneshot::channel();
    let body = move |mailbox: Mailbox<M>| {
        // Who does not care may have dropped the other end.
        let _ = tell.send(mailbox.actors().ended(mailbox.pid()));
        body(mailbox)
    };
    let ended = async {
        match told.await {
            Ok(ended) => ended.await,
            // In a runtime that is closed no body is begun.
            Err(_) => Exit::NoProc,
        }
    };
    (body, ended)
}

/// Whom signals come from that no process sent; the same for all processes of a node's life.
fn outside(pid: Pid) -> Pid {
    Pid { serial: 0, ..pid }
}

enum Readiness {
    Ready,
    /// It ends, or has ended; without a word if there is no error.
    Failed(Option<StartError>),
    Late,
}

async fn readiness(within: Option<Duration>, begun: oneshot::Receiver<Begun>) -> Readiness {
    let begun = match within {
        None => Ok(begun.await),
        // A timer is large, and most starts have none.
        Some(within) => Box::pin(timeout(within, begun)).await,
    };
    match begun {
        Ok(Ok(Ok(()))) => Readiness::Ready,
        Ok(Ok(Err(why))) => Readiness::Failed(Some(why)),
        Ok(Err(_)) => Readiness::Failed(None),
        Err(_) => Readiness::Late,
    }
}

/// Breaks the link to a process that is dead, and takes out the news that it may have left.
async fn forget<P: Message>(mailbox: &mut Mailbox<P>, dead: Pid) {
    mailbox.unlink(dead);
    let of_it = |incoming: &Incoming<P>| match incoming {
        Incoming::Exited(trapped) if trapped.from == dead => Some(()),
        _ => None,
    };
    mailbox.select(of_it, Some(Duration::ZERO)).await;
}
