//! What a voter feeds to nodes that follow it (`follow`): entries that Raft has applied here, as they lie in
//! the journal, and a snapshot where the log no longer reaches back to what a follower lacks.
//!
//! A request for what comes next is held until something does, or for a while: so a follower that is up to
//! date costs two small messages a while, and one that lags is paced by itself. Nothing is kept of a
//! follower.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use quorate_storage::Log;
use quorate_vocab::{Index, NodeId, Time};
use serde_bytes::ByteBuf;

use crate::apply::Replica;
use crate::body::Body;
use crate::freshness::Freshness;
use crate::log::holds;
use crate::types::{LogId, Raft, Snapshot};
use crate::wire::{AgeBytes, PositionBytes, Response};

/// How long a request is held while there is nothing to answer with.
pub(crate) const HELD: Duration = Duration::from_millis(500);
/// How many bytes of entries one answer takes.
const FED_BYTES_MAX: usize = 256 * 1024;
/// How much of a snapshot one answer takes.
const PIECE_BYTES: usize = 256 * 1024;
/// How long a snapshot that nobody asks for stays on offer.
const KEPT: Duration = Duration::from_secs(10);

/// The feeder's end. Clones are the same.
#[derive(Clone)]
pub(crate) struct Feeder {
    me: NodeId,
    raft: Raft,
    replica: Replica,
    log: Log,
    freshness: Freshness,
    /// The snapshot that followers are taking: the next one must not take its place meanwhile.
    offered: Arc<Mutex<Option<Offered>>>,
}

struct Offered {
    index: u64,
    position: PositionBytes,
    body: Body,
    used: Time,
}

impl Feeder {
    pub(crate) fn new(
        me: NodeId,
        raft: Raft,
        replica: Replica,
        log: Log,
        freshness: Freshness,
    ) -> Self {
        Self { me, raft, replica, log, freshness, offered: Arc::default() }
    }

    /// How old what is applied here may be, and up to where that is, for whoever has asked for so long.
    pub(crate) fn age(&self, held: Duration) -> AgeBytes {
        // First: what is read after it is not older than it says.
        let age = self.freshness.age();
        AgeBytes { upto: self.replica.state().read().index().0, age, held }
    }

    /// What comes from an index on.
    pub(crate) async fn feed(&self, next: u64) -> Response {
        if !self.votes() {
            return Response::Refused;
        }
        if next < self.log.state().first {
            return self.offer_snapshot(next).await.unwrap_or(Response::Refused);
        }
        // The first entry has the index of an empty state; the one after it is there as soon.
        let asked = quorate_env::now();
        let reached = self.replica.feed().reached(Index(next.max(1)));
        let _ = quorate_env::timeout(HELD, reached).await;
        let age = self.age(quorate_env::now().since(asked));
        let by_raft = self.replica.state().read().by_raft;
        let entries = match applied_entries(&self.log, next, by_raft) {
            Ok(Some(entries)) => entries,
            Ok(None) => return self.offer_snapshot(next).await.unwrap_or(Response::Refused),
            Err(_) => return Response::Refused,
        };
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let (leader, term) = (server.current_leader, server.vote.leader_id.term);
        Response::Fed { entries, age, leader, term }
    }

    /// A piece of the snapshot that was offered.
    pub(crate) fn piece(&self, index: u64, offset: u64) -> Response {
        let body = {
            let mut offered = self.offered();
            let Some(offered) = offered.as_mut().filter(|offered| offered.index == index) else {
                return Response::Refused;
            };
            offered.used = quorate_env::now();
            offered.body.clone()
        };
        match body.read(offset, PIECE_BYTES) {
            Ok(piece) => Response::Piece { piece: ByteBuf::from(Vec::from(piece)) },
            Err(error) => {
                tracing::warn!(%error, index, "a snapshot that was offered cannot be read");
                Response::Refused
            }
        }
    }

    fn votes(&self) -> bool {
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        server.membership_config.membership().voter_ids().any(|node| node == self.me.0)
    }

