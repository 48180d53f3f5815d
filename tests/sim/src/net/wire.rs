//! The state of the net: hosts, listeners, cuts, and the events that change more than one stream.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::Weather;
use super::pipe::{Close, Conn, End, Pipe, Presence};
use crate::trace::Trace;

/// A host's name.
pub(super) type Host = Arc<str>;

/// How many accepted connections wait for a listener before callers hear nothing.
const BACKLOG: usize = 128;

/// Bytes to the same host do not touch a cable.
const LOOPBACK: Duration = Duration::from_micros(50);

pub(super) struct Wire {
    /// The moment of the event that is being handled.
    pub(super) now: Instant,
    pub(super) weather: Weather,
    pub(super) trace: Trace,
    pub(super) rng: SmallRng,
    pub(super) conns: BTreeMap<u64, Conn>,
    hosts: BTreeMap<Host, Machine>,
    cuts: BTreeMap<(Host, Host), Instant>,
    slow: BTreeMap<(Host, Host), Duration>,
    lossy: BTreeMap<(Host, Host), u8>,
    listeners: BTreeMap<(Host, u16), Backlog>,
    next_id: u64,
}

/// A host as the net knows it.
struct Machine {
    powered: bool,
    next_port: u16,
}

struct Backlog {
    /// Tells a listener from a later one on the same port.
    id: u64,
    waiting: VecDeque<(Instant, u64)>,
    waker: Option<Waker>,
}

/// What became of a knock at a door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knock {
    Answered,
    Refused,
    Silence,
}

/// Wakers to wake, in order, once the lock is gone.
#[derive(Default)]
pub(super) struct Wakes(Vec<Waker>, Vec<Waker>);

impl Wakes {
    /// Wakes whoever waits in a slot.
    pub(super) fn take(&mut self, slot: &mut Option<Waker>) {
        self.0.extend(slot.take());
    }

    /// Puts the present task into a slot.
    pub(super) fn park(&mut self, slot: &mut Option<Waker>, cx: &Context<'_>) {
        if !slot.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            // Even dropping a waker may drop a task, so that too waits for the lock to go.
            self.1.extend(slot.replace(cx.waker().clone()));
        }
    }

    pub(super) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

