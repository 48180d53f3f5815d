//! Mailboxes: a bounded queue, and the one process that reads it.
//!
//! First in, first out (I12). A closed queue takes nothing and holds nothing: who waits for an answer to what
//! lay in it is told so while it is emptied. No lock is held while a message is dropped, since a message may
//! hold a `ReplyTo` and its drop sends mail.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use quorate_vocab::Pid;
use tokio::task::coop;

use crate::letter::{Gone, Mail};
use crate::reply::{self, farewell};
use crate::table::Inlet;
use crate::{Actors, Addr, LetterError, Message, SendError, codec};

/// What a process receives from. It belongs to its process: when the process ends, or drops it, whatever
/// lies in it is dropped, calls in it end as `NoProc`, and later mail is refused so.
pub struct Mailbox<M: Message> {
    addr: Addr<M>,
    queue: Arc<Queue<M>>,
}

impl<M: Message> Mailbox<M> {
    pub(crate) fn new(addr: Addr<M>, queue: Arc<Queue<M>>) -> Self {
        Self { addr, queue }
    }

    /// Whose mailbox it is.
    pub fn pid(&self) -> Pid {
        self.addr.pid()
    }

    /// How others reach this process.
    pub fn addr(&self) -> Addr<M> {
        self.addr.clone()
    }

    /// The next message, waiting for one if need be. Dropping the future loses nothing. Once the process has
    /// been ended it waits for ever.
    pub async fn receive(&mut self) -> M {
        poll_fn(|cx| self.queue.poll_pop(cx)).await
    }
}

impl<M: Message> Drop for Mailbox<M> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// The queue behind a mailbox.
pub(crate) struct Queue<M> {
    state: Mutex<State<M>>,
    mails_max: usize,
}

struct State<M> {
    /// At most `mails_max`; empty when closed.
    mails: VecDeque<M>,
    reader: Option<Waker>,
    closed: bool,
}

impl<M> Queue<M> {
    pub(crate) fn new(mails_max: usize) -> Self {
        let state = State { mails: VecDeque::new(), reader: None, closed: false };
        Self { state: Mutex::new(state), mails_max }
    }

    /// Puts a message last, or gives it back.
    pub(crate) fn push(&self, message: M) -> Result<(), (SendError, M)> {
        let mut state = self.lock();
        if state.closed {
            return Err((SendError::NoProc, message));
        }
        if state.mails.len() >= self.mails_max {
            return Err((SendError::Full, message));
        }
        state.mails.push_back(message);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Takes the first message. It spends of the task's budget, so that a flooded process does not keep its
    /// worker to itself.
    fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<M> {
        let budget = ready!(coop::poll_proceed(cx));
        let mut state = self.lock();
        match state.mails.pop_front() {
            Some(message) => {
                budget.made_progress();
                Poll::Ready(message)
            }
            None => {
                state.reader = (!state.closed).then(|| cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().expect("nothing panics while it holds a queue")
    }
}

impl<M: Message> Inlet for Queue<M> {
    fn protocol(&self) -> (u64, u16) {
        (const { codec::protocol_id(M::PROTOCOL) }, M::VERSION)
    }

    fn accept(&self, actors: &Actors, mail: Mail) -> Result<(), LetterError> {
        let message = reply::decode_message(actors, &mail).ok_or(LetterError::Body)?;
        let Err((error, message)) = self.push(message) else {
            return Ok(());
        };
        let (error, gone) = match error {
            SendError::Full => (LetterError::Full, Gone::Full),
            _ => (LetterError::NoProc, Gone::NoProc),
        };
        farewell(gone, || drop(message));
        Err(error)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let (mails, reader) = (std::mem::take(&mut state.mails), state.reader.take());
        drop(state);
        drop(reader);
        for mail in mails {
            // A message whose drop panics must not keep the others from being told.
            let dropped = catch_unwind(AssertUnwindSafe(|| farewell(Gone::NoProc, || drop(mail))));
            if dropped.is_err() {
                tracing::warn!(protocol = M::PROTOCOL, "a message panicked when it was dropped");
            }
        }
    }
}
