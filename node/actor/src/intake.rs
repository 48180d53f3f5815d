//! How much mail a mailbox holds, and what becomes of more.
//!
//! Senders count what they put in, the process counts what it has received; the difference is what waits.
//! Only mail is counted: signals and news are bounded by the ties that cause them. Mail from other nodes is
//! bounded in bytes as well, by the length of its letters: a message's memory is some multiple of that.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use crate::letter::Gone;
use crate::process::{AnyProcess, Process};
use crate::reply::farewell;
use crate::signal::Entry;
use crate::{Message, SendError};

/// How much mail a mailbox holds, and what becomes of more. A bound of 0 counts as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// As much as memory does. Only for senders that are trusted to stop.
    Unbounded,
    /// So many messages; more are refused, and the sender is told.
    Reject(u32),
    /// So many messages; whoever sends by [`Addr::deliver`](crate::Addr::deliver) waits for room, and others
    /// are refused.
    Park(u32),
    /// So many messages wait, and as many more may lie with the process; for a newer one the oldest is
    /// dropped.
    DropOldest(u32),
    /// Only the newest message.
    Latest,
}

/// From this limit on, it does not matter if the process says a little late what it has received.
const LARGE: u32 = 1024;

pub(crate) struct Intake<M> {
    /// How many messages were let in; it wraps.
    sent: AtomicU32,
    /// How many of them the process has received, as far as it has said; it wraps.
    received: AtomicU32,
    limit: u32,
    /// How many KiB of letters wait, of those that weigh any.
    kib: AtomicU32,
    more: Option<Box<More<M>>>,
}

/// What becomes of messages for which there is no room.
enum More<M> {
    /// Their senders wait.
    Parked(Mutex<Vec<Waker>>),
    /// They take the place of the oldest. The gate holds one [`Entry::Ring`] for each message in the ring, so
    /// that the news which come after a message stay after it.
    Ring(Mutex<Ring<M>>),
}

struct Ring<M> {
    /// Each with what it weighs in KiB.
    mails: VecDeque<(M, u32)>,
    /// How many messages the process took out; it wraps.
    taken: u32,
}

impl<M: Message> Intake<M> {
    pub(crate) fn new(capacity: Capacity) -> Self {
        let (limit, more) = match capacity {
            Capacity::Unbounded => (u32::MAX, None),
            Capacity::Reject(limit) => (limit, None),
            Capacity::Park(limit) => (limit, Some(More::Parked(Mutex::default()))),
            Capacity::DropOldest(limit) => (limit, Some(ring())),
            Capacity::Latest => (1, Some(ring())),
        };
        Self {
            sent: AtomicU32::new(0),
            received: AtomicU32::new(0),
            limit: limit.max(1),
            kib: AtomicU32::new(0),
            more: more.map(Box::new),
        }
    }

    /// Puts a message last in the mailbox of the process that has this intake, or gives it back.
    #[inline]
    pub(crate) fn send(&self, process: &Arc<Process<M>>, message: M) -> Result<(), (SendError, M)> {
        if let Some(More::Ring(ring)) = self.more.as_deref() {
            return self.send_to_ring(ring, process, message, 0);
        }
        if !self.admit() {
            return refused(process, message);
        }
        process.push_mail(message)
    }

    /// Reserves room for the message of a letter, until it is [lightened](Self::lighten) of it again; says
    /// what it weighs in KiB. One letter always finds room, however long.
    pub(crate) fn burden(&self, bytes: usize, bytes_max: usize) -> Option<u32> {
        let [kib, kib_max] =
            [bytes, bytes_max].map(|bytes| u32::try_from(bytes >> 10).unwrap_or(u32::MAX));
        if kib == 0 {
            return Some(0);
        }
        let more = |held: u32| {
            let sum = held.checked_add(kib)?;
            (held == 0 || sum <= kib_max).then_some(sum)
        };
        self.kib.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok().then_some(kib)
    }

    /// A message that weighs so much has gone.
    pub(crate) fn lighten(&self, kib: u32) {
        if kib != 0 {
            self.kib.fetch_sub(kib, Ordering::Relaxed);
        }
    }

    /// Puts a message of another node last, for which there is room in bytes.
    pub(crate) fn send_burden(
        &self,
        process: &Arc<Process<M>>,
        message: M,
        kib: u32,
    ) -> Result<(), (SendError, M)> {
        let sent = match self.more.as_deref() {
            Some(More::Ring(ring)) => self.send_to_ring(ring, process, message, kib),
            _ if !self.admit() => refused(process, message),
            _ if kib == 0 => process.push_mail(message),
            _ => process.push_heavy(message, kib),
        };
        if sent.is_err() {
            self.lighten(kib);
        }
        sent
    }

