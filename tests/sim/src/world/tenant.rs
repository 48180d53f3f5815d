//! Tenants: clients who say things under names, and not only hold them.
//!
//! A tenant reserves a name and confirms it, claims one for a life of its own and renews that, and amends
//! what it says, mostly under the version that it saw. What it says nobody else says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorate::{Amendment, Bond, Claiming, Error, Held};
use quorate_vocab::{Epoch, Index, Name, SessionId};
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::client::outcome_of;
use super::seat::Alive;
use super::{PATIENCE, World, lives, name};
use crate::clock;
use crate::history::{Answer, Ask, Mark, Outcome};

/// How many tenants there are.
const TENANTS: usize = 2;
/// How many names they contend for.
const NAMES: usize = 4;
/// How long a tenant thinks between two operations.
const THINKING_MS: std::ops::RangeInclusive<u64> = 30..=120;

/// Lets the tenants begin.
pub(super) fn begin(world: &Arc<World>) -> Vec<JoinHandle<()>> {
    let tenant = |nth: usize| Tenant {
        name: format!("t{nth}"),
        dice: world.dice(&format!("tenant {nth}")),
        world: world.clone(),
        values: 0,
        known: BTreeMap::new(),
        reserved: BTreeMap::new(),
        tried: BTreeSet::new(),
        session: None,
    };
    (1..=TENANTS).map(|nth| quorate_env::spawn(tenant(nth).live())).collect()
}

struct Tenant {
    world: Arc<World>,
    name: String,
    dice: SmallRng,
    values: u64,
    /// The epochs and versions that it was told of last.
    known: BTreeMap<Name, (Epoch, Index)>,
    /// What it has reserved last, and may have confirmed.
    reserved: BTreeMap<Name, (Epoch, SessionId)>,
    /// What it has tried to reserve in its present session: never twice, so that a mark is one try's.
    tried: BTreeSet<Name>,
    session: Option<(SessionId, Instant)>,
}

impl Tenant {
    async fn live(mut self) {
        while !self.world.is_closing() {
            clock::pause(Duration::from_millis(self.dice.random_range(THINKING_MS))).await;
            let at = self.dice.random_range(0..self.world.seats.len());
            if let Some(alive) = self.world.alive(at) {
                self.act(&alive).await;
            }
        }
    }

    async fn act(&mut self, alive: &Alive) {
        let wanted = name(format!("s/{}", self.dice.random_range(0..NAMES)));
        self.session = self.session.filter(|(_, until)| clock::now() < *until);
        match self.dice.random_range(0..100) {
            0..30 => self.find(alive, &wanted).await,
            30..42 => self.lease(alive, &wanted).await,
            42..55 => self.reserve(alive, &wanted).await,
            55..68 => self.confirm(alive, &wanted).await,
            68..92 => self.amend(alive, &wanted).await,
            _ => self.release(alive, &wanted).await,
        }
    }

    async fn find(&mut self, alive: &Alive, wanted: &Name) {
        let ticket = self.world.history.invoke(&self.name, &alive.host, wanted, Ask::Find);
        let names = alive.node.names();
        let found = alive.ask(PATIENCE, names.find(wanted)).await;
        if let Some(Ok(found)) = &found {
            match &found.registration {
                Some(held) => self.known.insert(wanted.clone(), (held.epoch, held.version)),
                None => self.known.remove(wanted),
            };
        }
        let read = |found: quorate::Found| Answer::from_found(found.registration.as_ref());
        self.world.history.end(ticket, outcome_of(found.map(|found| found.map(read))));
    }

    /// Claims a name for a life of its own.
    async fn lease(&mut self, alive: &Alive, wanted: &Name) {
        let ttl = lives::draw_ttl(&mut self.dice);
        let value = self.say();
        let ask = Ask::Lease { value: Mark::of(&value) };
        let asked = self.world.history.moment();
        let ticket = self.world.history.invoke(&self.name, &alive.host, wanted, ask);
        let bond = Bond::Ttl { ms: u64::try_from(ttl.as_millis()).expect("it is short") };
        let names = alive.node.names();
        let claiming = Claiming { bond, value, ..Claiming::default() };
        let held = alive.ask(PATIENCE, names.claim(wanted, claiming)).await;
        if let Some(Ok(Held { epoch, session: Some(session), .. })) = &held {
            self.known.insert(wanted.clone(), (*epoch, epoch.index()));
            self.world.history.session_opened(*session, asked);
            let until = clock::now() + Duration::from_millis(self.dice.random_range(0..=6_000));
            lives::renew(&self.world, *session, ttl, until, &self.name);
        }
        let read = |held: Held| Answer::Registered { epoch: held.epoch };
        self.world.history.end(ticket, outcome_of(held.map(|held| held.map(read))));
    }

