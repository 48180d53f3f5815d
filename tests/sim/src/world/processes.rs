//! Processes under global names, and mail to them.
//!
//! On each node somebody tries now and then to put a process under one of a few names that only processes
//! hold; a process that got one lives for a while and is killed, or ends with its node's session. From each
//! node somebody sends numbered letters to those names.

use std::sync::Arc;
use std::time::Duration;

use quorate::{Error, Exit, Held, Mailbox, Message};
use quorate_vocab::{Name, Pid, SessionId};
use rand::RngExt;
use rand::rngs::SmallRng;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::client::outcome_of;
use super::seat::Alive;
use super::{PATIENCE, World, name, seed_of};
use crate::clock;
use crate::history::{Answer, Ask, Mark, Outcome};

/// How many names only processes hold.
pub(super) const NAMES: usize = 2;

/// A letter with a number.
#[derive(Serialize, Deserialize)]
struct Letter {
    sender: u64,
    number: u64,
}

impl Message for Letter {
    const WIRE: Option<quorate::Wire<Self>> = Some(quorate::Wire::new("sim.letter", 1));
}

/// A name that only processes hold.
pub(super) fn name_of(nth: usize) -> Name {
    name(format!("p/{nth}"))
}

/// Lets candidates and senders begin on every node.
pub(super) fn begin(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for nth in 0..world.seats.len() {
        tasks.push(quorate_env::spawn(stand(world.clone(), nth)));
        tasks.push(quorate_env::spawn(write(world.clone(), nth)));
    }
    tasks
}

/// Puts processes of one node under names.
async fn stand(world: Arc<World>, nth: usize) {
    let mut dice = world.dice(&format!("candidate {nth}"));
    while !world.is_closing() {
        clock::pause(Duration::from_millis(dice.random_range(200..=1_500))).await;
        if let Some(alive) = world.alive(nth) {
            let wanted = name_of(dice.random_range(0..NAMES));
            hold(&world, &alive, &wanted, &mut dice).await;
        }
    }
}

async fn hold(world: &Arc<World>, alive: &Alive, wanted: &Name, dice: &mut SmallRng) {
    let witness = world.clone();
    let (node, to) = (alive.node.clone(), wanted.clone());
    let who = format!("p@{}", alive.host);
    let history = &world.history;
    let registering = async {
        // The session that the registration will be bound to: nothing runs between here and its taking.
        let session = node.status().session?;
        history.session_opened(session, crate::history::Moment::START);
        let addr = node.spawn(move |mail| collect(witness, mail));
        let ticket = history.invoke(&who, &alive.host, wanted, asked_by(addr.pid(), session));
        let registered = node.names().register(&to, &addr).await;
        if registered.is_err() {
            node.actors().kill(addr.pid());
        }
        Some((addr.pid(), ticket, registered))
    };
    // What is asked inside of the node and not answered stays open in the history, and so is unknown.
    let Some(Some((pid, ticket, registered))) = alive.ask(PATIENCE, registering).await else {
        return;
    };
    let held = registered.clone().ok();
    let read = |held: Held| Answer::Registered { epoch: held.epoch };
    let outcome = outcome_of(Some(registered.map(read)));
    let unknown = outcome == Outcome::Unknown;
    history.end(ticket, outcome);
    if unknown {
        // Its process is dead: should it come through after all, the steward gives the name back.
        let _never_ends = history.invoke(&who, &alive.host, wanted, Ask::Release { epoch: None });
        give_back(world, alive, wanted, pid, &who).await;
    }
    let Some(held) = held else { return };
    let body = {
        let now = history.moment();
        world.witness.seen().bodies.told(wanted, held.epoch, now)
    };
    let life = Duration::from_millis(dice.random_range(300..=6_000));
    let ended = alive.ask(life, alive.node.actors().ended(pid)).await;
    if ended.is_none() && !alive.is_gone() {
        // The steward gives the name back, some time after the process has ended.
        let epoch = Some(held.epoch);
        let _never_ends = history.invoke(&who, &alive.host, wanted, Ask::Release { epoch });
        let killed = async {
            alive.node.actors().kill(pid);
            alive.node.actors().ended(pid).await
        };
        if alive.ask(PATIENCE, killed).await.is_none() && !alive.is_gone() {
            let what = format_args!("{pid} of {who} was killed and did not end");
            world.witness.violate("exit", what);
        }
    }
    let now = history.moment();
    world.witness.seen().bodies.ended(&body, now);
}

fn asked_by(pid: Pid, session: SessionId) -> Ask {
    Ask::Register { value: Mark::of_process(pid), session: Some(session), replace: None }
}

/// A registration may have come through for a process that is dead; else its name would be held until the
/// node's session ends.
async fn give_back(world: &Arc<World>, alive: &Alive, wanted: &Name, pid: Pid, who: &str) {
    let names = alive.node.names();
    let Some(Ok(found)) = alive.ask(PATIENCE, names.find(wanted)).await else {
        return;
    };
    let Some(held) = found.registration.filter(|held| held.holder == Some(pid)) else {
        return;
    };
    let epoch = Some(held.epoch);
    let ticket = world.history.invoke(who, &alive.host, wanted, Ask::Release { epoch });
    let released = alive.ask(PATIENCE, names.release(wanted, epoch, None)).await;
    let read = |(epoch, _)| Answer::Released { epoch };
    let outcome = outcome_of(released.map(|released: Result<_, Error>| released.map(read)));
    world.history.end(ticket, outcome);
}

/// A process: takes letters and notes them.
async fn collect(world: Arc<World>, mut mail: Mailbox<Letter>) -> Exit {
    loop {
        let Letter { sender, number } = mail.receive().await;
        let pid = mail.pid();
        world.trace.note(format_args!("letter {sender:x}/{number} at {pid}"));
        world.witness.seen().mail.arrived(&sender, number, &pid);
    }
}

/// Sends letters from one node to the names.
async fn write(world: Arc<World>, nth: usize) {
    let mut dice = world.dice(&format!("sender {nth}"));
    let mut number = 0;
    while !world.is_closing() {
        clock::pause(Duration::from_millis(dice.random_range(20..=250))).await;
        let Some(alive) = world.alive(nth) else {
            continue;
        };
        let to = dice.random_range(0..NAMES);
        // Each life of a node is another sender.
        let sender = seed_of(alive.number, &format!("{} to {to}", alive.host));
        number += 1;
        let sending = async {
            let letter = Letter { sender, number };
            alive.node.names().send(&name_of(to), letter)
        };
        if let Some(Ok(())) = alive.ask(PATIENCE, sending).await {
            world.witness.seen().mail.sent();
        }
    }
}
