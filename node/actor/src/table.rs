//! The table of the processes that live on this node.
//!
//! It lies in segments, each behind a lock of its own: a process enters the segment of the seat it was
//! spawned at, so that seats do not meet. Places are used again, first in first out, under a new generation;
//! so a serial is never used again, and what it names is found in one step.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::process::AnyProcess;

/// How many segments there are. Serials show it, so it is the same everywhere.
const SEGMENTS: usize = 16;
/// How many places a listing reads at once.
const LISTED_AT_ONCE: usize = 256;

pub(crate) struct Table {
    segments: [Segment; SEGMENTS],
    live: AtomicUsize,
    closed: AtomicBool,
}

/// Aligned so that the locks of two seats do not share a cache line.
#[repr(align(128))]
#[derive(Default)]
struct Segment(Mutex<Places>);

#[derive(Default)]
struct Places {
    all: Vec<Place>,
    free: VecDeque<u32>,
}

enum Place {
    Taken(Arc<dyn AnyProcess>),
    /// The generation of who comes next.
    Free(u32),
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            segments: Default::default(),
            live: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Enters the process that `make` makes of its serial; `None` when the table is closed.
    pub(crate) fn enter<P: AnyProcess>(
        &self,
        seat: usize,
        make: impl FnOnce(u64) -> Arc<P>,
    ) -> Option<Arc<P>> {
        let segment = seat % SEGMENTS;
        let mut places = self.places(segment);
        // Read under the lock: who closes the table looks at the segment after this, and finds the process.
        if self.closed.load(Ordering::SeqCst) {
            return None;
        }
        let (at, generation) = match places.free.pop_front() {
            Some(at) => match places.all[at as usize] {
                Place::Free(generation) => (at, generation),
                Place::Taken(_) => unreachable!("a free place is free"),
            },
            None => {
                let at = u32::try_from(places.all.len()).expect("memory ends before places do");
                places.all.push(Place::Free(0));
                (at, 0)
            }
        };
        // The first place of all is number 1: the serial 0 is nobody's.
        let index = u64::from(at) * SEGMENTS as u64 + segment as u64 + 1;
        let process = make(u64::from(generation) << 32 | index);
        places.all[at as usize] = Place::Taken(process.clone());
        self.live.fetch_add(1, Ordering::Relaxed);
        Some(process)
    }

    pub(crate) fn find(&self, serial: u64) -> Option<Arc<dyn AnyProcess>> {
        let (segment, at) = place_of(serial)?;
        match self.places(segment).all.get(at) {
            Some(Place::Taken(process)) if process.serial() == serial => Some(process.clone()),
            _ => None,
        }
    }

    pub(crate) fn remove(&self, serial: u64) -> Option<Arc<dyn AnyProcess>> {
        let (segment, at) = place_of(serial)?;
        let mut places = self.places(segment);
        let place = places.all.get_mut(at)?;
        if !matches!(place, Place::Taken(process) if process.serial() == serial) {
            return None;
        }
        let generation = (serial >> 32) as u32;
        // A place whose generations are used up is left alone.
        let next = generation.checked_add(1);
        let Place::Taken(process) = std::mem::replace(place, Place::Free(next.unwrap_or(0))) else {
            unreachable!("it was looked at above")
        };
        if next.is_some() {
            places.free.push_back(at as u32);
        }
        self.live.fetch_sub(1, Ordering::Relaxed);
        Some(process)
    }

    pub(crate) fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Every process that lives during the whole of this call, and perhaps some that do not. Spawns and ends
    /// go on meanwhile: it holds a segment for a few places at a time.
    pub(crate) fn list(&self) -> Vec<Arc<dyn AnyProcess>> {
        let mut listed = Vec::with_capacity(self.len());
        for segment in 0..SEGMENTS {
            let mut from = 0;
            loop {
                let places = self.places(segment);
                let until = places.all.len().min(from + LISTED_AT_ONCE);
                let taken = places.all[from..until].iter().filter_map(|place| match place {
                    Place::Taken(process) => Some(process.clone()),
                    Place::Free(_) => None,
                });
                listed.extend(taken);
                let ended = until == places.all.len();
                drop(places);
                if ended {
                    break;
                }
                from = until;
            }
        }
        listed
    }

    fn places(&self, segment: usize) -> MutexGuard<'_, Places> {
        self.segments[segment].0.lock().expect("nothing panics while it holds a segment")
    }
}

/// The segment of a serial, and the place in it.
fn place_of(serial: u64) -> Option<(usize, usize)> {
    let index = (serial & u64::from(u32::MAX)).checked_sub(1)? as usize;
    Some((index % SEGMENTS, index / SEGMENTS))
}
