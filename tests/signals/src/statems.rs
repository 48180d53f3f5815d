//! State machines. One machine, a door: shut it puts off who comes, open it lets them in.

use std::time::Duration;

use quorate_actor::{Addr, Exit, Message, ReplyTo};
use quorate_env::sleep;
use quorate_otp::{Context, Event, Statem, Timeouts, Transition};

use crate::stage::{Events, Note, Stage, all, oops, reason, scenarios, waver};

scenarios![
    statem_enters_its_first_state,
    statem_enters_a_new_state,
    statem_same_state_is_not_entered,
    statem_repeated_state_is_entered,
    statem_postpones_in_order,
    statem_postponed_come_before_the_mailbox,
    statem_postponed_wait_for_a_change,
    statem_same_state_is_no_change,
    statem_postponed_again,
    statem_state_timeout,
    statem_state_timeout_cancelled_by_a_change,
    statem_state_timeout_survives_events,
    statem_state_timeout_set_anew,
    statem_event_timeout,
    statem_event_timeout_cancelled_by_an_event,
    statem_generic_timeout_survives_a_change,
    statem_generic_timeout_cancelled,
    statem_generic_timeouts_by_name,
    statem_enter_before_postponed,
    statem_raised_before_postponed,
    statem_timeout_of_no_time,
    statem_stops_with_a_reason,
    statem_answers_a_call,
];

#[derive(Clone, Copy, PartialEq)]
enum Door {
    Shut,
    Ajar,
    Open,
}

impl Door {
    fn word(self) -> &'static str {
        match self {
            Self::Shut => "shut",
            Self::Ajar => "ajar",
            Self::Open => "open",
        }
    }
}

