//! One process: a body that is driven until it returns, panics or is told to end, the gate through which all
//! comes that reaches it, and its desk, on which lies what it has taken in.
//!
//! Its end comes in a fixed order: the body is dropped, the gate is closed and the mailbox emptied (both tell
//! the callers that it owed an answer), it leaves the table and its names, and only then are its links and
//! watchers told. So whoever knows of an exit can reach the process no more.
//!
//! Unsafe code, with one invariant: `body` and `desk` are touched only by the holder of the turn that the
//! gate gives out, one at a time, and by the process's own code inside of its run, which is within that turn.
#![expect(
    unsafe_code,
    reason = "what only the holder of the turn touches has no lock; docs/adr/0007"
)]

use std::any::Any;
use std::cell::UnsafeCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering, fence};
use std::task::{Context, Poll};

use futures_util::task::{ArcWake, waker_ref};
use quorate_vocab::{NodeId, Pid, Ref};

use crate::chain::{Chain, Link};
use crate::gate::{Gate, Turned};
use crate::here::{self, Run};
use crate::intake::Intake;
use crate::letter::{Gone, Mail};
use crate::reply::{self, farewell};
use crate::signal::{Entry, Heavy, Incoming, Signal, Trapped, Why};
use crate::ties::{Fate, Parting, Ties};
use crate::{Actors, Brief, Down, Exit, Info, LetterError, Message, SendError, State};

/// What a process is to the runtime, whatever it receives.
pub(crate) trait AnyProcess: Any + Send + Sync {
    fn serial(&self) -> u64;

    /// Puts a signal into its gate; gives it back when the process has ended.
    fn signal(self: Arc<Self>, signal: Box<Signal>) -> Result<(), Box<Signal>>;

    /// Puts news for its mailbox into its gate, unless it has ended.
    fn news(self: Arc<Self>, news: News);

    /// Decodes a letter's message and puts it last. Whoever waits for an answer to a message that was not
    /// placed has been told when it returns.
    fn accept(self: Arc<Self>, mail: Mail<'_>) -> Result<(), LetterError>;

    /// What can be seen from outside.
    fn brief(&self) -> Brief;

    /// It is to have local names, which end with it. Whoever says so looks afterwards whether it has ended.
    fn has_names(&self);

    /// Whether its gate is closed.
    fn has_ended(&self) -> bool;

    /// Runs it once.
    ///
    /// # Safety
    /// The caller has its turn, and uses it up by this.
    unsafe fn run(self: Arc<Self>);

    /// Ends it without a step.
    ///
    /// # Safety
    /// The caller has its turn, and uses it up by this.
    unsafe fn abandon(self: Arc<Self>);

    /// Takes its turn, if it waits.
    fn claim(self: Arc<Self>) -> Option<Turn>;
}

/// News whose type does not depend on the process.
pub(crate) enum News {
    Down(Box<Down>),
    Timeout(Ref),
}

/// The right to run a process. There is at most one for each, and it must be used.
pub(crate) struct Turn(Arc<dyn AnyProcess>);

impl Turn {
    pub(crate) fn run(self) {
        // SAFETY: this is the turn, and it is used up.
        unsafe { self.0.run() };
    }

    /// Ends the process where nobody runs processes any more.
    pub(crate) fn abandon(self) {
        // SAFETY: this is the turn, and it is used up.
        unsafe { self.0.abandon() };
    }

    pub(crate) fn serial(&self) -> u64 {
        self.0.serial()
    }
}

type Body = Pin<Box<dyn Future<Output = Exit> + Send>>;

pub(crate) struct Process<M: Message> {
    serial: u64,
    pub(crate) actors: Actors,
    gate: Gate<Entry<M>>,
    pub(crate) intake: Intake<M>,
    label: Option<&'static str>,
    /// How often it ran; it wraps.
    runs: AtomicU32,
    named: AtomicBool,
    body: UnsafeCell<Option<Body>>,
    desk: UnsafeCell<Desk<M>>,
}

// SAFETY: `body` and `desk` are touched only with the turn, of which the gate gives out one at a time, and
// which passes from thread to thread through it; what lies in them is `Send`. All else is `Sync` by itself.
unsafe impl<M: Message> Sync for Process<M> {}

/// What a process has taken in, and what ties it to others.
pub(crate) struct Desk<M> {
    /// News and mail that it has not received yet, in order.
    pub(crate) tray: Chain<Entry<M>>,
    ties: Option<Box<Ties>>,
    pub(crate) traps: bool,
    /// How many messages it has received; it wraps. The intake learns it now and then.
    received: u32,
}

impl<M> Desk<M> {
    pub(crate) fn ties(&mut self) -> &mut Ties {
        self.ties.get_or_insert_default()
    }

