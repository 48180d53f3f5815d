//! Who runs the processes: a few seats, each taken by one task of tokio, that run turns from queues.
//!
//! A turn that comes up at a seat joins that seat's queue, so processes that talk to each other stay
//! together; a turn from elsewhere is injected for all. A seat with nothing to do takes what was injected, or
//! half of another seat's queue, and only then lets its task sleep. Whoever leaves work wakes a sleeping
//! seat; a seat that is held up by one process (a loop without an await) is robbed of the others.
//!
//! There is one seat for each worker of tokio's, and a single one in a simulated life: there everything that
//! is done follows from what tokio does, and that from the seed.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crossbeam_deque::{Injector, Steal, Stealer, Worker};
use quorate_vocab::Time;

use crate::Actors;
use crate::here::{self, Seat};
use crate::process::Turn;

/// How many seats a runtime has at most: the idle ones are marks in one word.
const SEATS_MAX: usize = 64;
/// How many turns a seat runs before tokio's other tasks get theirs.
const TURNS_A_POLL: u32 = 128;
/// How often a seat looks at the injected turns first, so that its own do not keep it from them.
const TURNS_A_LOOK: u32 = 61;
/// With so many turns in its queue a seat calls for help.
const TURNS_TO_SHARE: usize = 4;

pub(crate) struct Scheduler {
    chairs: Box<[Chair]>,
    injected: Injector<Turn>,
    /// A mark for each seat whose task sleeps, or is about to.
    idle: AtomicUsize,
    /// How many seats are still taken.
    taken: AtomicUsize,
    /// Somebody ends the processes that nobody will run any more.
    clearing: AtomicBool,
}

/// What others see of a seat.
#[repr(align(128))]
struct Chair {
    stealer: Stealer<Turn>,
    waker: Mutex<Option<Waker>>,
    /// How many turns it has begun.
    begun: AtomicU64,
    /// The serial of the process that it runs; 0 when it runs none.
    running: AtomicU64,
}

impl Scheduler {
    /// A scheduler, and the queues of its seats.
    pub(crate) fn new(seats: usize) -> (Self, Vec<Worker<Turn>>) {
        let seats = seats.clamp(1, SEATS_MAX);
        let queues: Vec<_> = (0..seats).map(|_| Worker::new_fifo()).collect();
        let chair = |queue: &Worker<Turn>| Chair {
            stealer: queue.stealer(),
            waker: Mutex::new(None),
            begun: AtomicU64::new(0),
            running: AtomicU64::new(0),
        };
        let scheduler = Self {
            chairs: queues.iter().map(chair).collect(),
            injected: Injector::new(),
            idle: AtomicUsize::new(0),
            taken: AtomicUsize::new(seats),
            clearing: AtomicBool::new(false),
        };
        (scheduler, queues)
    }

    /// Has a turn run soon: here, when this thread has a seat.
    #[inline]
    pub(crate) fn schedule(&self, turn: Turn) {
        let mut turn = Some(turn);
        here::seated(self.address(), |seat| turn.take().map(|turn| seat.turns.push(turn)));
        if let Some(turn) = turn {
            self.injected.push(turn);
            self.rouse();
            // Either we see that the last seat was given up, or whoever clears after it sees this turn.
            if self.is_deserted() {
                self.clear();
            }
        }
    }

    /// Ends the processes whose turns lie here, where nobody runs turns any more. An end may bring up further
    /// turns; they are ended in this loop, not within each other.
    pub(crate) fn clear(&self) {
        loop {
            if self.clearing.swap(true, Ordering::SeqCst) {
                return;
            }
            let left = || {
                let queues = self.chairs.iter().map(|chair| &chair.stealer);
                steal(|| self.injected.steal())
                    .or_else(|| queues.into_iter().find_map(|stealer| steal(|| stealer.steal())))
            };
            while let Some(turn) = left() {
                turn.abandon();
            }
            self.clearing.store(false, Ordering::SeqCst);
            // Who left a turn while we were about to stop has relied on us.
            if self.injected.is_empty() {
                return;
            }
        }
    }

    /// The seat that this thread has, or 0.
    pub(crate) fn seat_here(&self) -> usize {
        here::seated(self.address(), |seat| seat.number).unwrap_or(0)
    }

    /// Wakes a seat that sleeps, if one does.
    pub(crate) fn rouse(&self) {
        // Against `sleeps`: either we see its mark, or it sees the work that we left before this.
        fence(Ordering::SeqCst);
        let idle = self.idle.load(Ordering::Relaxed);
        if idle == 0 {
            return;
        }
        let seat = idle.trailing_zeros() as usize;
        // When another has just roused it, that one's work is seen together with ours.
        if self.idle.fetch_and(!(1 << seat), Ordering::SeqCst) & (1 << seat) != 0 {
            self.wake(seat);
        }
    }

    pub(crate) fn rouse_all(&self) {
        (0..self.chairs.len()).for_each(|seat| self.wake(seat));
    }

