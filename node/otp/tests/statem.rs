//! State machines: the order of their events, their timeouts, and how they end.

use crate::stories;

use std::time::Duration;

use quorate_actor::{Actors, Addr, CallError, Exit, Mailbox, Message, ReplyTo};
use quorate_env::sleep;
use quorate_otp::{Context, Event, News, StartError, Statem, Timeouts, Transition};
use stories::{LONG, Log, in_process, story};
use tokio::sync::oneshot;

/// Long enough that what a test does in a row is done before it, also where a busy machine stops it in
/// between.
const SOON: Duration = Duration::from_millis(400);
const LATER: Duration = Duration::from_millis(1_200);

/// A machine whose events say what it does; it writes down what happens to it.
struct Puppet {
    log: Log,
    entered: fn(&str) -> Result<Timeouts, Exit>,
}

type State = &'static str;
type Then = Transition<State, Do>;
type Step = Box<dyn FnOnce(&mut Context<Do>) -> Then + Send>;

enum Do {
    /// It does this.
    Step(Step),
    /// It is busy until it is let go, and then does this.
    Busy(oneshot::Receiver<()>, Box<dyn FnOnce() -> Then + Send>),
    /// It writes this down.
    Note(u32),
    /// It writes this down where it is open, and postpones it elsewhere.
    Hold(u32),
    /// As `Hold`, and it answers.
    Ask(ReplyTo<State>),
    /// It writes down its state for whom it may concern.
    Sync(ReplyTo<State>),
}

impl Message for Do {}

impl Statem for Puppet {
    type State = State;
    type Message = Do;
    type Args = Self;

    const POSTPONED_MAX: usize = 100;

    async fn init(puppet: Self, cx: &mut Context<Do>) -> Result<(State, Self), Exit> {
        cx.trap_exit(true);
        Ok(("shut", puppet))
    }

    async fn enter(
        &mut self,
        from: Option<&State>,
        state: &State,
        _cx: &mut Context<Do>,
    ) -> Result<Timeouts, Exit> {
        self.log.add(format!("{} to {state}", from.unwrap_or(&"nothing")));
        (self.entered)(state)
    }

    async fn handle(&mut self, state: &State, event: Event<Do>, cx: &mut Context<Do>) -> Then {
        match event {
            Event::Mail(Do::Hold(_) | Do::Ask(_)) if *state != "open" => {
                return Transition::postpone(event);
            }
            Event::Mail(Do::Step(step)) => return step(cx),
            Event::Mail(Do::Busy(let_go, step)) => {
                let_go.await.expect("it is let go");
                return step();
            }
            Event::Mail(Do::Note(n)) => self.log.add(format!("note {n}")),
            Event::Mail(Do::Hold(n)) => self.log.add(format!("held {n}")),
            Event::Mail(Do::Ask(reply)) => reply.send(state),
            Event::Mail(Do::Sync(reply)) => reply.send(state),
            Event::Raised(Do::Note(n)) => self.log.add(format!("raised {n}")),
            Event::Raised(_) => self.log.add("raised"),
            Event::News(News::Down(down)) => self.log.add(format!("down: {}", down.exit)),
            Event::News(News::Timeout(_)) => self.log.add("its own timer"),
            Event::News(News::Exited(trapped)) => self.log.add(format!("exit {}", trapped.exit)),
            Event::StateTimeout => self.log.add(format!("state timeout in {state}")),
            Event::EventTimeout => self.log.add(format!("event timeout in {state}")),
            Event::Timeout("open") => return Transition::to("open"),
            Event::Timeout(name) => self.log.add(format!("timeout {name} in {state}")),
        }
        Transition::keep()
    }

    async fn terminate(&mut self, state: &State, exit: &Exit, _cx: &mut Context<Do>) {
        self.log.add(format!("terminate in {state}: {exit}"));
    }
}

async fn puppet(actors: &Actors, log: &Log) -> Addr<Do> {
    puppet_that(actors, log, |_| Ok(Timeouts::none())).await
}

async fn puppet_that(
    actors: &Actors,
    log: &Log,
    entered: fn(&str) -> Result<Timeouts, Exit>,
) -> Addr<Do> {
    Puppet::start(actors, Puppet { log: log.clone(), entered }).await.unwrap()
}

/// Sends it a step.
fn step(to: &Addr<Do>, step: impl FnOnce(&mut Context<Do>) -> Then + Send + 'static) {
    to.send(Do::Step(Box::new(step))).unwrap();
}

/// Keeps it busy, so that what is sent next lies in its mailbox, until it is let go and does this.
fn busy(to: &Addr<Do>, then: impl FnOnce() -> Then + Send + 'static) -> oneshot::Sender<()> {
    let (let_go, gone) = oneshot::channel();
    to.send(Do::Busy(gone, Box::new(then))).unwrap();
    let_go
}

