//! The runtime of one node's processes, and the post office between them and the carrier.
//!
//! Locks here are held for a look-up, never while a message is dropped, a letter is posted or foreign code
//! runs: each of these may come back in.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use quorate_vocab::{Boot, NodeId, Pid, Ref};
use serde::Serialize;
use tokio::sync::{oneshot, watch};

use crate::addr::Way;
use crate::call::{Calls, Outcome, Waiting};
use crate::codec::{self, BODY_BYTES_CEILING};
use crate::letter::{self, Gone, Letter, Mail, Route};
use crate::mailbox::Queue;
use crate::process::{self, Contained, Departure};
use crate::reply;
use crate::table::{Entry, Inlet, Table};
use crate::{Addr, CallError, Carrier, Exit, LetterError, Mailbox, Message, SendError};

/// The processes of one life of a node. Clones are the same runtime.
#[derive(Clone)]
pub struct Actors(Arc<Inner>);

/// The bounds of a runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorsConfig {
    /// How many messages a mailbox holds; 0 counts as 1.
    pub mailbox_max: usize,
    /// The most that the body of a letter may weigh, sent or received; at most 16 MiB, and a greater number
    /// counts as that. Nodes that talk to each other should agree on it.
    pub message_bytes_max: usize,
    /// How many calls of this node may wait for their answers at once.
    pub calls_max: usize,
}

impl Default for ActorsConfig {
    fn default() -> Self {
        Self { mailbox_max: 65_536, message_bytes_max: 1 << 20, calls_max: 262_144 }
    }
}

/// What a runtime counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Processes that live now.
    pub processes: usize,
    /// Calls that wait now.
    pub calls: usize,
    /// Letters that were refused since the start.
    pub letters_refused: u64,
    /// Answers whose caller did not wait any more, since the start.
    pub answers_late: u64,
    /// Answers that the carrier did not take, since the start.
    pub answers_unsent: u64,
}

struct Inner {
    node: NodeId,
    boot: Boot,
    carrier: Arc<dyn Carrier>,
    config: ActorsConfig,
    table: Mutex<Table>,
    calls: Mutex<Calls>,
    letters_refused: AtomicU64,
    answers_late: AtomicU64,
    answers_unsent: AtomicU64,
}

impl Actors {
    /// The runtime of a node's life. Letters to other nodes go to `carrier`.
    pub fn new(node: NodeId, boot: Boot, carrier: Arc<dyn Carrier>, config: ActorsConfig) -> Self {
        let config = ActorsConfig {
            mailbox_max: config.mailbox_max.max(1),
            message_bytes_max: config.message_bytes_max.min(BODY_BYTES_CEILING),
            ..config
        };
        Self(Arc::new(Inner {
            node,
            boot,
            carrier,
            config,
            table: Mutex::default(),
            calls: Mutex::default(),
            letters_refused: AtomicU64::new(0),
            answers_late: AtomicU64::new(0),
            answers_unsent: AtomicU64::new(0),
        }))
    }

    /// Starts a process. In a runtime that was closed it never runs, and its address is a dead one.
    pub fn spawn<M, F, Fut>(&self, body: F) -> Addr<M>
    where
        M: Message,
        F: FnOnce(Mailbox<M>) -> Fut + Send + 'static,
        Fut: Future<Output = Exit> + Send + 'static,
    {
        let queue = Arc::new(Queue::<M>::new(self.0.config.mailbox_max));
        let (kill, killed) = oneshot::channel();
        let (ended, seen) = watch::channel(None);
        let entry = Entry { inlet: queue.clone(), kill: Some(kill), ended: seen };
        let mut table = self.table();
        let serial = table.next_serial();
        let entered = table.enter(serial, entry);
        drop(table);

        let pid = Pid { node: self.0.node, boot: self.0.boot, serial };
        if entered.is_err() {
            return Addr::new(pid, self.clone(), Way::Dead);
        }
        let addr = Addr::new(pid, self.clone(), Way::Near(queue.clone()));
        let departure = Departure { actors: self.clone(), pid, ended, exit: Exit::Killed };
        let mailbox = Mailbox::new(addr.clone(), queue);
        let body = Contained::new(async move { body(mailbox).await });
        quorate_env::spawn(process::live(departure, killed, body));
        addr
    }

