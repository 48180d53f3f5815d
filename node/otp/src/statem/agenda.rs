//! In which order a state machine's events come. Pure: it reads no clock and no mailbox, and says which
//! timers are to be armed and disarmed.
//!
//! A timeout is known by its alarm, a number that is not used again. What rings under a number that is not
//! the present one of its kind is of a timeout that was cancelled or set anew, and is not heard.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::time::Duration;

use quorate_actor::Exit;

use super::transition::{Kind, Way};
use super::{Event, Timeouts, Transition};

/// The number of a timeout that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Alarm(u64);

/// What is to be done to the timers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Arm(Alarm, Duration),
    Disarm(Alarm),
}

/// What follows a transition.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<S> {
    Stay,
    Enter(Entry<S>),
    Stop(Exit),
}

/// How a state is entered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<S> {
    First,
    Again,
    From(S),
}

/// The state, and what waits to be handled before the mailbox is asked.
pub(super) struct Agenda<S, M> {
    state: S,
    queue: VecDeque<Waiting<M>>,
    /// Oldest first.
    postponed: VecDeque<Event<M>>,
    alarms: BTreeMap<Kind, Alarm>,
    last: u64,
    changes: Vec<Change>,
}

enum Waiting<M> {
    Event(Event<M>),
    /// A timeout that ran out, unless it is cancelled before its turn.
    Due(Kind, Alarm),
}

impl<S: PartialEq, M> Agenda<S, M> {
    pub(super) fn new(state: S) -> Self {
        Self {
            state,
            queue: VecDeque::new(),
            postponed: VecDeque::new(),
            alarms: BTreeMap::new(),
            last: 0,
            changes: Vec::new(),
        }
    }

    pub(super) fn state(&self) -> &S {
        &self.state
    }

    pub(super) fn postponed(&self) -> usize {
        self.postponed.len()
    }

    /// What is to be done to the timers since this was asked last.
    pub(super) fn changes(&mut self) -> impl Iterator<Item = Change> {
        self.changes.drain(..)
    }

    /// Queues what came from outside.
    pub(super) fn arrives(&mut self, event: Event<M>) {
        self.queue.push_back(Waiting::Event(event));
    }

    /// Queues a timeout whose timer rang.
    pub(super) fn rings(&mut self, alarm: Alarm) {
        let kind = self.alarms.iter().find(|(_, running)| **running == alarm);
        if let Some((&kind, _)) = kind {
            self.queue.push_back(Waiting::Due(kind, alarm));
        }
    }

    /// Takes what is to be handled now, if anything waits here.
    pub(super) fn next(&mut self) -> Option<Event<M>> {
        let event = loop {
            match self.queue.pop_front()? {
                Waiting::Event(event) => break event,
                Waiting::Due(kind, alarm) if self.alarms.get(&kind) == Some(&alarm) => {
                    self.alarms.remove(&kind);
                    break kind.event();
                }
                Waiting::Due(..) => {}
            }
        };
        self.cancel(Kind::Event);
        Some(event)
    }

    /// Does what a transition says.
    pub(super) fn follow(&mut self, transition: Transition<S, M>) -> Step<S> {
        let Transition { way, postponed, raised, timeouts } = transition;
        self.postponed.extend(postponed);
        let step = match way {
            Way::Keep => Step::Stay,
            Way::Again => Step::Enter(Entry::Again),
            Way::To(state) if state == self.state => Step::Stay,
            Way::To(state) => {
                self.cancel(Kind::State);
                let postponed = mem::take(&mut self.postponed);
                self.put_in_front(postponed);
                Step::Enter(Entry::From(mem::replace(&mut self.state, state)))
            }
            Way::Stop(exit) => Step::Stop(exit),
        };
        self.put_in_front(raised.into_iter().map(Event::Raised).collect());
        self.set(timeouts);
        step
    }

    /// Sets and cancels timeouts. One of no time takes its place behind what waits here.
    pub(super) fn set(&mut self, timeouts: Timeouts) {
        for (kind, after) in timeouts.0 {
            self.cancel(kind);
            let Some(after) = after else { continue };
            self.last += 1;
            let alarm = Alarm(self.last);
            self.alarms.insert(kind, alarm);
            if after.is_zero() {
                self.queue.push_back(Waiting::Due(kind, alarm));
            } else {
                self.changes.push(Change::Arm(alarm, after));
            }
        }
    }

    fn cancel(&mut self, kind: Kind) {
        if let Some(alarm) = self.alarms.remove(&kind) {
            self.changes.push(Change::Disarm(alarm));
        }
    }

    fn put_in_front(&mut self, events: VecDeque<Event<M>>) {
        for event in events.into_iter().rev() {
            self.queue.push_front(Waiting::Event(event));
        }
    }
}

