//! The stage of the scenarios: where each runs, the subjects that it looks at, and the words for what it saw.
//!
//! Absence can only be seen by waiting. In [`World::Simulated`] that costs nothing and is exact, since time
//! passes only when nothing is left to do; in [`World::Threads`] it is a guess, so all durations have a pace.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_actor::{
    self as actor, Actors, Addr, Exit, Incoming, Mailbox, Message, Spawn, yield_now,
};
use quorate_env::{BoxFuture, Life, LifeConfig, dice, sleep, spawn, timeout};
use quorate_vocab::{Pid, Ref};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::wire::{self, Wire};

/// How long to wait for what shall not come, in milliseconds at pace 1.
const SETTLE: u64 = 50;
/// A scenario that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a scenario saw, in words.
pub type Events = Vec<String>;

/// One scenario.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// What it is called, here and in Erlang's half.
    pub name: &'static str,
    pub(crate) run: fn(Stage) -> BoxFuture<'static, Events>,
}

/// Where scenarios run.
#[derive(Clone, Copy, Debug)]
pub enum World {
    /// In one thread and in virtual time. The seed decides which of the ready processes goes first.
    Simulated {
        /// Where the order comes from.
        seed: u64,
    },
    /// On two workers, in real time.
    Threads {
        /// What all durations are multiplied by, for a machine that is slow.
        pace: u32,
    },
}

impl Scenario {
    /// Runs it, and says what it saw as one line: its name and its events.
    pub fn play(&self, world: World) -> String {
        let events = match world {
            World::Simulated { seed } => simulated(self.run, seed),
            World::Threads { pace } => threads(self.run, pace),
        };
        let said = if events.is_empty() { "nothing".to_owned() } else { events.join(", ") };
        format!("{}: {said}", self.name)
    }
}

type Run = fn(Stage) -> BoxFuture<'static, Events>;

#[expect(clippy::disallowed_methods, reason = "a simulated clock counts from a moment")]
fn simulated(run: Run, seed: u64) -> Events {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().expect("a runtime can be built");
    runtime.block_on(async {
        let origin = tokio::time::Instant::now();
        let config = LifeConfig {
            seed,
            clock_rate: 1.0,
            deferrals_per_mille: 200,
            origin,
            wall_skew_nanos: 0,
        };
        Life::begin(config).scope(perform(run, 1)).await
    })
}

fn threads(run: Run, pace: u32) -> Events {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_time().build().expect("a runtime can be built");
    runtime.block_on(perform(run, pace))
}

async fn perform(run: Run, pace: u32) -> Events {
    let wire = Arc::new(Wire::default());
    let [near, far] = wire::nodes(&wire);
    let (tell, told) = oneshot::channel();
    let elsewhere = Elsewhere { far: far.clone(), wire };
    near.spawn(move |me| async move {
        let events = run(Stage { me, pace, watched: BTreeMap::new(), elsewhere }).await;
        // The one who asks gives up after a while.
        let _ = tell.send(events);
        Exit::Normal
    });
    let events = match timeout(PATIENCE * pace, told).await {
        Ok(Ok(events)) => events,
        Ok(Err(_)) => vec!["BROKEN".to_owned()],
        Err(_) => vec!["HANGS".to_owned()],
    };
    near.close().await;
    far.close().await;
    events
}

/// Declares the scenarios of a module, in the order in which they are told.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        pub(crate) const ALL: &[$crate::stage::Scenario] = &[$($crate::stage::Scenario {
            name: stringify!($name),
            run: |stage| Box::pin($name(stage)),
        }),*];
    };
}
pub(crate) use scenarios;

/// What comes to the scenario's own process. Only mail comes over the wire; what subjects on the other node
/// report goes past it, so that it changes nothing of what is looked at.
#[derive(Serialize, Deserialize)]
pub(crate) enum Note {
    /// A number. It comes first, since letters count only what is not skipped.
    Mail(u64),
    /// A subject has done its setup.
    #[serde(skip)]
    Ready(Pid),
    /// A subject saw something.
    #[serde(skip)]
    Saw(Pid, String),
    /// A subject lives.
    #[serde(skip)]
    Pong(Pid),
    /// A subject on the other node has ended.
    #[serde(skip)]
    Ended(Pid, Exit),
    /// What a process said that the scenario did not start itself.
    #[serde(skip)]
    Log(String),
    /// A child of a supervisor has started.
    #[serde(skip)]
    Started(String, Addr<Order>),
}

