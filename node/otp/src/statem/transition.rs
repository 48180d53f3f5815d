//! What a state machine handles, and what it answers.

use std::time::Duration;

use quorate_actor::Exit;

use crate::News;

/// What happens to a state machine.
#[derive(Debug)]
pub enum Event<M> {
    /// A message came.
    Mail(M),
    /// The machine itself raised a message.
    Raised(M),
    /// The end of what it monitors, a trapped exit, a timer of its own.
    News(News),
    /// It is in its state for as long as was set. A change of state would have cancelled this.
    StateTimeout,
    /// Nothing else happened for as long as was set. Any event would have cancelled this.
    EventTimeout,
    /// The timeout of this name ran out.
    Timeout(&'static str),
}

/// Timeouts to set or to cancel, in this order. One that is set again starts anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Timeouts(pub(super) Vec<(Kind, Option<Duration>)>);

/// Which timeout. There is at most one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    State,
    Event,
    Named(&'static str),
}

impl Timeouts {
    /// Changes none.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets the timeout of the state: it is cancelled when the state changes.
    #[must_use]
    pub fn state(self, after: Duration) -> Self {
        self.with(Kind::State, Some(after))
    }

    /// Cancels the timeout of the state.
    #[must_use]
    pub fn cancel_state(self) -> Self {
        self.with(Kind::State, None)
    }

    /// Sets the timeout that any event cancels.
    #[must_use]
    pub fn event(self, after: Duration) -> Self {
        self.with(Kind::Event, Some(after))
    }

    /// Sets a timeout by name: it runs until it runs out, is set again or is cancelled.
    #[must_use]
    pub fn named(self, name: &'static str, after: Duration) -> Self {
        self.with(Kind::Named(name), Some(after))
    }

    /// Cancels a timeout by name.
    #[must_use]
    pub fn cancel(self, name: &'static str) -> Self {
        self.with(Kind::Named(name), None)
    }

    fn with(mut self, kind: Kind, after: Option<Duration>) -> Self {
        self.0.push((kind, after));
        self
    }
}

/// What a state machine does after an event.
#[derive(Debug)]
#[must_use = "a transition says what the machine does next"]
pub struct Transition<S, M> {
    pub(super) way: Way<S>,
    pub(super) postponed: Option<Event<M>>,
    pub(super) raised: Vec<M>,
    pub(super) timeouts: Timeouts,
}

#[derive(Debug)]
pub(super) enum Way<S> {
    Keep,
    Again,
    To(S),
    Stop(Exit),
}

impl<S, M> Transition<S, M> {
    fn new(way: Way<S>) -> Self {
        Self { way, postponed: None, raised: Vec::new(), timeouts: Timeouts::none() }
    }

    /// Stays in its state.
    pub fn keep() -> Self {
        Self::new(Way::Keep)
    }

    /// Stays in its state and enters it once more. Nothing that was postponed comes back.
    pub fn again() -> Self {
        Self::new(Way::Again)
    }

    /// Goes to a state. If it is in that already, it stays.
    pub fn to(state: S) -> Self {
        Self::new(Way::To(state))
    }

    /// Ends.
    pub fn stop(exit: Exit) -> Self {
        Self::new(Way::Stop(exit))
    }

    /// Stays, and postpones the event: it comes back when the state has changed.
    pub fn postpone(event: Event<M>) -> Self {
        Self::keep().postponing(event)
    }

    /// Postpones the event. If the state changes now, it comes back at once.
    pub fn postponing(mut self, event: Event<M>) -> Self {
        self.postponed = Some(event);
        self
    }

    /// Raises a message to itself, before everything that waits; after what is raised before it here.
    pub fn raising(mut self, message: M) -> Self {
        self.raised.push(message);
        self
    }

    /// Sets the timeout of the state that this leads to.
    pub fn state_timeout(mut self, after: Duration) -> Self {
        self.timeouts = self.timeouts.state(after);
        self
    }

    /// Sets the timeout that any event cancels.
    pub fn event_timeout(mut self, after: Duration) -> Self {
        self.timeouts = self.timeouts.event(after);
        self
    }

    /// Sets a timeout by name.
    pub fn timeout(mut self, name: &'static str, after: Duration) -> Self {
        self.timeouts = self.timeouts.named(name, after);
        self
    }

    /// Cancels a timeout by name.
    pub fn cancel(mut self, name: &'static str) -> Self {
        self.timeouts = self.timeouts.cancel(name);
        self
    }

    /// Cancels the timeout of the state, where the state stays.
    pub fn cancel_state_timeout(mut self) -> Self {
        self.timeouts = self.timeouts.cancel_state();
        self
    }
}