    /// Whether the process is to end. Then nothing is shown to it any more: who sent the order may have sent
    /// more after it.
    #[inline]
    pub(crate) fn is_doomed(&self) -> bool {
        self.ties.as_ref().is_some_and(|ties| ties.doom.is_some())
    }

    /// The first item on the tray that is wanted, of those that the search under way has not passed yet.
    #[inline]
    pub(crate) fn find<R>(
        &mut self,
        wants: impl FnMut(&Entry<M>) -> Option<R>,
    ) -> Option<(R, Link<Entry<M>>)> {
        (!self.is_doomed()).then(|| self.tray.find(wants)).flatten()
    }

    /// How the process is to end, when that is settled.
    fn doom(&mut self) -> Option<Exit> {
        self.ties.as_mut().and_then(|ties| ties.doom.take())
    }
}

impl<M: Message> Process<M> {
    /// A process that is not in the table yet. Its maker has the turn.
    pub(crate) fn new(
        serial: u64,
        actors: Actors,
        intake: Intake<M>,
        label: Option<&'static str>,
    ) -> Self {
        let tray = Chain::new();
        Self {
            serial,
            actors,
            gate: Gate::new(),
            intake,
            label,
            runs: AtomicU32::new(0),
            named: AtomicBool::new(false),
            body: UnsafeCell::new(None),
            desk: UnsafeCell::new(Desk { tray, ties: None, traps: false, received: 0 }),
        }
    }

    /// Gives the process its body, and a link before its first step. Its maker does so, with the first turn.
    pub(crate) fn begin(
        self: Arc<Self>,
        body: Body,
        linked: Option<Pid>,
        watched: Option<(Pid, Ref)>,
    ) {
        // SAFETY: the maker has the turn until it hands it over below.
        unsafe {
            *self.body.get() = Some(body);
            let desk = &mut *self.desk.get();
            if let Some(pid) = linked {
                desk.ties().link(pid);
            }
            if let Some((pid, monitor)) = watched {
                desk.ties().watched_by(pid, monitor);
            }
        }
        self.hand_over();
    }

    pub(crate) fn pid(&self) -> Pid {
        self.actors.pid_of(self.serial)
    }

    /// Puts a message last. It has found room.
    #[inline]
    pub(crate) fn push_mail(self: &Arc<Self>, message: M) -> Result<(), (SendError, M)> {
        match self.push(Entry::In(Incoming::Mail(message))) {
            Ok(()) => Ok(()),
            Err(Entry::In(Incoming::Mail(message))) => Err((SendError::NoProc, message)),
            Err(_) => unreachable!("what was not put in comes back"),
        }
    }

    /// The same with a message that weighs so much.
    pub(crate) fn push_heavy(self: &Arc<Self>, message: M, kib: u32) -> Result<(), (SendError, M)> {
        let heavy = Heavy { incoming: Incoming::Mail(message), kib };
        let Err(Entry::Heavy(heavy)) = self.push(Entry::Heavy(Box::new(heavy))) else {
            return Ok(());
        };
        match heavy.incoming {
            Incoming::Mail(message) => Err((SendError::NoProc, message)),
            _ => unreachable!("what was not put in comes back"),
        }
    }

    #[inline]
    pub(crate) fn push(self: &Arc<Self>, entry: Entry<M>) -> Result<(), Entry<M>> {
        let turned = self.gate.push(Link::new(entry)).map_err(Link::into_item)?;
        if turned == Turned::Yours {
            self.hand_over();
        }
        Ok(())
    }

    #[inline]
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Hands the turn to the scheduler.
    #[inline]
    fn hand_over(self: &Arc<Self>) {
        self.actors.scheduler().schedule(Turn(self.clone()));
    }

