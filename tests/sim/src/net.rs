//! The twin of `quorate_env::Net`: hosts, cables between them, and everything that happens to cables.
//!
//! It is modelled at the height of TCP as a program sees it. A stream keeps its order and its bytes; what
//! the net can do to it is delay, silence and breakage. So a cut does not lose bytes, it holds them, and they
//! flow after the heal as retransmissions do; acknowledgements that cannot return stop the sender once its
//! buffer is full; a dead process answers with resets, a dead machine with nothing at all.
//!
//! Not here: frames, duplicates and reordering, which TCP hides from the mesh.
//!
//! All chances come from one seeded generator, all orders from ordered maps. Nothing runs by itself: each
//! half of a stream sleeps until the next moment that concerns it.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_env::Net;

use crate::clock;
use crate::trace::Trace;

mod door;
mod pipe;
mod wire;

use wire::{Wakes, Wire};

/// A net of named hosts. A clone is the same net.
#[derive(Clone)]
pub struct SimNet(Arc<Shared>);

/// What the net is like while nothing special happens to it.
#[derive(Clone, Debug)]
pub struct Weather {
    /// How long a chunk of bytes is under way between two hosts.
    pub delay: RangeInclusive<Duration>,
    /// How many chunks in a thousand are lost and sent again, which delays all that is behind them.
    pub resent_per_mille: u32,
    /// How much longer a chunk takes that was sent again.
    pub resent_after: RangeInclusive<Duration>,
    /// How many chunks in a million break their connection.
    pub broken_per_million: u32,
    /// How long a connection attempt waits for an answer.
    pub connect_patience: RangeInclusive<Duration>,
    /// How many bytes a stream takes in before its writer has to wait, both hosts' buffers together.
    pub buffer_bytes: usize,
}

impl Default for Weather {
    fn default() -> Self {
        let millis = Duration::from_millis;
        Self {
            delay: millis(1)..=millis(5),
            resent_per_mille: 2,
            resent_after: millis(200)..=millis(400),
            broken_per_million: 20,
            connect_patience: millis(3_000)..=millis(20_000),
            buffer_bytes: 256 * 1024,
        }
    }
}

impl Weather {
    /// As ever, but for what goes wrong by itself.
    pub fn fair() -> Self {
        Self { resent_per_mille: 0, broken_per_million: 0, ..Self::default() }
    }

    /// One millisecond, and nothing ever goes wrong by itself.
    pub fn calm() -> Self {
        let millis = Duration::from_millis;
        Self { delay: millis(1)..=millis(1), ..Self::fair() }
    }
}

impl SimNet {
    /// A net without hosts.
    pub fn new(seed: u64, weather: Weather, trace: Trace) -> Self {
        Self(Arc::new(Shared { wire: Mutex::new(Wire::new(seed, weather, trace)) }))
    }

    /// One host's door, through which it calls and is called as `host:port`. A host exists from the first
    /// time that its door is asked for.
    pub fn host(&self, host: &str) -> Arc<dyn Net> {
        let host = self.0.with(|wire, _| wire.host(host));
        Arc::new(door::Door { host, shared: self.0.clone() })
    }

    /// Changes the weather for what is sent from now on.
    pub fn set_weather(&self, weather: Weather) {
        self.0.with(|wire, _| wire.weather = weather);
    }

    /// Holds everything that `from` sends to `to`, from now until the heal.
    pub fn cut(&self, from: &str, to: &str) {
        self.0.with(|wire, _| wire.cut(from, to));
    }

    /// Lets everything flow from `from` to `to` again.
    pub fn heal(&self, from: &str, to: &str) {
        self.0.with(|wire, wakes| wire.heal(from, to, wakes));
    }

    /// Ends all cuts, slowness and losses.
    pub fn heal_all(&self) {
        self.0.with(Wire::heal_all);
    }

    /// The directions that are cut, in order.
    pub fn cuts(&self) -> Vec<(String, String)> {
        self.0.with(|wire, _| wire.cuts())
    }

    /// Makes everything from `from` to `to` take so much longer; zero ends it.
    pub fn slow(&self, from: &str, to: &str, extra: Duration) {
        self.0.with(|wire, _| wire.slow(from, to, extra));
    }

    /// Loses so many of a hundred chunks from `from` to `to`, which are sent again; zero ends it.
    pub fn lossy(&self, from: &str, to: &str, percent: u8) {
        self.0.with(|wire, _| wire.lossy(from, to, percent));
    }

    /// Breaks every connection between two hosts: both ends see a reset at once.
    pub fn reset(&self, a: &str, b: &str) {
        self.0.with(|wire, wakes| wire.reset(a, b, wakes));
    }

    /// The process on a host has died, and the host's kernel says so: peers see resets, after the delay of
    /// the cable, and callers are refused.
    pub fn crash(&self, host: &str) {
        self.0.with(|wire, wakes| wire.crash(host, wakes));
    }

    /// A host has lost its power: nobody is told anything. It is there again when it next listens or calls,
    /// and then answers with a reset to what was sent to its earlier life.
    pub fn vanish(&self, host: &str) {
        self.0.with(|wire, wakes| wire.vanish(host, wakes));
    }

    /// How many connections are open or not yet forgotten by one of their ends.
    pub fn connections(&self) -> usize {
        self.0.with(|wire, _| wire.connections())
    }
}

impl fmt::Debug for SimNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimNet({} connections)", self.connections())
    }
}

struct Shared {
    wire: Mutex<Wire>,
}

impl Shared {
    /// Everything that happens to the net happens in here. Tasks are woken after the lock is gone, since
    /// the last waker of a dead task drops what the task held, which may be a stream of this net.
    fn with<R>(&self, act: impl FnOnce(&mut Wire, &mut Wakes) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = {
            let mut wire = self.wire.lock().expect("nothing panics while it holds the net");
            wire.now = clock::now();
            act(&mut wire, &mut wakes)
        };
        wakes.wake();
        result
    }
}
