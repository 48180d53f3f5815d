//! The gate of a process: one word through which everything comes that reaches it, from any thread.
//!
//! The word is the newest of the links that came in and were not taken yet, with three marks in its spare
//! bits. `PARKED`: the process waits, nobody has its turn. `WOKEN`: something it awaits is ready. `CLOSED`:
//! it has ended, for good. Whoever takes `PARKED` away has the turn to run the process, and gives it up only
//! by parking it again or by closing the gate; so there is one turn at any time, and what only the holder of
//! the turn touches needs no lock.
//!
//! A link that a push has put in is seen by the next take, and if the process was parked, the push returns
//! the turn to have it run: nothing is lost between the two, since all of it is one word. Closing takes all
//! that came in before and refuses all that comes after: nothing is answered twice, and nothing never.
//!
//! Unsafe code: nodes behind the word belong to it. `tests::model` holds this under loom.
#![expect(unsafe_code, reason = "a lock-free queue of raw nodes; docs/adr/0007")]

use std::ptr::{null_mut, without_provenance_mut};

#[cfg(feature = "loom")]
use loom::sync::atomic::{AtomicPtr, Ordering};
#[cfg(not(feature = "loom"))]
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::chain::{Chain, Link, Node};

const PARKED: usize = 1;
const WOKEN: usize = 2;
const CLOSED: usize = 4;
const MARKS: usize = PARKED | WOKEN | CLOSED;

pub(crate) struct Gate<T> {
    word: AtomicPtr<Node<T>>,
}

/// Whether what was done gave the turn to who did it. A turn that is not used is a process that never runs
/// again.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It is the caller's now.
    Yours,
    /// Somebody has it, or nobody ever will.
    No,
}

impl<T> Gate<T> {
    /// An open gate; its maker has the turn.
    pub(crate) fn new() -> Self {
        Self { word: AtomicPtr::new(null_mut()) }
    }

    /// Puts a link last, or gives it back when the gate is closed.
    #[inline]
    pub(crate) fn push(&self, link: Link<T>) -> Result<Turned, Link<T>> {
        let node = link.into_raw();
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let marks = word.addr() & MARKS;
            if marks & CLOSED != 0 {
                // SAFETY: it was not put in, so it is still ours.
                return Err(unsafe { Link::from_raw(node) });
            }
            // SAFETY: as above.
            unsafe { Link::set_next(node, word.map_addr(|at| at & !MARKS)) };
            let new = node.map_addr(|at| at | (marks & !PARKED));
            // Releases the node to who takes it; acquires what the process did before it parked.
            match self.word.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(turned(marks)),
                Err(now) => word = now,
            }
        }
    }

    /// Says that something which the process awaits is ready.
    pub(crate) fn wake(&self) -> Turned {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let marks = word.addr() & MARKS;
            if marks & CLOSED != 0 {
                return Turned::No;
            }
            // Also when it is woken already: what was written before this wake must be seen by the next run.
            let new = word.map_addr(|at| (at | WOKEN) & !PARKED);
            match self.word.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return turned(marks),
                Err(now) => word = now,
            }
        }
    }

    /// Takes all that came in and forgets that it was woken: a run begins. Only with the turn.
    #[inline]
    pub(crate) fn begin(&self) -> Chain<T> {
        if self.word.load(Ordering::Relaxed).is_null() {
            return Chain::new();
        }
        links(self.word.swap(null_mut(), Ordering::AcqRel))
    }

    /// Takes all that came in, within a run. Only with the turn.
    #[inline]
    pub(crate) fn take(&self) -> Chain<T> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word.addr() & !MARKS == 0 {
                return Chain::new();
            }
            // That it was woken is for the end of the run to know: the run may have looked before the wake.
            let new = without_provenance_mut(word.addr() & WOKEN);
            match self.word.compare_exchange_weak(word, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return links(word),
                Err(now) => word = now,
            }
        }
    }

    /// Gives the turn up, unless something came in or woke it meanwhile; whether it did. Only with the turn.
    #[inline]
    pub(crate) fn park(&self) -> bool {
        let parked = without_provenance_mut(PARKED);
        self.word.compare_exchange(null_mut(), parked, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Lets nothing in any more, and takes what is there. Only with the turn.
    pub(crate) fn close(&self) -> Chain<T> {
        links(self.word.swap(without_provenance_mut(CLOSED), Ordering::AcqRel))
    }

    /// Whether the process waits.
    pub(crate) fn is_parked(&self) -> bool {
        self.word.load(Ordering::Relaxed).addr() & PARKED != 0
    }

    /// Whether it has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.word.load(Ordering::Relaxed).addr() & CLOSED != 0
    }
}

impl<T> Drop for Gate<T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

#[inline]
fn turned(marks: usize) -> Turned {
    match marks & PARKED {
        0 => Turned::No,
        _ => Turned::Yours,
    }
}