    /// The process's own things, for its own code.
    ///
    /// # Panics
    /// Outside of its own run, where somebody else may have them.
    #[inline]
    pub(crate) fn at_desk<R>(&self, act: impl FnOnce(&mut Desk<M>) -> R) -> R {
        let _sat = here::Sat::of(self.address())
            .expect("a mailbox is of use only inside of its own process");
        // SAFETY: this thread runs the process, so it has the turn, and nobody sits at the desk: while `act`
        // does, code that it may run in passing, such as the drop of a message, is not taken for the
        // process's own.
        act(unsafe { &mut *self.desk.get() })
    }

    /// Takes what came in during this run.
    #[inline]
    pub(crate) fn look(self: &Arc<Self>, desk: &mut Desk<M>) {
        let came = self.gate.take();
        self.take_in(desk, came);
    }

    /// Waits for what comes in. The process itself is woken anyway; a part of its body that is polled only
    /// when it was woken (one of a set of futures) has a waker of its own.
    #[inline]
    pub(crate) fn wait(&self, desk: &mut Desk<M>, cx: &Context<'_>) {
        if cx.waker().data().addr() != self.address() {
            desk.ties().sleeper = Some(cx.waker().clone());
        }
    }

    /// Counts a message that left the tray for good.
    #[inline]
    pub(crate) fn received(&self, desk: &mut Desk<M>) {
        desk.received = desk.received.wrapping_add(1);
        // The senders' side reads it; so it is told when it matters, not for each message of a flood.
        if desk.tray.is_empty() || desk.received.is_multiple_of(32) || self.intake.is_exact() {
            self.intake.received(desk.received);
        }
    }

    /// What a link from the tray holds.
    #[inline]
    pub(crate) fn open(&self, link: Link<Entry<M>>) -> Incoming<M> {
        match link.into_item() {
            Entry::In(incoming) => incoming,
            Entry::Heavy(heavy) => {
                self.intake.lighten(heavy.kib);
                heavy.incoming
            }
            Entry::Ring | Entry::Signal(_) => unreachable!("only mail and news lie on the tray"),
        }
    }

    /// Puts mail and news on the tray, and acts on signals.
    #[inline]
    fn take_in(self: &Arc<Self>, desk: &mut Desk<M>, came: Chain<Entry<M>>) {
        if let Some(sleeper) = desk.ties.as_mut().and_then(|ties| ties.sleeper.take()) {
            match came.is_empty() {
                true => desk.ties().sleeper = Some(sleeper),
                false => sleeper.wake(),
            }
        }
        match came.all(|entry| matches!(entry, Entry::In(Incoming::Mail(_)))) {
            true => desk.tray.append(came),
            false => self.sort(desk, came),
        }
    }

    /// The same, where not all of it is mail.
    fn sort(self: &Arc<Self>, desk: &mut Desk<M>, mut came: Chain<Entry<M>>) {
        while let Some(link) = came.pop() {
            match link.item() {
                Entry::Heavy(_)
                | Entry::In(Incoming::Mail(_) | Incoming::Timeout(_) | Incoming::Exited(_)) => {
                    desk.tray.push(link);
                }
                Entry::In(Incoming::Down(down)) => {
                    let (monitor, by) = (down.monitor, down.pid);
                    if desk.ties().answer_monitor(monitor, by) {
                        self.cut(by, true);
                        desk.tray.push(link);
                    }
                }
                Entry::Ring => self.take_from_ring(desk),
                Entry::Signal(_) => {
                    if let Entry::Signal(signal) = link.into_item() {
                        self.attend(desk, *signal);
                    }
                }
            }
        }
    }

    /// A message of a mailbox that drops its oldest; those that lie on the tray are bounded, too.
    fn take_from_ring(&self, desk: &mut Desk<M>) {
        let Some((message, kib, oldest_goes)) = self.intake.next_of_ring(desk.received) else {
            return;
        };
        let incoming = Incoming::Mail(message);
        desk.tray.push(Link::new(match kib {
            0 => Entry::In(incoming),
            _ => Entry::Heavy(Box::new(Heavy { incoming, kib })),
        }));
        if oldest_goes {
            desk.tray.rewind();
            let mail = |entry: &Entry<M>| match entry {
                Entry::In(Incoming::Mail(_)) => Some(()),
                Entry::Heavy(heavy) => matches!(heavy.incoming, Incoming::Mail(_)).then_some(()),
                _ => None,
            };
            if let Some((_, oldest)) = desk.tray.find(mail) {
                self.received(desk);
                drop_telling(Gone::Full, self.open(oldest));
            }
            desk.tray.rewind();
        }
    }