/// What a door is told.
enum Do {
    Nap(Duration),
    Go(Door),
    GoFor(Door, Duration),
    GoRaising(Door, [&'static str; 2]),
    Say(&'static str),
    Repeat,
    Stay(Duration),
    Quiet(Duration),
    Within(&'static str, Duration),
    Forget(&'static str),
    Stop(Exit),
    Visit(u64),
    Knock,
    Ask(ReplyTo<&'static str>),
}

impl Message for Do {}

struct Log(Addr<Note>);

impl Log {
    fn tell(&self, word: &str, state: Door) {
        // The scenario may be over.
        let _ = self.0.send(Note::Log(format!("{word} in {}", state.word())));
    }
}

impl Statem for Log {
    type State = Door;
    type Message = Do;
    type Args = Addr<Note>;

    async fn init(driver: Addr<Note>, _: &mut Context<Do>) -> Result<(Door, Self), Exit> {
        Ok((Door::Shut, Self(driver)))
    }

    async fn enter(
        &mut self,
        _: Option<&Door>,
        state: &Door,
        _: &mut Context<Do>,
    ) -> Result<Timeouts, Exit> {
        self.tell("enter", *state);
        Ok(Timeouts::none())
    }

    async fn handle(
        &mut self,
        state: &Door,
        event: Event<Do>,
        _: &mut Context<Do>,
    ) -> Transition<Door, Do> {
        waver().await;
        match event {
            Event::Mail(Do::Visit(_)) if *state != Door::Open => Transition::postpone(event),
            Event::Mail(message) => self.act(*state, message).await,
            Event::StateTimeout => self.note("late", *state),
            Event::EventTimeout => self.note("quiet", *state),
            Event::Timeout(name) => self.note(&format!("late {name}"), *state),
            Event::Raised(Do::Say(word)) => self.note(&format!("raised {word}"), *state),
            Event::Raised(_) | Event::News(_) => self.note("news", *state),
        }
    }

    async fn terminate(&mut self, state: &Door, exit: &Exit, _: &mut Context<Do>) {
        self.tell(&format!("terminate {}", reason(exit)), *state);
    }
}

impl Log {
    fn note(&self, word: &str, state: Door) -> Transition<Door, Do> {
        self.tell(word, state);
        Transition::keep()
    }

    async fn act(&self, state: Door, message: Do) -> Transition<Door, Do> {
        match message {
            Do::Nap(time) => {
                sleep(time).await;
                Transition::keep()
            }
            Do::Go(state) => Transition::to(state),
            Do::GoFor(state, time) => Transition::to(state).state_timeout(time),
            Do::GoRaising(state, words) => {
                let say = |raising: Transition<Door, Do>, word| raising.raising(Do::Say(word));
                words.into_iter().fold(Transition::to(state), say)
            }
            Do::Say(word) => self.note(word, state),
            Do::Repeat => Transition::again(),
            Do::Stay(time) => Transition::keep().state_timeout(time),
            Do::Quiet(time) => Transition::keep().event_timeout(time),
            Do::Within(name, time) => Transition::keep().timeout(name, time),
            Do::Forget(name) => Transition::keep().cancel(name),
            Do::Stop(exit) => Transition::stop(exit),
            Do::Visit(number) => self.note(&format!("visit {number}"), state),
            Do::Knock => self.note("knock", state),
            Do::Ask(to) => {
                to.send(state.word());
                Transition::keep()
            }
        }
    }
}

async fn machine(on: &Stage) -> Addr<Do> {
    Log::start(&on.actors(), on.me.addr()).await.expect("a door starts")
}

/// Sends all while the machine naps, so that they lie in its mailbox together; tells what it did.
async fn run(on: &mut Stage, events: impl IntoIterator<Item = Do>) -> Events {
    let machine = machine(on).await;
    for event in [Do::Nap(on.ms(50))].into_iter().chain(events) {
        machine.send(event).expect("the door lives");
    }
    on.settle().await;
    on.logged().await
}

/// As [`run`], until all timers of the scenario had their time.
async fn run_long(on: &mut Stage, events: impl IntoIterator<Item = Do>) -> Events {
    let first = run(on, events).await;
    all([first, on.logged().await, on.logged().await, on.logged().await])
}

async fn statem_enters_its_first_state(mut on: Stage) -> Events {
    machine(&on).await;
    on.logged().await
}

async fn statem_enters_a_new_state(mut on: Stage) -> Events {
    run(&mut on, [Do::Go(Door::Open), Do::Go(Door::Shut)]).await
}

async fn statem_same_state_is_not_entered(mut on: Stage) -> Events {
    run(&mut on, [Do::Go(Door::Shut)]).await
}

async fn statem_repeated_state_is_entered(mut on: Stage) -> Events {
    run(&mut on, [Do::Repeat]).await
}

async fn statem_postpones_in_order(mut on: Stage) -> Events {
    let visits = [Do::Visit(1), Do::Visit(2), Do::Visit(3), Do::Go(Door::Open)];
    run(&mut on, visits).await
}

async fn statem_postponed_come_before_the_mailbox(mut on: Stage) -> Events {
    let events = [Do::Visit(1), Do::Visit(2), Do::Go(Door::Open), Do::Visit(3), Do::Knock];
    run(&mut on, events).await
}

async fn statem_postponed_wait_for_a_change(mut on: Stage) -> Events {
    run(&mut on, [Do::Visit(1), Do::Knock, Do::Knock]).await
}

async fn statem_same_state_is_no_change(mut on: Stage) -> Events {
    run(&mut on, [Do::Visit(1), Do::Go(Door::Shut), Do::Knock, Do::Go(Door::Open)]).await
}

async fn statem_postponed_again(mut on: Stage) -> Events {
    let events = [Do::Visit(1), Do::Go(Door::Ajar), Do::Visit(2), Do::Knock, Do::Go(Door::Open)];
    run(&mut on, events).await
}

async fn statem_state_timeout(mut on: Stage) -> Events {
    let late = on.ms(10);
    run_long(&mut on, [Do::GoFor(Door::Open, late)]).await
}

async fn statem_state_timeout_cancelled_by_a_change(mut on: Stage) -> Events {
    let late = on.ms(40);
    run_long(&mut on, [Do::GoFor(Door::Open, late), Do::Go(Door::Shut)]).await
}

async fn statem_state_timeout_survives_events(mut on: Stage) -> Events {
    let late = on.ms(30);
    run_long(&mut on, [Do::Stay(late), Do::Knock]).await
}

async fn statem_state_timeout_set_anew(mut on: Stage) -> Events {
    let (late, later) = (on.ms(10), on.ms(40));
    run_long(&mut on, [Do::Stay(late), Do::Stay(later)]).await
}

async fn statem_event_timeout(mut on: Stage) -> Events {
    let quiet = on.ms(10);
    run_long(&mut on, [Do::Quiet(quiet)]).await
}

async fn statem_event_timeout_cancelled_by_an_event(mut on: Stage) -> Events {
    let quiet = on.ms(30);
    run_long(&mut on, [Do::Quiet(quiet), Do::Knock]).await
}

async fn statem_generic_timeout_survives_a_change(mut on: Stage) -> Events {
    let late = on.ms(30);
    run_long(&mut on, [Do::Within("a", late), Do::Go(Door::Open), Do::Knock]).await
}

async fn statem_generic_timeout_cancelled(mut on: Stage) -> Events {
    let late = on.ms(30);
    run_long(&mut on, [Do::Within("a", late), Do::Forget("a")]).await
}

async fn statem_generic_timeouts_by_name(mut on: Stage) -> Events {
    let (late, early) = (on.ms(80), on.ms(20));
    run_long(&mut on, [Do::Within("a", late), Do::Within("b", early)]).await
}

async fn statem_enter_before_postponed(mut on: Stage) -> Events {
    run(&mut on, [Do::Visit(1), Do::Go(Door::Open), Do::Go(Door::Shut)]).await
}

async fn statem_stops_with_a_reason(mut on: Stage) -> Events {
    let a = machine(&on).await;
    let monitor = on.me.monitor(a.pid());
    a.send(Do::Stop(oops())).expect("the door lives");
    on.ended("", monitor).await
}

async fn statem_answers_a_call(on: Stage) -> Events {
    let a = machine(&on).await;
    let ask = async || a.call(on.ms(5000), Do::Ask).await.expect("it answers").to_owned();
    let first = ask().await;
    a.send(Do::Go(Door::Open)).expect("the door lives");
    vec![first, ask().await]
}

async fn statem_raised_before_postponed(mut on: Stage) -> Events {
    let raised = ["first", "second"];
    run(&mut on, [Do::Visit(1), Do::GoRaising(Door::Open, raised), Do::Knock]).await
}

async fn statem_timeout_of_no_time(mut on: Stage) -> Events {
    run(&mut on, [Do::Visit(1), Do::GoFor(Door::Open, Duration::ZERO), Do::Knock]).await
}