    /// The address of a process that speaks `M`, near or far. Whether it lives shows when it is sent to.
    pub fn addr<M: Message>(&self, pid: Pid) -> Addr<M> {
        let way = match self.inlet(pid) {
            _ if pid.node != self.0.node => Way::Far,
            None => Way::Dead,
            Some(inlet) => {
                let inlet: Arc<dyn std::any::Any + Send + Sync> = inlet;
                inlet.downcast().map_or(Way::Wrong, Way::Near)
            }
        };
        Addr::new(pid, self.clone(), way)
    }

    /// Ends a process of this node: its task is dropped at its next await, and `exit` is how it ended.
    /// Whether this call is the one that ends it.
    pub fn exit(&self, pid: Pid, exit: Exit) -> bool {
        self.is_mine(pid) && self.table().end(pid, exit)
    }

    /// How a process of this node ends, once it does. It is watched from the moment of this call; of one that
    /// had ended before only [`Exit::NoProc`] is known. Other nodes' processes cannot be watched yet, and the
    /// answer for them says so at once; it says nothing about their lives.
    pub fn ended(&self, pid: Pid) -> impl Future<Output = Exit> + Send + use<> {
        let watched = match self.is_mine(pid) {
            true => self.table().find(pid).map(|entry| entry.ended.clone()).ok_or(Exit::NoProc),
            false if pid.node == self.0.node => Err(Exit::NoProc),
            false => Err(Exit::Because("another node's process cannot be watched".into())),
        };
        async move {
            match watched {
                Ok(ended) => exit_of(ended).await,
                Err(exit) => exit,
            }
        }
    }

    /// Whether a process lives on this node. Of other nodes' processes it knows nothing and says no.
    pub fn is_alive(&self, pid: Pid) -> bool {
        self.is_mine(pid) && self.table().find(pid).is_some()
    }

    /// How many processes live.
    pub fn count(&self) -> usize {
        self.table().len()
    }

    /// What is counted.
    pub fn counts(&self) -> Counts {
        Counts {
            processes: self.count(),
            calls: self.calls().len(),
            letters_refused: self.0.letters_refused.load(Ordering::Relaxed),
            answers_late: self.0.answers_late.load(Ordering::Relaxed),
            answers_unsent: self.0.answers_unsent.load(Ordering::Relaxed),
        }
    }

    /// Takes in a letter that another node's carrier was given. A letter that is refused is counted, and
    /// whoever waits for an answer to it is told.
    pub fn deliver(&self, from: NodeId, letter: Bytes) -> Result<(), LetterError> {
        let delivered = match letter::read(letter, self.0.config.message_bytes_max) {
            Ok(Letter::Mail(mail)) => self.deliver_mail(mail),
            Ok(Letter::Answer { route, outcome }) => self.deliver_answer(route, outcome),
            Err(error) => Err(error),
        };
        if let Err(error) = delivered {
            self.0.letters_refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(%from, %error, "a letter was refused");
        }
        delivered
    }

    /// Learns that the link to a node broke, so letters may have been lost both ways: calls to it that wait
    /// end as [`CallError::MaybeDelivered`].
    pub fn lost(&self, node: NodeId) {
        self.settle_as_lost(Some(node));
    }

    /// Lets no process start any more, ends all of them, waits until they have ended, and ends the calls that
    /// still wait. A body that never awaits is waited for.
    pub async fn close(&self) {
        let endings = self.table().close();
        for ended in endings {
            exit_of(ended).await;
        }
        self.settle_as_lost(None);
    }

    fn deliver_mail(&self, mail: Mail) -> Result<(), LetterError> {
        if mail.target.node != self.0.node {
            return Err(LetterError::NotMine);
        }
        let (error, gone) = match self.inlet(mail.target) {
            Some(inlet) if inlet.protocol() == (mail.protocol, mail.version) => {
                return inlet.accept(self, mail);
            }
            Some(_) => (LetterError::Protocol, Gone::Refused),
            None => (LetterError::NoProc, Gone::NoProc),
        };
        for route in mail.routes {
            self.dismiss(route, gone);
        }
        Err(error)
    }

