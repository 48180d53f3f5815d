//! What the stories share: a protocol, a process that speaks it, and a wire between nodes.
#![allow(dead_code, reason = "each story uses a part of it")]
#![expect(unreachable_pub, reason = "a module of tests")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use quorate_actor::{
    Actors, ActorsConfig, Addr, Carrier, Exit, LetterError, Loss, Mailbox, Message, NotSent,
    Postage, ReplyTo,
};
use quorate_vocab::{Boot, NodeId, Pid};
use serde::{Deserialize, Serialize};

/// Long enough never to matter where time is paused.
pub const LONG: Duration = Duration::from_secs(3600);

#[derive(Debug, Serialize, Deserialize)]
pub enum Till {
    Note(u64),
    Words(String),
    Sum(ReplyTo<u64>),
    Notes(ReplyTo<Vec<u64>>),
    Keep(ReplyTo<u64>),
    Forget(ReplyTo<u64>),
    Long(usize, ReplyTo<String>),
    HandOn(Pid, ReplyTo<u64>),
    Panic,
    Stop,
}

impl Message for Till {
    const WIRE: Option<quorate_actor::Wire<Self>> = Some(quorate_actor::Wire::new("test.till", 1));
}

/// Keeps all notes; knows every request.
pub async fn till(mut mail: Mailbox<Till>, actors: Actors) -> Exit {
    let mut notes = Vec::new();
    let mut kept = Vec::new();
    loop {
        match mail.receive().await {
            Till::Note(note) => notes.push(note),
            Till::Words(_) => {}
            Till::Sum(to) => to.send(notes.iter().sum()),
            Till::Notes(to) => to.send(notes.clone()),
            Till::Keep(to) => kept.push(to),
            Till::Forget(to) => drop(to),
            Till::Long(len, to) => to.send("x".repeat(len)),
            Till::HandOn(pid, to) => drop(actors.addr(pid).send(Till::Sum(to))),
            Till::Panic => panic!("the till is on fire"),
            Till::Stop => return Exit::Normal,
        }
    }
}

pub fn open_till(actors: &Actors) -> Addr<Till> {
    let own = actors.clone();
    actors.spawn(move |mail| till(mail, own))
}

/// Connects nodes in this test. Letters arrive at once, unless they are held.
#[derive(Default)]
pub struct Wire(Mutex<Ends>);

#[derive(Default)]
struct Ends {
    nodes: BTreeMap<NodeId, Actors>,
    holds: bool,
    held: Vec<(NodeId, NodeId, Vec<u8>)>,
    cut: bool,
    full: bool,
    severed: Vec<(NodeId, NodeId)>,
}

impl Wire {
    /// A node at this wire; a later one of the same number takes its place.
    pub fn node(self: &Arc<Self>, node: u64, boot: u64) -> Actors {
        self.node_with(node, boot, ActorsConfig::default())
    }

    pub fn node_with(self: &Arc<Self>, node: u64, boot: u64, config: ActorsConfig) -> Actors {
        let node = NodeId(node);
        let end = Arc::new(End { wire: Arc::downgrade(self), node });
        let actors = Actors::new(node, Boot(boot), end, config);
        self.0.lock().unwrap().nodes.insert(node, actors.clone());
        actors
    }

    pub fn cut(&self) {
        self.0.lock().unwrap().cut = true;
    }

    /// Breaks the link between two nodes: what is under way is lost, nothing is taken any more, and both are
    /// told.
    pub fn lose(&self, one: &Actors, other: &Actors, loss: Loss) {
        self.cut();
        drop(self.take_held());
        let [a, b] = [one, other].map(Actors::node);
        one.lost(b, loss);
        other.lost(a, loss);
    }

    /// There is a new link, if the old one was cut.
    pub fn heal(&self) {
        self.0.lock().unwrap().cut = false;
    }

    /// Has letters refused for want of room, or not.
    pub fn fill(&self, full: bool) {
        self.0.lock().unwrap().full = full;
    }

    /// Who has cut off whom.
    pub fn severed(&self) -> Vec<(NodeId, NodeId)> {
        std::mem::take(&mut self.0.lock().unwrap().severed)
    }

    pub fn hold(&self) {
        self.0.lock().unwrap().holds = true;
    }

    /// What is held now, taken from the wire: from, to, letter.
    pub fn take_held(&self) -> Vec<(NodeId, NodeId, Vec<u8>)> {
        std::mem::take(&mut self.0.lock().unwrap().held)
    }

    /// Delivers what is held, and holds no longer.
    pub fn release(&self) -> Vec<Result<(), LetterError>> {
        self.0.lock().unwrap().holds = false;
        let held = self.take_held();
        held.into_iter().map(|(from, to, letter)| self.hand(from, to, &letter)).collect()
    }

    fn hand(&self, from: NodeId, to: NodeId, letter: &[u8]) -> Result<(), LetterError> {
        let node = self.0.lock().unwrap().nodes[&to].clone();
        node.deliver(from, letter)
    }
}

/// A wire holds its nodes, so these must not hold the wire: a test leaves no memory behind.
struct End {
    wire: Weak<Wire>,
    node: NodeId,
}

impl Carrier for End {
    fn post(&self, to: NodeId, _: Postage, letter: &mut Vec<u8>) -> Result<(), NotSent> {
        let wire = self.wire.upgrade().ok_or(NotSent::Unreachable)?;
        let mut ends = wire.0.lock().unwrap();
        if ends.cut || !ends.nodes.contains_key(&to) {
            return Err(NotSent::Unreachable);
        }
        if ends.full {
            return Err(NotSent::Full);
        }
        if ends.holds {
            ends.held.push((self.node, to, std::mem::take(letter)));
            return Ok(());
        }
        drop(ends);
        // A refusal is the far node's to count; a carrier never hears of it.
        let _ = wire.hand(self.node, to, letter);
        Ok(())
    }

    fn sever(&self, node: NodeId) {
        if let Some(wire) = self.wire.upgrade() {
            wire.0.lock().unwrap().severed.push((self.node, node));
        }
    }
}

/// Runs a future until it waits for something; `None` while it does.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| match std::pin::Pin::new(&mut *future).poll(cx) {
        std::task::Poll::Ready(value) => std::task::Poll::Ready(Some(value)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}
