//! The porch: accepted connections that have not proved anything yet, and how many of them there may be.
//!
//! Whoever sits there costs memory, and whoever comes costs work, TLS most of all; so both are counted, for
//! all and for each source. An honest handshake takes milliseconds, so when the porch is full it is the
//! oldest that is turned out, and when a source has more than its share it is that source's own oldest: a
//! crowd from one address crowds out itself. From a quarter on, who has been there for longer than a moment
//! is turned out; only a porch that is full turns out who has just come, for many who come at the same moment
//! are more likely a cluster that starts than an attack. A source that comes too fast is not let in at all.
//!
//! A pure core: times come as values. What is remembered is bounded; sources that find no place of their own
//! share one. Not here: who is honest. That is the handshake's to find out.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_vocab::Time;

use crate::latch::Latch;
use crate::{Limits, Reason};

/// How many sources are told apart.
const SOURCES_MAX: usize = 1024;

/// Who has been here for longer goes for a newcomer as soon as a quarter of the places is taken. A handshake
/// over an ocean takes as long when this node has much to do.
const MOMENT: Duration = Duration::from_millis(500);

/// Who waits, and who came when.
#[derive(Debug)]
pub(crate) struct Porch(Mutex<Waiting>);

/// A connection that is let wait.
#[derive(Debug)]
pub(crate) struct Guest {
    number: u64,
    source: Source,
    /// Set when it has to go, with the reason.
    pub(crate) out: Arc<Latch<Reason>>,
}

/// Where a connection comes from: an address, a /64 of IPv6 (as everybody has all of one), a name that a
/// simulated net gives; empty for all who find no place.
type Source = String;

#[derive(Debug)]
struct Waiting {
    last: u64,
    guests: BTreeMap<u64, Waiter>,
    sources: BTreeMap<Source, Visits>,
    guests_max: usize,
    share_max: usize,
    every: Duration,
    /// How far ahead of the clock a source's visits may be booked.
    ahead_max: Duration,
}

#[derive(Debug)]
struct Waiter {
    source: Source,
    came: Time,
    out: Arc<Latch<Reason>>,
}

#[derive(Debug, Default)]
struct Visits {
    /// Its guests, the oldest first.
    guests: VecDeque<u64>,
    /// Every visit books a span of time, one after the other; they are booked to here.
    booked: Time,
}

impl Porch {
    pub(crate) fn new(limits: &Limits) -> Self {
        let arrivals = u32::try_from(limits.arrivals_per_source).unwrap_or(u32::MAX);
        Self(Mutex::new(Waiting {
            last: 0,
            guests: BTreeMap::new(),
            sources: BTreeMap::new(),
            guests_max: limits.handshakes_max,
            share_max: limits.handshakes_per_source_max,
            every: limits.arrival_every,
            ahead_max: limits.arrival_every.saturating_mul(arrivals),
        }))
    }

    /// Lets a connection wait, or does not. Others may have to go for it.
    pub(crate) fn enter(&self, now: Time, from: &str) -> Result<Guest, Reason> {
        let mut waiting = self.0.lock().expect("nothing panics on the porch");
        let source = waiting.place(now, source(from));
        waiting.book(now, &source)?;
        waiting.make_room(now, &source);
        waiting.last += 1;
        let (number, out) = (waiting.last, Arc::new(Latch::new()));
        let waiter = Waiter { source: source.clone(), came: now, out: out.clone() };
        waiting.guests.insert(number, waiter);
        waiting.sources.entry(source.clone()).or_default().guests.push_back(number);
        Ok(Guest { number, source, out })
    }

    /// Forgets a connection, whatever became of it.
    pub(crate) fn leave(&self, guest: &Guest) {
        let mut waiting = self.0.lock().expect("nothing panics on the porch");
        waiting.guests.remove(&guest.number);
        if let Some(visits) = waiting.sources.get_mut(&guest.source) {
            visits.guests.retain(|number| *number != guest.number);
        }
    }
}

impl Waiting {
    /// The source itself while there is a place for it, else the one that all others share.
    fn place(&mut self, now: Time, source: Source) -> Source {
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            self.sources.retain(|_, visits| !visits.guests.is_empty() || visits.booked > now);
            if self.sources.len() >= SOURCES_MAX {
                return Source::new();
            }
        }
        source
    }

    fn book(&mut self, now: Time, source: &Source) -> Result<(), Reason> {
        let visits = self.sources.entry(source.clone()).or_default();
        let booked = visits.booked.max(now) + self.every;
        if booked > now + self.ahead_max {
            return Err(Reason::CrowdedSource);
        }
        visits.booked = booked;
        Ok(())
    }

    fn make_room(&mut self, now: Time, source: &Source) {
        let own = self.sources.get(source).map(|visits| &visits.guests);
        let own = own.and_then(|own| Some((*own.front()?, own.len())));
        self.turn_out_one(now, own, self.share_max, Reason::CrowdedSource);
        let all = self.guests.keys().next().map(|oldest| (*oldest, self.guests.len()));
        self.turn_out_one(now, all, self.guests_max, Reason::Crowded);
    }

    /// Turns the oldest of so many out, if they are too many for how long it has been there.
    fn turn_out_one(&mut self, now: Time, of: Option<(u64, usize)>, most: usize, why: Reason) {
        let Some((oldest, count)) = of else { return };
        let overdue = |waiter: &Waiter| now.since(waiter.came) > MOMENT;
        let is_overdue = self.guests.get(&oldest).is_some_and(overdue);
        if count < most && (count < most.div_ceil(4) || !is_overdue) {
            return;
        }
        if let Some(Waiter { source, out, .. }) = self.guests.remove(&oldest) {
            out.set(why);
            if let Some(visits) = self.sources.get_mut(&source) {
                visits.guests.retain(|guest| *guest != oldest);
            }
        }
    }
}