async fn state(of: &Addr<Do>) -> State {
    of.call(LONG, Do::Sync).await.unwrap()
}

#[test]
fn what_was_postponed_comes_first_after_a_change_of_state_and_oldest_first() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet(&actors, &log).await;
        let let_go = busy(&machine, Transition::keep);
        for n in [1, 2] {
            machine.send(Do::Hold(n)).unwrap();
        }
        machine.send(Do::Note(3)).unwrap();
        step(&machine, |_| Transition::to("open"));
        machine.send(Do::Note(4)).unwrap();
        let_go.send(()).unwrap();
        assert_eq!(state(&machine).await, "open");
        log.says(&["nothing to shut", "note 3", "shut to open", "held 1", "held 2", "note 4"]);
    });
}

#[test]
fn what_is_postponed_again_keeps_its_place_and_no_change_brings_nothing_back() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet(&actors, &log).await;
        machine.send(Do::Hold(1)).unwrap();
        machine.send(Do::Hold(2)).unwrap();
        step(&machine, |_| Transition::to("ajar"));
        machine.send(Do::Hold(3)).unwrap();
        step(&machine, |_| Transition::to("ajar"));
        step(&machine, |_| Transition::again());
        machine.send(Do::Note(4)).unwrap();
        step(&machine, |_| Transition::to("open"));
        assert_eq!(state(&machine).await, "open");
        log.says(&[
            "nothing to shut",
            "shut to ajar",
            "ajar to ajar",
            "note 4",
            "ajar to open",
            "held 1",
            "held 2",
            "held 3",
        ]);
    });
}

#[test]
fn what_is_raised_comes_before_what_was_postponed_and_in_its_order() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet(&actors, &log).await;
        machine.send(Do::Hold(1)).unwrap();
        let let_go =
            busy(&machine, || Transition::to("open").raising(Do::Note(2)).raising(Do::Note(3)));
        machine.send(Do::Note(4)).unwrap();
        let_go.send(()).unwrap();
        state(&machine).await;
        log.says(&["nothing to shut", "shut to open", "raised 2", "raised 3", "held 1", "note 4"]);
    });
}

#[test]
fn a_call_that_is_postponed_is_answered_when_its_state_has_come() {
    story(async |actors: Actors| {
        let machine = puppet(&actors, &Log::default()).await;
        let mut asked = std::pin::pin!(machine.call(LONG, Do::Ask));
        assert!(quorate_env::timeout(SOON, &mut asked).await.is_err());
        step(&machine, |_| Transition::to("open"));
        assert_eq!(asked.await, Ok("open"));
    });
}

#[test]
fn a_state_s_timeout_ends_with_the_state_even_when_it_lies_in_the_mailbox() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet(&actors, &log).await;
        step(&machine, |_| Transition::keep().state_timeout(SOON));
        state(&machine).await;
        let let_go = busy(&machine, || Transition::to("open"));
        rung(&actors).await;
        let_go.send(()).unwrap();
        // Behind the timeout, which lies in the mailbox.
        machine.send(Do::Note(1)).unwrap();
        step(&machine, |_| Transition::keep().state_timeout(SOON));
        log.ends_with("state timeout in open").await;
        rung(&actors).await;
        state(&machine).await;
        log.says(&["nothing to shut", "shut to open", "note 1", "state timeout in open"]);
    });
}

/// Waits until no timer is set any more.
async fn rung(actors: &Actors) {
    while actors.counts().timers > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn any_event_ends_the_timeout_of_events() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet(&actors, &log).await;
        let let_go = busy(&machine, || Transition::keep().event_timeout(SOON));
        machine.send(Do::Note(1)).unwrap();
        let_go.send(()).unwrap();
        state(&machine).await;
        assert_eq!(actors.counts().timers, 0, "the note was before it and has cancelled it");
        step(&machine, |_| Transition::keep().event_timeout(SOON));
        log.ends_with("event timeout in shut").await;
        log.says(&["nothing to shut", "note 1", "event timeout in shut"]);
    });
}

#[test]
fn a_named_timeout_outlives_its_state_and_begins_anew_when_it_is_set_again() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet(&actors, &log).await;
        step(&machine, |_| Transition::to("ajar").timeout("tea", SOON).timeout("cake", LONG));
        step(&machine, |_| Transition::to("shut").timeout("lamp", SOON));
        step(&machine, |_| Transition::keep().cancel("cake").timeout("lamp", LONG));
        step(&machine, |_| Transition::keep().timeout("lamp", LATER));
        state(&machine).await;
        log.ends_with("timeout lamp in shut").await;
        rung(&actors).await;
        log.says(&[
            "nothing to shut",
            "shut to ajar",
            "ajar to shut",
            "timeout tea in shut",
            "timeout lamp in shut",
        ]);
    });
}

