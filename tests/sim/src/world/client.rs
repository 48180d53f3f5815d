//! Clients: each holds one node as long as it answers, and asks it for names.
//!
//! A client knows what it was told and nothing else. It registers values that nobody else registers, under
//! no session or under one of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate::{Claiming, Error, Held, Verdict};
use quorate_vocab::{Epoch, Index, Name, SessionId};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::seat::Alive;
use super::{PATIENCE, World, lives, name};
use crate::clock;
use crate::history::{Answer, Ask, Mark, Outcome};

/// How many names the clients contend for.
const NAMES: usize = 12;
/// How long a client thinks between two operations.
const THINKING_MS: std::ops::RangeInclusive<u64> = 20..=80;

/// Lets the clients begin.
pub(super) fn begin(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    let client = |nth: usize| Client {
        name: format!("c{nth}"),
        dice: world.dice(&format!("client {nth}")),
        at: nth % world.seats.len(),
        disappointed: 0,
        values: 0,
        known: BTreeMap::new(),
        session: None,
        peeked: BTreeMap::new(),
        world: world.clone(),
    };
    (1..=world.settings.clients).map(|nth| quorate_env::spawn(client(nth).live())).collect()
}

struct Client {
    world: Arc<World>,
    name: String,
    dice: SmallRng,
    /// The node that it asks.
    at: usize,
    /// How many operations in a row came to nothing.
    disappointed: u32,
    values: u64,
    /// The epochs that it was told of last.
    known: BTreeMap<Name, Epoch>,
    session: Option<(SessionId, Instant)>,
    /// How far each life of a node had come when it was looked into.
    peeked: BTreeMap<(usize, u64), Index>,
}

impl Client {
    async fn live(mut self) {
        while !self.world.is_closing() {
            let thinking = self.dice.random_range(THINKING_MS);
            clock::pause(Duration::from_millis(thinking)).await;
            match self.world.alive(self.at) {
                Some(alive) => self.act(&alive).await,
                None => self.disappointed += 1,
            }
            if self.disappointed >= 2 {
                self.disappointed = 0;
                self.at = self.dice.random_range(0..self.world.seats.len());
            }
        }
    }

    async fn act(&mut self, alive: &Alive) {
        let wanted = name(format!("k/{}", self.dice.random_range(0..NAMES)));
        match self.dice.random_range(0..100) {
            0..40 => self.find(alive, &wanted).await,
            40..65 => self.claim(alive, &wanted, None).await,
            65..75 => match self.known.get(&wanted).copied() {
                Some(epoch) => self.claim(alive, &wanted, Some(epoch)).await,
                None => self.claim(alive, &wanted, None).await,
            },
            75..92 => self.release(alive, &wanted).await,
            92..96 => self.peek(alive, &wanted).await,
            _ => self.open(alive).await,
        }
    }

    async fn find(&mut self, alive: &Alive, wanted: &Name) {
        // The names of processes are looked up, too; nobody else may touch them.
        let process = self.dice.random_range(0..8) == 0;
        let wanted = if process {
            super::processes::name_of(self.dice.random_range(0..super::processes::NAMES))
        } else {
            wanted.clone()
        };
        let ticket = self.world.history.invoke(&self.name, &alive.host, &wanted, Ask::Find);
        let names = alive.node.names();
        let found = alive.ask(PATIENCE, names.find(&wanted)).await;
        if let Some(Ok(found)) = &found {
            match &found.registration {
                Some(held) => self.known.insert(wanted.clone(), held.epoch),
                None => self.known.remove(&wanted),
            };
        }
        let read = |found: quorate::Found| Answer::from_found(found.registration.as_deref());
        let outcome = outcome_of(found.map(|found| found.map(read)));
        self.end(ticket, outcome);
    }

    async fn claim(&mut self, alive: &Alive, wanted: &Name, replace: Option<Epoch>) {
        self.values += 1;
        let value = format!("{} {}", self.name, self.values).into_bytes();
        self.session = self.session.filter(|(_, until)| clock::now() < *until);
        let session =
            self.session.map(|(session, _)| session).filter(|_| self.dice.random_bool(0.6));
        let ask = Ask::Register { value: Mark::of(&value), session, replace };
        let ticket = self.world.history.invoke(&self.name, &alive.host, wanted, ask);
        let claiming = Claiming { bond: session.into(), value, replace, ..Claiming::default() };
        let names = alive.node.names();
        let held = alive.ask(PATIENCE, names.claim(wanted, claiming)).await;
        if let Some(Ok(held)) = &held {
            self.known.insert(wanted.clone(), held.epoch);
        }
        let read = |held: Held| Answer::Registered { epoch: held.epoch };
        let outcome = outcome_of(held.map(|held| held.map(read)));
        self.end(ticket, outcome);
    }

    async fn release(&mut self, alive: &Alive, wanted: &Name) {
        let epoch = self.known.get(wanted).copied().filter(|_| self.dice.random_bool(0.7));
        let ticket =
            self.world.history.invoke(&self.name, &alive.host, wanted, Ask::Release { epoch });
        let names = alive.node.names();
        let released = alive.ask(PATIENCE, names.release(wanted, epoch, None)).await;
        if let Some(Ok(_)) = &released {
            self.known.remove(wanted);
        }
        let read = |(epoch, _)| Answer::Released { epoch };
        let outcome = outcome_of(released.map(|released| released.map(read)));
        self.end(ticket, outcome);
    }

    /// A look at what one node knows may be old, but within one life it never goes back.
    async fn peek(&mut self, alive: &Alive, wanted: &Name) {
        let names = alive.node.names();
        // By the node's own clock.
        let look = async { (names.list(wanted.as_str(), None, 1), names.peek(wanted)) };
        let Some((listing, found)) = alive.ask(PATIENCE, look).await else {
            return;
        };
        self.world.witness.aged(alive, listing.index, listing.stale);
        self.world.witness.aged(alive, found.index, found.stale);
        let index = listing.index;
        let before = self.peeked.insert((self.at, alive.number), index).unwrap_or_default();
        if index < before {
            let what = format_args!("{} showed {before} and then {index}", alive.host);
            self.world.witness.violate("peek", what);
        }
    }

    async fn open(&mut self, alive: &Alive) {
        if self.session.is_some() {
            return;
        }
        let opened = lives::open(&self.world, alive, &self.name, &mut self.dice).await;
        self.disappointed += u32::from(opened.is_none());
        self.session = opened;
    }

    fn end(&mut self, ticket: crate::history::Ticket, outcome: Outcome) {
        self.disappointed = match outcome {
            Outcome::Done(_) => 0,
            _ => self.disappointed + 1,
        };
        self.world.history.end(ticket, outcome);
    }
}

/// What a call's end means to whoever asked. No answer at all, too, may mean anything.
pub(super) fn outcome_of(answer: Option<Result<Answer, Error>>) -> Outcome {
    match answer {
        Some(Ok(answer)) => Outcome::Done(answer),
        Some(Err(Error::Refused(refusal))) => {
            Answer::from_verdict(&Verdict::Refused(refusal)).map_or(Outcome::Unknown, Outcome::Done)
        }
        Some(Err(Error::NotDone(_))) => Outcome::NotDone,
        Some(Err(_)) | None => Outcome::Unknown,
    }
}