impl Message for Note {
    const WIRE: Option<actor::Wire<Self>> = Some(actor::Wire::new("signals.note", 1));
}

/// What a subject is told to do.
type Act = Box<dyn FnOnce(&mut Mailbox<Order>) + Send>;

/// What comes to a subject. Here, too, only mail comes over the wire.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    /// Report this. It comes first for the same reason.
    Mail(u64),
    /// Say that you live.
    #[serde(skip)]
    Ping,
    /// Do this.
    #[serde(skip)]
    Do(Act),
    /// Return with this.
    #[serde(skip)]
    End(Exit),
    /// Panic.
    #[serde(skip)]
    Panic,
}

impl Message for Order {
    const WIRE: Option<actor::Wire<Self>> = Some(actor::Wire::new("signals.order", 1));
}

/// The node on the other side of the wire.
pub(crate) struct Elsewhere {
    pub(crate) far: Actors,
    pub(crate) wire: Arc<Wire>,
}

/// A scenario's own process and the subjects that it has started.
pub struct Stage {
    /// The process of the scenario.
    pub(crate) me: Mailbox<Note>,
    pace: u32,
    /// By which monitor the scenario hears of the end of each subject.
    watched: BTreeMap<Pid, Ref>,
    /// The other node.
    pub(crate) elsewhere: Elsewhere,
}

/// A subject.
pub(crate) type Subject = Addr<Order>;