#[test]
fn a_timeout_of_no_time_comes_after_what_waits_and_before_the_mailbox() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet(&actors, &log).await;
        machine.send(Do::Hold(1)).unwrap();
        let let_go = busy(&machine, || {
            Transition::to("open")
                .raising(Do::Note(2))
                .state_timeout(Duration::ZERO)
                .event_timeout(Duration::ZERO)
                .timeout("tea", Duration::ZERO)
        });
        machine.send(Do::Note(3)).unwrap();
        let_go.send(()).unwrap();
        state(&machine).await;
        log.says(&[
            "nothing to shut",
            "shut to open",
            "raised 2",
            "held 1",
            "state timeout in open",
            "timeout tea in open",
            "note 3",
        ]);
    });
}

#[test]
fn entering_a_state_sets_its_timeouts_or_ends_the_machine() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet_that(&actors, &log, |state| match state {
            "shut" => Ok(Timeouts::none().state(SOON).named("open", LATER)),
            _ => Err(Exit::because("no hinges")),
        })
        .await;
        assert_eq!(actors.ended(machine.pid()).await, Exit::because("no hinges"));
        log.says(&[
            "nothing to shut",
            "state timeout in shut",
            "shut to open",
            "terminate in open: no hinges",
        ]);
    });
}

#[test]
fn news_and_timers_of_its_own_come_as_news() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet(&actors, &log).await;
        step(&machine, |cx| {
            cx.timeout_after(SOON);
            Transition::keep()
        });
        log.ends_with("its own timer").await;
        let friend = actors.spawn(|mut mailbox: Mailbox<()>| async move {
            mailbox.receive().await;
            Exit::Normal
        });
        let pid = friend.pid();
        step(&machine, move |cx| {
            cx.monitor(pid);
            Transition::keep()
        });
        state(&machine).await;
        friend.send(()).unwrap();
        log.ends_with("down: normal").await;
    });
}

#[test]
fn it_ends_by_a_stop_or_with_its_parent_and_says_its_last_words() {
    story(async |actors: Actors| {
        let log = Log::default();
        let machine = puppet(&actors, &log).await;
        let ended = actors.ended(machine.pid());
        step(&machine, |_| Transition::stop(Exit::because("rust")));
        assert_eq!(ended.await, Exit::because("rust"));
        log.says(&["nothing to shut", "terminate in shut: rust"]);

        let log = Log::default();
        let (tell, told) = oneshot::channel();
        let logged = log.clone();
        let (_, exit) = in_process(&actors, async move |mut me: Mailbox<()>| {
            let puppet = Puppet { log: logged, entered: |_| Ok(Timeouts::none()) };
            let machine = Puppet::start_link(&mut me, puppet).await.unwrap();
            tell.send(me.actors().ended(machine.pid())).map_err(drop).unwrap();
        })
        .await;
        assert_eq!(exit, Exit::Normal);
        assert_eq!(told.await.unwrap().await, Exit::Normal);
        log.says(&["nothing to shut", "terminate in shut: normal"]);
    });
}

#[test]
fn a_machine_that_postpones_without_end_ends_and_its_callers_know() {
    story(async |actors: Actors| {
        let machine = puppet(&actors, &Log::default()).await;
        let ended = actors.ended(machine.pid());
        let asked = machine.call(LONG, Do::Ask);
        let flood = async {
            for n in 0..100 {
                let _ = machine.send(Do::Hold(n));
            }
        };
        let (asked, ()) = tokio::join!(asked, flood);
        assert_eq!(asked, Err(CallError::NoReply));
        assert_eq!(ended.await, Exit::because("it postponed too many events"));
    });
}

/// A machine that cannot begin.
struct Broken;

impl Statem for Broken {
    type State = ();
    type Message = ();
    type Args = ();

    async fn init((): (), _cx: &mut Context<()>) -> Result<((), Self), Exit> {
        Err(Exit::because("broken"))
    }

    async fn handle(&mut self, (): &(), _: Event<()>, _: &mut Context<()>) -> Transition<(), ()> {
        Transition::keep()
    }
}

#[test]
fn one_that_cannot_begin_tells_its_starter() {
    story(async |actors: Actors| {
        let why = StartError::Ended { exit: Exit::because("broken") };
        assert_eq!(Broken::start(&actors, ()).await.unwrap_err(), why);
    });
}