    /// What each seat does: how many turns it has begun, which process it runs, and whether others wait
    /// there.
    pub(crate) fn observe(&self) -> impl Iterator<Item = (u64, u64, bool)> {
        self.chairs.iter().map(|chair| {
            let begun = chair.begun.load(Ordering::Relaxed);
            (begun, chair.running.load(Ordering::Relaxed), !chair.stealer.is_empty())
        })
    }

    /// Whether all seats were given up.
    pub(crate) fn is_deserted(&self) -> bool {
        self.taken.load(Ordering::SeqCst) == 0
    }

    fn wake(&self, seat: usize) {
        let waker = self.waker(seat).clone();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn waker(&self, seat: usize) -> MutexGuard<'_, Option<Waker>> {
        self.chairs[seat].waker.lock().expect("nothing panics while it holds a waker")
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn has_work_to_take(&self, seat: usize) -> bool {
        let others = self.chairs.iter().enumerate().filter(|(at, _)| *at != seat);
        !self.injected.is_empty() || others.into_iter().any(|(_, chair)| !chair.stealer.is_empty())
    }
}

/// One seat's task. It ends when the runtime is closed and empty.
pub(crate) struct Sitter {
    actors: Actors,
    number: usize,
    /// Not here while it is polled: then the thread has it.
    seat: Option<Seat>,
    looked: u32,
    /// It runs in a life whose seed decides on the order of what is ready.
    simulated: bool,
}

impl Sitter {
    pub(crate) fn new(actors: Actors, number: usize, turns: Worker<Turn>) -> Self {
        let runtime = actors.scheduler().address();
        let seat = Some(Seat { runtime, number, turns });
        Self { actors, number, seat, looked: 0, simulated: quorate_env::is_simulated() }
    }

    /// Runs some turns; whether there may be more.
    fn work(&mut self) -> bool {
        let scheduler = self.actors.scheduler();
        let chair = &scheduler.chairs[self.number];
        for _ in 0..TURNS_A_POLL {
            let Some(turn) = next(scheduler, self.number, &mut self.looked) else {
                return false;
            };
            if self.simulated && quorate_env::defers() {
                scheduler.schedule(turn);
                continue;
            }
            chair.running.store(turn.serial(), Ordering::Relaxed);
            // Only this seat writes it.
            chair.begun.store(chair.begun.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            turn.run();
        }
        chair.running.store(0, Ordering::Relaxed);
        true
    }

    /// Marks the seat idle; whether it may sleep.
    fn sleeps(&self, cx: &mut Context<'_>) -> bool {
        let scheduler = self.actors.scheduler();
        scheduler.chairs[self.number].running.store(0, Ordering::Relaxed);
        {
            let mut waker = scheduler.waker(self.number);
            match &mut *waker {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        scheduler.idle.fetch_or(1 << self.number, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        !scheduler.has_work_to_take(self.number)
    }
}

/// The turn that a seat runs next.
#[inline]
fn next(scheduler: &Scheduler, seat: usize, looked: &mut u32) -> Option<Turn> {
    *looked = looked.wrapping_add(1);
    here::seated(scheduler.address(), |own| {
        if looked.is_multiple_of(TURNS_A_LOOK) {
            if own.turns.len() >= TURNS_TO_SHARE {
                scheduler.rouse();
            }
            if let Some(turn) = steal(|| scheduler.injected.steal_batch_and_pop(&own.turns)) {
                return Some(turn);
            }
        }
        own.turns
            .pop()
            .or_else(|| steal(|| scheduler.injected.steal_batch_and_pop(&own.turns)))
            .or_else(|| {
                let seats = scheduler.chairs.len();
                (1..seats).find_map(|step| {
                    let other = &scheduler.chairs[(seat + step) % seats];
                    steal(|| other.stealer.steal_batch_and_pop(&own.turns))
                })
            })
    })
    .flatten()
}

fn steal(mut attempt: impl FnMut() -> Steal<Turn>) -> Option<Turn> {
    loop {
        match attempt() {
            Steal::Success(turn) => return Some(turn),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

impl Future for Sitter {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.actors.is_over() {
            return Poll::Ready(());
        }
        let mark = 1 << self.number;
        self.actors.scheduler().idle.fetch_and(!mark, Ordering::SeqCst);
        let before = here::sit(self.seat.take());
        let more = self.work();
        self.seat = here::sit(before);
        if self.actors.is_over() {
            return Poll::Ready(());
        }
        if more || !self.sleeps(cx) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Sitter {
    fn drop(&mut self) {
        // Whoever leaves last closes the runtime: nobody is left who could run a process.
        if self.actors.scheduler().taken.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.actors.desert();
        } else {
            // Another seat may have to run what this one left.
            self.actors.scheduler().rouse_all();
        }
    }
}

/// When a process began to hold its seat, as far as the watchdog has seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting {
    pub(crate) begun: u64,
    pub(crate) serial: u64,
    pub(crate) since: Time,
}
