//! One simulated life of a node: what its tasks inherit, and how they all end at once.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use quorate_vocab::Time;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::clock;

/// How nice a thread is that nobody waits for.
const NICENESS: i32 = 10;

/// How long a task that is held is held: from less than anything waits to more than a heartbeat's patience.
const HOLDS_MICROS: std::ops::RangeInclusive<u64> = 200..=400_000;

tokio::task_local! {
    static LIFE: Life;
}

/// One life of a simulated node, from its start to its crash.
///
/// Every task that is spawned inside of it belongs to it. When it [ends](Life::end), none of them is polled
/// again: to the rest of the world the node has crashed between two instructions.
#[derive(Clone, Debug)]
pub struct Life(Arc<Inner>);

/// What the simulator decides about a life.
#[derive(Clone, Copy, Debug)]
pub struct LifeConfig {
    /// Where all numbers that this life draws come from.
    pub seed: u64,
    /// How fast its clock runs against true time at first; 1.0 is exact.
    /// [`set_clock_rate`](Life::set_clock_rate) changes it.
    pub clock_rate: f64,
    /// How often in a thousand polls a ready task is put behind the others.
    pub deferrals_per_mille: u32,
    /// What its clock counts from; the same for all nodes of a world.
    pub origin: tokio::time::Instant,
    /// By how much its wall clock is ahead of the world's at first;
    /// [`set_wall_skew`](crate::set_wall_skew) changes it.
    pub wall_skew_nanos: i64,
}

/// A clock that goes at a rate of its own: since when, and from what on.
#[derive(Clone, Copy, Debug)]
struct Rate {
    since: tokio::time::Instant,
    shown: Time,
    rate: f64,
}

impl Rate {
    fn shows(self, at: tokio::time::Instant) -> Time {
        self.shown + at.duration_since(self.since).mul_f64(self.rate)
    }
}

#[derive(Debug)]
struct Inner {
    deferrals_per_mille: u32,
    ended: AtomicBool,
    clock: Mutex<Rate>,
    wall_skew_nanos: AtomicI64,
    holds_per_million: AtomicU32,
    dice: Mutex<SmallRng>,
    schedule: Mutex<SmallRng>,
    /// While it is stopped, whoever would have been polled.
    stopped: Mutex<Option<Vec<Waker>>>,
}

impl Life {
    /// What clocks show when a world begins: far from zero, so that going back by a wait never meets the
    /// floor.
    pub(crate) const CLOCK_BEGINS: Time = Time(1_000_000_000_000_000);

    /// Begins a life.
    pub fn begin(config: LifeConfig) -> Self {
        Self(Arc::new(Inner {
            deferrals_per_mille: config.deferrals_per_mille,
            ended: AtomicBool::new(false),
            clock: Mutex::new(Rate {
                since: config.origin,
                shown: Self::CLOCK_BEGINS,
                rate: config.clock_rate,
            }),
            wall_skew_nanos: AtomicI64::new(config.wall_skew_nanos),
            holds_per_million: AtomicU32::new(0),
            dice: Mutex::new(SmallRng::seed_from_u64(config.seed)),
            schedule: Mutex::new(SmallRng::seed_from_u64(!config.seed)),
            stopped: Mutex::new(None),
        }))
    }