    /// Offers a snapshot that has the entry `next` and all that is purged.
    async fn offer_snapshot(&self, next: u64) -> io::Result<Response> {
        let first = self.log.state().first;
        let offer = |offered: &mut Offered| {
            offered.used = quorate_env::now();
            let (position, total) = (offered.position.clone(), offered.body.bytes());
            Response::Anew { position, total }
        };
        let is_enough =
            |offered: &&mut Offered| offered.index >= next && offered.index + 1 >= first;
        if let Some(offered) = self.offered().as_mut().filter(is_enough) {
            return Ok(offer(offered));
        }
        let Some(Snapshot { meta, snapshot: body }) =
            self.replica.archive().newest_checked().await?
        else {
            return Ok(Response::Refused);
        };
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let position = PositionBytes::from_meta(&meta);
        let mut offered = Offered { index, position, body, used: quorate_env::now() };
        let answer = offer(&mut offered);
        *self.offered() = Some(offered);
        let feeder = self.clone();
        quorate_env::spawn(async move { feeder.forget(index).await });
        Ok(answer)
    }

    async fn forget(&self, index: u64) {
        loop {
            quorate_env::sleep(KEPT).await;
            let mut offered = self.offered();
            match &*offered {
                Some(kept) if kept.index == index => {
                    if quorate_env::now().since(kept.used) >= KEPT {
                        *offered = None;
                        return;
                    }
                }
                _ => return,
            }
        }
    }

    fn offered(&self) -> MutexGuard<'_, Option<Offered>> {
        self.offered.lock().expect("nothing panics while it holds what is offered")
    }
}

/// The entries of a log from `next` on up to the last that Raft applied, as many as one answer takes. What a
/// feed brought here is not in the log yet, and what lies there instead may not hold.
///
/// None: the log is another than what was applied. It is, until it is purged, when a snapshot has outrun it:
/// what this node wrote as a leader whom nobody followed still lies there.
fn applied_entries(
    log: &Log,
    next: u64,
    applied: Option<LogId>,
) -> io::Result<Option<Vec<ByteBuf>>> {
    let Some(applied) = applied.filter(|applied| applied.index >= next) else {
        return Ok(Some(Vec::new()));
    };
    if !holds(log, applied)? {
        return Ok(None);
    }
    let entries = log.read(next, applied.index + 1, FED_BYTES_MAX)?;
    Ok(Some(entries.into_iter().map(|(_, bytes)| ByteBuf::from(bytes)).collect()))
}

#[cfg(test)]
mod tests {
    use quorate_storage::{LogConfig, MemoryDisk};
    use tokio::sync::oneshot;

    use super::*;
    use crate::types::{Entry, Payload, log_id};
    use crate::wire;

    #[tokio::test]
    async fn nothing_is_fed_of_a_log_that_a_snapshot_has_outrun() {
        let opened = Log::open(Arc::new(MemoryDisk::new()), LogConfig::default()).await;
        let (log, scribe) = opened.unwrap();
        quorate_env::spawn(scribe.run());
        let entries = (0..4).map(|index| {
            let entry = Entry { log_id: log_id(1, 7, index), payload: Payload::Blank };
            (index, wire::encode_entry(&entry))
        });
        let (tell, told) = oneshot::channel();
        log.append(entries.collect(), Box::new(|outcome| tell.send(outcome.is_ok()).unwrap()));
        assert!(told.await.unwrap());
        let fed = |next, applied| {
            let entries = applied_entries(&log, next, applied).unwrap();
            entries.map(|entries| entries.len())
        };
        // The last one may not hold yet.
        assert_eq!(fed(1, Some(log_id(1, 7, 2))), Some(2));
        assert_eq!(fed(3, Some(log_id(1, 7, 2))), Some(0));
        assert_eq!(fed(0, None), Some(0));
        // Another leader's snapshot, which reaches into what lies here, or beyond it.
        assert_eq!(fed(1, Some(log_id(2, 8, 2))), None);
        assert_eq!(fed(1, Some(log_id(2, 8, 9))), None);
    }
}
