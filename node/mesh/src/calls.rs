//! Calls that wait for their answers over one link, and how far each has come.
//!
//! The promise kept here: a call that ends as `NotSent` was never handed to the socket, and never will be.
//! The writer asks for each call, under one lock, whether somebody still waits for it; from then on it counts
//! as sent.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::{CallError, SendError};

/// How a call ends.
pub(crate) type Outcome = Result<Bytes, CallError>;

#[derive(Debug)]
pub(crate) struct Calls {
    state: Mutex<State>,
    waiting_max: usize,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    closed: bool,
    waiting: BTreeMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    sent: bool,
    caller: oneshot::Sender<Outcome>,
}

impl Calls {
    pub(crate) fn new(waiting_max: usize) -> Self {
        Self { state: Mutex::default(), waiting_max }
    }

    /// A number for a new call, and where its end will be told.
    pub(crate) fn begin(&self) -> Result<(u64, oneshot::Receiver<Outcome>), SendError> {
        let mut state = self.lock();
        if state.closed {
            return Err(SendError::NoLink);
        }
        if state.waiting.len() >= self.waiting_max {
            return Err(SendError::Full);
        }
        state.last += 1;
        let call = state.last;
        let (caller, end) = oneshot::channel();
        state.waiting.insert(call, Waiting { sent: false, caller });
        Ok((call, end))
    }

    /// The writer is about to send a call. False: nobody waits any more, so it must not be sent.
    pub(crate) fn hand_over(&self, call: u64) -> bool {
        self.lock().waiting.get_mut(&call).map(|waiting| waiting.sent = true).is_some()
    }

    /// Whether somebody still waits for a call.
    pub(crate) fn is_waited_for(&self, call: u64) -> bool {
        self.lock().waiting.contains_key(&call)
    }

    /// Whether nobody waits for anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// The other side has answered, or said that it never will. Who no longer waits is not told.
    pub(crate) fn end(&self, call: u64, outcome: Outcome) {
        let waiting = self.lock().waiting.remove(&call);
        if let Some(waiting) = waiting {
            let _ = waiting.caller.send(outcome);
        }
    }

    /// The caller gives up. `None`: it has just been told the end.
    pub(crate) fn withdraw(&self, call: u64) -> Option<CallError> {
        let waiting = self.lock().waiting.remove(&call)?;
        Some(if waiting.sent { CallError::Unknown } else { SendError::Full.into() })
    }

    /// The link is gone; every call ends now.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting.into_values() {
            let error = if waiting.sent { CallError::Unknown } else { SendError::NoLink.into() };
            let _ = waiting.caller.send(Err(error));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the calls")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_withdrawn_call_is_never_handed_over() {
        let calls = Calls::new(2);
        let (call, _end) = calls.begin().unwrap();
        assert_eq!(calls.withdraw(call), Some(CallError::NotSent(SendError::Full)));
        assert!(!calls.hand_over(call));
    }

    #[test]
    fn what_was_handed_over_is_unknown_and_the_rest_was_not_sent() {
        let calls = Calls::new(3);
        let (sent, mut sent_end) = calls.begin().unwrap();
        let (_queued, mut queued_end) = calls.begin().unwrap();
        let (late, _) = calls.begin().unwrap();
        assert_eq!(calls.begin().unwrap_err(), SendError::Full);
        assert!(calls.hand_over(sent));
        assert!(calls.hand_over(late));
        assert_eq!(calls.withdraw(late), Some(CallError::Unknown));
        calls.close();
        assert_eq!(sent_end.try_recv().unwrap(), Err(CallError::Unknown));
        assert_eq!(queued_end.try_recv().unwrap(), Err(CallError::NotSent(SendError::NoLink)));
        assert_eq!(calls.begin().unwrap_err(), SendError::NoLink);
    }

    #[test]
    fn an_answer_to_nobody_is_dropped() {
        let calls = Calls::new(1);
        calls.end(77, Ok(Bytes::new()));
        let (call, mut end) = calls.begin().unwrap();
        calls.end(call, Ok(Bytes::from_static(b"yes")));
        assert_eq!(end.try_recv().unwrap().unwrap(), "yes");
        assert_eq!(calls.withdraw(call), None);
    }
}