/// The links behind a word that was taken out of its gate, the oldest first.
#[inline]
fn links<T>(word: *mut Node<T>) -> Chain<T> {
    // SAFETY: pushes put in nodes that they owned, each leading to the one before; a word that was taken out
    // is seen by nobody else.
    unsafe { Chain::reversed(word.map_addr(|at| at & !MARKS)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(mut chain: Chain<u32>) -> Vec<u32> {
        std::iter::from_fn(|| chain.pop().map(Link::into_item)).collect()
    }

    #[cfg(not(feature = "loom"))]
    mod story {
        use super::*;

        #[test]
        fn who_pushes_to_a_parked_process_has_its_turn_and_nobody_else() {
            let gate = Gate::new();
            assert_eq!(gate.push(Link::new(1)).ok(), Some(Turned::No));
            assert!(!gate.park(), "something lies in it");
            assert_eq!(drain(gate.begin()), [1]);
            assert!(gate.park());
            assert_eq!(gate.push(Link::new(2)).ok(), Some(Turned::Yours));
            assert_eq!(gate.push(Link::new(3)).ok(), Some(Turned::No));
            assert_eq!(gate.wake(), Turned::No);
            assert_eq!(drain(gate.take()), [2, 3]);
            assert!(!gate.park(), "taking does not forget that it was woken");
            assert_eq!(drain(gate.begin()), []);
            assert!(gate.park());
            assert_eq!(gate.wake(), Turned::Yours);
        }

        #[test]
        fn a_closed_gate_gives_back_what_comes_and_has_no_turns() {
            let gate = Gate::new();
            let _ = gate.push(Link::new(1));
            assert_eq!(drain(gate.close()), [1]);
            assert_eq!(gate.push(Link::new(2)).err().map(Link::into_item), Some(2));
            assert_eq!(gate.wake(), Turned::No);
            assert!(gate.is_closed());
        }
    }

    #[cfg(feature = "loom")]
    mod model {
        use super::*;
        use loom::cell::UnsafeCell;
        use loom::sync::Arc;
        use loom::sync::atomic::AtomicUsize;
        use loom::thread;

        /// What a process is to its gate: things that only the holder of the turn touches, and a flag that it
        /// awaits.
        struct Process {
            gate: Gate<u32>,
            desk: UnsafeCell<Vec<u32>>,
            ready: AtomicUsize,
            saw_ready: UnsafeCell<bool>,
        }

        // SAFETY: the cells are touched with the turn only, which is what the model is to find out.
        unsafe impl Send for Process {}
        // SAFETY: as above.
        unsafe impl Sync for Process {}

        impl Process {
            fn run(&self, ends_after: usize) {
                loop {
                    let mut came = drain(self.gate.begin());
                    came.extend(drain(self.gate.take()));
                    // SAFETY: we have the turn.
                    let held = self.desk.with_mut(|desk| unsafe {
                        (*desk).extend(came);
                        (*desk).len()
                    });
                    if self.ready.load(Ordering::Relaxed) == 1 {
                        // SAFETY: as above.
                        self.saw_ready.with_mut(|saw| unsafe { *saw = true });
                    }
                    if held >= ends_after {
                        let late = drain(self.gate.close());
                        // SAFETY: as above; who comes after finds the gate closed.
                        self.desk.with_mut(|desk| unsafe { (*desk).extend(late) });
                        return;
                    }
                    if self.gate.park() {
                        return;
                    }
                }
            }

            fn send(&self, n: u32, ends_after: usize) -> bool {
                match self.gate.push(Link::new(n)) {
                    Ok(Turned::Yours) => self.run(ends_after),
                    Ok(Turned::No) => {}
                    Err(_) => return false,
                }
                true
            }
        }

        fn process() -> Arc<Process> {
            Arc::new(Process {
                gate: Gate::new(),
                desk: UnsafeCell::new(Vec::new()),
                ready: AtomicUsize::new(0),
                saw_ready: UnsafeCell::new(false),
            })
        }

        #[test]
        fn two_senders_and_a_waker_lose_nothing() {
            loom::model(|| {
                let it = process();
                let sender = |n: u32| {
                    let it = it.clone();
                    thread::spawn(move || assert!(it.send(n, 9)))
                };
                let threads = [sender(1), sender(2)];
                let waker = {
                    let it = it.clone();
                    thread::spawn(move || {
                        it.ready.store(1, Ordering::Relaxed);
                        if it.gate.wake() == Turned::Yours {
                            it.run(9);
                        }
                    })
                };
                it.run(9);
                threads.into_iter().for_each(|thread| thread.join().unwrap());
                waker.join().unwrap();
                assert!(it.gate.is_parked());
                // SAFETY: all others have ended.
                let mut seen = it.desk.with(|desk| unsafe { (*desk).clone() });
                seen.sort_unstable();
                assert_eq!(seen, [1, 2]);
                // SAFETY: as above.
                assert!(it.saw_ready.with(|saw| unsafe { *saw }), "a wake was lost");
            });
        }

        #[test]
        fn what_races_an_end_is_taken_or_given_back() {
            loom::model(|| {
                let it = process();
                let sender = |n: u32| {
                    let it = it.clone();
                    thread::spawn(move || u32::from(it.send(n, 1)))
                };
                let threads = [sender(1), sender(2)];
                it.run(1);
                let taken: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
                assert!(it.gate.is_closed());
                // SAFETY: all others have ended.
                assert_eq!(it.desk.with(|desk| unsafe { (*desk).len() }), taken as usize);
            });
        }
    }
}
