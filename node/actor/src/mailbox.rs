//! A process's own handle: what it receives, and what ties it to others.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use quorate_vocab::{NodeId, Pid, Ref};

use crate::abroad::nobody_at;
use crate::actors::Start;
use crate::addr::Way;
use crate::chain::Link;
use crate::here;
use crate::process::{self, Process};
use crate::signal::{Entry, Incoming, Signal};
use crate::ties::Linking;
use crate::timers::Fire;
use crate::{Actors, Addr, Down, Exit, Message, Spawn, Timer};

/// What a process receives from, and what it is to itself.
///
/// It is of use only inside of its own process, and panics elsewhere: a task that the process starts has no
/// part in it. When the process ends, what lies in it is dropped, calls in it end as `NoProc`, and later mail
/// is refused so.
pub struct Mailbox<M: Message> {
    process: Arc<Process<M>>,
}

impl<M: Message> Mailbox<M> {
    pub(crate) fn new(process: Arc<Process<M>>) -> Self {
        Self { process }
    }

    /// Who this is.
    pub fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// How others reach this process.
    pub fn addr(&self) -> Addr<M> {
        Addr::new(self.pid(), Way::Near(self.process.clone()))
    }

    /// The runtime it lives in.
    pub fn actors(&self) -> &Actors {
        &self.process.actors
    }

    /// How many messages wait, about.
    pub fn len(&self) -> usize {
        self.process.intake.len()
    }

    /// Whether no message waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next message, waiting for one if need be. News of the system are left where they lie. Dropping the
    /// future loses nothing.
    pub async fn receive(&mut self) -> M {
        let mut begun = false;
        poll_fn(|cx| self.poll_receive(&mut begun, cx)).await
    }

    /// The next of anything, in order, waiting for it if need be. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Incoming<M> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next of anything; `None` when nothing comes in time.
    pub async fn next_within(&mut self, after: Duration) -> Option<Incoming<M>> {
        self.select(|_| Some(()), Some(after)).await.map(|((), incoming)| incoming)
    }

    /// The next of anything, if it is there already.
    #[inline]
    pub fn try_next(&mut self) -> Option<Incoming<M>> {
        self.process.at_desk(|desk| {
            if desk.tray.is_empty() {
                self.process.look(desk);
            }
            if desk.is_doomed() {
                return None;
            }
            let link = desk.tray.pop()?;
            let incoming = self.process.open(link);
            if matches!(incoming, Incoming::Mail(_)) {
                self.process.received(desk);
            }
            Some(incoming)
        })
    }

    /// Selective receive: the first of what lies here or comes for which `wants` says something; what it does
    /// not want stays, in order. `None` when nothing wanted comes in time.
    ///
    /// Each item is shown to `wants` once a call, so a long tray costs a look, not a look for each arrival.
    pub async fn select<T>(
        &mut self,
        wants: impl FnMut(&Incoming<M>) -> Option<T>,
        after: Option<Duration>,
    ) -> Option<(T, Incoming<M>)> {
        self.process.at_desk(|_| ());
        let found = self.find(wants);
        match after {
            None => Some(found.await),
            // What is there already is found whatever the time.
            Some(after) => within(after, found).await,
        }
    }

    fn find<T, W>(
        &mut self,
        mut wants: W,
    ) -> impl Future<Output = (T, Incoming<M>)> + use<'_, T, M, W>
    where
        W: FnMut(&Incoming<M>) -> Option<T>,
    {
        let mut begun = false;
        poll_fn(move |cx| self.poll_find(&mut begun, &mut wants, cx))
    }

    #[inline]
    fn poll_find<T>(
        &mut self,
        begun: &mut bool,
        wants: &mut impl FnMut(&Incoming<M>) -> Option<T>,
        cx: &mut Context<'_>,
    ) -> Poll<(T, Incoming<M>)> {
        let mut wanted = |entry: &Entry<M>| match entry {
            Entry::In(incoming) => wants(incoming),
            Entry::Heavy(heavy) => wants(&heavy.incoming),
            _ => None,
        };
        let first = !*begun;
        if first && !self.spend(cx) {
            return Poll::Pending;
        }
        *begun = true;
        self.process.at_desk(|desk| {
            if first {
                desk.tray.rewind();
            }
            let found = desk.find(&mut wanted).or_else(|| {
                self.process.look(desk);
                desk.find(&mut wanted)
            });
            let Some((found, link)) = found else {
                self.process.wait(desk, cx);
                return Poll::Pending;
            };
            let incoming = self.process.open(link);
            if matches!(incoming, Incoming::Mail(_)) {
                self.process.received(desk);
            }
            Poll::Ready((found, incoming))
        })
    }

