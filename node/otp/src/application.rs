//! Trees that start and stop as a whole.
//!
//! An [`Application`] is a supervisor with a name, with needs (other applications that run before it) and
//! with start phases that run when its tree stands. [`Applications`] are several: they start in the order of
//! their needs, stop in the reverse order, and one that does not start takes back those before it.
//!
//! [`Applications`] are themselves nothing but a supervisor over the applications' trees. So all that is
//! promised of supervisors holds: they stop when told from outside, they die together if they are killed, and
//! the end of an essential one stops the others, last first.
//!
//! To do something when an application stops, make it the last child of its tree: children stop in reverse.

mod order;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{Actors, CallError, Exit, Spawn};
use quorate_env::BoxFuture;
use quorate_vocab::Pid;

use crate::child::{Child, Starter, caught};
use crate::supervisor::{AutoShutdown, Restart, Shutdown, Supervisor, SupervisorAddr, stop};
use crate::{ApplicationError, Start, StartError};

/// A tree with a name. Cheap to clone.
#[derive(Clone)]
pub struct Application {
    name: Arc<str>,
    tree: Supervisor,
    needs: Vec<String>,
    phases: Vec<(Arc<str>, Arc<Phase>)>,
    stop_within: Duration,
    essential: bool,
}

type Phase = dyn Fn(SupervisorAddr) -> BoxFuture<'static, Result<(), Exit>> + Send + Sync;

/// Applications that are started and stopped together.
#[derive(Clone, Default)]
pub struct Applications {
    all: Vec<Application>,
}

/// Applications that run.
#[derive(Clone, Debug)]
pub struct RunningApplications {
    actors: Actors,
    supervisor: SupervisorAddr,
}

impl Application {
    /// An application is the tree of this supervisor. Its end does not touch other applications; it has ten
    /// seconds to stop.
    pub fn new(name: impl Into<Arc<str>>, tree: impl Into<Supervisor>) -> Self {
        Self {
            name: name.into(),
            tree: tree.into(),
            needs: Vec::new(),
            phases: Vec::new(),
            stop_within: Duration::from_secs(10),
            essential: false,
        }
    }

    /// It starts after the application of this name, and stops before it.
    pub fn needs(mut self, name: impl Into<String>) -> Self {
        self.needs.push(name.into());
        self
    }

    /// What is done once its tree stands, after the phases named before. The application has started when
    /// the last phase is through; a phase that fails stops the tree again.
    pub fn phase<F, Fut>(mut self, name: impl Into<Arc<str>>, phase: F) -> Self
    where
        F: Fn(SupervisorAddr) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Exit>> + Send + 'static,
    {
        self.phases.push((name.into(), Arc::new(move |tree| Box::pin(phase(tree)))));
        self
    }

    /// How long its tree may take to stop before it is killed.
    pub fn stop_within(self, stop_within: Duration) -> Self {
        Self { stop_within, ..self }
    }

    /// When it ends by itself, all the other applications stop.
    pub fn essential(self) -> Self {
        Self { essential: true, ..self }
    }

    /// The application as a child of the supervisor over all of them. Nobody restarts an application: what
    /// could be mended by a restart, its own supervisor has tried.
    fn into_child(self) -> Child {
        let (name, essential, stop_within) = (self.name.clone(), self.essential, self.stop_within);
        let child = Child::new(name, move |starter| Box::pin(self.clone().start(starter)))
            .supervising()
            .restart(Restart::Temporary)
            .shutdown(Shutdown::After(stop_within));
        if essential { child.significant() } else { child }
    }

    async fn start(self, mut starter: Starter<'_>) -> Result<Pid, Exit> {
        let how = starter.how();
        let started = self.tree.start_link_with(starter.parent(), how).await;
        let tree = started.map_err(StartError::into_exit)?;
        for (phase, run) in &self.phases {
            let ran = caught(async { run(tree.clone()).await }).await;
            if let Err(exit) = ran.and_then(|result| result) {
                tracing::error!(application = %self.name, %phase, %exit, "a start phase failed");
                stop(starter.parent(), tree.pid(), Shutdown::After(self.stop_within)).await;
                return Err(exit);
            }
        }
        Ok(tree.pid())
    }
}

impl Applications {
    /// What an application's end may take beyond the time that it is given.
    const KILLING: Duration = Duration::from_secs(1);

    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn with(mut self, application: Application) -> Self {
        self.all.push(application);
        self
    }

    /// Starts all, each after those that it needs. Returns when the last one has started, or one has not and
    /// those before it have stopped again. When the runtime [closes](Actors::close), they stop first, in
    /// order.
    pub async fn start(&self, actors: &Actors) -> Result<RunningApplications, ApplicationError> {
        let supervisor = self.supervisor()?.start_with(actors, Self::how()).await?;
        let each = self.all.iter().map(|one| one.stop_within.saturating_add(Self::KILLING));
        actors.close_first(supervisor.pid(), each.fold(Duration::ZERO, Duration::saturating_add));
        Ok(RunningApplications { actors: actors.clone(), supervisor })
    }

    fn supervisor(&self) -> Result<Supervisor, ApplicationError> {
        let given: Vec<(&str, &[String])> =
            self.all.iter().map(|one| (&*one.name, one.needs.as_slice())).collect();
        let order = order::order(&given)?;
        let top = Supervisor::one_for_one().auto_shutdown(AutoShutdown::AnySignificant);
        Ok(order.into_iter().fold(top, |top, at| top.child(self.all[at].clone().into_child())))
    }

    fn how() -> Start {
        Start { spawn: Spawn::labelled("applications"), ..Start::default() }
    }
}

impl RunningApplications {
    /// The process over all of them. An exit signal from outside stops them in order.
    pub fn pid(&self) -> Pid {
        self.supervisor.pid()
    }

    /// Which run, in the order of their start, with the supervisors of their trees.
    pub async fn which(&self) -> Result<Vec<(Arc<str>, SupervisorAddr)>, CallError> {
        let children = self.supervisor.which_children().await?.into_iter();
        let running = children.filter_map(|child| {
            let pid = child.pid()?;
            Some((child.id, SupervisorAddr::of(&self.actors, pid)))
        });
        Ok(running.collect())
    }

    /// Stops one; those that need it go on without it. `false` if it does not run.
    pub async fn stop_one(&self, name: &str) -> bool {
        self.supervisor.terminate_child(name).await.is_ok()
    }

    /// Stops all, last started first, each within its time.
    pub async fn stop(&self) {
        let ended = self.ended();
        self.actors.exit(self.pid(), Exit::Shutdown);
        ended.await;
    }

    /// How they ended, all of them; `Shutdown` if they were stopped or an essential one has ended.
    pub fn ended(&self) -> impl Future<Output = Exit> + Send + use<> {
        self.actors.ended(self.pid())
    }
}
