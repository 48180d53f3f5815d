//! What a supervisor knows of a child: how it is started, whether it is started again, how it is stopped.
//!
//! A description is cheap to clone and starts the same child each time; so what a child begins with is
//! cloned for every start.

use std::fmt;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Actors, Addr, Exit, Mailbox, Message, Spawn};
use quorate_env::BoxFuture;
use quorate_vocab::Pid;

use crate::supervisor::{Restart, Shutdown, Supervisor, SupervisorMessage, stop};
use crate::{Server, Start, StartError, Statem};

/// How one child of a supervisor is started, restarted and stopped.
#[derive(Clone)]
pub struct Child {
    id: Arc<str>,
    start: Arc<StartChild>,
    restart: Restart,
    shutdown: Shutdown,
    significant: bool,
    kind: ChildKind,
    name: Option<Arc<str>>,
}

type StartChild =
    dyn for<'a> Fn(Starter<'a>) -> BoxFuture<'a, Result<Pid, Exit>> + Send + Sync + 'static;

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChildKind {
    /// It works.
    Worker,
    /// It keeps children of its own.
    Supervisor,
}

/// The supervisor as a child's start sees it: the process that the child is to be linked to.
pub struct Starter<'a> {
    parent: &'a mut Mailbox<SupervisorMessage>,
    name: Option<&'a str>,
}

impl Child {
    /// A child that `start` starts and links to the supervisor. It returns when the child is ready, or says
    /// why it is not, and leaves nothing behind then. For what the other constructors do not know.
    pub fn new<F>(id: impl Into<Arc<str>>, start: F) -> Self
    where
        F: for<'a> Fn(Starter<'a>) -> BoxFuture<'a, Result<Pid, Exit>> + Send + Sync + 'static,
    {
        Self {
            id: id.into(),
            start: shared(start),
            restart: Restart::default(),
            shutdown: Shutdown::After(Duration::from_secs(5)),
            significant: false,
            kind: ChildKind::Worker,
            name: None,
        }
    }

    /// A process of its own kind. It counts as ready at once.
    pub fn body<M, F, Fut>(id: impl Into<Arc<str>>, body: F) -> Self
    where
        M: Message,
        F: Fn(Mailbox<M>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        let body = Arc::new(body);
        Self::new(id, move |mut starter| {
            let body = body.clone();
            Box::pin(async move { Ok(starter.spawn_link(move |mailbox| body(mailbox)).pid()) })
        })
    }

    /// A server. What its state is made from is cloned for each start.
    pub fn server<S: Server>(id: impl Into<Arc<str>>, args: S::Args) -> Self
    where
        S::Args: Clone + Sync,
    {
        Self::new(id, move |mut starter| {
            let (how, args) = (starter.how(), args.clone());
            Box::pin(async move {
                let started = S::start_link_with(starter.parent(), how, args).await;
                started.map(|server| server.pid()).map_err(StartError::into_exit)
            })
        })
    }

    /// A state machine. What it is made from is cloned for each start.
    pub fn statem<S: Statem>(id: impl Into<Arc<str>>, args: S::Args) -> Self
    where
        S::Args: Clone + Sync,
    {
        Self::new(id, move |mut starter| {
            let (how, args) = (starter.how(), args.clone());
            Box::pin(async move {
                let started = S::start_link_with(starter.parent(), how, args).await;
                started.map(|machine| machine.pid()).map_err(StartError::into_exit)
            })
        })
    }

    /// A supervisor. It is given all the time it needs to stop, since its children have limits of their own.
    pub fn supervisor(id: impl Into<Arc<str>>, supervisor: impl Into<Supervisor>) -> Self {
        let supervisor = supervisor.into();
        let child = Self::new(id, move |mut starter| {
            let (how, supervisor) = (starter.how(), supervisor.clone());
            Box::pin(async move {
                let started = supervisor.start_link_with(starter.parent(), how).await;
                started.map(|supervisor| supervisor.pid()).map_err(StartError::into_exit)
            })
        });
        child.supervising().shutdown(Shutdown::Infinity)
    }

    /// Says that it keeps children of its own, where `start` is the user's.
    pub fn supervising(self) -> Self {
        Self { kind: ChildKind::Supervisor, ..self }
    }

    /// When it is started again; always, if not said.
    pub fn restart(self, restart: Restart) -> Self {
        Self { restart, ..self }
    }

    /// How it is stopped; if not said, it is asked and has five seconds, or for ever if it is a supervisor.
    pub fn shutdown(self, shutdown: Shutdown) -> Self {
        Self { shutdown, ..self }
    }

    /// When it has ended and is not started again, the supervisor may be done: see
    /// [`Supervisor::auto_shutdown`]. Not for permanent children, which are always started again.
    pub fn significant(self) -> Self {
        Self { significant: true, ..self }
    }

    /// It is registered under this local name whenever it starts: a server or a supervisor before its first
    /// step, any other child before the next one starts. If the name is taken, the start has failed.
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// What it is called among its siblings.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn id_shared(&self) -> Arc<str> {
        self.id.clone()
    }

    pub(crate) fn with_id(self, id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), ..self }
    }

    pub(crate) fn restarts(&self) -> Restart {
        self.restart
    }

    pub(crate) fn stops(&self) -> Shutdown {
        self.shutdown
    }

    pub(crate) fn is_significant(&self) -> bool {
        self.significant
    }

    pub(crate) fn kind(&self) -> ChildKind {
        self.kind
    }

    /// Starts it, linked to the supervisor. A start that panics has failed, and takes nobody with it.
    pub(crate) async fn start(&self, parent: &mut Mailbox<SupervisorMessage>) -> Result<Pid, Exit> {
        let name = self.name.as_deref();
        let started = async { (self.start)(Starter { parent: &mut *parent, name }).await };
        let pid = caught(started).await??;
        let Some(name) = name.filter(|name| parent.actors().whereis(name) != Some(pid)) else {
            return Ok(pid);
        };
        match parent.actors().register(name, pid) {
            Err(error) if parent.actors().is_alive(pid) => {
                stop(parent, pid, self.shutdown).await;
                Err(Exit::because(format!("{name}: {error}")))
            }
            // It may have ended already. Then its exit is on its way, and says more than we could.
            _ => Ok(pid),
        }
    }

    /// The same child, which also does `then` with its pid whenever it has started.
    pub(crate) fn then(self, then: impl Fn(Pid) + Send + Sync + 'static) -> Self {
        let (start, then) = (self.start, Arc::new(then));
        let start = shared(move |starter| {
            let (start, then) = (start.clone(), then.clone());
            Box::pin(async move {
                let pid = start(starter).await?;
                then(pid);
                Ok(pid)
            })
        });
        Self { start, ..self }
    }
}