    /// Mostly nothing is there, or mail comes first; else it is searched for.
    #[inline]
    fn poll_receive(&mut self, begun: &mut bool, cx: &mut Context<'_>) -> Poll<M> {
        enum Seen<M> {
            Nothing,
            Mail(M),
            News,
        }
        if !*begun {
            if !self.spend(cx) {
                return Poll::Pending;
            }
            let seen = self.process.at_desk(|desk| {
                if desk.tray.is_empty() {
                    self.process.look(desk);
                }
                match desk.tray.first() {
                    _ if desk.is_doomed() => Seen::Nothing,
                    None => {
                        self.process.wait(desk, cx);
                        Seen::Nothing
                    }
                    Some(Entry::In(Incoming::Mail(_))) => {
                        let link = desk.tray.pop();
                        self.process.received(desk);
                        match link.map(Link::into_item) {
                            Some(Entry::In(Incoming::Mail(message))) => Seen::Mail(message),
                            _ => unreachable!("it was looked at"),
                        }
                    }
                    Some(_) => Seen::News,
                }
            });
            match seen {
                Seen::Nothing => return Poll::Pending,
                Seen::Mail(message) => return Poll::Ready(message),
                Seen::News => {}
            }
        }
        let mut mail = |incoming: &Incoming<M>| matches!(incoming, Incoming::Mail(_)).then_some(());
        self.poll_find(begun, &mut mail, cx).map(|((), incoming)| match incoming {
            Incoming::Mail(message) => message,
            _ => unreachable!("only mail is wanted"),
        })
    }

    #[inline]
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming<M>> {
        if !self.spend(cx) {
            return Poll::Pending;
        }
        match self.try_next() {
            Some(incoming) => Poll::Ready(incoming),
            None => {
                self.process.at_desk(|desk| self.process.wait(desk, cx));
                Poll::Pending
            }
        }
    }

    /// Spends one message of the run; whether there was one left.
    #[inline]
    fn spend(&self, cx: &Context<'_>) -> bool {
        here::spend_mail() || {
            // Where no process runs nothing is left either, and nobody would run this again.
            self.process.at_desk(|_| ());
            cx.waker().wake_by_ref();
            false
        }
    }
}

/// Ties.
impl<M: Message> Mailbox<M> {
    /// Whether exit signals go into this mailbox from now on, instead of ending the process. How it was
    /// before.
    pub fn trap_exit(&mut self, trap: bool) -> bool {
        self.process.at_desk(|desk| std::mem::replace(&mut desk.traps, trap))
    }

    /// Links this process to another: when one of them ends other than normally, the other gets an exit
    /// signal. If that one is dead already, the signal says `NoProc`. Linked twice is linked once.
    pub fn link(&mut self, pid: Pid) {
        let me = self.pid();
        if pid == me {
            return;
        }
        match self.process.at_desk(|desk| desk.ties().link(pid)) {
            Linking::Stood => return,
            // The tie is counted until the other side knows that it was cut.
            Linking::Again => {}
            Linking::New => self.process.tied(pid),
        }
        if let Err(signal) = self.actors().signal(pid, Signal::Link { from: me }) {
            self.actors().undelivered(pid, signal);
        }
    }

    /// Cuts a link. After this no exit signal comes by it.
    pub fn unlink(&mut self, pid: Pid) {
        let (me, id) = (self.pid(), self.actors().next_ref());
        let cut = self.process.at_desk(|desk| {
            self.process.look(desk);
            desk.ties().unlink(pid, id)
        });
        if cut && let Err(signal) = self.actors().signal(pid, Signal::Unlink { from: me, id }) {
            self.actors().undelivered(pid, signal);
        }
    }

    /// Has this process told of the end of another, by exactly one [`Incoming::Down`] for each call. If that
    /// one is dead already, it says `NoProc`.
    pub fn monitor(&mut self, pid: Pid) -> Ref {
        let (me, monitor) = (self.pid(), self.actors().next_ref());
        self.process.at_desk(|desk| desk.ties().monitor(pid, monitor));
        self.process.tied(pid);
        if let Err(signal) = self.actors().signal(pid, Signal::Monitor { from: me, monitor }) {
            self.actors().undelivered(pid, signal);
        }
        monitor
    }

    /// A monitor of a process on a node that is still to be started with it, by whoever there is asked to
    /// (see [`Bond::Monitor`](crate::Bond::Monitor)). When nobody is, it must be taken back.
    pub fn monitor_ahead(&mut self, node: NodeId) -> Ref {
        let (monitor, nobody) = (self.actors().next_ref(), nobody_at(node));
        self.process.at_desk(|desk| desk.ties().monitor(nobody, monitor));
        self.process.tied(nobody);
        monitor
    }

