//! What waits to be written to one link: bounded in frames and in bytes, and never a reason to wait for
//! whoever sends.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard};

use quorate_vocab::ClusterId;
use tokio::sync::Notify;

use crate::calls::Calls;
use crate::frame::Frame;
use crate::{Limits, SendError};

#[derive(Debug)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Woken when the writer has something to do.
    ready: Notify,
    /// Woken when the writer has made room.
    room: Notify,
    frames_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Frame>,
    bytes: usize,
    /// Has a place of its own: it must get through a full queue, and only the newest counts.
    adopted: Option<ClusterId>,
    closed: bool,
}

impl Outbox {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            state: Mutex::default(),
            ready: Notify::new(),
            room: Notify::new(),
            frames_max: limits.queue_frames_max,
            bytes_max: limits.queue_bytes_max,
        }
    }

    /// Takes a frame if there is room.
    pub(crate) fn push(&self, frame: Frame) -> Result<(), SendError> {
        self.put(frame, 1).map_err(|(_, error)| error)
    }

    /// Takes an answer when there is room. False: the link is gone.
    pub(crate) async fn push_answer(&self, answer: Frame) -> bool {
        let mut answer = answer;
        loop {
            let mut room = pin!(self.room.notified());
            // Before the try, so that room which is made right after it is not missed.
            room.as_mut().enable();
            match self.put(answer, 2) {
                Ok(()) => return true,
                Err((_, SendError::NoLink)) => return false,
                Err((refused, _)) => answer = refused,
            }
            room.await;
        }
    }

    /// Tells the other side, before all else that waits, that this node belongs to a cluster now.
    pub(crate) fn adopted(&self, cluster: ClusterId) {
        self.lock().adopted = Some(cluster);
        self.ready.notify_one();
    }

    /// Waits until there is something to write.
    pub(crate) async fn ready(&self) {
        while self.is_empty() {
            self.ready.notified().await;
        }
    }

    /// Moves frames of about `bytes_max` bytes into `batch`; calls that nobody waits for are dropped here.
    pub(crate) fn take(&self, bytes_max: usize, calls: &Calls, batch: &mut Vec<Frame>) {
        let mut state = self.lock();
        batch.extend(state.adopted.take().map(Frame::Adopted));
        let mut bytes = 0;
        while bytes < bytes_max
            && let Some(frame) = state.queue.pop_front()
        {
            state.bytes -= frame.encoded_len();
            let is_wanted = match &frame {
                Frame::Call { call, .. } => calls.hand_over(*call),
                _ => true,
            };
            if is_wanted {
                bytes += frame.encoded_len();
                batch.push(frame);
            }
        }
        drop(state);
        self.room.notify_waiters();
    }

    /// Takes nothing any more, and forgets what waits.
    pub(crate) fn close(&self) {
        *self.lock() = State { closed: true, ..State::default() };
        self.room.notify_waiters();
    }

    /// `share`: how many times the bounds this frame may use.
    fn put(&self, frame: Frame, share: usize) -> Result<(), (Frame, SendError)> {
        let mut state = self.lock();
        let bytes = state.bytes + frame.encoded_len();
        if state.closed {
            return Err((frame, SendError::NoLink));
        }
        if state.queue.len() >= self.frames_max * share || bytes > self.bytes_max * share {
            return Err((frame, SendError::Full));
        }
        state.bytes = bytes;
        state.queue.push_back(frame);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    fn is_empty(&self) -> bool {
        let state = self.lock();
        state.queue.is_empty() && state.adopted.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the outbox")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn narrow() -> Outbox {
        Outbox::new(&Limits { queue_frames_max: 3, queue_bytes_max: 64, ..Limits::test() })
    }

    fn mail(bytes: usize) -> Frame {
        Frame::Mail(Bytes::from(vec![0; bytes]))
    }

    #[test]
    fn a_full_queue_says_so_by_frames_and_by_bytes_and_recovers() {
        let (outbox, calls) = (narrow(), Calls::new(1));
        for _ in 0..3 {
            outbox.push(mail(1)).unwrap();
        }
        assert_eq!(outbox.push(mail(1)), Err(SendError::Full));
        let mut batch = Vec::new();
        outbox.take(1 << 20, &calls, &mut batch);
        assert_eq!(batch.len(), 3);
        outbox.push(mail(40)).unwrap();
        assert_eq!(outbox.push(mail(40)), Err(SendError::Full));
        outbox.adopted(ClusterId(5));
        batch.clear();
        outbox.take(1 << 20, &calls, &mut batch);
        assert_eq!(batch, [Frame::Adopted(ClusterId(5)), mail(40)]);
        outbox.close();
        assert_eq!(outbox.push(mail(1)), Err(SendError::NoLink));
    }

    #[tokio::test]
    async fn an_answer_has_room_beyond_a_flood_and_waits_beyond_that() {
        let (outbox, calls) = (narrow(), Calls::new(1));
        let answer = || Frame::Answer { call: 1, body: Bytes::new() };
        for _ in 0..3 {
            outbox.push(mail(1)).unwrap();
        }
        for _ in 0..3 {
            assert!(outbox.push_answer(answer()).await);
        }
        let mut waits = pin!(outbox.push_answer(answer()));
        let waker = std::task::Waker::noop();
        let mut context = std::task::Context::from_waker(waker);
        assert!(waits.as_mut().poll(&mut context).is_pending());
        outbox.take(1, &calls, &mut Vec::new());
        assert!(waits.await);
        outbox.close();
        assert!(!outbox.push_answer(answer()).await);
    }
}