    fn attend(self: &Arc<Self>, desk: &mut Desk<M>, signal: Signal) {
        let me = self.pid();
        match signal {
            Signal::Exit { from, exit, why } => self.exited(desk, from, exit, why),
            Signal::Link { from } => {
                // Who asked has counted a tie already.
                let new = desk.ties().linked(from);
                self.cut(from, !new);
            }
            Signal::Unlink { from, id } => {
                let cut = desk.ties().unlinked(from);
                self.cut(from, cut);
                let _ = self.actors.signal(from, Signal::Unlinked { from: me, id });
            }
            Signal::Unlinked { from, id } => {
                let cut = desk.ties().knows_unlinked(from, id);
                self.cut(from, cut);
            }
            Signal::Monitor { from, monitor } => {
                let new = desk.ties().watched_by(from, monitor);
                self.cut(from, !new);
            }
            Signal::Demonitor { from, monitor } => {
                let cut = desk.ties().unwatched(from, monitor);
                self.cut(from, cut);
            }
            Signal::Down(down) => {
                if desk.ties().answer_monitor(down.monitor, down.pid) {
                    self.cut(down.pid, true);
                    desk.tray.push(Link::new(Entry::In(Incoming::Down(down))));
                }
            }
            Signal::HasName { from, monitor } => {
                if !desk.ties().named(monitor, from) {
                    // It was taken back before it was known from whom.
                    let _ = self.actors.signal(from, Signal::Demonitor { from: me, monitor });
                }
            }
            Signal::Lost { node, loss } => self.lose(desk, node, &loss.exit()),
            Signal::Foreign { node, signal } => {
                self.actors.peers().leave(node);
                self.attend(desk, *signal);
            }
            Signal::Watch(tell) => desk.ties().watched_by_task(tell),
            Signal::Info(tell) => {
                let ties = desk.ties();
                let info = Info {
                    brief: self.brief(),
                    links: ties.links(),
                    monitors: ties.monitoring(),
                    monitored_by: ties.watching(),
                    traps_exits: desk.traps,
                };
                // Who asked may have gone.
                let _ = tell.send(info);
            }
        }
    }

    fn exited(&self, desk: &mut Desk<M>, from: Pid, exit: Exit, why: Why) {
        let (me, traps) = (self.pid(), desk.traps);
        let by_link = why == Why::Linked && desk.ties().is_linked(from);
        match desk.ties().decide(me, traps, from, &exit, why) {
            Fate::Ignored => {}
            Fate::Trapped => self.keep_trapped(desk, Trapped { from, exit }, by_link),
            Fate::Ends(exit) => {
                desk.ties().doom.get_or_insert(exit);
            }
        }
        self.cut(from, by_link);
    }

    /// Puts a trapped exit on the tray. Those of links are as many as there were links; what another node
    /// just sends is held to the bound of its mail, since it may send any number.
    fn keep_trapped(&self, desk: &mut Desk<M>, trapped: Trapped, by_link: bool) {
        let sent_from_afar = !by_link && trapped.from.node != self.actors.node();
        let incoming = Incoming::Exited(Box::new(trapped));
        desk.tray.push(Link::new(match sent_from_afar {
            false => Entry::In(incoming),
            true => match self.intake.burden(1 << 10, self.actors.mailbox_bytes_max()) {
                Some(kib) => Entry::Heavy(Box::new(Heavy { incoming, kib })),
                // Like mail that finds no room; nobody was promised that it arrives.
                None => return,
            },
        }));
    }

