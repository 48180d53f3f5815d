//! What a fencer decides about a command in its charge: when it is asked to end, when it is killed, and what
//! is told of its end. Pure: time and events come in, deeds go out.
//!
//! Once the end has begun there is no way back: a renewal that comes after a deadline is refused, since
//! whoever sent it may not count on a command that was asked to end. One that was asked to end in peace,
//! while its lease goes on, has the time that it was given for that: a renewal moves its killing up to there.

use std::time::Duration;

use quorate_vocab::Time;
use rustix::process::Signal;

use crate::words::{NEVER, Order};

/// How long after a killing it is looked again whether anything lives.
const KILL_AGAIN: Duration = Duration::from_millis(5);

/// Until when a command may run, by this machine's `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Until {
    /// Here the whole tree is asked to end.
    pub term_at: Time,
    /// Here it is killed.
    pub kill_at: Time,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this code.
    Exited(u8),
    /// By this signal.
    Signaled(i32),
}

/// Why a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It did so by itself.
    Itself,
    /// Its time was over.
    Deadline,
    /// Its parent asked for it.
    Asked,
    /// Its parent was gone, so nobody would have renewed for it.
    ParentDied,
    /// Its fencer was gone, so nobody would have ended it in time.
    FencerDied,
}

/// What happens to a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    Ordered(Order),
    ParentGone,
    /// The command itself ended; others of its tree may live.
    Exited(Status),
    /// Nothing of the tree is left.
    Empty,
    /// The deadline was waited for.
    Tick,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Whether the order was taken.
    Answer(bool),
    /// A signal for the command's group.
    Pass(i32),
    /// A polite signal for the whole tree.
    Ask(Signal),
    /// The end of the whole tree.
    Kill,
    /// All is over.
    Tell(Status, Why),
}

/// A command in a fencer's charge.
#[derive(Debug)]
pub(crate) struct Charge {
    until: Until,
    /// When what was asked to end is killed, whatever is renewed.
    stop_at: Time,
    /// Why the end has begun, if it has.
    why: Option<Why>,
    status: Option<Status>,
    killed_at: Option<Time>,
}

impl Charge {
    pub(crate) fn new(until: Until) -> Self {
        Self { until, stop_at: NEVER, why: None, status: None, killed_at: None }
    }

    pub(crate) fn step(&mut self, now: Time, input: Input, out: &mut Vec<Deed>) {
        // First what was due before: an order that was read late does not undo a deadline.
        self.keep_time(now, out);
        match input {
            Input::Ordered(order) => self.obey(now, order, out),
            Input::ParentGone => self.kill(now, Why::ParentDied, out),
            Input::Exited(status) => {
                self.status.get_or_insert(status);
                self.kill(now, Why::Itself, out);
            }
            Input::Empty => {
                if let (Some(status), Some(why)) = (self.status, self.why) {
                    out.push(Deed::Tell(status, why));
                }
            }
            Input::Tick => {}
        }
        self.keep_time(now, out);
    }

    /// When to come back at the latest.
    pub(crate) fn deadline(&self) -> Time {
        match (self.killed_at, self.why) {
            (Some(at), _) => at + KILL_AGAIN,
            (None, Some(_)) => self.until.kill_at,
            (None, None) => self.until.term_at.min(self.until.kill_at),
        }
    }

    fn obey(&mut self, now: Time, order: Order, out: &mut Vec<Deed>) {
        let taken = match order {
            Order::Until(until) if self.why.is_none() => {
                self.until = until;
                true
            }
            Order::Until(until) if self.why == Some(Why::Asked) && self.killed_at.is_none() => {
                self.until.kill_at = until.kill_at.min(self.stop_at);
                true
            }
            Order::Until(_) | Order::Release => false,
            Order::Signal(number) => {
                out.push(Deed::Pass(number));
                true
            }
            Order::Stop { grace } => {
                if self.why.is_none() {
                    self.why = Some(Why::Asked);
                    out.push(Deed::Ask(Signal::TERM));
                }
                self.stop_at = self.stop_at.min(now + grace);
                self.until.kill_at = self.until.kill_at.min(self.stop_at);
                true
            }
        };
        out.push(Deed::Answer(taken));
    }

    fn keep_time(&mut self, now: Time, out: &mut Vec<Deed>) {
        if self.why.is_none() && now >= self.until.term_at {
            self.why = Some(Why::Deadline);
            out.push(Deed::Ask(Signal::TERM));
        }
        let again = self.killed_at.is_some_and(|at| now >= at + KILL_AGAIN);
        if again || (self.killed_at.is_none() && now >= self.until.kill_at) {
            self.kill(now, Why::Deadline, out);
        }
    }

