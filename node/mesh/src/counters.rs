//! What the mesh counts, and what of it is worth a line in the log.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_env::now;
use quorate_vocab::Time;

use crate::handshake::Failure;
use crate::{Reason, Road};

/// What has happened since the start of the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Links that came up.
    pub opened: u64,
    /// Bodies that were queued for a road that broke, or could not be opened, and were never sent.
    pub unsent: u64,
    /// Connections that ended, by reason: links that had come up, connections that never became one, and
    /// attempts to connect.
    pub closed: BTreeMap<&'static str, u64>,
    /// What went over control roads, after the handshakes.
    pub control: Traffic,
    /// What went over data roads, after the handshakes.
    pub data: Traffic,
}

/// What went over one road of all links together, heartbeats included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames that came.
    pub frames_in: u64,
    /// Bytes that came.
    pub bytes_in: u64,
    /// Frames that were handed to the socket.
    pub frames_out: u64,
    /// Bytes that were handed to the socket.
    pub bytes_out: u64,
}

impl Counters {
    /// How many connections ended for a reason.
    pub fn closed_for(&self, reason: Reason) -> u64 {
        self.closed.get(reason.as_str()).copied().unwrap_or_default()
    }
}

/// How long a log line about a reason and an address stands for all that follow.
const QUIET: Duration = Duration::from_secs(60);

/// How many pairs of reason and address are told apart.
const NOTICES_MAX: usize = 256;

/// The running counts.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    opened: AtomicU64,
    unsent: AtomicU64,
    closed: Mutex<BTreeMap<&'static str, u64>>,
    roads: [RoadTally; 2],
    notices: Mutex<BTreeMap<(Reason, String), Time>>,
}

#[derive(Debug, Default)]
struct RoadTally {
    frames_in: AtomicU64,
    bytes_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_out: AtomicU64,
}

impl Tally {
    pub(crate) fn opened(&self) {
        self.opened.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts an end, and logs it unless the same was logged of the same party a short while ago.
    pub(crate) fn closed(&self, failure: Failure, party: &str) {
        let Failure { reason, told } = failure;
        let mut closed = self.closed.lock().expect("nothing panics while it counts");
        *closed.entry(reason.as_str()).or_default() += 1;
        drop(closed);
        // Whoever connects comes from another port each time, and is still the same party.
        let host = party.rsplit_once(':').map_or(party, |(host, _)| host);
        if !self.is_news(reason, host) {
            return;
        }
        let told = told.map(|code| Reason::from_code(code).map_or("another", Reason::as_str));
        let calm = [Reason::Greeted, Reason::Duplicate, Reason::Unreachable, Reason::Closing];
        if calm.contains(&reason) || told == Some(Reason::Duplicate.as_str()) {
            tracing::debug!(%reason, party, told, "a connection ended");
        } else {
            tracing::warn!(%reason, party, told, "a connection ended");
        }
    }

    pub(crate) fn frames_in(&self, road: Road, frames: usize) {
        self.roads[road.index()].frames_in.fetch_add(frames as u64, Ordering::Relaxed);
    }

    /// Bodies that were queued and will not be sent.
    pub(crate) fn unsent(&self, bodies: usize) {
        self.unsent.fetch_add(bodies as u64, Ordering::Relaxed);
    }

    pub(crate) fn bytes_in(&self, road: Road, bytes: usize) {
        self.roads[road.index()].bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn out(&self, road: Road, frames: usize, bytes: usize) {
        let road = &self.roads[road.index()];
        road.frames_out.fetch_add(frames as u64, Ordering::Relaxed);
        road.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn counters(&self) -> Counters {
        let [control, data] = &self.roads;
        Counters {
            opened: self.opened.load(Ordering::Relaxed),
            unsent: self.unsent.load(Ordering::Relaxed),
            closed: self.closed.lock().expect("nothing panics while it counts").clone(),
            control: control.traffic(),
            data: data.traffic(),
        }
    }

    fn is_news(&self, reason: Reason, party: &str) -> bool {
        let now = now();
        let mut notices = self.notices.lock().expect("nothing panics while it notes");
        let key = (reason, party.to_owned());
        if notices.get(&key).is_some_and(|at| now.since(*at) < QUIET) {
            return false;
        }
        if notices.len() >= NOTICES_MAX && !notices.contains_key(&key) {
            notices.retain(|_, at| now.since(*at) < QUIET);
            if notices.len() >= NOTICES_MAX {
                // So many at once is a flood, and a log that drowns says less than one that is silent.
                return false;
            }
        }
        notices.insert(key, now);
        true
    }
}

impl RoadTally {
    fn traffic(&self) -> Traffic {
        Traffic {
            frames_in: self.frames_in.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            frames_out: self.frames_out.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_of_the_same_host_is_counted_each_time_and_news_once() {
        let tally = Tally::default();
        assert!(tally.is_news(Reason::BadProof, "10.0.0.1"));
        for port in 1..100 {
            tally.closed(Reason::BadProof.into(), &format!("10.0.0.1:{port}"));
        }
        assert_eq!(tally.counters().closed_for(Reason::BadProof), 99);
        assert_eq!(tally.notices.lock().unwrap().len(), 1);
        assert!(tally.is_news(Reason::BadProof, "10.0.0.2"));
        assert!(tally.is_news(Reason::Late, "10.0.0.1"));
    }

    #[test]
    fn a_flood_of_hosts_keeps_the_notices_bounded() {
        let tally = Tally::default();
        for host in 0..10_000 {
            tally.closed(Reason::Late.into(), &format!("host-{host}:1"));
        }
        assert_eq!(tally.counters().closed_for(Reason::Late), 10_000);
        assert!(tally.notices.lock().unwrap().len() <= NOTICES_MAX);
    }
}