    /// Counts one more message, if there is room for it.
    #[inline]
    fn admit(&self) -> bool {
        // First what was received, then what was sent: the other way round, others may send and have received
        // between the two, and more would seem received than sent.
        let received = self.received.load(Ordering::Acquire);
        if self.more.is_some() {
            // One that is refused must not count for a moment: who saw it would wait for room that is there.
            let admit = |sent: u32| {
                (sent.wrapping_sub(received) < self.limit).then(|| sent.wrapping_add(1))
            };
            return self.sent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).is_ok();
        }
        let waiting = self.sent.fetch_add(1, Ordering::Relaxed).wrapping_sub(received);
        let admitted = waiting < self.limit;
        if !admitted {
            self.sent.fetch_sub(1, Ordering::Relaxed);
        }
        admitted
    }

    fn send_to_ring(
        &self,
        ring: &Mutex<Ring<M>>,
        process: &Arc<Process<M>>,
        message: M,
        kib: u32,
    ) -> Result<(), (SendError, M)> {
        let mut ring = lock(ring);
        ring.mails.push_back((message, kib));
        if ring.mails.len() > self.limit as usize {
            // Its entry in the gate now stands for the next.
            let oldest = ring.mails.pop_front();
            drop(ring);
            if let Some((oldest, kib)) = oldest {
                self.lighten(kib);
                farewell(Gone::Full, || drop(oldest));
            }
            return Ok(());
        }
        // Under the lock: were the process to end before this entry, nobody else may have put in a message
        // yet.
        match process.push(Entry::Ring) {
            Ok(()) => Ok(()),
            Err(_) => {
                let (message, _) = ring.mails.pop_back().expect("it was put there under this lock");
                Err((SendError::NoProc, message))
            }
        }
    }

    /// Puts a message last once there is room for it.
    pub(crate) fn poll_send(
        &self,
        process: &Arc<Process<M>>,
        message: &mut Option<M>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), (SendError, M)>> {
        let Some(mail) = message.take() else { return Poll::Pending };
        let (error, mail) = match self.send(process, mail) {
            Ok(()) => return Poll::Ready(Ok(())),
            Err(refused) => refused,
        };
        let (SendError::Full, Some(More::Parked(parked))) = (error, self.more.as_deref()) else {
            return Poll::Ready(Err((error, mail)));
        };
        lock(parked).push(cx.waker().clone());
        // Intake that came before the waker was there told nobody.
        match self.send(process, mail) {
            Err((SendError::Full, mail)) => {
                *message = Some(mail);
                Poll::Pending
            }
            done => Poll::Ready(done),
        }
    }

    /// Learns how many messages the process has received.
    #[inline]
    pub(crate) fn received(&self, received: u32) {
        self.received.store(received, Ordering::Release);
        if self.more.is_some() {
            self.unpark();
        }
    }

    /// Whether it has to learn of each message at once.
    #[inline]
    pub(crate) fn is_exact(&self) -> bool {
        self.limit < LARGE || self.more.is_some()
    }

    /// The next message of the ring and what it weighs, and whether the oldest that the process holds must go
    /// for it.
    pub(crate) fn next_of_ring(&self, received: u32) -> Option<(M, u32, bool)> {
        let Some(More::Ring(ring)) = self.more.as_deref() else { return None };
        let mut ring = lock(ring);
        let (message, kib) = ring.mails.pop_front()?;
        ring.taken = ring.taken.wrapping_add(1);
        Some((message, kib, ring.taken.wrapping_sub(received) > self.limit))
    }

    /// How many messages wait.
    pub(crate) fn len(&self) -> usize {
        let received = self.received.load(Ordering::Acquire);
        match self.more.as_deref() {
            Some(More::Ring(ring)) => {
                let ring = lock(ring);
                ring.mails.len() + ring.taken.wrapping_sub(received) as usize
            }
            _ => self.sent.load(Ordering::Relaxed).wrapping_sub(received) as usize,
        }
    }

    /// Its process has ended: hands out what lies in the ring, and wakes who waits for room.
    pub(crate) fn empty(&self) -> Option<VecDeque<(M, u32)>> {
        self.unpark();
        match self.more.as_deref() {
            Some(More::Ring(ring)) => Some(std::mem::take(&mut lock(ring).mails)),
            _ => None,
        }
    }

    fn unpark(&self) {
        if let Some(More::Parked(parked)) = self.more.as_deref() {
            let parked = std::mem::take(&mut *lock(parked));
            parked.into_iter().for_each(Waker::wake);
        }
    }
}

fn refused<M: Message>(process: &Arc<Process<M>>, message: M) -> Result<(), (SendError, M)> {
    match process.has_ended() {
        true => Err((SendError::NoProc, message)),
        false => Err((SendError::Full, message)),
    }
}

fn ring<M>() -> More<M> {
    More::Ring(Mutex::new(Ring { mails: VecDeque::new(), taken: 0 }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds an intake")
}
