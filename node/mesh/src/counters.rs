//! What the mesh counts, and what of it is worth a line in the log.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use quorate_env::now;
use quorate_vocab::{ClusterId, Lane, NodeName, Time};

use crate::handshake::Failure;
use crate::span::Span;
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
    /// Bytes of bodies that came in each lane, by [`Lane::index`].
    pub lanes_in: [u64; 3],
    /// Bytes of bodies, with their heads, that were handed to the socket in each lane.
    pub lanes_out: [u64; 3],
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
    /// What went over links that have ended.
    ended: Mutex<[Traffic; 2]>,
    notices: Mutex<BTreeMap<(Reason, String), Time>>,
}

/// What is counted and measured of one link.
#[derive(Debug)]
pub(crate) struct LinkTally {
    pub(crate) since: Time,
    frames_in: AtomicU64,
    bytes_in: AtomicU64,
    frames_out: AtomicU64,
    bytes_out: AtomicU64,
    lanes_in: [AtomicU64; 3],
    lanes_out: [AtomicU64; 3],
    suspect: AtomicBool,
    span: Mutex<Span>,
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

    /// Logs that a node of another cluster was refused, unless that was logged a short while ago.
    pub(crate) fn foreign(&self, name: &NodeName, ours: ClusterId, theirs: ClusterId) {
        if self.is_news(Reason::OtherCluster, name.as_str()) {
            tracing::warn!(
                peer = %name, %ours, %theirs,
                "a node of another cluster was refused; clusters never mix. If it is to be of this one, give \
                 it an empty data directory"
            );
        }
    }

    /// Bodies that were queued and will not be sent.
    pub(crate) fn unsent(&self, bodies: usize) {
        self.unsent.fetch_add(bodies as u64, Ordering::Relaxed);
    }

    /// Keeps the counts of a link that has ended.
    pub(crate) fn add(&self, road: Road, link: &LinkTally) {
        let mut ended = self.ended.lock().expect("nothing panics while it counts");
        ended[road.index()] += link.traffic();
    }

    /// All counts; `live` are those of the links that are up.
    pub(crate) fn counters<'a>(
        &self,
        live: impl Iterator<Item = (Road, &'a LinkTally)>,
    ) -> Counters {
        let mut roads = *self.ended.lock().expect("nothing panics while it counts");
        live.for_each(|(road, link)| roads[road.index()] += link.traffic());
        let [control, data] = roads;
        Counters {
            opened: self.opened.load(Ordering::Relaxed),
            unsent: self.unsent.load(Ordering::Relaxed),
            closed: self.closed.lock().expect("nothing panics while it counts").clone(),
            control,
            data,
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

impl LinkTally {
    pub(crate) fn new(since: Time) -> Self {
        Self {
            since,
            frames_in: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            frames_out: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            lanes_in: Default::default(),
            lanes_out: Default::default(),
            suspect: AtomicBool::new(false),
            span: Mutex::default(),
        }
    }

    pub(crate) fn frames_in(&self, frames: usize) {
        self.frames_in.fetch_add(frames as u64, Ordering::Relaxed);
    }

    pub(crate) fn bytes_in(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn lane_in(&self, lane: Lane, bytes: usize) {
        self.lanes_in[lane.index()].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn out(&self, frames: usize, bytes: usize, lanes: [u64; 3]) {
        self.frames_out.fetch_add(frames as u64, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Ordering::Relaxed);
        for (count, bytes) in self.lanes_out.iter().zip(lanes).filter(|(_, bytes)| *bytes > 0) {
            count.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn suspect(&self, is_suspect: bool) {
        self.suspect.store(is_suspect, Ordering::Relaxed);
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    pub(crate) fn span<R>(&self, act: impl FnOnce(&mut Span) -> R) -> R {
        act(&mut self.span.lock().expect("nothing panics while it measures"))
    }

    pub(crate) fn traffic(&self) -> Traffic {
        Traffic {
            frames_in: self.frames_in.load(Ordering::Relaxed),
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            frames_out: self.frames_out.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            lanes_in: self.lanes_in.each_ref().map(|count| count.load(Ordering::Relaxed)),
            lanes_out: self.lanes_out.each_ref().map(|count| count.load(Ordering::Relaxed)),
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.frames_in += other.frames_in;
        self.bytes_in += other.bytes_in;
        self.frames_out += other.frames_out;
        self.bytes_out += other.bytes_out;
        let lanes = |ours: &mut [u64; 3], theirs: [u64; 3]| {
            ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        };
        lanes(&mut self.lanes_in, other.lanes_in);
        lanes(&mut self.lanes_out, other.lanes_out);
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
        assert_eq!(tally.counters(std::iter::empty()).closed_for(Reason::BadProof), 99);
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
        assert_eq!(tally.counters(std::iter::empty()).closed_for(Reason::Late), 10_000);
        assert!(tally.notices.lock().unwrap().len() <= NOTICES_MAX);
    }
}
