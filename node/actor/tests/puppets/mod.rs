//! Processes that do as they are told and keep what they hear, on two nodes that a wire joins.
#![allow(dead_code, reason = "each story uses a part of it")]
#![expect(unreachable_pub, reason = "a module of tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_actor::{Actors, Addr, Down, Exit, Incoming, Mailbox, Message, Pid, Ref, Trapped};
use tokio::sync::oneshot;

use super::common::Wire;

pub type Act = Box<dyn FnOnce(&mut Mailbox<Pull>) + Send>;

pub enum Pull {
    Do(Act),
    End(Exit),
}

impl Message for Pull {}

#[derive(Clone)]
pub struct Puppet {
    pub addr: Addr<Pull>,
    downs: Arc<Mutex<Vec<Down>>>,
    trapped: Arc<Mutex<Vec<Trapped>>>,
}

impl Puppet {
    pub fn new(actors: &Actors) -> Self {
        let downs = Arc::new(Mutex::new(Vec::new()));
        let trapped = Arc::new(Mutex::new(Vec::new()));
        let (heard, caught) = (downs.clone(), trapped.clone());
        let addr = actors.spawn(async move |mut mailbox: Mailbox<Pull>| {
            loop {
                match mailbox.next().await {
                    Incoming::Mail(Pull::Do(act)) => act(&mut mailbox),
                    Incoming::Mail(Pull::End(exit)) => return exit,
                    Incoming::Down(down) => heard.lock().unwrap().push(*down),
                    Incoming::Exited(exited) => caught.lock().unwrap().push(*exited),
                    Incoming::Timeout(_) => {}
                }
            }
        });
        Self { addr, downs, trapped }
    }

    pub fn pid(&self) -> Pid {
        self.addr.pid()
    }

    /// Has it do something; what came of it.
    pub async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Mailbox<Pull>) -> T + Send + 'static,
    ) -> T {
        let (tell, told) = oneshot::channel();
        let act = move |mailbox: &mut Mailbox<Pull>| drop(tell.send(act(mailbox)));
        self.addr.send(Pull::Do(Box::new(act))).unwrap();
        told.await.expect("it lives")
    }

    pub async fn monitor(&self, other: &Self) -> Ref {
        let pid = other.pid();
        self.act(move |mailbox| mailbox.monitor(pid)).await
    }

    pub async fn link(&self, other: &Self) {
        let pid = other.pid();
        self.act(move |mailbox| mailbox.link(pid)).await;
    }

    pub async fn trap(&self) {
        self.act(|mailbox| mailbox.trap_exit(true)).await;
    }

    pub fn end(&self, exit: Exit) {
        // It may have ended.
        let _ = self.addr.send(Pull::End(exit));
    }

    /// The downs it has heard since this was asked last.
    pub fn downs(&self) -> Vec<Down> {
        std::mem::take(&mut self.downs.lock().unwrap())
    }

    /// The exits it has trapped since this was asked last.
    pub fn trapped(&self) -> Vec<Trapped> {
        std::mem::take(&mut self.trapped.lock().unwrap())
    }
}

/// Two nodes, and a puppet on each.
pub struct Stage {
    pub wire: Arc<Wire>,
    pub a: Actors,
    pub b: Actors,
    pub at_a: Puppet,
    pub at_b: Puppet,
}

impl Stage {
    pub fn new() -> Self {
        let wire = Arc::new(Wire::default());
        let (a, b) = (wire.node(1, 1), wire.node(2, 1));
        let (at_a, at_b) = (Puppet::new(&a), Puppet::new(&b));
        Self { wire, a, b, at_a, at_b }
    }

    /// Whether the nodes are tied to each other: each of them should know.
    pub fn ties(&self) -> (bool, bool) {
        (self.a.is_tied_to(self.b.node()), self.b.is_tied_to(self.a.node()))
    }
}

/// Waits until nothing moves: where time is paused it goes on only then.
pub async fn settle() {
    quorate_env::sleep(Duration::from_millis(100)).await;
}
