//! Processes that block: a body on a thread of its own, for work that computes for long or waits in the
//! system.
//!
//! To everybody else such a process is like any other: it has a pid, a mailbox, links and monitors. A small
//! body that runs with the others owns the mailbox, and hands out of it what the thread asks for. When the
//! process is ended from outside, its thread learns so when it next asks; until then it runs on, for no
//! thread can be ended.

use std::time::Duration;

use quorate_vocab::Pid;
use tokio::sync::{mpsc, oneshot};

use crate::{Actors, Addr, Exit, Incoming, Mailbox, Message, Spawn};

/// What a blocking process receives from.
pub struct BlockingMailbox<M: Message> {
    addr: Addr<M>,
    ask: mpsc::Sender<Ask<M>>,
}

type Act<M> = Box<dyn FnOnce(&mut Mailbox<M>) + Send>;

/// What the thread asks of its mailbox.
enum Ask<M: Message> {
    Next(Option<Duration>, oneshot::Sender<Option<Incoming<M>>>),
    Do(Act<M>),
}

/// The process was ended from outside. Nothing that the thread does reaches anybody as this process any more;
/// it should return soon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process has ended")]
pub struct Ended;

impl<M: Message> BlockingMailbox<M> {
    /// Who this is.
    pub fn pid(&self) -> Pid {
        self.addr.pid()
    }

    /// How others reach this process.
    pub fn addr(&self) -> Addr<M> {
        self.addr.clone()
    }

    /// The next of anything, in order; blocks until it comes.
    #[expect(clippy::should_implement_trait, reason = "it is what it is called at a mailbox")]
    pub fn next(&mut self) -> Result<Incoming<M>, Ended> {
        self.ask(None)?.ok_or(Ended)
    }

    /// The next of anything, in order; `None` when nothing comes in time.
    pub fn next_within(&mut self, after: Duration) -> Result<Option<Incoming<M>>, Ended> {
        self.ask(Some(after))
    }

    /// Acts on the process's own mailbox, where the others run: to link, to monitor, to trap exits. It must
    /// not block.
    pub fn with<R: Send + 'static>(
        &mut self,
        act: impl FnOnce(&mut Mailbox<M>) -> R + Send + 'static,
    ) -> Result<R, Ended> {
        let (tell, told) = oneshot::channel();
        let act = move |mailbox: &mut Mailbox<M>| drop(tell.send(act(mailbox)));
        self.ask.blocking_send(Ask::Do(Box::new(act))).map_err(|_| Ended)?;
        told.blocking_recv().map_err(|_| Ended)
    }

    fn ask(&mut self, after: Option<Duration>) -> Result<Option<Incoming<M>>, Ended> {
        let (tell, told) = oneshot::channel();
        self.ask.blocking_send(Ask::Next(after, tell)).map_err(|_| Ended)?;
        told.blocking_recv().map_err(|_| Ended)
    }
}

impl Actors {
    /// Starts a process whose body may block, on a thread of its own. There are none in a simulated life,
    /// whose threads could not be repeated: there it ends at once, and says so.
    pub fn spawn_blocking<M, F>(&self, how: Spawn, body: F) -> Addr<M>
    where
        M: Message,
        F: FnOnce(BlockingMailbox<M>) -> Exit + Send + 'static,
    {
        self.spawn_with(how, |mailbox| attend(mailbox, body))
    }
}

/// The body that owns the mailbox.
async fn attend<M, F>(mut mailbox: Mailbox<M>, body: F) -> Exit
where
    M: Message,
    F: FnOnce(BlockingMailbox<M>) -> Exit + Send + 'static,
{
    let (ask, mut asked) = mpsc::channel(1);
    let blocking = BlockingMailbox { addr: mailbox.addr(), ask };
    let mut ended = match quorate_env::blocking("quorate-blocking", move || body(blocking)) {
        Ok(ended) => ended,
        Err(error) => return Exit::because(format!("no thread for a blocking process: {error}")),
    };
    loop {
        let ask = tokio::select! {
            // The thread's last asks come before its end.
            biased;
            Some(ask) = asked.recv() => ask,
            ended = &mut ended => {
                return match ended {
                    Ok(Ok(exit)) => exit,
                    Ok(Err(words)) => Exit::from_panic(&*words),
                    Err(_) => Exit::Killed,
                };
            }
        };
        match ask {
            Ask::Next(after, tell) => {
                let next = match after {
                    Some(after) => mailbox.next_within(after).await,
                    None => Some(mailbox.next().await),
                };
                // The thread waits for it.
                let _ = tell.send(next);
            }
            Ask::Do(act) => act(&mut mailbox),
        }
    }
}
