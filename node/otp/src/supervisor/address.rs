//! How a running supervisor is asked.

use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Actors, Addr, CallError, Message, ReplyTo};
use quorate_vocab::Pid;

use crate::ChildError;
use crate::child::{Child, ChildKind};
use crate::supervisor::Restart;
use crate::supervisor::roster::{ChildState, Key};

/// Where a running supervisor is reached.
///
/// Its answers wait while it starts or stops a child, and its end is told at once; so calls have no limit of
/// their own. Give them one by `quorate_env::timeout`, and it is unknown what the supervisor did.
#[derive(Clone, Debug)]
pub struct SupervisorAddr(Addr<SupervisorMessage>);

/// What supervisors receive. Only a [`SupervisorAddr`] makes one.
pub struct SupervisorMessage(pub(crate) Ask);

pub(crate) enum Ask {
    Start(Child, ReplyTo<Result<Pid, ChildError>>),
    Terminate(Whom, ReplyTo<Result<(), ChildError>>),
    Restart(Arc<str>, ReplyTo<Result<Pid, ChildError>>),
    Delete(Arc<str>, ReplyTo<Result<(), ChildError>>),
    Which(ReplyTo<Vec<ChildInfo>>),
    Count(ReplyTo<ChildCounts>),
    /// Sent by the supervisor to itself, so that others have their turn between two attempts.
    TryAgain(Key),
}

impl Message for SupervisorMessage {}

/// A child as it is asked for: by its id, or by its pid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// By its id. Dynamic children have none.
    Id(Arc<str>),
    /// By the pid it has now.
    Pid(Pid),
}

/// One child, as its supervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildInfo {
    /// What it is called.
    pub id: Arc<str>,
    /// How it is.
    pub state: ChildState,
    /// What it is.
    pub kind: ChildKind,
    /// When it is restarted.
    pub restart: Restart,
}

/// How many children a supervisor has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChildCounts {
    /// All that are known.
    pub specs: usize,
    /// Those that run.
    pub active: usize,
    /// Those that keep children of their own, running or not.
    pub supervisors: usize,
    /// The others, running or not.
    pub workers: usize,
}

impl SupervisorAddr {
    /// A year: none.
    const NO_LIMIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    pub(crate) fn new(addr: Addr<SupervisorMessage>) -> Self {
        Self(addr)
    }

    /// The supervisor that runs as this process, for instance a child of another.
    pub fn of(actors: &Actors, pid: Pid) -> Self {
        Self(actors.addr(pid))
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        self.0.pid()
    }

    /// Starts one more child behind the others.
    pub async fn start_child(&self, child: Child) -> Result<Pid, ChildError> {
        self.ask(|to| Ask::Start(child, to)).await?
    }

    /// Stops a child. It stays known and can be restarted, unless it is temporary or dynamic.
    pub async fn terminate_child(&self, whom: impl Into<Whom>) -> Result<(), ChildError> {
        let whom = whom.into();
        self.ask(|to| Ask::Terminate(whom, to)).await?
    }

    /// Starts a child that is known and does not run.
    pub async fn restart_child(&self, id: &str) -> Result<Pid, ChildError> {
        self.ask(|to| Ask::Restart(id.into(), to)).await?
    }

    /// Forgets a child that does not run.
    pub async fn delete_child(&self, id: &str) -> Result<(), ChildError> {
        self.ask(|to| Ask::Delete(id.into(), to)).await?
    }

    /// All children, in the order of their start.
    pub async fn which_children(&self) -> Result<Vec<ChildInfo>, CallError> {
        self.ask(Ask::Which).await
    }

    /// How many children there are.
    pub async fn count_children(&self) -> Result<ChildCounts, CallError> {
        self.ask(Ask::Count).await
    }

    async fn ask<R: Send + 'static>(
        &self,
        make: impl FnOnce(ReplyTo<R>) -> Ask,
    ) -> Result<R, CallError> {
        self.0.call(Self::NO_LIMIT, |to| SupervisorMessage(make(to))).await
    }
}

impl ChildInfo {
    /// Its process, if it runs.
    pub fn pid(&self) -> Option<Pid> {
        match self.state {
            ChildState::Running(pid) => Some(pid),
            ChildState::Restarting | ChildState::Stopped => None,
        }
    }
}

impl From<&str> for Whom {
    fn from(id: &str) -> Self {
        Self::Id(id.into())
    }
}

impl From<Pid> for Whom {
    fn from(pid: Pid) -> Self {
        Self::Pid(pid)
    }
}
