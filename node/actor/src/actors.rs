//! The runtime of one node's processes.
//!
//! Locks here are held for a look-up, never while a message is dropped or foreign code runs: each of these
//! may come back in.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_vocab::{Boot, NodeId, Pid, Ref};
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::coop::unconstrained;

use crate::abroad::nobody_at;
use crate::addr::{Named, Way};
use crate::call::Calls;
use crate::codec::BODY_BYTES_CEILING;
use crate::intake::Intake;
use crate::names::Names;
use crate::peers::Peers;
use crate::process::{AnyProcess, News, Process, panicked, sent};
use crate::scheduler::{Scheduler, Sitter};
use crate::signal::{Signal, Why};
use crate::table::Table;
use crate::timers::{Fire, Timers};
use crate::watchdog::{self, Kennel};
use crate::{
    Addr, Brief, Capacity, Carrier, Down, Exit, Hog, Info, Mailbox, Message, NameError, NotSent,
    Postage, Timer,
};

/// The processes of one life of a node. Clones are the same runtime.
#[derive(Clone)]
pub struct Actors(pub(crate) Arc<Inner>);

/// The bounds of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorsConfig {
    /// How many messages a mailbox holds if its process does not say otherwise; 0 counts as 1.
    pub mailbox_max: usize,
    /// The most that the body of a letter may weigh, sent or received; at most 256 MiB, and a greater number
    /// counts as that. Nodes that talk to each other should agree on it.
    pub message_bytes_max: usize,
    /// How many bytes of letters from other nodes may wait in one mailbox; letters of up to a KiB are not
    /// counted, and one always finds room. More is refused as if the mailbox was full.
    pub mailbox_bytes_max: usize,
    /// How many ties (links, monitors) the processes of another node may have with those of this one; more
    /// are refused as if there was no connection.
    pub ties_per_node_max: usize,
    /// How many calls of this node may wait for answers from other nodes at once.
    pub calls_max: usize,
    /// How many workers run processes; 0 means as many as tokio has.
    pub workers: usize,
    /// How long a process may hold its worker before the watchdog names it.
    pub hog_after: Duration,
}

impl Default for ActorsConfig {
    fn default() -> Self {
        Self {
            mailbox_max: 65_536,
            // 64 MiB, and room for what is said of them.
            message_bytes_max: (64 << 20) + (4 << 10),
            mailbox_bytes_max: 64 << 20,
            ties_per_node_max: 262_144,
            calls_max: 262_144,
            workers: 0,
            hog_after: Duration::from_millis(200),
        }
    }
}

/// How a process is to be spawned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spawn {
    /// What it is called in listings and logs.
    pub label: Option<&'static str>,
    /// How much mail it holds; the runtime's bound, rejecting, when nothing is said.
    pub mailbox: Option<Capacity>,
}

impl Spawn {
    /// A process with a label.
    pub fn labelled(label: &'static str) -> Self {
        Self { label: Some(label), ..Self::default() }
    }

    /// The same with a mailbox of its own kind.
    pub fn mailbox(self, capacity: Capacity) -> Self {
        Self { mailbox: Some(capacity), ..self }
    }
}

/// What ties a new process to one that lives, here or on another node, from before its first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {
    /// Nothing does.
    None,
    /// They are linked.
    Link(Pid),
    /// That one monitors the new one, and has set the monitor
    /// [ahead](crate::Mailbox::monitor_ahead).
    Monitor(Pid, Ref),
}

impl Bond {
    /// Whom it is tied to.
    pub fn pid(self) -> Option<Pid> {
        match self {
            Self::None => None,
            Self::Link(pid) | Self::Monitor(pid, _) => Some(pid),
        }
    }
}

/// How a process starts.
#[derive(Clone, Copy, Default)]
pub(crate) struct Start {
    pub(crate) how: Spawn,
    pub(crate) linked: Option<Pid>,
    pub(crate) watched: Option<(Pid, Ref)>,
}

/// What a runtime counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Processes that live now.
    pub processes: usize,
    /// Calls that wait for other nodes now.
    pub calls: usize,
    /// Timers that are set.
    pub timers: usize,
    /// Letters that were refused since the start.
    pub letters_refused: u64,
    /// Answers from other nodes whose caller did not wait any more, since the start.
    pub answers_late: u64,
    /// Answers that the carrier did not take, since the start.
    pub answers_unsent: u64,
}

