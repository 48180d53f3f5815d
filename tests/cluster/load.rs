//! A load of registrations over HTTP: what was acknowledged, and when.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::host::{Agent, eventually, held_under, register};

/// How many clients ask each daemon.
const CLIENTS: usize = 3;
/// How long a client rests between two registrations: the load is to be steady rather than great.
const REST: Duration = Duration::from_millis(5);

/// Clients that register names without end, each through one daemon. It ends when it is dropped.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<()>>,
}

struct Shared {
    /// Where each daemon listens now.
    http: Mutex<Vec<String>>,
    acknowledged: Mutex<Acknowledged>,
    stop: AtomicBool,
}

#[derive(Default)]
struct Acknowledged {
    names: BTreeMap<String, u64>,
    moments: Vec<Instant>,
}

impl Load {
    pub(crate) fn begin(agents: &[Agent]) -> Self {
        let http = agents.iter().map(Agent::http).collect();
        let shared = Arc::new(Shared {
            http: Mutex::new(http),
            acknowledged: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let places =
            (0..agents.len()).flat_map(|nth| (0..CLIENTS).map(move |client| (nth, client)));
        let clients = places.map(|(nth, client)| {
            let shared = shared.clone();
            let named = std::thread::Builder::new().name(format!("client {client} of {nth}"));
            named.spawn(move || shared.register(nth, client)).expect("there is room for a thread")
        });
        let clients = clients.collect();
        Self { shared, clients }
    }

    /// A daemon listens elsewhere since its last start.
    pub(crate) fn moved(&self, nth: usize, agent: &Agent) {
        self.shared.http()[nth] = agent.http();
    }

    /// Waits until so many more are acknowledged.
    pub(crate) fn goes_on(&self, more: usize) {
        let before = self.shared.acknowledged().names.len();
        eventually("the load goes on", || self.shared.acknowledged().names.len() >= before + more);
    }

    /// The longest time without an acknowledgement since a moment, from the last one before it on.
    pub(crate) fn longest_gap(&self, since: Instant) -> Duration {
        let acknowledged = self.shared.acknowledged();
        let moments = &acknowledged.moments;
        let first = moments.partition_point(|moment| *moment < since).saturating_sub(1);
        let pairs = moments[first..].windows(2);
        pairs.map(|pair| pair[1].duration_since(pair[0])).max().unwrap_or_default()
    }

    /// Ends the load, and sees that all that was acknowledged is there, by one daemon. Tells how much.
    pub(crate) fn ends_with_nothing_lost(mut self, by: &Agent) -> usize {
        self.stop();
        let held = held_under(&by.http(), "load/");
        let acknowledged = self.shared.acknowledged();
        for (name, epoch) in &acknowledged.names {
            assert_eq!(held.get(name), Some(epoch), "{name} was acknowledged");
        }
        acknowledged.names.len()
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for client in self.clients.drain(..) {
            client.join().expect("a client does not panic");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    #[expect(clippy::disallowed_methods, reason = "a drill of processes lives in real time")]
    fn register(&self, nth: usize, client: usize) {
        for n in 0.. {
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            let http = self.http()[nth].clone();
            let name = format!("load/{nth}/{client}/{n}");
            if let Some(epoch) = register(&http, &name, "v") {
                let mut acknowledged = self.acknowledged();
                acknowledged.names.insert(name, epoch);
                acknowledged.moments.push(Instant::now());
            }
            std::thread::sleep(REST);
        }
    }

    fn http(&self) -> MutexGuard<'_, Vec<String>> {
        self.http.lock().expect("nothing panics while it holds the addresses")
    }

    fn acknowledged(&self) -> MutexGuard<'_, Acknowledged> {
        self.acknowledged.lock().expect("nothing panics while it holds what is acknowledged")
    }
}

/// Some gaps, as people read them.
pub(crate) struct Gaps(pub(crate) Vec<Duration>);

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
            return f.write_str("none");
        };
        let middle = sorted[sorted.len() / 2];
        write!(f, "least {least:.0?}, p50 {middle:.0?}, max {most:.0?} of {}", sorted.len())
    }
}
