//! Tasks: a process that computes one value and ends.
//!
//! ```text
//!   start          nobody minds its end but who awaits it
//!   start_link     it and its starter go down together, unless they end in good order
//!   start_monitor  its starter gets one Down
//! ```
//!
//! The handle is a future, and may be dropped: the task then runs on. [`Task::shutdown`] ends it, and says
//! nothing of that over its link.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use quorate_actor::{Actors, Exit, Mailbox, Message, Spawn};
use quorate_env::timeout;
use quorate_vocab::{Pid, Ref};
use tokio::sync::oneshot;

use crate::TaskError;
use crate::start::watched;

/// A process that computes a `T`, seen from whom the value is for.
pub struct Task<T> {
    pid: Pid,
    stage: Stage<T>,
    ended: Pin<Box<dyn Future<Output = Exit> + Send>>,
    stop: Option<oneshot::Sender<()>>,
}

enum Stage<T> {
    Running(oneshot::Receiver<T>),
    /// It ends, or has ended, without a value.
    Ending,
    Taken,
}

impl<T: Send + 'static> Task<T> {
    /// Starts a task that belongs to nobody.
    pub fn start<F>(actors: &Actors, future: F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (work, handle) = Work::new(future, None);
        let (body, ended) = watched(|mailbox| work.run(mailbox));
        handle.of(actors.spawn_with(how(), body).pid(), ended)
    }

    /// Starts a task that is linked to the process which has this mailbox.
    pub fn start_link<F, P>(starter: &mut Mailbox<P>, future: F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
        P: Message,
    {
        let (work, handle) = Work::new(future, Some(starter.pid()));
        let (body, ended) = watched(|mailbox| work.run(mailbox));
        handle.of(starter.spawn_link(how(), body).pid(), ended)
    }

    /// Starts a task that the process which has this mailbox monitors.
    pub fn start_monitor<F, P>(starter: &mut Mailbox<P>, future: F) -> (Self, Ref)
    where
        F: Future<Output = T> + Send + 'static,
        P: Message,
    {
        let (work, handle) = Work::new(future, None);
        let (body, ended) = watched(|mailbox| work.run(mailbox));
        let (addr, monitor) = starter.spawn_monitor(how(), body);
        (handle.of(addr.pid(), ended), monitor)
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for the value, but not longer than `within`; the task goes on and can be awaited again.
    pub async fn await_within(&mut self, within: Duration) -> Result<T, TaskError> {
        timeout(within, self).await.unwrap_or(Err(TaskError::Late))
    }

    /// Ends it and waits until it has ended; gives the value if that was there first. A task can be ended
    /// only where it awaits; one that comes to no such point within the time is late, and ends when it
    /// does.
    pub async fn shutdown(mut self, within: Duration) -> Result<T, TaskError> {
        self.tell_to_stop();
        self.await_within(within).await
    }
}

impl<T> Task<T> {
    /// Ends it as soon as it can be ended.
    pub(crate) fn tell_to_stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended by itself.
            let _ = stop.send(());
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let task = &mut *self;
        if let Stage::Running(value) = &mut task.stage {
            task.stage = match ready!(Pin::new(value).poll(cx)) {
                Ok(value) => {
                    task.stage = Stage::Taken;
                    return Poll::Ready(Ok(value));
                }
                Err(_) => Stage::Ending,
            };
        }
        if let Stage::Taken = task.stage {
            return Poll::Ready(Err(TaskError::Taken));
        }
        let exit = ready!(task.ended.as_mut().poll(cx));
        task.stage = Stage::Taken;
        Poll::Ready(Err(TaskError::Ended { exit }))
    }
}

// The value is never pinned in here; it only passes through.
impl<T> Unpin for Task<T> {}

fn how() -> Spawn {
    Spawn::labelled("task")
}

/// What a task's process has of it.
struct Work<F: Future> {
    future: F,
    value: oneshot::Sender<F::Output>,
    stopped: oneshot::Receiver<()>,
    linked: Option<Pid>,
}

/// What becomes the task's handle once there is a process.
struct Handle<T> {
    value: oneshot::Receiver<T>,
    stop: oneshot::Sender<()>,
}

impl<F> Work<F>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn new(future: F, linked: Option<Pid>) -> (Self, Handle<F::Output>) {
        let (to_value, value) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        (Self { future, value: to_value, stopped, linked }, Handle { value, stop })
    }

    async fn run(self, mut mailbox: Mailbox<()>) -> Exit {
        let Self { future, value, stopped, linked } = self;
        tokio::select! {
            biased;
            computed = future => {
                // Nobody may be waiting for it.
                let _ = value.send(computed);
                Exit::Normal
            }
            // A handle that is dropped does not match: the task runs on.
            Ok(()) = stopped => {
                if let Some(starter) = linked {
                    mailbox.unlink(starter);
                }
                Exit::Shutdown
            }
        }
    }
}

impl<T> Handle<T> {
    fn of(self, pid: Pid, ended: impl Future<Output = Exit> + Send + 'static) -> Task<T> {
        let stage = Stage::Running(self.value);
        Task { pid, stage, ended: Box::pin(ended), stop: Some(self.stop) }
    }
}