pub(crate) struct Inner {
    pub(crate) node: NodeId,
    pub(crate) boot: Boot,
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) config: ActorsConfig,
    table: Table,
    scheduler: Scheduler,
    names: Names,
    timers: Arc<Timers>,
    calls: Mutex<Calls>,
    peers: Peers,
    kennel: Mutex<Kennel>,
    /// Who is asked to end before all others are ended, the last one first, and how long each may take.
    first_to_close: Mutex<Vec<(Pid, Duration)>>,
    /// Told when the last process has ended.
    emptied: Notify,
    last_ref: AtomicU64,
    pub(crate) letters_refused: AtomicU64,
    pub(crate) answers_late: AtomicU64,
    pub(crate) answers_unsent: AtomicU64,
}

/// A carrier for a node that has no others.
struct Nowhere;

impl Carrier for Nowhere {
    fn post(&self, _: NodeId, _: Postage, _: &mut Vec<u8>) -> Result<(), NotSent> {
        Err(NotSent::Unreachable)
    }
}

impl Actors {
    /// The runtime of a node's life. Letters to other nodes go to `carrier`. Its processes run on the workers
    /// of the tokio runtime that this is called in.
    pub fn new(node: NodeId, boot: Boot, carrier: Arc<dyn Carrier>, config: ActorsConfig) -> Self {
        let config = ActorsConfig {
            mailbox_max: config.mailbox_max.max(1),
            message_bytes_max: config.message_bytes_max.min(BODY_BYTES_CEILING),
            ..config
        };
        let tokio = Handle::current();
        let workers = match (quorate_env::is_simulated(), config.workers) {
            (true, _) => 1,
            (_, 0) => tokio.metrics().num_workers(),
            (_, workers) => workers,
        };
        let (scheduler, queues) = Scheduler::new(workers);
        let actors = Self(Arc::new(Inner {
            node,
            boot,
            carrier,
            config,
            table: Table::new(),
            scheduler,
            names: Names::default(),
            timers: Arc::new(Timers::new(tokio)),
            calls: Mutex::default(),
            peers: Peers::default(),
            kennel: Mutex::default(),
            first_to_close: Mutex::default(),
            emptied: Notify::new(),
            last_ref: AtomicU64::new(0),
            letters_refused: AtomicU64::new(0),
            answers_late: AtomicU64::new(0),
            answers_unsent: AtomicU64::new(0),
        }));
        for (number, turns) in queues.into_iter().enumerate() {
            // tokio's own budget counts for one task; a seat is many processes, and has budgets of its own.
            quorate_env::spawn(unconstrained(Sitter::new(actors.clone(), number, turns)));
        }
        if !quorate_env::is_simulated() {
            let watch = watchdog::watch(Arc::downgrade(&actors.0), config.hog_after);
            if let Err(error) = quorate_env::aside("quorate-watchdog", watch) {
                tracing::warn!(%error, "the watchdog did not start; processes that hold a worker go unnamed");
            }
        }
        actors
    }

    /// A runtime that has no other nodes around it.
    pub fn alone() -> Self {
        Self::new(NodeId(0), Boot(0), Arc::new(Nowhere), ActorsConfig::default())
    }

    /// Which node's processes these are.
    pub fn node(&self) -> NodeId {
        self.0.node
    }

