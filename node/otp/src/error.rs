//! What may go wrong here. Each variant says what happened, and whether to try again.

use quorate_actor::{CallError, Exit, NameError};
use quorate_vocab::Pid;
use thiserror::Error;

/// A process did not become ready. It has ended, and what it held and was registered as is free again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StartError {
    /// Its `init` refused, or it was ended before it was through. Start again when the reason is gone.
    #[error("it ended before it was ready: {exit}")]
    Ended {
        /// What it ended with.
        exit: Exit,
    },
    /// The name that it was to have is not to be had; its `init` has not run. Try again when the name is
    /// free.
    #[error("it could not have its name: {0}")]
    Name(NameError),
    /// Its `init` took longer than it was given, and it was killed. What `init` did outside may stand.
    #[error("it was not ready in time and was killed")]
    Late,
}

impl StartError {
    /// The reason in the words of a process that dies of it.
    pub fn into_exit(self) -> Exit {
        match self {
            Self::Ended { exit } => exit,
            other => Exit::Because(other.to_string()),
        }
    }
}

/// An event manager did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The handler is no longer there, or never was in this manager. Nothing happened; do not ask again.
    #[error("the handler is not there")]
    NoHandler,
    /// The handler panicked over the request and was removed. It may have acted.
    #[error("the handler panicked and was removed")]
    Panicked,
    /// The manager gave no answer.
    #[error("the event manager: {0}")]
    Manager(#[from] CallError),
}

/// A task has no value to give.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It is not done yet and goes on, or, told to stop, has not come to a point where it can. Wait again.
    #[error("the task is not done yet")]
    Late,
    /// It ended without a value: it panicked, or was ended. Whether to run it again is its owner's to know.
    #[error("the task ended without a value: {exit}")]
    Ended {
        /// What it ended with.
        exit: Exit,
    },
    /// Its value, or the news of its end, was given out before.
    #[error("the task's value was taken before")]
    Taken,
}

/// A supervisor did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChildError {
    /// A child of this id runs already, as this process. Nothing was started.
    #[error("a child of this id runs already, as {0}")]
    AlreadyStarted(Pid),
    /// A child of this id is known and does not run. Nothing was started: restart it, or delete it first.
    #[error("a child of this id is there already, and does not run")]
    AlreadyPresent,
    /// The supervisor has as many children as it may have. Nothing was started; try again when one has ended.
    #[error("the supervisor has {max} children, which is the most")]
    TooMany {
        /// How many it may have.
        max: usize,
    },
    /// The child's start failed. A new child is forgotten again; one that was there stays, and does not run.
    #[error("the child did not start: {0}")]
    Failed(Exit),
    /// The description contradicts itself or its supervisor. Nothing was started; do not try again.
    #[error("the child's description is wrong: {0}")]
    Wrong(&'static str),
    /// There is no such child. Nothing was done.
    #[error("there is no such child")]
    NotFound,
    /// The child runs. Nothing was done: terminate it first.
    #[error("the child runs")]
    Running,
    /// The child is being restarted. Nothing was done; ask again later.
    #[error("the child is being restarted")]
    Restarting,
    /// Dynamic children are neither restarted nor deleted by hand. Nothing was done.
    #[error("a dynamic child is not restarted or deleted by hand")]
    Dynamic,
    /// The supervisor gave no answer: it has ended, or it ends. It is unknown whether it has acted; its
    /// children end with it.
    #[error("the supervisor gave no answer: {0}")]
    Supervisor(#[from] CallError),
}

/// The applications did not start. None of them runs; those that had started were stopped again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ApplicationError {
    /// Two have the same name. Nothing was started.
    #[error("two applications are called {name}")]
    Twice {
        /// What they are called.
        name: String,
    },
    /// One needs another that is not given. Nothing was started.
    #[error("{name} needs {needs}, which is not among the applications")]
    Missing {
        /// Which application.
        name: String,
        /// What it needs.
        needs: String,
    },
    /// They need each other, so none can be the first. Nothing was started.
    #[error("these need each other, so none can be the first: {}", among.join(", "))]
    Circle {
        /// Those in the circle, and those that need one of them.
        among: Vec<String>,
    },
    /// One did not start. Try again when its reason is gone.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// The groups were not changed, unless the variant says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GroupsError {
    /// The process lives on another node, where it has to join.
    #[error("{0} lives on another node, and joins there")]
    Abroad(Pid),
    /// The process is not in the group.
    #[error("{0} is not in the group")]
    NotJoined(Pid),
    /// The usher has not been started.
    #[error("the groups have not been started")]
    NotStarted,
    /// The usher ended before it answered; it may have made the change. A supervisor starts it again: then
    /// read the table, and try again if the change is not in it.
    #[error("the usher of the groups gave no answer: {0}")]
    Usher(#[from] CallError),
}