    /// The link to a node broke: nothing that was asked by it is answered any more, so it is answered here.
    fn lose(&self, desk: &mut Desk<M>, node: NodeId, exit: &Exit) {
        let lost = desk.ties().lose(node);
        self.actors.peers().untie(node, self.serial, lost.forgotten);
        for (monitor, pid) in lost.monitors {
            let down = Box::new(Down { monitor, pid, exit: exit.clone() });
            desk.tray.push(Link::new(Entry::In(Incoming::Down(down))));
        }
        for pid in lost.links {
            self.exited(desk, pid, exit.clone(), Why::Linked);
        }
    }

    /// A tie is cut. Of those with processes of other nodes count is kept.
    #[inline]
    pub(crate) fn cut(&self, other: Pid, cut: bool) {
        if cut && other.node != self.actors.node() {
            self.actors.peers().untie(other.node, self.serial, 1);
        }
    }

    /// There is to be a tie with another process. It is counted before the other hears of it.
    #[inline]
    pub(crate) fn tied(&self, other: Pid) {
        if other.node != self.actors.node() {
            self.actors.peers().tie(other.node, self.serial);
        }
    }

    /// Polls the body once. The exit, if the process has come to its end.
    #[inline]
    fn step(self: &Arc<Self>) -> Option<Exit> {
        let waker = waker_ref(self);
        let mut cx = Context::from_waker(&waker);
        // SAFETY: we have the turn, and the body's own code does not reach this cell.
        let body = unsafe { (*self.body.get()).as_mut() }?;
        // Nobody sees the body after a panic: it is dropped and never polled again.
        match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(&mut cx))) {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(exit)) => Some(exit),
            Err(words) => Some(panicked(words)),
        }
    }

    fn finish(self: &Arc<Self>, exit: &Exit) {
        if let Exit::Panic(words) = exit {
            tracing::warn!(pid = %self.pid(), label = self.label, words, "a process panicked");
        }
        // SAFETY: we have the turn; this takes the body out, and what its drop does reaches no body.
        let body = unsafe { (*self.body.get()).take() };
        drop_telling(Gone::Died, body);
        let late = self.gate.close();
        // SAFETY: we have the turn, and the mailbox went with the body.
        let desk = unsafe { &mut *self.desk.get() };
        let tray = std::mem::replace(&mut desk.tray, Chain::new());
        let ties = desk.ties.take();
        let mut returned = Vec::new();
        empty(tray, &mut returned);
        empty(late, &mut returned);
        if let Some(ring) = self.intake.empty() {
            ring.into_iter().for_each(|message| drop_telling(Gone::NoProc, message));
        }
        self.actors.depart(self.serial, &self.named);
        for signal in returned {
            self.actors.undelivered(self.pid(), signal);
        }
        if let Some(ties) = ties {
            let me = self.pid();
            let abroad: Vec<NodeId> = ties.nodes().filter(|node| *node != me.node).collect();
            ties.part(me, exit, |to, parting| match parting {
                Parting::Signal(signal) => drop(self.actors.signal(to, signal)),
                Parting::Down { monitor, exit } => {
                    self.actors.news(to, News::Down(Box::new(Down { monitor, pid: me, exit })));
                }
            });
            for node in abroad {
                self.actors.peers().untie(node, self.serial, 1);
            }
        }
    }
}

/// Drops the mail of a chain, and hands out its signals.
fn empty<M>(mut chain: Chain<Entry<M>>, signals: &mut Vec<Signal>) {
    while let Some(link) = chain.pop() {
        match link.into_item() {
            Entry::Signal(signal) => signals.push(*signal),
            Entry::In(Incoming::Mail(message)) => drop_telling(Gone::NoProc, message),
            Entry::Heavy(heavy) => drop_telling(Gone::NoProc, heavy),
            Entry::In(_) | Entry::Ring => {}
        }
    }
}

/// Drops what may hold requests: their callers learn why. A panic in here stays here.
fn drop_telling<T>(why: Gone, gone: T) {
    let dropped = catch_unwind(AssertUnwindSafe(|| farewell(why, || drop(gone))));
    if dropped.is_err() {
        tracing::warn!("what a process held panicked when it was dropped");
    }
}

/// The exit of a process that panicked. The words themselves may panic when they are dropped.
pub(crate) fn panicked(words: Box<dyn Any + Send>) -> Exit {
    let exit = Exit::from_panic(&*words);
    drop_telling(Gone::Died, words);
    exit
}