    fn deliver_answer(
        &self,
        route: Route,
        outcome: Result<Bytes, Gone>,
    ) -> Result<(), LetterError> {
        if route.node != self.0.node {
            return Err(LetterError::NotMine);
        }
        self.settle(route, outcome.map_or_else(Outcome::Gone, Outcome::Far));
        Ok(())
    }

    fn is_mine(&self, pid: Pid) -> bool {
        pid.node == self.0.node && pid.boot == self.0.boot
    }

    fn inlet(&self, pid: Pid) -> Option<Arc<dyn Inlet>> {
        match self.is_mine(pid) {
            true => self.table().find(pid).map(|entry| entry.inlet.clone()),
            false => None,
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().expect("nothing panics while it holds the table")
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.calls.lock().expect("nothing panics while it holds the calls")
    }
}

/// What processes, addresses and answers ask of their runtime.
impl Actors {
    /// Sends a message to a process of another node.
    pub(crate) fn post<M: Message>(&self, to: Pid, message: &M) -> Result<(), SendError> {
        let bytes_max = self.0.config.message_bytes_max;
        let protocol = const { codec::protocol_id(M::PROTOCOL) };
        let (letter, routes) = letter::write_mail(to, protocol, M::VERSION, |letter| {
            reply::encode_message(self, message, letter, bytes_max)
        })?;
        self.0.carrier.post(to.node, letter).map_err(|_| {
            // The answers that it asks for are in the letter, and only there.
            routes.into_iter().for_each(|route| self.dismiss(route, Gone::NoReply));
            SendError::NotSent
        })
    }

    /// Answers a call of any node.
    pub(crate) fn answer<R: Serialize + Send + 'static>(&self, route: Route, answer: R) {
        if route.node == self.0.node {
            self.settle(route, Outcome::Near(Box::new(answer)));
        } else {
            let bytes_max = self.0.config.message_bytes_max;
            self.post_answer(route, letter::write_reply(route, &answer, bytes_max));
        }
    }

    /// Tells a caller of any node that there will be no answer.
    pub(crate) fn dismiss(&self, route: Route, gone: Gone) {
        if route.node == self.0.node {
            self.settle(route, Outcome::Gone(gone));
        } else {
            self.post_answer(route, letter::write_gone(route, gone));
        }
    }

    pub(crate) fn open_call(&self, to: NodeId) -> Result<Waiting, CallError> {
        let (call, told) = self.calls().open(to, self.0.config.calls_max).ok_or(CallError::Busy)?;
        Ok(Waiting { actors: self.clone(), call, told })
    }

    pub(crate) fn forget_call(&self, call: Ref) {
        let slot = self.calls().take(call);
        drop(slot);
    }

    /// Where answers to a call of this node go.
    pub(crate) fn route(&self, call: Ref) -> Route {
        Route { node: self.0.node, boot: self.0.boot, call }
    }

    /// Takes a process that ended off the table.
    pub(crate) fn depart(&self, pid: Pid) {
        let inlet = self.inlet(pid);
        if let Some(inlet) = inlet {
            // Its mailbox may still live, if the body gave it away.
            inlet.close();
        }
        let entry = self.table().remove(pid);
        drop(entry);
    }

    fn post_answer(&self, route: Route, letter: Bytes) {
        if self.0.carrier.post(route.node, letter).is_err() {
            self.0.answers_unsent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends a call of this node. An answer to an earlier life, or to a call that nobody waits for, falls
    /// away.
    fn settle(&self, route: Route, outcome: Outcome) {
        let slot = match route.boot == self.0.boot {
            true => self.calls().take(route.call),
            false => None,
        };
        if slot.is_none_or(|tell| tell.send(outcome).is_err()) {
            self.0.answers_late.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn settle_as_lost(&self, to: Option<NodeId>) {
        let slots = self.calls().take_all(to);
        for tell in slots {
            // A caller that gave up at this moment needs no telling.
            let _ = tell.send(Outcome::Lost);
        }
    }
}

impl fmt::Debug for Actors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Actors({}.{})", self.0.node, self.0.boot.0)
    }
}

async fn exit_of(mut ended: watch::Receiver<Option<Exit>>) -> Exit {
    match ended.wait_for(Option::is_some).await {
        Ok(exit) => exit.clone().unwrap_or(Exit::NoProc),
        Err(_) => Exit::NoProc,
    }
}
