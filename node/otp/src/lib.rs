//! What Erlang's programmers build from, over the processes of `quorate_actor`.
//!
//! A [`Server`] is a loop over its own mailbox: callbacks, and nothing that a process could not do by hand. A
//! [`Statem`] is the same loop with states, postponed events and timeouts. [`Events`] is a server that holds
//! handlers which come and go. A [`Task`] is a process that computes one value; a [`TaskGroup`] is many.
//!
//! Reading order: `start` says how a process becomes ready and whom it belongs to, `server` is the smallest
//! loop, `statem` keeps its order of events in `agenda` (pure), `events` and `task` stand on those.
//!
//! A [`Supervisor`] keeps [`Child`]ren running, an [`Application`] is a tree of them that starts and stops
//! as a whole, a [`PartitionSupervisor`] shares work by key, and [`Groups`] are names for many processes.
//! What is decided in them is pure: `supervisor::plan` and `supervisor::intensity`, `application::order`,
//! `groups::roll`.
//!
//! Not here: mailboxes, links, monitors and timers (they are the actors'), names and singletons of the whole
//! cluster (they are the registry's), and hot code.

mod application;
mod child;
mod context;
mod error;
mod events;
mod groups;
mod partition;
mod server;
mod start;
mod statem;
mod supervisor;
mod task;
mod task_group;

pub use application::{Application, Applications, RunningApplications};
pub use child::{Child, ChildKind, Starter};
pub use context::{Context, News};
pub use error::{ApplicationError, ChildError, EventsError, GroupsError, StartError, TaskError};
pub use events::{Events, Gone, Handler, HandlerId, Stay};
pub use groups::{GroupNews, Groups, Membership, Subscription};
pub use partition::{PartitionSupervisor, Partitions};
pub use server::{Flow, Server};
pub use start::Start;
pub use statem::{Event, Statem, Timeouts, Transition};
pub use supervisor::{
    AutoShutdown, ChildCounts, ChildInfo, ChildState, Intensity, Restart, Shutdown, Strategy,
    Supervisor, SupervisorAddr, SupervisorMessage, Whom,
};
pub use task::Task;
pub use task_group::{Failure, Order, TaskGroup, TaskGroupConfig};
