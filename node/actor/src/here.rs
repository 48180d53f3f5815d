//! What runs on this thread at this moment: which process, and at which runtime's seat.
//!
//! A process's own things are open to it only inside of its own run. This is where that is known.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::Poll;

use crossbeam_deque::Worker;

use crate::process::Turn;

/// How many messages a process may take in one run before the others get theirs.
const MAILS_A_RUN: u32 = 128;

/// A seat of the scheduler, taken by a thread: its run queue.
pub(crate) struct Seat {
    /// Whose processes run here: the address of their runtime.
    pub(crate) runtime: usize,
    pub(crate) number: usize,
    pub(crate) turns: Worker<Turn>,
}

/// The process that runs now.
struct Running {
    /// Its address; 0 when none runs.
    process: Cell<usize>,
    /// Its serial, also while it is at its desk; 0 when none runs.
    serial: Cell<u64>,
    /// What is left of its run.
    mails_left: Cell<u32>,
    /// It asked for another run after the others.
    yields: Cell<bool>,
}

thread_local! {
    static SEAT: RefCell<Option<Seat>> = const { RefCell::new(None) };
    // Apart from the seat, since what needs no destructor is found without a question.
    static RUNNING: Running = const {
        Running {
            process: Cell::new(0),
            serial: Cell::new(0),
            mails_left: Cell::new(0),
            yields: Cell::new(false),
        }
    };
}

/// Takes a seat, or leaves it; whoever sat here before is handed back.
#[inline]
pub(crate) fn sit(seat: Option<Seat>) -> Option<Seat> {
    SEAT.replace(seat)
}

/// The seat that this thread has in a runtime, if it has one.
#[inline]
pub(crate) fn seated<R>(runtime: usize, there: impl FnOnce(&Seat) -> R) -> Option<R> {
    let seated = SEAT.try_with(|here| match &*here.borrow() {
        Some(seat) if seat.runtime == runtime => Some(there(seat)),
        _ => None,
    });
    seated.ok().flatten()
}

/// A run of a process on this thread, until it is dropped.
pub(crate) struct Run {
    before: (usize, u64),
}

impl Run {
    #[inline]
    pub(crate) fn of(process: usize, serial: u64) -> Self {
        RUNNING.with(|here| {
            here.mails_left.set(MAILS_A_RUN);
            here.yields.set(false);
            Self { before: (here.process.replace(process), here.serial.replace(serial)) }
        })
    }

    /// Whether the process asked for another run after the others.
    #[inline]
    pub(crate) fn yields(&self) -> bool {
        RUNNING.with(|here| here.yields.get())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        RUNNING.with(|here| {
            here.process.set(self.before.0);
            here.serial.set(self.before.1);
        });
    }
}

/// A process's code sits at its desk, until this is dropped. Meanwhile no code is taken for the process's
/// own.
pub(crate) struct Sat(usize);

impl Sat {
    /// Sits down, if this process runs on this thread and does not sit there already.
    #[inline]
    pub(crate) fn of(process: usize) -> Option<Self> {
        RUNNING.with(|here| {
            (here.process.get() == process).then(|| {
                here.process.set(0);
                Self(process)
            })
        })
    }
}

impl Drop for Sat {
    #[inline]
    fn drop(&mut self) {
        RUNNING.with(|here| here.process.set(self.0));
    }
}

/// Whether this process runs on this thread now. Then nobody else touches its own things.
#[inline]
pub(crate) fn runs(process: usize) -> bool {
    RUNNING.with(|here| here.process.get() == process)
}

/// The serial of the process that runs on this thread now; 0 when none does.
#[inline]
pub(crate) fn serial() -> u64 {
    RUNNING.with(|here| here.serial.get())
}

/// Whether any process runs on this thread now.
#[inline]
pub(crate) fn in_process() -> bool {
    RUNNING.with(|here| here.process.get() != 0)
}

/// Spends one message of the run that is under way. When the run is used up, it asks for another.
#[inline]
pub(crate) fn spend_mail() -> bool {
    RUNNING.with(|here| match here.mails_left.get() {
        0 => {
            here.yields.set(true);
            false
        }
        left => {
            here.mails_left.set(left - 1);
            true
        }
    })
}

/// Whether the run that is under way has messages left to spend.
#[inline]
pub(crate) fn mails_left() -> bool {
    RUNNING.with(|here| here.mails_left.get() != 0)
}

/// Lets the other processes run first. A process that computes for long should do it now and then.
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