    /// Starts a process: `body` is called at once, and the future that it returns is what runs. In a runtime
    /// that was closed it never runs, and its address is a dead one.
    pub fn spawn<M, F, Fut>(&self, body: F) -> Addr<M>
    where
        M: Message,
        F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        self.start(Start::default(), body, |_| {})
    }

    /// Starts a process that is not like all others.
    pub fn spawn_with<M, F, Fut>(&self, how: Spawn, body: F) -> Addr<M>
    where
        M: Message,
        F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        self.start(Start { how, ..Start::default() }, body, |_| {})
    }

    /// Starts a process for another one, which is tied to it before its first step and learns so before
    /// anything else of it. If that other one has ended, a link with it tells the new process so.
    pub fn spawn_for<M, F, Fut>(&self, how: Spawn, bond: Bond, body: F) -> Addr<M>
    where
        M: Message,
        F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        let start = match bond {
            Bond::None => Start { how, ..Start::default() },
            Bond::Link(pid) => Start { how, linked: Some(pid), ..Start::default() },
            Bond::Monitor(pid, monitor) => {
                Start { how, watched: Some((pid, monitor)), ..Start::default() }
            }
        };
        let addr = self.start(start, body, |child| match bond {
            Bond::None => {}
            Bond::Link(pid) => {
                if let Err(signal) = self.signal(pid, Signal::Link { from: child }) {
                    self.undelivered(pid, signal);
                }
            }
            Bond::Monitor(pid, monitor) => {
                if let Err(signal) = self.signal(pid, Signal::HasName { from: child, monitor }) {
                    self.undelivered(pid, signal);
                }
            }
        });
        if addr.is_dead()
            && let Bond::Monitor(pid, monitor) = bond
        {
            let down = Down { monitor, pid: addr.pid(), exit: Exit::NoProc };
            let _ = self.signal(pid, Signal::Down(Box::new(down)));
        }
        addr
    }

    /// Starts a process; `known` is told its pid before its first step.
    pub(crate) fn start<M, F, Fut>(&self, start: Start, body: F, known: impl FnOnce(Pid)) -> Addr<M>
    where
        M: Message,
        F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        let Start { how: Spawn { label, mailbox }, linked, watched } = start;
        let bound =
            || Capacity::Reject(u32::try_from(self.0.config.mailbox_max).unwrap_or(u32::MAX));
        let intake = Intake::new(mailbox.unwrap_or_else(bound));
        let make = |serial| Arc::new(Process::new(serial, self.clone(), intake, label));
        let Some(process) = self.0.table.enter(self.0.scheduler.seat_here(), make) else {
            return Addr::new(self.pid_of(0), Way::Dead(self.clone()));
        };
        let pid = process.pid();
        linked.into_iter().chain(watched.map(|(pid, _)| pid)).for_each(|other| process.tied(other));
        known(pid);
        let mailbox = Mailbox::new(process.clone());
        let addr = Addr::new(pid, Way::Near(process.clone()));
        match catch_unwind(AssertUnwindSafe(|| body(mailbox))) {
            Ok(body) => process.begin(Box::pin(body), linked, watched),
            Err(words) => {
                let exit = panicked(words);
                process.begin(Box::pin(async { exit }), linked, watched);
            }
        }
        addr
    }

    /// The address of a process that speaks `M`, near or far. Whether it lives shows when it is sent to.
    pub fn addr<M: Message>(&self, pid: Pid) -> Addr<M> {
        let way = match self.find(pid) {
            _ if pid.node != self.0.node => match M::WIRE {
                Some(wire) => Way::Far(self.clone(), wire),
                None => Way::Wrong(self.clone()),
            },
            None => Way::Dead(self.clone()),
            Some(process) => {
                let process: Arc<dyn std::any::Any + Send + Sync> = process;
                process.downcast().map_or_else(|_| Way::Wrong(self.clone()), Way::Near)
            }
        };
        Addr::new(pid, way)
    }

    /// Whoever has a local name on a node, this one or another. The name is looked up there when a message
    /// arrives, so the address stays good when the name goes to another process. Mail to a name keeps its
    /// order, but none with mail to the pid that has it.
    pub fn named<M: Message>(&self, node: NodeId, name: &str) -> Addr<M> {
        let way = match M::WIRE {
            None if node != self.0.node => Way::Wrong(self.clone()),
            wire => {
                Way::Named(Arc::new(Named { actors: self.clone(), wire, name: name.to_owned() }))
            }
        };
        Addr::new(nobody_at(node), way)
    }

    /// Sends an exit signal to a process, as from outside of all processes: one that traps exits finds it in
    /// its mailbox, another ends by it, unless it says `Normal`. Whether there was a process to get it; of
    /// another node's, whether the signal is under way.
    pub fn exit(&self, pid: Pid, exit: Exit) -> bool {
        self.signal(pid, sent(self.pid_of(0), exit, false)).is_ok()
    }

    /// Kills a process: it cannot trap this. Whether there was one; of another node's, whether the signal is
    /// under way.
    pub fn kill(&self, pid: Pid) -> bool {
        self.signal(pid, sent(self.pid_of(0), Exit::Killed, true)).is_ok()
    }

    /// Ends a process of this node, whether it traps exits or not, and its links learn this reason. Whether
    /// there was one.
    pub fn end(&self, pid: Pid, exit: Exit) -> bool {
        self.signal(pid, Signal::Exit { from: self.pid_of(0), exit, why: Why::End }).is_ok()
    }

    /// How a process ends, once it does. It is watched from the moment of this call; of one that had ended
    /// before only [`Exit::NoProc`] is known, and of one whose node was lost only [`Exit::NoConnection`] or
    /// [`Exit::NodeDown`].
    pub fn ended(&self, pid: Pid) -> impl Future<Output = Exit> + Send + use<> {
        let (tell, told) = oneshot::channel();
        let mut abroad = None;
        if pid.node != self.0.node {
            abroad = Some(self.ended_abroad(pid, tell));
        } else if let Err(signal) = self.signal(pid, Signal::Watch(tell)) {
            self.undelivered(pid, signal);
        }
        async move {
            let exit = told.await.unwrap_or(Exit::NoProc);
            drop(abroad);
            exit
        }
    }

    /// Whether a process lives on this node. Of other nodes' processes it knows nothing and says no.
    pub fn is_alive(&self, pid: Pid) -> bool {
        self.find(pid).is_some()
    }

    /// How many processes live.
    pub fn count(&self) -> usize {
        self.0.table.len()
    }

    /// What is counted.
    pub fn counts(&self) -> Counts {
        Counts {
            processes: self.count(),
            calls: self.calls().len(),
            timers: self.0.timers.len(),
            letters_refused: self.0.letters_refused.load(Ordering::Relaxed),
            answers_late: self.0.answers_late.load(Ordering::Relaxed),
            answers_unsent: self.0.answers_unsent.load(Ordering::Relaxed),
        }
    }

    /// All processes that live. The world goes on meanwhile.
    pub fn list(&self) -> Vec<Brief> {
        self.0.table.list().into_iter().map(|process| process.brief()).collect()
    }

    /// What a process of this node says of itself; `None` when it does not live. A process that holds its
    /// worker answers late.
    pub async fn info(&self, pid: Pid) -> Option<Info> {
        let (tell, told) = oneshot::channel();
        self.signal(pid, Signal::Info(tell)).ok()?;
        told.await.ok()
    }

    /// Processes that held their worker for too long, as far as they are remembered.
    pub fn hogs(&self) -> Vec<Hog> {
        self.kennel().hogs()
    }

    /// Gives a process of this node a local name, which it has until it ends or gives it up.
    pub fn register(&self, name: &str, pid: Pid) -> Result<(), NameError> {
        let process = self.find(pid).ok_or(NameError::NoProc)?;
        // Either its end finds that it has names, or this finds that it has ended.
        process.has_names();
        self.0.names.register(name, pid, || process.has_ended())
    }

    /// Frees a local name; whether it was held.
    pub fn unregister(&self, name: &str) -> bool {
        self.0.names.unregister(name)
    }

    /// Who holds a local name.
    pub fn whereis(&self, name: &str) -> Option<Pid> {
        self.0.names.find(name)
    }

    /// All local names.
    pub fn registered(&self) -> Vec<(String, Pid)> {
        self.0.names.all()
    }

    /// Has a process asked to end, by `Shutdown`, before [`close`](Self::close) ends all others, and gives it
    /// so much time. The last one that this was called for goes first.
    pub fn close_first(&self, pid: Pid, within: Duration) {
        let mut first = self.first_to_close();
        first.retain(|(pid, _)| self.find(*pid).is_some());
        first.push((pid, within));
    }

    /// Lets no process start any more, asks those to end that are to [go first](Self::close_first), ends all
    /// others by `Shutdown` whether they trap exits or not, waits until they have ended, and ends the calls
    /// that still wait. A body that never awaits is waited for.
    pub async fn close(&self) {
        self.0.table.close();
        let first = std::mem::take(&mut *self.first_to_close());
        for (pid, within) in first.into_iter().rev() {
            let ended = self.ended(pid);
            self.exit(pid, Exit::Shutdown);
            if quorate_env::timeout(within, ended).await.is_err() {
                tracing::warn!(%pid, "a process did not end in its time and is ended with the others");
            }
        }
        for process in self.0.table.list() {
            let end = Signal::Exit { from: self.pid_of(0), exit: Exit::Shutdown, why: Why::End };
            // One that ends at this moment needs no telling.
            let _ = process.signal(Box::new(end));
        }
        loop {
            let mut emptied = std::pin::pin!(self.0.emptied.notified());
            emptied.as_mut().enable();
            if self.count() == 0 {
                break;
            }
            emptied.await;
        }
        self.0.scheduler.rouse_all();
        self.0.timers.clear();
        self.lose_all();
        self.settle_as_lost(None);
    }
}