impl Stage {
    /// A duration at the scenario's pace.
    pub(crate) fn ms(&self, milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds) * self.pace
    }

    /// Waits until what is under way has surely come.
    pub(crate) async fn settle(&self) {
        sleep(self.ms(SETTLE)).await;
    }

    pub(crate) fn actors(&self) -> Actors {
        self.me.actors().clone()
    }

    /// A process that does what it is told.
    pub(crate) async fn subject(&mut self) -> Subject {
        self.subject_that(|_| {}).await
    }

    /// A subject that traps exits.
    pub(crate) async fn trapping(&mut self) -> Subject {
        self.trapping_that(|_| {}).await
    }

    /// A subject that traps exits and then does `setup`.
    pub(crate) async fn trapping_that<T: 'static>(
        &mut self,
        setup: impl FnOnce(&mut Mailbox<Order>) -> T + Send + 'static,
    ) -> Subject {
        let traps = |mailbox: &mut Mailbox<Order>| {
            mailbox.trap_exit(true);
            setup(mailbox)
        };
        self.subject_that(traps).await
    }

    /// A subject that does `setup` first. Returns when that is done, or has ended the subject.
    pub(crate) async fn subject_that<T: 'static>(
        &mut self,
        setup: impl FnOnce(&mut Mailbox<Order>) -> T + Send + 'static,
    ) -> Subject {
        let driver = self.me.addr();
        let (subject, monitor) =
            self.me.spawn_monitor(Spawn::default(), |mailbox| report(mailbox, driver, setup));
        self.watched.insert(subject.pid(), monitor);
        self.ready(subject.pid()).await;
        subject
    }

    /// The same on the other node.
    pub(crate) async fn far_subject_that<T: 'static>(
        &mut self,
        setup: impl FnOnce(&mut Mailbox<Order>) -> T + Send + 'static,
    ) -> Subject {
        let (driver, far) = (self.me.addr(), &self.elsewhere.far);
        let subject = far.spawn(|mailbox| report(mailbox, driver, setup));
        let (pid, driver, ended) = (subject.pid(), self.me.addr(), far.ended(subject.pid()));
        spawn(async move {
            // The scenario may be over; then nobody wants to know.
            let _ = driver.send(Note::Ended(pid, ended.await));
        });
        self.ready(pid).await;
        subject
    }

    async fn ready(&mut self, pid: Pid) {
        let ready = |news: &Incoming<Note>| match news {
            Incoming::Mail(Note::Ready(who)) if *who == pid => Some(()),
            _ => None,
        };
        // A subject that its setup has ended is never ready; its fate tells.
        let _ = self.me.select(ready, Some(self.ms(SETTLE))).await;
    }

    /// Has a subject run `act`, and gives what it returns.
    pub(crate) async fn order<T: Send + 'static>(
        &self,
        subject: &Subject,
        act: impl FnOnce(&mut Mailbox<Order>) -> T + Send + 'static,
    ) -> T {
        let (tell, told) = oneshot::channel();
        let act = move |mailbox: &mut Mailbox<Order>| {
            // The scenario waits below.
            let _ = tell.send(act(mailbox));
        };
        subject.send(Order::Do(Box::new(act))).expect("the subject lives");
        told.await.expect("the subject does as it is told")
    }

    /// What a subject saw until now, in order, and whether it lives.
    pub(crate) async fn fate(&mut self, subject: &Subject) -> Events {
        self.settle().await;
        // Whether it lives is what is asked.
        let _ = subject.send(Order::Ping);
        let pid = subject.pid();
        let ends = self.watched.get(&pid).copied();
        let mut events = Events::new();
        loop {
            let of_it = |news: &Incoming<Note>| match news {
                Incoming::Mail(Note::Saw(who, event)) if *who == pid => {
                    Some((event.clone(), false))
                }
                Incoming::Mail(Note::Pong(who)) if *who == pid => Some(("lives".to_owned(), true)),
                Incoming::Mail(Note::Ended(who, exit)) if *who == pid => {
                    Some((format!("ends {}", reason(exit)), true))
                }
                Incoming::Down(down) if Some(down.monitor) == ends => {
                    Some((format!("ends {}", reason(&down.exit)), true))
                }
                _ => None,
            };
            let ((event, is_last), _) =
                self.me.select(of_it, None).await.expect("without a bound it waits");
            events.push(event);
            if is_last {
                return events;
            }
        }
    }

    /// As [`fate`](Self::fate), with the subject's name before each event.
    pub(crate) async fn fate_of(&mut self, name: &str, subject: &Subject) -> Events {
        let events = self.fate(subject).await;
        events.into_iter().map(|event| format!("{name} {event}")).collect()
    }

    /// The pid of a process that has ended.
    pub(crate) async fn dead(&self) -> Pid {
        let (ended, ends) = oneshot::channel::<()>();
        let short = self.actors().spawn(|_: Mailbox<()>| async move {
            drop(ended);
            Exit::Normal
        });
        // It has no more steps; then it leaves the table.
        let _ = ends.await;
        self.actors().ended(short.pid()).await;
        short.pid()
    }

    /// All that lies in the scenario's own mailbox, in order. Monitors by the names that are given; those by
    /// which the scenario watches its subjects are passed over.
    pub(crate) async fn heard(&mut self, names: &[(Ref, &str)]) -> Events {
        self.settle().await;
        let mut events = Events::new();
        while let Some(news) = self.me.try_next() {
            match news {
                Incoming::Mail(Note::Mail(number)) => events.push(format!("mail {number}")),
                Incoming::Mail(Note::Log(word)) => events.push(word),
                Incoming::Mail(Note::Ended(..)) => {}
                Incoming::Mail(_) => events.push("mail of a subject".to_owned()),
                Incoming::Exited(news) => events.push(format!("exit {}", reason(&news.exit))),
                Incoming::Timeout(_) => events.push("timeout".to_owned()),
                Incoming::Down(down) => {
                    let name = names.iter().find(|(monitor, _)| *monitor == down.monitor);
                    if let Some((_, name)) = name {
                        events.push(format!("down {name} {}", reason(&down.exit)));
                    } else if self.watched.get(&down.pid) != Some(&down.monitor) {
                        events.push(format!("down {}", reason(&down.exit)));
                    }
                }
            }
        }
        events
    }

    /// What was logged until now.
    pub(crate) async fn logged(&mut self) -> Events {
        self.settle().await;
        let mut events = Events::new();
        let log = |news: &Incoming<Note>| match news {
            Incoming::Mail(Note::Log(word)) => Some(word.clone()),
            _ => None,
        };
        while let Some((word, _)) = self.me.select(log, Some(Duration::ZERO)).await {
            events.push(word);
        }
        events
    }

    /// How a process ended that was monitored before it was acted on; what was logged until then comes first.
    pub(crate) async fn ended(&mut self, who: &str, monitor: Ref) -> Events {
        let ends = |news: &Incoming<Note>| match news {
            Incoming::Down(down) if down.monitor == monitor => Some(reason(&down.exit)),
            _ => None,
        };
        let end = match self.me.select(ends, Some(self.ms(1000))).await {
            Some((reason, _)) => format!("{who}ends {reason}"),
            None => format!("{who}lives"),
        };
        let mut events = self.logged().await;
        events.push(end);
        events
    }
}

