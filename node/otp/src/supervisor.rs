//! Processes that keep others running.
//!
//! A [`Supervisor`] is a description: a strategy, an intensity and children. Started, it is a process that
//! links its children, starts them in order, starts again what ends and should not have, stops them in
//! reverse order, and ends itself when restarts do not help. What it does and in which order is decided by
//! pure rules (`plan`, `intensity`, `roster`); `running` carries it out, `stop` is how anything is stopped.
//!
//! While a child starts or stops, its supervisor does nothing else, as in OTP: who asks it something waits.
//! A child that calls its own supervisor while it starts waits for ever.
//!
//! What differs from OTP: children are listed in the order of their start. A supervisor that does not start
//! ends with the reason of the child that did not. Dynamic children need not be alike, as in Elixir. A start
//! cannot be ignored: a child is there, or has failed. And a supervisor that was started from outside of all
//! processes heeds exit signals from there.

mod address;
mod intensity;
mod plan;
mod roster;
mod running;
mod stop;

use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Actors, Capacity, Mailbox, Message, Spawn};

pub use address::{ChildCounts, ChildInfo, SupervisorAddr, SupervisorMessage, Whom};
pub use intensity::Intensity;
pub use plan::{AutoShutdown, Restart, Strategy};
pub use roster::ChildState;
pub use stop::Shutdown;
pub(crate) use stop::stop;

use crate::child::Child;
use crate::{Start, StartError, start};
use running::Running;

/// What a supervisor is to be. Cheap to clone; each start makes another tree.
///
/// ```
/// # use quorate_actor::{Actors, Exit, Mailbox};
/// # use quorate_otp::{Child, Restart, Supervisor};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// async fn echo(mut mailbox: Mailbox<String>) -> Exit {
///     loop {
///         println!("{}", mailbox.receive().await);
///     }
/// }
///
/// let tree = Supervisor::rest_for_one()
///     .intensity(3, Duration::from_secs(5))
///     .child(Child::body("echo", echo).named("echo"))
///     .child(Child::body("once", |_: Mailbox<()>| async { Exit::Normal }).restart(Restart::Transient));
///
/// let actors = Actors::alone();
/// let supervisor = tree.start(&actors).await.expect("all children start");
/// assert_eq!(supervisor.which_children().await.unwrap().len(), 2);
/// let echo = actors.whereis("echo").expect("it has its name from its start on");
/// actors.addr::<String>(echo).send("hello".to_owned()).unwrap();
/// actors.exit(supervisor.pid(), Exit::Shutdown);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Supervisor {
    strategy: Strategy,
    intensity: Intensity,
    auto_shutdown: AutoShutdown,
    children_max: usize,
    children: Arc<Vec<Child>>,
}

impl Supervisor {
    /// A child that ends is started again, and no other is touched.
    pub fn one_for_one() -> Self {
        Self::new(Strategy::OneForOne)
    }

    /// When a child is started again, so are all the others.
    pub fn one_for_all() -> Self {
        Self::new(Strategy::OneForAll)
    }

    /// When a child is started again, so are those that were started after it.
    pub fn rest_for_one() -> Self {
        Self::new(Strategy::RestForOne)
    }

    /// Begins empty; children come by [`SupervisorAddr::start_child`] and are known by their pids. When it
    /// stops, it stops them all at once.
    pub fn dynamic() -> Self {
        Self::new(Strategy::Dynamic)
    }

    fn new(strategy: Strategy) -> Self {
        Self {
            strategy,
            intensity: Intensity::default(),
            auto_shutdown: AutoShutdown::default(),
            children_max: usize::MAX,
            children: Arc::default(),
        }
    }

    /// How many restarts it takes in a span before it gives up: it stops its children, last first, and
    /// ends as [`Exit::Shutdown`]. One in five seconds, if not said.
    pub fn intensity(self, restarts: u32, within: Duration) -> Self {
        Self { intensity: Intensity { restarts, within }, ..self }
    }

    /// Whether it ends, as [`Exit::Shutdown`], when [significant](Child::significant) children have ended.
    pub fn auto_shutdown(self, auto_shutdown: AutoShutdown) -> Self {
        Self { auto_shutdown, ..self }
    }

    /// The most children that it may have; as many as there is room for, if not said.
    pub fn max_children(self, children_max: usize) -> Self {
        Self { children_max, ..self }
    }

    /// One more child, to be started after the others.
    pub fn child(mut self, child: Child) -> Self {
        Arc::make_mut(&mut self.children).push(child);
        self
    }

    /// Starts it and its children. If one of them does not start, those before it are stopped, last first,
    /// and the supervisor ends with the reason of that child.
    ///
    /// Its parent is the outside: [`Actors::exit`] stops it.
    pub async fn start(&self, actors: &Actors) -> Result<SupervisorAddr, StartError> {
        self.start_with(actors, Start::default()).await
    }

    /// As [`start`](Self::start), with a name or a bound of its own.
    pub async fn start_with(
        &self,
        actors: &Actors,
        how: Start,
    ) -> Result<SupervisorAddr, StartError> {
        let supervisor = self.clone();
        let body = move |cx| Running::run(supervisor, cx);
        Ok(SupervisorAddr::new(start::start(actors, roomy(how), body).await?))
    }

    /// Starts it linked to the process that has this mailbox, which becomes its parent: it stops when its
    /// parent ends or tells it to.
    pub async fn start_link<M: Message>(
        &self,
        parent: &mut Mailbox<M>,
    ) -> Result<SupervisorAddr, StartError> {
        self.start_link_with(parent, Start::default()).await
    }

    /// As [`start_link`](Self::start_link), with a name or a bound of its own.
    pub async fn start_link_with<M: Message>(
        &self,
        parent: &mut Mailbox<M>,
        how: Start,
    ) -> Result<SupervisorAddr, StartError> {
        let supervisor = self.clone();
        let body = move |cx| Running::run(supervisor, cx);
        Ok(SupervisorAddr::new(start::start_link(parent, roomy(how), body).await?))
    }

    /// What contradicts itself in a child's description.
    fn fault_in(&self, child: &Child) -> Option<&'static str> {
        if child.is_significant() && child.restarts() == Restart::Permanent {
            return Some("a permanent child is always restarted, so it cannot be significant");
        }
        let is_pointless = child.is_significant() && self.auto_shutdown == AutoShutdown::Never;
        is_pointless.then_some("a child is significant, but the supervisor never ends by itself")
    }
}

/// A supervisor is sent mail by those that wait for its answer, and by itself. It must not refuse itself
/// anything, so its mailbox has no bound.
fn roomy(how: Start) -> Start {
    let label = how.spawn.label.or(Some("supervisor"));
    Start { spawn: Spawn { label, mailbox: Some(Capacity::Unbounded) }, ..how }
}