fn source(from: &str) -> Source {
    match from.parse::<SocketAddr>().map(|address| address.ip().to_canonical()) {
        Ok(IpAddr::V4(address)) => address.to_string(),
        Ok(IpAddr::V6(address)) => format!("{:x}/64", address.to_bits() >> 64),
        Err(_) => from.rsplit_once(':').map_or(from, |(host, _)| host).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn porch(guests: usize, share: usize, arrivals: usize) -> Porch {
        Porch::new(&Limits {
            handshakes_max: guests,
            handshakes_per_source_max: share,
            arrivals_per_source: arrivals,
            arrival_every: Duration::from_millis(10),
            ..Limits::lan()
        })
    }

    fn at(millis: u64) -> Time {
        Time(0) + Duration::from_millis(millis)
    }

    #[test]
    fn a_crowd_from_one_source_crowds_out_itself() {
        let porch = porch(100, 3, 1000);
        let honest = porch.enter(at(0), "10.0.0.1:1").unwrap();
        let crowd: Vec<Guest> =
            (0..50).map(|port| porch.enter(at(0), &format!("10.0.0.2:{port}")).unwrap()).collect();
        let (gone, stay) = crowd.split_at(47);
        assert!(gone.iter().all(|guest| guest.out.value() == Some(Reason::CrowdedSource)));
        assert!(stay.iter().all(|guest| guest.out.value().is_none()));
        assert_eq!(honest.out.value(), None);
    }

    #[test]
    fn when_all_are_too_many_the_oldest_goes() {
        let porch = porch(4, 4, 1000);
        let guests: Vec<Guest> =
            (0..6).map(|host| porch.enter(at(0), &format!("10.0.0.{host}:1")).unwrap()).collect();
        let gone = |guest: &Guest| guest.out.value() == Some(Reason::Crowded);
        assert_eq!(
            guests.iter().map(gone).collect::<Vec<_>>(),
            [true, true, false, false, false, false]
        );
        // Who has left makes room.
        porch.leave(&guests[2]);
        porch.enter(at(0), "10.0.0.9:1").unwrap();
        assert_eq!(guests[3].out.value(), None);
    }

    #[test]
    fn who_comes_in_the_same_moment_finds_a_place_and_who_stays_for_long_loses_it_to_newcomers() {
        let porch = porch(16, 16, 1000);
        let enter = |millis, host| porch.enter(at(millis), &format!("10.0.0.{host}:1")).unwrap();
        let first: Vec<Guest> = (0..16).map(|host| enter(host, host)).collect();
        let gone = || first.iter().filter(|guest| guest.out.value().is_some()).count();
        assert_eq!(gone(), 0, "they came at once, and there is a place for each");
        first[6..].iter().for_each(|guest| porch.leave(guest));
        let newcomers: Vec<Guest> = (0..9).map(|host| enter(900, 100 + host)).collect();
        assert_eq!(gone(), 6, "they were no longer than a moment alone");
        assert!(newcomers.iter().all(|guest| guest.out.value().is_none()));
        // As long as there are few, they may take their time.
        newcomers[1..].iter().for_each(|guest| porch.leave(guest));
        enter(9_000, 1);
        assert_eq!(newcomers[0].out.value(), None);
    }

    #[test]
    fn a_source_that_comes_too_fast_is_not_let_in_until_it_rested() {
        let porch = porch(100, 100, 5);
        let comes =
            |millis, from: &str| porch.enter(at(millis), from).map(|guest| porch.leave(&guest));
        for port in 1..6 {
            comes(100, &format!("[2001:db8::{port}]:1")).unwrap();
        }
        assert_eq!(comes(100, "[2001:db8::ffff]:1"), Err(Reason::CrowdedSource), "it is one /64");
        assert_eq!(comes(109, "[2001:db8::1]:1"), Err(Reason::CrowdedSource));
        comes(100, "[2001:db8:1::1]:1").unwrap();
        comes(110, "[2001:db8::1]:1").unwrap();
        assert_eq!(comes(110, "[2001:db8::1]:1"), Err(Reason::CrowdedSource));
        for _ in 0..5 {
            comes(1000, "[2001:db8::1]:1").unwrap();
        }
        assert!(
            comes(1000, "[2001:db8::1]:1").is_err(),
            "a long rest saves up no more than a short one"
        );
    }

    #[test]
    fn a_flood_of_sources_keeps_the_porch_bounded_and_is_limited_as_one() {
        let porch = porch(64, 16, 5);
        let mut let_in = 0;
        for host in 0..100_000_u32 {
            let from = format!("{}:1", std::net::Ipv4Addr::from(host));
            let_in += usize::from(porch.enter(at(0), &from).is_ok());
            let waiting = porch.0.lock().unwrap();
            assert!(waiting.guests.len() <= 64 && waiting.sources.len() <= SOURCES_MAX + 1);
            let places: usize = waiting.sources.values().map(|visits| visits.guests.len()).sum();
            assert_eq!(places, waiting.guests.len());
        }
        assert_eq!(let_in, SOURCES_MAX + 5);
        // Those that rested are forgotten, and then there is a place again.
        let mut waiting = porch.0.lock().unwrap();
        assert_eq!(waiting.place(at(5000), "10.0.0.1".into()), "10.0.0.1");
        assert!(waiting.sources.len() <= 64);
    }
}