/// Lets others run first, as often as the dice say: so seeds try the steps of processes in other orders.
pub(crate) async fn waver() {
    for _ in 0..dice().random_range(0..3) {
        yield_now().await;
    }
}

/// A subject's whole life.
async fn report<T>(
    mut mailbox: Mailbox<Order>,
    driver: Addr<Note>,
    setup: impl FnOnce(&mut Mailbox<Order>) -> T + Send,
) -> Exit {
    let pid = mailbox.pid();
    // The scenario may be over; then nobody wants to know.
    let tell = |note| {
        let _ = driver.send(note);
    };
    waver().await;
    setup(&mut mailbox);
    tell(Note::Ready(pid));
    loop {
        waver().await;
        let event = match mailbox.next().await {
            Incoming::Mail(Order::Ping) => {
                tell(Note::Pong(pid));
                continue;
            }
            Incoming::Mail(Order::Do(act)) => {
                act(&mut mailbox);
                continue;
            }
            Incoming::Mail(Order::End(exit)) => return exit,
            Incoming::Mail(Order::Panic) => panic!("boom"),
            Incoming::Mail(Order::Mail(number)) => format!("mail {number}"),
            Incoming::Exited(news) => format!("exit {}", reason(&news.exit)),
            Incoming::Down(down) => format!("down {}", reason(&down.exit)),
            Incoming::Timeout(_) => "timeout".to_owned(),
        };
        tell(Note::Saw(pid, event));
    }
}

/// What else is told to end, in the end.
pub(crate) async fn waits_for_its_end(mut mailbox: Mailbox<Order>) -> Exit {
    loop {
        waver().await;
        if let Order::End(exit) = mailbox.receive().await {
            return exit;
        }
    }
}

/// Has a subject end by itself.
pub(crate) fn finish(subject: &Subject, exit: Exit) {
    subject.send(Order::End(exit)).expect("the subject lives");
}

/// Has a subject panic.
pub(crate) fn crash(subject: &Subject) {
    subject.send(Order::Panic).expect("the subject lives");
}

/// The reason that most scenarios use.
pub(crate) fn oops() -> Exit {
    because("oops")
}

pub(crate) fn because(word: &str) -> Exit {
    Exit::Because(word.to_owned())
}

/// An exit in the words of both halves.
pub(crate) fn reason(exit: &Exit) -> String {
    match exit {
        Exit::NoProc => "noproc".to_owned(),
        Exit::NoConnection => "noconnection".to_owned(),
        Exit::Panic(words) => format!("panic {words}"),
        other => other.to_string(),
    }
}

/// Events one after the other.
pub(crate) fn all(parts: impl IntoIterator<Item = Events>) -> Events {
    parts.into_iter().flatten().collect()
}

/// Single words as events.
pub(crate) fn words<W: ToString>(words: impl IntoIterator<Item = W>) -> Events {
    words.into_iter().map(|word| word.to_string()).collect()
}