    /// Runs a future as part of this life.
    pub fn scope<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let mortal = Mortal { future: Some(Box::pin(future)), life: self.clone(), held: None };
        LIFE.scope(self.clone(), mortal)
    }

    /// Crashes it. Futures in its scope never finish and hold nothing any more once they are woken.
    pub fn end(&self) {
        self.0.ended.store(true, Ordering::Relaxed);
        self.resume();
    }

    /// Stops it as SIGSTOP stops a process: nothing of it runs, while its clock goes on and what is sent to
    /// it arrives.
    pub fn stop(&self) {
        self.stopped().get_or_insert_default();
    }

    /// Lets it run again, from where it was.
    pub fn resume(&self) {
        let waiting = self.stopped().take();
        waiting.into_iter().flatten().for_each(Waker::wake);
    }

    /// What its clock shows.
    pub fn now(&self) -> Time {
        self.rate().shows(clock::true_now())
    }

    /// How fast its clock runs against true time.
    pub fn clock_rate(&self) -> f64 {
        self.rate().rate
    }

    /// Lets its clock run at another rate from now on, from what it shows. A wait that is under way keeps to
    /// the rate at which it was begun.
    pub fn set_clock_rate(&self, rate: f64) {
        let (mut clock, since) = (self.rate(), clock::true_now());
        *clock = Rate { since, shown: clock.shows(since), rate };
    }

    /// Sets by how much its wall clock is ahead of the world's.
    pub fn set_wall_skew(&self, nanos: i64) {
        self.0.wall_skew_nanos.store(nanos, Ordering::Relaxed);
    }

    /// Holds a ready task now and then, so often in a million polls, while all others go on: as if what it
    /// runs on had been taken away.
    pub fn hold_tasks(&self, per_million: u32) {
        self.0.holds_per_million.store(per_million, Ordering::Relaxed);
    }

    /// Whether it has crashed.
    pub fn has_ended(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }

    pub(crate) fn current() -> Option<Self> {
        LIFE.try_with(Clone::clone).ok()
    }

    pub(crate) fn wall_skew(&self) -> i64 {
        self.0.wall_skew_nanos.load(Ordering::Relaxed)
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.0.clock.lock().expect("nothing panics while it holds the clock")
    }

    pub(crate) fn draw<R>(&self, draw: impl FnOnce(&mut SmallRng) -> R) -> R {
        draw(&mut self.0.dice.lock().expect("nothing panics while it holds the dice"))
    }

    /// Whether it is stopped; who asks is woken when it runs again.
    fn holds(&self, waker: &Waker) -> bool {
        let mut stopped = self.stopped();
        let waiting = stopped.as_mut();
        waiting.map(|waiting| waiting.push(waker.clone())).is_some()
    }

    fn stopped(&self) -> MutexGuard<'_, Option<Vec<Waker>>> {
        self.0.stopped.lock().expect("nothing panics while it holds this")
    }

    /// For how long a ready task is held, if it is one of the few.
    fn hold(&self) -> Option<Duration> {
        let per_million = self.0.holds_per_million.load(Ordering::Relaxed);
        if per_million == 0 {
            return None;
        }
        let mut schedule = self.0.schedule.lock().expect("nothing panics while it holds it");
        let is_held = schedule.random_range(0..1_000_000) < per_million;
        is_held.then(|| Duration::from_micros(schedule.random_range(HOLDS_MICROS)))
    }

    /// tokio runs ready tasks first in, first out; without this no seed would explore another order.
    fn defers(&self) -> bool {
        let per_mille = self.0.deferrals_per_mille;
        per_mille > 0 && {
            let mut schedule = self.0.schedule.lock().expect("nothing panics while it holds it");
            schedule.random_range(0..1000) < per_mille
        }
    }
}

/// Spawns a task; inside of a [`Life`] it belongs to that life.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Life::current() {
        Some(life) => tokio::spawn(life.scope(future)),
        None => tokio::spawn(future),
    }
}

/// Runs what may block (disk writes) aside from the workers, on a thread of its own. In a [`Life`] there are
/// no threads: it is a task like any other, and its doors do not block. Resolves when it has ended.
pub fn aside<F>(name: &str, future: F) -> io::Result<oneshot::Receiver<()>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ended, ends) = oneshot::channel();
    let future = async move {
        future.await;
        // Nobody has to wait for the end.
        let _ = ended.send(());
    };
    if Life::current().is_some() {
        spawn(future);
    } else {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let name = name.to_owned();
        std::thread::Builder::new().name(name).spawn(move || runtime.block_on(future))?;
    }
    Ok(ends)
}

/// Lets this thread, and those that it starts, take what others leave of the processors: a tenth or so of
/// what one of them gets while all are busy. For a thread whose work nobody waits for, and that holds no lock
/// which others want. In a [`Life`] there are no threads, and nothing happens.
pub fn yield_to_others() {
    if !is_simulated() {
        // Linux keeps this for each thread. Where it is refused, the thread is only less polite.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS);
    }
}

/// Whether what is ready should be put behind what else is: now and then, in a [`Life`] whose seed wants it.
///
/// For who runs ready work by itself; tasks are deferred as such.
pub fn defers() -> bool {
    Life::current().is_some_and(|life| life.defers())
}

/// Whether this is inside of a [`Life`].
pub fn is_simulated() -> bool {
    Life::current().is_some()
}

/// Runs what blocks for long on a thread of its own. Resolves to what it returned, or to its panic. In a
/// [`Life`] there are no threads, and it is refused.
pub fn blocking<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<oneshot::Receiver<std::thread::Result<T>>> {
    if is_simulated() {
        return Err(io::Error::other("a simulated life has no threads"));
    }
    let (tell, told) = oneshot::channel();
    let contained = move || {
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        // Nobody has to wait for it.
        let _ = tell.send(done);
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(contained)?;
    Ok(told)
}

struct Mortal<F> {
    future: Option<Pin<Box<F>>>,
    life: Life,
    held: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<F: Future> Future for Mortal<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.life.has_ended() {
            self.future = None;
            return Poll::Pending;
        }
        if self.life.holds(cx.waker()) {
            return Poll::Pending;
        }
        if self.held.is_none()
            && let Some(span) = self.life.hold()
        {
            self.held = Some(Box::pin(clock::true_sleep(span)));
        }
        if let Some(held) = &mut self.held {
            ready!(held.as_mut().poll(cx));
            self.held = None;
        }
        if self.life.defers() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.future.as_mut() {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}