    fn kill(&mut self, now: Time, why: Why, out: &mut Vec<Deed>) {
        self.why.get_or_insert(why);
        self.killed_at = Some(now);
        out.push(Deed::Kill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNTIL: Until = Until { term_at: Time(100), kill_at: Time(200) };

    fn steps(charge: &mut Charge, now: u64, input: Input) -> Vec<Deed> {
        let mut out = Vec::new();
        charge.step(Time(now), input, &mut out);
        out
    }

    fn until(term_at: u64, kill_at: u64) -> Input {
        let until = Until { term_at: Time(term_at), kill_at: Time(kill_at) };
        Input::Ordered(Order::Until(until))
    }

    #[test]
    fn it_is_asked_at_the_first_deadline_and_killed_at_the_second() {
        let mut charge = Charge::new(UNTIL);
        assert_eq!(charge.deadline(), Time(100));
        assert_eq!(steps(&mut charge, 99, Input::Tick), []);
        assert_eq!(steps(&mut charge, 100, Input::Tick), [Deed::Ask(Signal::TERM)]);
        assert_eq!(charge.deadline(), Time(200));
        assert_eq!(steps(&mut charge, 200, Input::Tick), [Deed::Kill]);
        let again = charge.deadline();
        assert_eq!(steps(&mut charge, again.0, Input::Tick), [Deed::Kill], "it was not gone");
        let died = Status::Signaled(9);
        steps(&mut charge, again.0, Input::Exited(died));
        assert_eq!(steps(&mut charge, again.0, Input::Empty), [Deed::Tell(died, Why::Deadline)]);
    }

    #[test]
    fn a_renewal_moves_both_deadlines_and_one_that_is_late_is_refused() {
        let mut charge = Charge::new(UNTIL);
        assert_eq!(steps(&mut charge, 50, until(300, 400)), [Deed::Answer(true)]);
        assert_eq!(steps(&mut charge, 299, Input::Tick), []);
        // It was sent in time and read too late.
        let late = steps(&mut charge, 300, until(500, 600));
        assert_eq!(late, [Deed::Ask(Signal::TERM), Deed::Answer(false)]);
        assert_eq!(charge.deadline(), Time(400));
    }

    #[test]
    fn a_shorter_time_is_taken_as_well_and_may_be_over_already() {
        let mut charge = Charge::new(UNTIL);
        let deeds = steps(&mut charge, 50, until(10, 20));
        assert_eq!(deeds, [Deed::Answer(true), Deed::Ask(Signal::TERM), Deed::Kill]);
    }

    #[test]
    fn what_ends_by_itself_takes_its_tree_along_and_is_told_once_that_is_empty() {
        let mut charge = Charge::new(UNTIL);
        assert_eq!(steps(&mut charge, 5, Input::Empty), [], "nothing ended yet");
        assert_eq!(steps(&mut charge, 5, Input::Exited(Status::Exited(7))), [Deed::Kill]);
        let told = steps(&mut charge, 6, Input::Empty);
        assert_eq!(told, [Deed::Tell(Status::Exited(7), Why::Itself)]);
    }

    #[test]
    fn a_stop_gives_grace_but_never_more_than_there_was() {
        for (grace, kill_at) in [(20, 70), (1_000, 200)] {
            let mut charge = Charge::new(UNTIL);
            let stop = Order::Stop { grace: Duration::from_nanos(grace) };
            let deeds = steps(&mut charge, 50, Input::Ordered(stop));
            assert_eq!(deeds, [Deed::Ask(Signal::TERM), Deed::Answer(true)]);
            assert_eq!(charge.deadline(), Time(kill_at));
        }
    }

    #[test]
    fn one_that_was_asked_to_end_has_its_time_for_as_long_as_it_is_renewed() {
        let mut charge = Charge::new(UNTIL);
        let stop = |grace| Input::Ordered(Order::Stop { grace: Duration::from_nanos(grace) });
        assert_eq!(steps(&mut charge, 10, stop(500))[1], Deed::Answer(true));
        assert_eq!(charge.deadline(), Time(200));
        for (now, kill_at, deadline) in [(90, 300, 300), (150, 900, 510), (160, 400, 400)] {
            assert_eq!(steps(&mut charge, now, until(kill_at, kill_at)), [Deed::Answer(true)]);
            assert_eq!(charge.deadline(), Time(deadline));
        }
        steps(&mut charge, 170, stop(100));
        steps(&mut charge, 180, until(900, 900));
        assert_eq!(charge.deadline(), Time(270));
        assert_eq!(steps(&mut charge, 270, until(900, 900)), [Deed::Kill, Deed::Answer(false)]);
    }

    #[test]
    fn without_a_parent_it_is_killed_at_once() {
        let mut charge = Charge::new(UNTIL);
        assert_eq!(steps(&mut charge, 1, Input::ParentGone), [Deed::Kill]);
        steps(&mut charge, 2, Input::Exited(Status::Signaled(9)));
        let told = steps(&mut charge, 2, Input::Empty);
        assert_eq!(told, [Deed::Tell(Status::Signaled(9), Why::ParentDied)]);
    }
}
