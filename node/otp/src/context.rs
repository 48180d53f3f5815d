//! What a callback has at hand: the mailbox of its process, and whom the process belongs to.

use std::convert::Infallible;
use std::ops::{Deref, DerefMut};

use quorate_actor::{Exit, Incoming, Mailbox, Message};
use quorate_vocab::Pid;
use tokio::sync::oneshot;

use crate::StartError;

/// What arrives besides mail: `News::Down`, `News::Exited` (trapped) and `News::Timeout`. There is no other
/// type for it than a mailbox's own, without the mail.
pub type News = Incoming<Infallible>;

/// The process that runs a callback: its mailbox, with all that a mailbox can, and its parent.
///
/// A callback may link, monitor, trap exits, start timers and other processes. It may even receive: what it
/// takes out of the mailbox, the loop around it does not see.
pub struct Context<M: Message> {
    mailbox: Mailbox<M>,
    parent: Pid,
    /// Whoever waits until this process is ready; nobody once it is.
    starter: Option<oneshot::Sender<Result<(), StartError>>>,
}

/// What the loops tell apart before anything else.
pub(crate) enum Input<M> {
    Mail(M),
    News(News),
    /// The parent ended, or wants this process to end. Only a process that traps exits sees it.
    Parent(Exit),
}

impl<M: Message> Context<M> {
    /// Made before the process's first step, also its name.
    pub(crate) fn new(
        mailbox: Mailbox<M>,
        parent: Pid,
        starter: oneshot::Sender<Result<(), StartError>>,
        name: Option<&str>,
    ) -> Self {
        let mut cx = Self { mailbox, parent, starter: Some(starter) };
        if let Some(Err(why)) = name.map(|name| cx.actors().register(name, cx.pid())) {
            cx.tell(Err(StartError::Name(why)));
        }
        cx
    }

    /// The process's first step. It is its last one if it could not have its name: the starter knows that.
    pub(crate) fn begin(&mut self) -> Result<(), Exit> {
        match self.starter {
            Some(_) => Ok(()),
            None => {
                self.mailbox.unlink(self.parent);
                Err(Exit::because("it could not have its name"))
            }
        }
    }

    /// Who started this process and decides over its life. For one that was started from outside of any
    /// process it is the outside: the program that holds the [`Actors`](quorate_actor::Actors).
    pub fn parent(&self) -> Pid {
        self.parent
    }

    /// Tells the starter that this process does its work from now on.
    pub(crate) fn is_ready(&mut self) {
        self.tell(Ok(()));
    }

    /// Tells the starter that this process will not work, and breaks with it: the starter has its error, and
    /// need not die of the link on top of it. What is returned is to be the process's exit.
    pub(crate) fn refuse(&mut self, why: StartError) -> Exit {
        self.mailbox.unlink(self.parent);
        let exit = why.clone().into_exit();
        self.tell(Err(why));
        exit
    }

    fn tell(&mut self, begun: Result<(), StartError>) {
        if let Some(starter) = self.starter.take() {
            // A starter that no longer waits does not want to know.
            let _ = starter.send(begun);
        }
    }

    pub(crate) fn sort(&self, incoming: Incoming<M>) -> Input<M> {
        match incoming {
            Incoming::Mail(message) => Input::Mail(message),
            Incoming::Exited(trapped) if trapped.from == self.parent => Input::Parent(trapped.exit),
            Incoming::Exited(trapped) => Input::News(News::Exited(trapped)),
            Incoming::Down(down) => Input::News(News::Down(down)),
            Incoming::Timeout(timeout) => Input::News(News::Timeout(timeout)),
        }
    }
}

impl<M: Message> Deref for Context<M> {
    type Target = Mailbox<M>;

    fn deref(&self) -> &Mailbox<M> {
        &self.mailbox
    }
}

impl<M: Message> DerefMut for Context<M> {
    fn deref_mut(&mut self) -> &mut Mailbox<M> {
        &mut self.mailbox
    }
}

/// The news in words, for those who only log them.
pub(crate) fn words(news: News) -> String {
    match news {
        News::Down(down) => format!("{} is down: {}", down.pid, down.exit),
        News::Exited(trapped) => format!("an exit signal of {}: {}", trapped.from, trapped.exit),
        News::Timeout(timeout) => format!("timeout {}", timeout.0),
    }
}