impl Kind {
    fn event<M>(self) -> Event<M> {
        match self {
            Self::State => Event::StateTimeout,
            Self::Event => Event::EventTimeout,
            Self::Named(name) => Event::Timeout(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    type Said = Transition<u8, u8>;

    fn agenda() -> Agenda<u8, u8> {
        Agenda::new(0)
    }

    fn changes(agenda: &mut Agenda<u8, u8>) -> Vec<Change> {
        agenda.changes().collect()
    }

    #[track_caller]
    fn comes(agenda: &mut Agenda<u8, u8>, expected: impl Debug) {
        assert_eq!(format!("{:?}", agenda.next()), format!("{expected:?}"));
    }

    const NOTHING: Option<Event<u8>> = None;

    #[test]
    fn a_timer_that_rings_under_an_old_number_is_not_heard() {
        let mut agenda = agenda();
        agenda.follow(Said::keep().timeout("tea", SOON));
        agenda.follow(Said::keep().timeout("tea", SOON));
        let (old, new) = (Alarm(1), Alarm(2));
        let renewed = [Change::Arm(old, SOON), Change::Disarm(old), Change::Arm(new, SOON)];
        assert_eq!(changes(&mut agenda), renewed);
        agenda.rings(old);
        comes(&mut agenda, NOTHING);
        agenda.rings(new);
        comes(&mut agenda, Some(Event::<u8>::Timeout("tea")));
        agenda.rings(new);
        comes(&mut agenda, NOTHING);
        assert_eq!(changes(&mut agenda), [], "one that rang needs no disarming");
    }

    #[test]
    fn one_that_rang_is_not_heard_when_it_is_cancelled_before_its_turn() {
        let mut agenda = agenda();
        agenda.follow(Said::keep().state_timeout(SOON));
        agenda.arrives(Event::Mail(7));
        agenda.rings(Alarm(1));
        comes(&mut agenda, Some(Event::Mail(7)));
        agenda.follow(Said::to(1));
        comes(&mut agenda, NOTHING);
    }

    #[test]
    fn a_state_s_timeout_that_is_set_with_the_change_belongs_to_the_new_state() {
        let mut agenda = agenda();
        agenda.follow(Said::keep().state_timeout(SOON));
        agenda.follow(Said::to(1).state_timeout(SOON));
        agenda.follow(Said::to(1));
        changes(&mut agenda);
        agenda.rings(Alarm(2));
        comes(&mut agenda, Some(Event::<u8>::StateTimeout));
    }

    /// What a machine does with a message, for each state and message.
    #[derive(Clone, Debug)]
    struct Act {
        to: Option<u8>,
        postpones: bool,
        raises: Vec<u8>,
    }

    const STATES: u8 = 3;
    const MESSAGES: u8 = 4;
    /// What is raised is another message than what is sent, and is only written down.
    const RAISED: u8 = 100;
    /// A machine may turn in circles.
    const STEPS_MAX: usize = 200;

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let raises = prop::collection::vec(RAISED..RAISED + 3, 0..3);
        let act = (prop::option::of(0..STATES), any::<bool>(), raises)
            .prop_map(|(to, postpones, raises)| Act { to, postpones, raises });
        prop::collection::vec(act, usize::from(STATES * MESSAGES))
    }

    fn act(acts: &[Act], state: u8, message: u8) -> Act {
        match message {
            RAISED.. => Act { to: None, postpones: false, raises: Vec::new() },
            message => acts[usize::from(state * MESSAGES + message)].clone(),
        }
    }

    /// What the machine handles, in which state, in which order.
    fn run(acts: &[Act], mail: &[u8]) -> Vec<(u8, u8)> {
        let (mut agenda, mut mail) = (agenda(), mail.iter());
        let mut handled = Vec::new();
        while handled.len() < STEPS_MAX {
            let Some(event) = agenda.next() else {
                let Some(mail) = mail.next() else { break };
                agenda.arrives(Event::Mail(*mail));
                continue;
            };
            let (Event::Mail(message) | Event::Raised(message)) = event else { unreachable!() };
            let state = *agenda.state();
            handled.push((state, message));
            let Act { to, postpones, raises } = act(acts, state, message);
            let mut said = to.map_or_else(Said::keep, Said::to);
            if postpones {
                said = said.postponing(Event::Mail(message));
            }
            agenda.follow(raises.into_iter().fold(said, Said::raising));
        }
        handled
    }

    /// The same by another thought: one list, of which the first ones are postponed.
    fn by_one_list(acts: &[Act], mail: &[u8]) -> Vec<(u8, u8)> {
        let (mut list, mut state, mut postponed) = (mail.to_vec(), 0, 0);
        let mut handled = Vec::new();
        while handled.len() < STEPS_MAX && postponed < list.len() {
            let message = list[postponed];
            handled.push((state, message));
            let Act { to, postpones, raises } = act(acts, state, message);
            if postpones {
                postponed += 1;
            } else {
                list.remove(postponed);
            }
            if let Some(to) = to.filter(|to| *to != state) {
                (state, postponed) = (to, 0);
            }
            list.splice(postponed..postponed, raises);
        }
        handled
    }

    proptest! {
        #[test]
        fn events_come_in_the_order_of_one_list_whose_front_is_postponed(
            acts in acts(),
            mail in prop::collection::vec(0..MESSAGES, 0..12),
        ) {
            prop_assert_eq!(run(&acts, &mail), by_one_list(&acts, &mail));
        }
    }
}
