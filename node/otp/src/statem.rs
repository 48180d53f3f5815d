//! State machines: a server whose answers depend on the state that it is in.
//!
//! A machine is a state (an enum of the user's) and data (`self`). Each event is handled in the present state
//! and answered by a [`Transition`]: to which state, what is postponed or raised, which timeouts run. In
//! which order events then come is [`agenda`]'s, and is Erlang's:
//!
//! 1. what was raised, in the order in which it was raised;
//! 2. after a change of state, what was postponed, oldest first; then what was in the queue before;
//! 3. timeouts of no time;
//! 4. the mailbox.
//!
//! Upon each entry into a state, also the first, [`Statem::enter`] is called before any event.

mod agenda;
mod transition;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::{Future, ready};

use quorate_actor::{Actors, Addr, Exit, Mailbox, Message, Timer};
use quorate_vocab::Ref;

use crate::context::Input;
use crate::start::{self, unbox};
use crate::{Context, News, Start, StartError};
use agenda::{Agenda, Alarm, Entry, Step};
pub use transition::{Event, Timeouts, Transition};

/// A process that is a state machine. The implementing type is its data.
pub trait Statem: Sized + Send + 'static {
    /// The states that it may be in. A transition to an equal state is none.
    type State: PartialEq + Send + Sync + 'static;
    /// What it understands.
    type Message: Message;
    /// What it is made from.
    type Args: Send + 'static;

    /// The most events that may be postponed at a time. One more ends the machine: to drop one would break a
    /// promise, and to keep all would let a machine that never changes its state take all memory.
    const POSTPONED_MAX: usize = 65_536;

    /// Makes the first state and the data. Who starts it waits for that, and is told by an error why it could
    /// not be.
    fn init(
        args: Self::Args,
        cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Result<(Self::State, Self), Exit>> + Send;

    /// Called upon entering `state`: the first one (`from` nothing), another than before, or the same once
    /// more where a transition says so. It starts timeouts, or ends the machine.
    fn enter(
        &mut self,
        _from: Option<&Self::State>,
        _state: &Self::State,
        _cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Result<Timeouts, Exit>> + Send {
        ready(Ok(Timeouts::none()))
    }

    /// Handles an event in a state.
    fn handle(
        &mut self,
        state: &Self::State,
        event: Event<Self::Message>,
        cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = Transition<Self::State, Self::Message>> + Send;

    /// Its last words in its last state; called where [`Server::terminate`](crate::Server::terminate) is.
    fn terminate(
        &mut self,
        _state: &Self::State,
        _exit: &Exit,
        _cx: &mut Context<Self::Message>,
    ) -> impl Future<Output = ()> + Send {
        ready(())
    }

    /// Starts it under nobody. Its parent is the outside.
    fn start(
        actors: &Actors,
        args: Self::Args,
    ) -> impl Future<Output = Result<Addr<Self::Message>, StartError>> + Send {
        Self::start_with(actors, Start::default(), args)
    }

    /// As [`start`](Self::start), with a name, a bound or a mailbox of its own.
    fn start_with(
        actors: &Actors,
        how: Start,
        args: Self::Args,
    ) -> impl Future<Output = Result<Addr<Self::Message>, StartError>> + Send {
        let args = Box::new(args);
        start::start(actors, how, |cx| live::<Self>(args, cx))
    }

    /// Starts it linked to the process that has this mailbox, which becomes its parent.
    fn start_link<P: Message>(
        parent: &mut Mailbox<P>,
        args: Self::Args,
    ) -> impl Future<Output = Result<Addr<Self::Message>, StartError>> + Send {
        Self::start_link_with(parent, Start::default(), args)
    }

    /// As [`start_link`](Self::start_link), with a name, a bound or a mailbox of its own.
    fn start_link_with<P: Message>(
        parent: &mut Mailbox<P>,
        how: Start,
        args: Self::Args,
    ) -> impl Future<Output = Result<Addr<Self::Message>, StartError>> + Send {
        let args = Box::new(args);
        start::start_link(parent, how, |cx| live::<Self>(args, cx))
    }
}

/// A machine's whole life. Why it is a block, `server` says.
#[expect(clippy::manual_async_fn, reason = "it is smaller so")]
fn live<S: Statem>(
    args: Box<S::Args>,
    mut cx: Context<S::Message>,
) -> impl Future<Output = Exit> + Send {
    async move {
        if let Err(exit) = cx.begin() {
            return exit;
        }
        let (state, data) = match S::init(unbox(args), &mut cx).await {
            Ok(begun) => begun,
            Err(exit) => return cx.refuse(StartError::Ended { exit }),
        };
        cx.is_ready();
        let mut machine = Machine { data, agenda: Agenda::new(state), alarms: Alarms::default() };
        let exit = match machine.run(&mut cx).await {
            Err(exit) => exit,
            Ok(never) => match never {},
        };
        machine.data.terminate(machine.agenda.state(), &exit, &mut cx).await;
        exit
    }
}

struct Machine<S: Statem> {
    data: S,
    agenda: Agenda<S::State, S::Message>,
    alarms: Alarms,
}

impl<S: Statem> Machine<S> {
    /// Runs until it has a reason to end.
    async fn run(&mut self, cx: &mut Context<S::Message>) -> Result<Infallible, Exit> {
        self.enter(Entry::First, cx).await?;
        loop {
            let event = self.event(cx).await?;
            let transition = self.data.handle(self.agenda.state(), event, cx).await;
            match self.agenda.follow(transition) {
                Step::Stay => {}
                Step::Enter(entry) => self.enter(entry, cx).await?,
                Step::Stop(exit) => return Err(exit),
            }
            if self.agenda.postponed() > S::POSTPONED_MAX {
                return Err(Exit::because("it postponed too many events"));
            }
        }
    }

    async fn enter(
        &mut self,
        entry: Entry<S::State>,
        cx: &mut Context<S::Message>,
    ) -> Result<(), Exit> {
        let state = self.agenda.state();
        let from = match &entry {
            Entry::First => None,
            Entry::Again => Some(state),
            Entry::From(from) => Some(from),
        };
        let timeouts = self.data.enter(from, state, cx).await?;
        self.agenda.set(timeouts);
        Ok(())
    }

    /// What is to be handled next: of the agenda, or else of the mailbox.
    async fn event(&mut self, cx: &mut Context<S::Message>) -> Result<Event<S::Message>, Exit> {
        loop {
            let next = self.agenda.next();
            self.alarms.follow(self.agenda.changes(), cx);
            if let Some(event) = next {
                return Ok(event);
            }
            let incoming = cx.next().await;
            let event = match cx.sort(incoming) {
                Input::Mail(message) => Event::Mail(message),
                Input::Parent(exit) => return Err(exit),
                Input::News(News::Timeout(timer)) => match self.alarms.rings(timer) {
                    Rings::Now(alarm) => {
                        self.agenda.rings(alarm);
                        continue;
                    }
                    Rings::Late => continue,
                    Rings::Elsewhere => Event::News(News::Timeout(timer)),
                },
                Input::News(news) => Event::News(news),
            };
            self.agenda.arrives(event);
        }
    }
}

/// The timers behind the timeouts.
#[derive(Default)]
struct Alarms {
    running: BTreeMap<Alarm, (Ref, Timer)>,
    /// Cancelled when they lay in the mailbox already; each is dropped as it comes out.
    late: BTreeSet<Ref>,
}

/// Whose timer came out of the mailbox.
enum Rings {
    Now(Alarm),
    /// Of a timeout that was cancelled meanwhile.
    Late,
    /// Of no timeout of ours; the user's own.
    Elsewhere,
}

impl Alarms {
    fn follow<M: Message>(
        &mut self,
        changes: impl Iterator<Item = agenda::Change>,
        cx: &Context<M>,
    ) {
        for change in changes {
            match change {
                agenda::Change::Arm(alarm, after) => {
                    self.running.insert(alarm, cx.timeout_after(after));
                }
                agenda::Change::Disarm(alarm) => {
                    if let Some((timer, handle)) = self.running.remove(&alarm)
                        && !handle.cancel()
                    {
                        self.late.insert(timer);
                    }
                }
            }
        }
    }

    fn rings(&mut self, timer: Ref) -> Rings {
        if self.late.remove(&timer) {
            return Rings::Late;
        }
        // A machine has few timeouts; a second index would cost more than it saves.
        let found = self.running.iter().find(|(_, (running, _))| *running == timer);
        let Some(alarm) = found.map(|(alarm, _)| *alarm) else { return Rings::Elsewhere };
        self.running.remove(&alarm);
        Rings::Now(alarm)
    }
}