    async fn reserve(&mut self, alive: &Alive, wanted: &Name) {
        let Some((session, _)) = self.session else {
            self.session = lives::open(&self.world, alive, &self.name, &mut self.dice).await;
            self.tried.clear();
            return;
        };
        if !self.tried.insert(wanted.clone()) {
            return;
        }
        let value = Mark::of_reservation(session);
        let ask = Ask::Register { value, session: Some(session), replace: None };
        let ticket = self.world.history.invoke(&self.name, &alive.host, wanted, ask);
        let names = alive.node.names();
        let bond = Bond::Session(session);
        let held = alive.ask(PATIENCE, names.reserve(wanted, bond, None)).await;
        if let Some(Ok(held)) = &held {
            self.reserved.insert(wanted.clone(), (held.epoch, session));
        }
        let read = |held: Held| Answer::Registered { epoch: held.epoch };
        self.world.history.end(ticket, outcome_of(held.map(|held| held.map(read))));
    }

    /// Confirms what it has reserved; sometimes it has done so before.
    async fn confirm(&mut self, alive: &Alive, wanted: &Name) {
        let Some((epoch, session)) = self.reserved.get(wanted).copied() else { return };
        let value = self.say();
        let ask = Ask::Confirm { epoch, value: Mark::of(&value) };
        let ticket = self.world.history.invoke(&self.name, &alive.host, wanted, ask);
        let names = alive.node.names();
        let claiming = Claiming { bond: Bond::Session(session), value, ..Claiming::default() };
        let held = alive.ask(PATIENCE, names.confirm(wanted, epoch, claiming)).await;
        if let Some(Ok(held)) = &held {
            self.known.insert(wanted.clone(), (held.epoch, held.index));
        }
        let read = |_: Held| Answer::Confirmed;
        self.world.history.end(ticket, outcome_of(held.map(|held| held.map(read))));
    }

    async fn amend(&mut self, alive: &Alive, wanted: &Name) {
        let Some((epoch, version)) = self.known.get(wanted).copied() else { return };
        let expected = Some(version).filter(|_| self.dice.random_bool(0.8));
        let value = self.say();
        let ask = Ask::Amend { epoch, expected, value: Mark::of(&value) };
        let ticket = self.world.history.invoke(&self.name, &alive.host, wanted, ask);
        let amendment = Amendment { value: Some(value), expected, ..Amendment::default() };
        let names = alive.node.names();
        let amended = alive.ask(PATIENCE, names.amend(wanted, epoch, amendment)).await;
        // Mostly it learns the version; else it runs into the refusal that belongs to an old one.
        if let Some(Ok(version)) = &amended
            && self.dice.random_bool(0.8)
        {
            self.known.insert(wanted.clone(), (epoch, *version));
        }
        let read = |version| Answer::Amended { version };
        self.world.history.end(ticket, outcome_of(amended.map(|amended| amended.map(read))));
    }

    async fn release(&mut self, alive: &Alive, wanted: &Name) {
        let Some((epoch, _)) = self.known.remove(wanted) else { return };
        let ask = Ask::Release { epoch: Some(epoch) };
        let ticket = self.world.history.invoke(&self.name, &alive.host, wanted, ask);
        let names = alive.node.names();
        let released = alive.ask(PATIENCE, names.release(wanted, Some(epoch), None)).await;
        let read = |(epoch, _)| Answer::Released { epoch };
        let released = released.map(|released: Result<_, Error>| released.map(read));
        let outcome: Outcome = outcome_of(released);
        self.world.history.end(ticket, outcome);
    }

    fn say(&mut self) -> Vec<u8> {
        self.values += 1;
        format!("{} {}", self.name, self.values).into_bytes()
    }
}
