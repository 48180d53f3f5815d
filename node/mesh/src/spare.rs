//! Spare memory: that of long bodies which was given back, for the next ones.
//!
//! Fresh memory has to be asked of the system, page by page, which for a long body costs more than to read
//! it. So whoever drops a long body gives its memory back to the link that it came over.
//!
//! Bounded in bytes, and [emptied](Spare::clear) when the link has rested. Who keeps a body keeps its memory,
//! whatever becomes of the link.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use bytes::Bytes;

/// Memory that nobody uses at the moment, the longest unused first.
#[derive(Debug)]
pub(crate) struct Spare {
    bodies: Mutex<VecDeque<Vec<u8>>>,
    bytes_max: usize,
}

/// A body whose memory comes back.
struct Lent {
    body: Vec<u8>,
    home: Weak<Spare>,
}

impl Spare {
    /// One that holds so many bytes at most.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { bodies: Mutex::default(), bytes_max })
    }

    /// Memory for a body of so many bytes: some that lies here and is not much too long, or none yet.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        let mut bodies = self.lock();
        let fits = |body: &&Vec<u8>| (bytes..=2 * bytes).contains(&body.capacity());
        let best = bodies.iter().filter(fits).map(Vec::capacity).min();
        let at = bodies.iter().position(|body| Some(body.capacity()) == best);
        at.and_then(|at| bodies.remove(at)).unwrap_or_default()
    }

    /// Gives a body out, to have its memory back.
    pub(crate) fn lend(self: &Arc<Self>, body: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { body, home: Arc::downgrade(self) })
    }

    /// How much lies here.
    pub(crate) fn bytes(&self) -> usize {
        self.lock().iter().map(Vec::capacity).sum()
    }

    /// Gives everything back to the system.
    pub(crate) fn clear(&self) {
        let bodies = std::mem::take(&mut *self.lock());
        drop(bodies);
    }

    fn put(&self, mut body: Vec<u8>) {
        if body.capacity() > self.bytes_max {
            return;
        }
        body.clear();
        let mut over = Vec::new();
        let mut bodies = self.lock();
        bodies.push_back(body);
        let mut bytes: usize = bodies.iter().map(Vec::capacity).sum();
        while bytes > self.bytes_max
            && let Some(oldest) = bodies.pop_front()
        {
            bytes -= oldest.capacity();
            over.push(oldest);
        }
        drop(bodies);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.bodies.lock().expect("nothing panics while it holds spare memory")
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.put(std::mem::take(&mut self.body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_was_dropped_makes_room_for_the_next_one_of_about_its_length() {
        let spare = Spare::new(1000);
        let body = spare.lend(vec![7; 300]);
        let place = body.as_ptr();
        assert_eq!((&body[..], spare.bytes()), (&[7; 300][..], 0));
        let clone = body.slice(10..20);
        drop(body);
        assert_eq!(spare.bytes(), 0, "a part of it is kept");
        drop(clone);
        assert_eq!(spare.bytes(), 300);
        assert_eq!(spare.take(301).capacity(), 0, "too short");
        assert_eq!(spare.take(149).capacity(), 0, "so little must not keep so much");
        let again = spare.take(200);
        assert_eq!((again.as_ptr(), again.len(), again.capacity()), (place, 0, 300));
        assert_eq!(spare.bytes(), 0);
    }

    #[test]
    fn the_best_fit_is_taken_and_the_oldest_goes_when_there_is_too_much() {
        let spare = Spare::new(1000);
        for bytes in [400, 250, 300, 1001] {
            drop(spare.lend(Vec::with_capacity(bytes)));
        }
        assert_eq!(spare.bytes(), 950);
        assert_eq!(spare.take(240).capacity(), 250);
        drop(spare.lend(Vec::with_capacity(500)));
        assert_eq!(spare.bytes(), 800, "of 400, 300 and 500 the first has gone");
        spare.clear();
        assert_eq!(spare.bytes(), 0);
    }

    #[test]
    fn a_body_outlives_what_it_came_from() {
        let spare = Spare::new(1000);
        let body = spare.lend(vec![7; 300]);
        drop(spare);
        assert_eq!(&body[..], [7; 300]);
    }
}
