//! Addresses: how a process is reached, near or far.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use quorate_vocab::Pid;
use tokio::sync::oneshot;

use crate::call::Answer;
use crate::letter::Gone;
use crate::notice::NAME_BYTES_MAX;
use crate::process::Process;
use crate::reply::farewell;
use crate::timers::Fire;
use crate::{Actors, CallError, Message, ReplyTo, SendError, Timer, Wire, here};

/// A process that speaks `M`, near or far. It outlives the process; mail to the dead is refused.
pub struct Addr<M: Message> {
    pid: Pid,
    way: Way<M>,
}

/// How mail gets there. Found once: a near pid that is not in the table now will never be in it.
pub(crate) enum Way<M: Message> {
    /// It is here.
    Near(Arc<Process<M>>),
    /// It speaks another protocol, or one that does not travel.
    Wrong(Actors),
    /// It was here, or in an earlier life of this node, or never.
    Dead(Actors),
    /// It is another node's.
    Far(Actors, Wire<M>),
    /// It is whoever has a name.
    Named(Arc<Named<M>>),
}

/// A name on a node, and how to write to it if that is another one.
pub(crate) struct Named<M> {
    pub(crate) actors: Actors,
    pub(crate) wire: Option<Wire<M>>,
    pub(crate) name: String,
}

impl<M: Message> Named<M> {
    fn send(&self, at: Pid, message: M) -> Result<(), SendError> {
        let (actors, name) = (&self.actors, self.name.as_str());
        let there = match self.wire {
            Some(wire) if at.node != actors.node() => {
                // A name that does not travel is nobody's there.
                if (1..=NAME_BYTES_MAX).contains(&name.len()) {
                    return actors.post(at, name, wire, &message);
                }
                None
            }
            _ => actors.whereis(name),
        };
        match there {
            Some(pid) => actors.addr(pid).send(message),
            None => {
                farewell(Gone::NoProc, || drop(message));
                Err(SendError::NoProc)
            }
        }
    }
}

impl<M: Message> Addr<M> {
    pub(crate) fn new(pid: Pid, way: Way<M>) -> Self {
        Self { pid, way }
    }

    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.way, Way::Dead(_))
    }

    /// Which process it is; of an address by name only the node is known, and the serial is 0.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Sends a message; never waits. A near one lies in the mailbox when this returns; a far one was taken by
    /// the carrier, and arrives at most once.
    #[inline]
    pub fn send(&self, message: M) -> Result<(), SendError> {
        let (error, message) = match &self.way {
            Way::Near(process) => match process.intake.send(process, message) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            },
            Way::Far(actors, wire) => return actors.post(self.pid, "", *wire, &message),
            Way::Named(named) => return named.send(self.pid, message),
            Way::Wrong(_) => (SendError::Protocol, message),
            Way::Dead(_) => (SendError::NoProc, message),
        };
        farewell(Gone::of(error), || drop(message));
        Err(error)
    }

    /// Sends a message, and waits for room before: in a near mailbox when it is one that
    /// [parks](crate::Capacity::Park) its senders, towards a far process on the way there. Dropping the
    /// future sends nothing.
    pub async fn deliver(&self, message: M) -> Result<(), SendError> {
        let process = match &self.way {
            Way::Near(process) => process,
            Way::Far(actors, _) => {
                actors.room(self.pid.node).await;
                return self.send(message);
            }
            _ => return self.send(message),
        };
        let mut message = Some(message);
        let sent = poll_fn(|cx| process.intake.poll_send(process, &mut message, cx)).await;
        sent.map_err(|(error, message)| {
            farewell(Gone::of(error), || drop(message));
            error
        })
    }

    /// Asks, and waits for the answer, for the end of whoever should give it, for the loss of the link to it,
    /// or until the time is over. Dropping the future gives up; the answer then falls away.
    ///
    /// The time is counted from when there is something to wait for: an answer that is there at once never
    /// meets a timer.
    pub async fn call<R: Send + 'static>(
        &self,
        within: Duration,
        make: impl FnOnce(ReplyTo<R>) -> M,
    ) -> Result<R, CallError> {
        let (to, told) = ReplyTo::new();
        self.send(make(to))?;
        answer(told, within).await
    }

    /// Sends a message after a while.
    pub fn send_after(&self, after: Duration, message: M) -> Timer {
        let to = self.clone();
        // Nobody is left to be told that it was not sent.
        let fire = Fire::Once(Box::new(move || {
            let _ = to.send(message);
        }));
        self.actors().set_timer(self.actors().next_ref(), after, fire)
    }

    /// Sends a message again and again, for the first time after one span, until it is cancelled or the
    /// process has ended. A message that finds no room is left out.
    pub fn send_interval(
        &self,
        every: Duration,
        mut make: impl FnMut() -> M + Send + 'static,
    ) -> Timer {
        let to = self.clone();
        let beat = move || !matches!(to.send(make()), Err(SendError::NoProc | SendError::Protocol));
        let fire = Fire::Every(every, Box::new(beat));
        self.actors().set_timer(self.actors().next_ref(), every, fire)
    }

    fn actors(&self) -> &Actors {
        match &self.way {
            Way::Near(process) => &process.actors,
            Way::Wrong(actors) | Way::Dead(actors) | Way::Far(actors, _) => actors,
            Way::Named(named) => &named.actors,
        }
    }
}

/// Waits for an answer, for a bounded time.
///
/// Within a process it first lets the others run once: most answers are there then, and no timer was set.
async fn answer<R>(mut told: oneshot::Receiver<Answer<R>>, within: Duration) -> Answer<R> {
    let mut waited = !here::in_process();
    let at_once = poll_fn(|cx| match Pin::new(&mut told).poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if waited => Poll::Ready(None),
        Poll::Pending => {
            waited = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    });
    let answered = match at_once.await {
        Some(answered) => answered,
        // Boxed, since every process that calls would have to have room for it.
        None => match Box::pin(quorate_env::timeout(within, told)).await {
            Ok(answered) => answered,
            Err(_) => return Err(CallError::Timeout),
        },
    };
    // The right to answer is used before it is dropped; were it not, this would still be true.
    answered.unwrap_or(Err(CallError::NoReply))
}

// Derived, these would ask for a message that is `Clone`.
impl<M: Message> Clone for Addr<M> {
    fn clone(&self) -> Self {
        let way = match &self.way {
            Way::Near(process) => Way::Near(process.clone()),
            Way::Wrong(actors) => Way::Wrong(actors.clone()),
            Way::Dead(actors) => Way::Dead(actors.clone()),
            Way::Far(actors, wire) => Way::Far(actors.clone(), *wire),
            Way::Named(named) => Way::Named(named.clone()),
        };
        Self { pid: self.pid, way }
    }
}

impl<M: Message> fmt::Debug for Addr<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Addr({})", self.pid)
    }
}