impl<M: Message> ArcWake for Process<M> {
    fn wake_by_ref(this: &Arc<Self>) {
        if this.gate.wake() == Turned::Yours {
            this.hand_over();
        }
    }
}

impl<M: Message> AnyProcess for Process<M> {
    fn serial(&self) -> u64 {
        self.serial
    }

    fn signal(self: Arc<Self>, signal: Box<Signal>) -> Result<(), Box<Signal>> {
        match self.push(Entry::Signal(signal)) {
            Ok(()) => Ok(()),
            Err(Entry::Signal(signal)) => Err(signal),
            Err(_) => unreachable!("what was not put in comes back"),
        }
    }

    fn news(self: Arc<Self>, news: News) {
        let news = match news {
            News::Down(down) => Incoming::Down(down),
            News::Timeout(timeout) => Incoming::Timeout(timeout),
        };
        // Nobody is left to be told.
        let _ = self.push(Entry::In(news));
    }

    fn accept(self: Arc<Self>, mail: Mail<'_>) -> Result<(), LetterError> {
        let Some(wire) = M::WIRE.filter(|wire| wire.id == (mail.protocol, mail.version)) else {
            self.actors.dismiss_all(mail.routes, Gone::Refused);
            return Err(LetterError::Protocol);
        };
        // Before it is decoded, since what there is no room for should cost nothing.
        let Some(kib) = self.intake.burden(mail.body.len(), self.actors.mailbox_bytes_max()) else {
            self.actors.dismiss_all(mail.routes, Gone::Full);
            return Err(LetterError::Full);
        };
        let Some(message) = reply::decode_message(&self.actors, wire, &mail) else {
            self.intake.lighten(kib);
            return Err(LetterError::Body);
        };
        let Err((error, message)) = self.intake.send_burden(&self, message, kib) else {
            return Ok(());
        };
        let (error, gone) = match error {
            SendError::Full => (LetterError::Full, Gone::Full),
            _ => (LetterError::NoProc, Gone::NoProc),
        };
        farewell(gone, || drop(message));
        Err(error)
    }

    fn brief(&self) -> Brief {
        let state = match (here::runs(self.address()), self.gate.is_parked()) {
            (true, _) => State::Running,
            (_, true) => State::Waiting,
            _ => State::Runnable,
        };
        Brief {
            pid: self.pid(),
            label: self.label,
            mailbox: self.intake.len(),
            runs: self.runs.load(Ordering::Relaxed),
            state,
        }
    }

    fn claim(self: Arc<Self>) -> Option<Turn> {
        (self.gate.wake() == Turned::Yours).then(|| Turn(self))
    }

    fn has_names(&self) {
        self.named.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    fn has_ended(&self) -> bool {
        self.gate.is_closed()
    }

    unsafe fn run(self: Arc<Self>) {
        // Only the holder of the turn writes it.
        self.runs.store(self.runs.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        let came = self.gate.begin();
        // SAFETY: we have the turn, and the body does not run.
        let desk = unsafe { &mut *self.desk.get() };
        self.take_in(desk, came);
        let mut ended = desk.doom();
        let run = Run::of(self.address(), self.serial);
        if ended.is_none() {
            ended = self.step().or_else(|| {
                // SAFETY: as above; during the step the desk was the body's.
                unsafe { &mut *self.desk.get() }.doom()
            });
        }
        match ended {
            Some(exit) => self.finish(&exit),
            None if !run.yields() && self.gate.park() => {}
            None => {
                drop(run);
                self.hand_over();
            }
        }
    }

    unsafe fn abandon(self: Arc<Self>) {
        let came = self.gate.begin();
        // SAFETY: we have the turn, and the body does not run.
        let desk = unsafe { &mut *self.desk.get() };
        // Whoever asked to be told of its end before this is told how it ended.
        self.take_in(desk, came);
        let _run = Run::of(self.address(), self.serial);
        self.finish(&Exit::Killed);
    }
}

/// The exit signal that is sent by a call.
pub(crate) fn sent(from: Pid, exit: Exit, kill: bool) -> Signal {
    Signal::Exit { from, exit, why: if kill { Why::Kill } else { Why::Sent } }
}