    /// The same as [`monitor`](Self::monitor) for whoever has a local name on a node at the moment; of nobody
    /// it says `NoProc`. The `Down` says which process it was, or a serial of 0 when that was never known.
    pub fn monitor_named(&mut self, node: NodeId, name: &str) -> Ref {
        if node == self.pid().node
            && let Some(pid) = self.actors().whereis(name)
        {
            return self.monitor(pid);
        }
        let (me, monitor, nobody) = (self.pid(), self.actors().next_ref(), nobody_at(node));
        self.process.at_desk(|desk| desk.ties().monitor(nobody, monitor));
        self.process.tied(nobody);
        if node == me.node || !self.actors().monitor_name(node, name, me, monitor) {
            self.actors().undelivered(nobody, Signal::Monitor { from: me, monitor });
        }
        monitor
    }

    /// Ends a monitor. After this no `Down` of it is received, also if it lay here already. Whether it was
    /// still open: no `Down` of it had come.
    pub fn demonitor(&mut self, monitor: Ref) -> bool {
        let watched = self.process.at_desk(|desk| {
            self.process.look(desk);
            desk.tray.rewind();
            let its = |entry: &Entry<M>| match entry {
                Entry::In(Incoming::Down(down)) => (down.monitor == monitor).then_some(()),
                _ => None,
            };
            drop(desk.tray.find(its));
            desk.tray.rewind();
            desk.ties().close_monitor(monitor)
        });
        if let Some(pid) = watched {
            // One that has ended has forgotten it.
            let _ = self.actors().signal(pid, Signal::Demonitor { from: self.pid(), monitor });
            self.process.cut(pid, true);
        }
        watched.is_some()
    }

    /// Sends an exit signal as this process; whether there is somebody to get it, or, on another node,
    /// whether it is under way.
    pub fn exit(&self, pid: Pid, exit: Exit) -> bool {
        self.actors().signal(pid, process::sent(self.pid(), exit, false)).is_ok()
    }

    /// Kills a process: it cannot trap this. Whether there was one, or, on another node, whether the signal
    /// is under way.
    pub fn kill(&self, pid: Pid) -> bool {
        self.actors().signal(pid, process::sent(self.pid(), Exit::Killed, true)).is_ok()
    }

    /// Spawns a process that is linked to this one before its first step.
    pub fn spawn_link<M2, F, Fut>(&mut self, how: Spawn, body: F) -> Addr<M2>
    where
        M2: Message,
        F: FnOnce(Mailbox<M2>) -> Fut + Send + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        let me = self.pid();
        let start = Start { how, linked: Some(me), watched: None };
        // Our half first: the child may end before the next line runs.
        let addr = self.actors().clone().start(start, body, |child| {
            self.process.at_desk(|desk| desk.ties().link(child));
        });
        if addr.is_dead() {
            let never = Signal::Link { from: me };
            self.process.at_desk(|desk| desk.ties().link(addr.pid()));
            self.actors().undelivered(addr.pid(), never);
        }
        addr
    }

    /// Spawns a process that this one monitors from its first step on.
    pub fn spawn_monitor<M2, F, Fut>(&mut self, how: Spawn, body: F) -> (Addr<M2>, Ref)
    where
        M2: Message,
        F: FnOnce(Mailbox<M2>) -> Fut + Send + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        let (me, monitor) = (self.pid(), self.actors().next_ref());
        let start = Start { how, linked: None, watched: Some((me, monitor)) };
        let addr = self.actors().clone().start(start, body, |child| {
            self.process.at_desk(|desk| desk.ties().monitor(child, monitor));
        });
        if addr.is_dead() {
            self.process.at_desk(|desk| desk.ties().monitor(addr.pid(), monitor));
            let down = Down { monitor, pid: addr.pid(), exit: Exit::NoProc };
            self.actors().news(me, process::News::Down(Box::new(down)));
        }
        (addr, monitor)
    }

    /// Has an [`Incoming::Timeout`] with this number come after a while.
    pub fn timeout_after(&self, after: Duration) -> (Ref, Timer) {
        let (me, timeout) = (self.pid(), self.actors().next_ref());
        let actors = self.actors().clone();
        let fire = Fire::Once(Box::new(move || actors.news(me, process::News::Timeout(timeout))));
        (timeout, self.actors().set_timer(timeout, after, fire))
    }
}

/// Gives a search a bounded time. The timer is set only once there is something to wait for.
async fn within<T>(after: Duration, found: impl Future<Output = T>) -> Option<T> {
    let mut found = std::pin::pin!(found);
    let first = poll_fn(|cx: &mut Context<'_>| match here::mails_left() {
        true => Poll::Ready(found.as_mut().poll(cx)),
        // It would not look, since the run is used up; the next run looks.
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
    match first {
        Poll::Ready(found) => Some(found),
        Poll::Pending if after.is_zero() => None,
        Poll::Pending => quorate_env::timeout(after, found as Pin<&mut _>).await.ok(),
    }
}
