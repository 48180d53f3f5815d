//! openraft's runtime over our doors: its clock, dice and tasks are the node's own, so that a simulated life
//! contains it whole. In production each call falls through to tokio and the system.

use std::future::Future;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

use openraft_rt::{AsyncRuntime, OptionalSend};
use openraft_rt_tokio::{TokioMpsc, TokioMutex, TokioOneshot, TokioWatch};
use quorate_env::{Dice, Late};
use quorate_vocab::Time;

/// The runtime.
#[derive(Debug)]
pub(crate) struct Runtime(tokio::runtime::Runtime);

/// A moment on this node's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Time);

impl Moment {
    pub(crate) fn time(self) -> Time {
        self.0
    }
}

impl openraft_rt::Instant for Moment {
    fn now() -> Self {
        Self(quorate_env::now())
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0 + span)
    }
}

impl AddAssign<Duration> for Moment {
    fn add_assign(&mut self, span: Duration) {
        self.0 = self.0 + span;
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;

    fn sub(self, span: Duration) -> Self {
        Self(self.0 - span)
    }
}

impl SubAssign<Duration> for Moment {
    fn sub_assign(&mut self, span: Duration) {
        self.0 = self.0 - span;
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.0.since(earlier.0)
    }
}

impl AsyncRuntime for Runtime {
    type JoinError = tokio::task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = tokio::task::JoinHandle<T>;
    type Sleep = tokio::time::Sleep;
    type Instant = Moment;
    type TimeoutError = Late;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = tokio::time::Timeout<T>;
    type ThreadLocalRng = Dice;
    type Mpsc = TokioMpsc;
    type Watch = TokioWatch;
    type Oneshot = TokioOneshot;
    type Mutex<T: OptionalSend + 'static> = TokioMutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        quorate_env::spawn(future)
    }

    fn sleep(span: Duration) -> Self::Sleep {
        quorate_env::sleep(span)
    }

    fn sleep_until(at: Self::Instant) -> Self::Sleep {
        quorate_env::sleep_until(at.0)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        span: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        quorate_env::timeout(span, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        at: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        quorate_env::timeout(at.0.since(quorate_env::now()), future)
    }

    fn is_panic(error: &Self::JoinError) -> bool {
        error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        quorate_env::dice()
    }

    fn new(_threads: usize) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self(runtime.expect("openraft's own tests run on a machine that can start a runtime"))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