/// Tells the compiler that the closure takes a starter of any lifetime.
fn shared<F>(start: F) -> Arc<StartChild>
where
    F: for<'a> Fn(Starter<'a>) -> BoxFuture<'a, Result<Pid, Exit>> + Send + Sync + 'static,
{
    Arc::new(start)
}

impl Starter<'_> {
    /// Starts a process that is linked to the supervisor before its first step.
    pub fn spawn_link<M, F, Fut>(&mut self, body: F) -> Addr<M>
    where
        M: Message,
        F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        self.parent.spawn_link(Spawn::default(), body)
    }

    /// How the child is to be started: with its name, if it has one.
    pub fn how(&self) -> Start {
        Start { name: self.name.map(str::to_owned), ..Start::default() }
    }

    /// The runtime.
    pub fn actors(&self) -> &Actors {
        self.parent.actors()
    }

    /// The supervisor's own mailbox, for whatever starts a process linked to its caller. What lies in it is
    /// the supervisor's.
    pub fn parent(&mut self) -> &mut Mailbox<SupervisorMessage> {
        self.parent
    }
}

/// Runs what a user gave us; a panic in it is its exit and not ours.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, Exit> {
    let mut future = pin!(future);
    // After a panic the future is dropped and never polled again, so nobody sees what it left half done.
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(words) => std::task::Poll::Ready(Err(Exit::from_panic(&*words))),
    })
    .await
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, restart, shutdown, kind, .. } = self;
        write!(f, "Child({id}, {kind:?}, {restart:?}, {shutdown:?})")
    }
}
