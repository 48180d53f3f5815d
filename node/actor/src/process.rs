//! One process: a body that is driven until it returns, panics or is killed.
//!
//! Its end comes in a fixed order: the body is dropped, its mailbox is closed (both tell the callers that it
//! owed an answer), it leaves the table, and only then is its exit told. So whoever knows of an exit can
//! reach the process no more.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use quorate_vocab::Pid;
use tokio::sync::{oneshot, watch};

use crate::letter::Gone;
use crate::reply::farewell;
use crate::{Actors, Exit};

/// Drives a process to its end.
pub(crate) async fn live<F: Future<Output = Exit>>(
    mut departure: Departure,
    killed: oneshot::Receiver<Exit>,
    mut body: Contained<F>,
) {
    departure.exit = tokio::select! {
        biased;
        Ok(exit) = killed => exit,
        exit = &mut body => exit,
    };
    drop(body);
    drop(departure);
}

/// Takes a process off the table and tells its exit, however its task comes to an end: also when the runtime
/// drops it half-way.
pub(crate) struct Departure {
    pub(crate) actors: Actors,
    pub(crate) pid: Pid,
    pub(crate) ended: watch::Sender<Option<Exit>>,
    pub(crate) exit: Exit,
}

impl Drop for Departure {
    fn drop(&mut self) {
        let exit = std::mem::replace(&mut self.exit, Exit::NoProc);
        if let Exit::Panic(words) = &exit {
            tracing::warn!(pid = %self.pid, words, "a process panicked");
        }
        self.actors.depart(self.pid);
        self.ended.send_replace(Some(exit));
    }
}

/// A body whose panics stay inside.
pub(crate) struct Contained<F>(Option<Pin<Box<F>>>);

impl<F> Contained<F> {
    pub(crate) fn new(body: F) -> Self {
        Self(Some(Box::pin(body)))
    }

    /// Drops what is left of the body. Requests that it still holds end as `NoProc`.
    fn abandon(&mut self) {
        let body = self.0.take();
        // Its exit is settled already; a panic in here adds nothing to it.
        let _ = catch_unwind(AssertUnwindSafe(|| farewell(Gone::NoProc, || drop(body))));
    }
}

impl<F: Future<Output = Exit>> Future for Contained<F> {
    type Output = Exit;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Exit> {
        let Some(body) = self.0.as_mut() else {
            return Poll::Pending;
        };
        // Nobody sees the body after a panic: it is dropped and never polled again.
        let exit = match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(exit)) => exit,
            Err(words) => Exit::from_panic(&*words),
        };
        self.abandon();
        Poll::Ready(exit)
    }
}

impl<F> Drop for Contained<F> {
    fn drop(&mut self) {
        self.abandon();
    }
}