impl Wire {
    pub(super) fn new(seed: u64, weather: Weather, trace: Trace) -> Self {
        Self {
            now: crate::clock::now(),
            weather,
            trace,
            rng: SmallRng::seed_from_u64(seed),
            conns: BTreeMap::new(),
            hosts: BTreeMap::new(),
            cuts: BTreeMap::new(),
            slow: BTreeMap::new(),
            lossy: BTreeMap::new(),
            listeners: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// The one copy of a host's name; makes the host if need be.
    pub(super) fn host(&mut self, name: &str) -> Host {
        if let Some(known) = self.known(name) {
            return known;
        }
        let host: Host = name.into();
        self.hosts.insert(host.clone(), Machine { powered: true, next_port: 49_152 });
        host
    }

    pub(super) fn known(&self, name: &str) -> Option<Host> {
        self.hosts.get_key_value(name).map(|(host, _)| host.clone())
    }

    pub(super) fn connections(&self) -> usize {
        self.conns.len()
    }

    // Cables.

    /// How long something takes from one host to the other, should it set out now.
    pub(super) fn delay(&mut self, from: &Host, to: &Host) -> Duration {
        if from == to {
            return LOOPBACK;
        }
        let mut delay = self.rng.random_range(self.weather.delay.clone());
        if self.rng.random_range(0..1000) < self.weather.resent_per_mille {
            delay += self.rng.random_range(self.weather.resent_after.clone());
        }
        let link = (from.clone(), to.clone());
        // What is sent again may be lost again.
        while let Some(percent) = self.lossy.get(&link).copied()
            && self.rng.random_range(0..100) < percent
        {
            delay += self.rng.random_range(self.weather.resent_after.clone());
        }
        delay + self.slow.get(&link).copied().unwrap_or_default()
    }

    /// Since when a direction is cut, if it is.
    pub(super) fn cut_since(&self, from: &Host, to: &Host) -> Option<Instant> {
        self.cuts.get(&(from.clone(), to.clone())).copied()
    }

    pub(super) fn cuts(&self) -> Vec<(String, String)> {
        self.cuts.keys().map(|(from, to)| (from.to_string(), to.to_string())).collect()
    }

    pub(super) fn cut(&mut self, from: &str, to: &str) {
        let link = (self.host(from), self.host(to));
        let now = self.now;
        self.trace.note(format_args!("net cut {from}>{to}"));
        self.cuts.entry(link).or_insert(now);
    }

    pub(super) fn heal(&mut self, from: &str, to: &str, wakes: &mut Wakes) {
        let link = (self.host(from), self.host(to));
        let Some(since) = self.cuts.remove(&link) else {
            return;
        };
        self.trace.note(format_args!("net heal {from}>{to}"));
        // A sender tries again in ever longer pauses, so what was held comes late after a long cut.
        let pause_max = (self.now - since).min(Duration::from_secs(1));
        let pause = self.rng.random_range(Duration::ZERO..=pause_max);
        let resumed = self.now + pause + self.delay(&link.0, &link.1);
        for conn in self.conns.values_mut() {
            for side in [0, 1] {
                if conn.ends[side].host == link.0 && conn.ends[1 - side].host == link.1 {
                    conn.pipes[side].resume(since, resumed);
                    conn.pipes[1 - side].release_acks();
                    conn.wake(1 - side, wakes);
                }
            }
        }
        for (_, backlog) in self.listeners.iter_mut().filter(|((host, _), _)| *host == link.1) {
            wakes.take(&mut backlog.waker);
        }
    }

    pub(super) fn heal_all(&mut self, wakes: &mut Wakes) {
        self.slow.clear();
        self.lossy.clear();
        for (from, to) in self.cuts() {
            self.heal(&from, &to, wakes);
        }
    }

    pub(super) fn slow(&mut self, from: &str, to: &str, extra: Duration) {
        let link = (self.host(from), self.host(to));
        self.trace.note(format_args!("net slow {from}>{to} {extra:?}"));
        if extra.is_zero() {
            self.slow.remove(&link);
        } else {
            self.slow.insert(link, extra);
        }
    }

    pub(super) fn lossy(&mut self, from: &str, to: &str, percent: u8) {
        let link = (self.host(from), self.host(to));
        self.trace.note(format_args!("net lossy {from}>{to} {percent} %"));
        match percent {
            0 => drop(self.lossy.remove(&link)),
            // Something has to arrive some day.
            _ => drop(self.lossy.insert(link, percent.min(90))),
        }
    }

    // Ends of connections.

    pub(super) fn reset(&mut self, a: &str, b: &str, wakes: &mut Wakes) {
        self.trace.note(format_args!("net reset {a}-{b}"));
        for conn in self.conns.values_mut() {
            let [one, other] = &conn.ends;
            let between = (&*one.host, &*other.host);
            if between == (a, b) || between == (b, a) {
                conn.break_off(wakes);
            }
        }
    }

    pub(super) fn crash(&mut self, host: &str, wakes: &mut Wakes) {
        let host = self.host(host);
        self.trace.note(format_args!("net crash {host}"));
        self.close_listeners(&host, wakes);
        for id in self.conns.keys().copied().collect::<Vec<_>>() {
            for side in [0, 1] {
                let Some(conn) = self.conns.get(&id) else {
                    break;
                };
                if conn.ends[side].host == host && conn.ends[side].presence == Presence::Open {
                    self.end_in_crash(id, side, wakes);
                }
            }
        }
    }

    fn end_in_crash(&mut self, id: u64, side: usize, wakes: &mut Wakes) {
        // What the dead process had written may still be in its kernel's hands, or lost with the reset.
        let last_words_lost = self.rng.random_bool(0.5);
        let reset_at = self.now + self.delay_of(id, side);
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.ends[side].presence = Presence::Crashed;
        if last_words_lost {
            conn.pipes[side].lose_under_way(now);
        }
        conn.pipes[side].close(reset_at, Close::Reset);
        conn.pipes[1 - side].lose_everything();
        conn.wake(1 - side, wakes);
        conn.wake(side, wakes);
        self.forget_if_over(id);
    }

    pub(super) fn vanish(&mut self, host: &str, wakes: &mut Wakes) {
        let host = self.host(host);
        self.trace.note(format_args!("net vanish {host}"));
        self.close_listeners(&host, wakes);
        if let Some(machine) = self.hosts.get_mut(&host) {
            machine.powered = false;
        }
        let now = self.now;
        for conn in self.conns.values_mut() {
            for side in [0, 1] {
                if conn.ends[side].host == host && conn.ends[side].presence == Presence::Open {
                    conn.ends[side].presence = Presence::Vanished;
                    conn.pipes[side].lose_under_way(now);
                    conn.wake(side, wakes);
                }
            }
        }
        self.forget_all_over();
    }

    /// A host that does something has power.
    pub(super) fn rise(&mut self, host: &Host, wakes: &mut Wakes) {
        match self.hosts.get_mut(host) {
            Some(machine) if !machine.powered => machine.powered = true,
            _ => return,
        }
        self.trace.note(format_args!("net rise {host}"));
        for id in self.conns.keys().copied().collect::<Vec<_>>() {
            for side in [0, 1] {
                let Some(conn) = self.conns.get(&id) else {
                    break;
                };
                let end = &conn.ends[side];
                // Only what a peer still tries to send tells it that the life it speaks to is over.
                let asked = conn.pipes[1 - side].bytes_taken > 0;
                if end.host == *host && end.presence == Presence::Vanished && asked {
                    self.answer_with_reset(id, side, wakes);
                }
            }
        }
    }

    /// Side `side` answers the other one's bytes with a reset, as nobody is there who could take them.
    pub(super) fn answer_with_reset(&mut self, id: u64, side: usize, wakes: &mut Wakes) {
        let at = self.now + self.delay_of(id, 1 - side) + self.delay_of(id, side);
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.pipes[side].close(at, Close::Reset);
            conn.wake(1 - side, wakes);
        }
    }

    pub(super) fn is_powered(&self, host: &Host) -> bool {
        self.hosts.get(host).is_some_and(|machine| machine.powered)
    }

    /// The delay of what a side of a connection sends.
    pub(super) fn delay_of(&mut self, id: u64, side: usize) -> Duration {
        let Some(conn) = self.conns.get(&id) else {
            return Duration::ZERO;
        };
        let (from, to) = (conn.ends[side].host.clone(), conn.ends[1 - side].host.clone());
        self.delay(&from, &to)
    }

    pub(super) fn forget_if_over(&mut self, id: u64) {
        if self.conns.get(&id).is_some_and(Conn::is_over) {
            self.conns.remove(&id);
        }
    }

    fn forget_all_over(&mut self) {
        self.conns.retain(|_, conn| !conn.is_over());
    }

    // Listeners and callers.

    /// Begins to listen; the port, and the mark by which the listener is known.
    pub(super) fn listen(
        &mut self,
        host: &Host,
        port: u16,
        wakes: &mut Wakes,
    ) -> Option<(u16, u64)> {
        self.rise(host, wakes);
        let port = if port == 0 { self.free_port(host) } else { port };
        let place = (host.clone(), port);
        if self.listeners.contains_key(&place) {
            return None;
        }
        let id = self.fresh_id();
        self.trace.note(format_args!("net listen {host}:{port}"));
        self.listeners.insert(place, Backlog { id, waiting: VecDeque::new(), waker: None });
        Some((port, id))
    }

    pub(super) fn stop_listening(&mut self, host: &Host, port: u16, id: u64, wakes: &mut Wakes) {
        let place = (host.clone(), port);
        if self.listeners.get(&place).is_none_or(|backlog| backlog.id != id) {
            return;
        }
        if let Some(backlog) = self.listeners.remove(&place) {
            for (_, conn) in backlog.waiting {
                self.end_in_crash(conn, 1, wakes);
            }
        }
    }

    /// What a caller's first packet meets.
    pub(super) fn knock(&self, from: &Host, to: &Host, port: u16) -> Knock {
        if self.cut_since(from, to).is_some() || !self.is_powered(to) {
            return Knock::Silence;
        }
        match self.listeners.get(&(to.clone(), port)) {
            None => Knock::Refused,
            Some(backlog) if backlog.waiting.len() >= BACKLOG => Knock::Silence,
            Some(_) => Knock::Answered,
        }
    }

    /// Opens a connection that was answered, unless its listener has gone meanwhile.
    pub(super) fn open(
        &mut self,
        from: &Host,
        to: &Host,
        port: u16,
        wakes: &mut Wakes,
    ) -> Option<u64> {
        if self.knock(from, to, port) != Knock::Answered {
            return None;
        }
        let (id, from_port) = (self.fresh_id(), self.free_port(from));
        let arrives = self.now + self.delay(from, to);
        let ends = [End::new(from.clone(), from_port), End::new(to.clone(), port)];
        self.trace.note(format_args!("net open #{id} {from}:{from_port}>{to}:{port}"));
        self.conns.insert(id, Conn::new(ends, [Pipe::new(self.now), Pipe::new(self.now)]));
        let backlog = self.listeners.get_mut(&(to.clone(), port))?;
        backlog.waiting.push_back((arrives, id));
        wakes.take(&mut backlog.waker);
        Some(id)
    }

    /// The next connection that has reached a listener, or else when one will.
    pub(super) fn accept(
        &mut self,
        place: &(Host, u16),
        id: u64,
        cx: &Context<'_>,
        wakes: &mut Wakes,
    ) -> Accept {
        let Some(backlog) = self.listeners.get_mut(place).filter(|backlog| backlog.id == id) else {
            return Accept::Gone;
        };
        backlog.waiting.retain(|(_, conn)| self.conns.contains_key(conn));
        let mut wake_at = None;
        for (nth, (at, conn)) in backlog.waiting.iter().enumerate() {
            let from = &self.conns[conn].ends[0];
            if self.cuts.contains_key(&(from.host.clone(), place.0.clone())) {
                continue;
            }
            if *at <= self.now {
                let (conn, from) = (*conn, format!("{}:{}", from.host, from.port));
                self.trace.note(format_args!("net accept #{conn} {from}"));
                backlog.waiting.remove(nth);
                return Accept::Conn(conn, from);
            }
            wake_at = Some(wake_at.map_or(*at, |sooner: Instant| sooner.min(*at)));
        }
        wakes.park(&mut backlog.waker, cx);
        Accept::Wait(wake_at)
    }

    fn close_listeners(&mut self, host: &Host, wakes: &mut Wakes) {
        for (_, backlog) in self.listeners.iter_mut().filter(|((on, _), _)| on == host) {
            wakes.take(&mut backlog.waker);
        }
        self.listeners.retain(|(on, _), _| on != host);
    }

    fn free_port(&mut self, host: &Host) -> u16 {
        let taken: BTreeSet<u16> =
            self.listeners.keys().filter(|(on, _)| on == host).map(|(_, port)| *port).collect();
        let Some(machine) = self.hosts.get_mut(host) else {
            return 1;
        };
        loop {
            let port = machine.next_port;
            machine.next_port = port.checked_add(1).unwrap_or(49_152);
            if !taken.contains(&port) {
                return port;
            }
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// What a listener finds.
pub(super) enum Accept {
    Conn(u64, String),
    Wait(Option<Instant>),
    Gone,
}