/// What the parts of the runtime ask of it.
impl Actors {
    pub(crate) fn scheduler(&self) -> &Scheduler {
        &self.0.scheduler
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.0.peers
    }

    pub(crate) fn pid_of(&self, serial: u64) -> Pid {
        Pid { node: self.0.node, boot: self.0.boot, serial }
    }

    pub(crate) fn label_of(&self, pid: Pid) -> Option<&'static str> {
        self.find(pid).and_then(|process| process.brief().label)
    }

    pub(crate) fn next_ref(&self) -> Ref {
        Ref(self.0.last_ref.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(crate) fn message_bytes_max(&self) -> usize {
        self.0.config.message_bytes_max
    }

    pub(crate) fn mailbox_bytes_max(&self) -> usize {
        self.0.config.mailbox_bytes_max
    }

    pub(crate) fn set_timer(&self, id: Ref, after: Duration, fire: Fire) -> Timer {
        let timer = self.0.timers.set(id, after, fire);
        // Nobody would set it off, and it would keep the runtime in memory.
        if self.0.scheduler.is_deserted() {
            self.0.timers.clear();
        }
        timer
    }

    /// Signals a process; gives the signal back when there is none, or no way to it.
    pub(crate) fn signal(&self, to: Pid, signal: Signal) -> Result<(), Signal> {
        if to.node != self.0.node {
            return self.signal_abroad(to, signal);
        }
        match self.find(to) {
            Some(process) => process.signal(Box::new(signal)).map_err(|signal| *signal),
            None => Err(signal),
        }
    }

    pub(crate) fn news(&self, to: Pid, news: News) {
        match news {
            News::Down(down) if to.node != self.0.node => {
                let _ = self.signal_abroad(to, Signal::Down(down));
            }
            news => {
                if let Some(process) = self.find(to) {
                    process.news(news);
                }
            }
        }
    }

    /// Answers a signal to a process that is not there: who asked to be told of its end is told now.
    pub(crate) fn undelivered(&self, to: Pid, signal: Signal) {
        let exit = match to.node == self.0.node {
            true => Exit::NoProc,
            false => Exit::NoConnection,
        };
        match signal {
            Signal::Link { from } => {
                let _ = self.signal(from, Signal::Exit { from: to, exit, why: Why::Linked });
            }
            Signal::Unlink { from, id } => {
                let _ = self.signal(from, Signal::Unlinked { from: to, id });
            }
            Signal::Monitor { from, monitor } => {
                self.news(from, News::Down(Box::new(Down { monitor, pid: to, exit })));
            }
            // Who asked may have gone.
            Signal::Watch(tell) => drop(tell.send(exit)),
            Signal::HasName { from, monitor } => {
                // It was to tell somebody who is not there.
                let _ = self.signal(from, Signal::Demonitor { from: to, monitor });
            }
            Signal::Foreign { node, signal } => {
                self.peers().leave(node);
                if let Signal::Link { .. } | Signal::Monitor { .. } = &*signal {
                    self.peers().untie(node, to.serial, 1);
                }
                self.undelivered(to, *signal);
            }
            Signal::Exit { .. }
            | Signal::Down(_)
            | Signal::Lost { .. }
            | Signal::Unlinked { .. }
            | Signal::Demonitor { .. }
            | Signal::Info(_) => {}
        }
    }

    /// Takes a process that ended off its names and the table.
    pub(crate) fn depart(&self, serial: u64, named: &AtomicBool) {
        // Its gate is closed: who gives it a name after this finds that it has ended. See `has_names`.
        fence(Ordering::SeqCst);
        if named.load(Ordering::Relaxed) {
            self.0.names.forget(self.pid_of(serial));
        }
        let entry = self.0.table.remove(serial);
        drop(entry);
        if self.0.table.is_closed() && self.count() == 0 {
            self.0.emptied.notify_waiters();
        }
    }

    /// Whether it was closed and all its processes have ended.
    pub(crate) fn is_over(&self) -> bool {
        self.0.table.is_closed() && self.count() == 0
    }

    /// Ends all processes, where nobody runs them any more. Each is ended by right of its turn: of those that
    /// wait it is taken, of those that were to run it lies in a queue, and of those that are just being made
    /// their maker has it, and leaves it in a queue.
    pub(crate) fn desert(&self) {
        self.0.table.close();
        for process in self.0.table.list() {
            if let Some(turn) = process.claim() {
                self.0.scheduler.schedule(turn);
            }
        }
        self.0.scheduler.clear();
        self.0.timers.clear();
    }

    pub(crate) fn kennel(&self) -> MutexGuard<'_, Kennel> {
        self.0.kennel.lock().expect("nothing panics while it holds the kennel")
    }

    pub(crate) fn find(&self, pid: Pid) -> Option<Arc<dyn AnyProcess>> {
        let mine = pid.node == self.0.node && pid.boot == self.0.boot;
        mine.then(|| self.0.table.find(pid.serial)).flatten()
    }

    pub(crate) fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.calls.lock().expect("nothing panics while it holds the calls")
    }

    fn first_to_close(&self) -> MutexGuard<'_, Vec<(Pid, Duration)>> {
        self.0.first_to_close.lock().expect("nothing panics while it holds the list")
    }
}

impl fmt::Debug for Actors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actors({}.{})", self.0.node, self.0.boot.0)
    }
}
