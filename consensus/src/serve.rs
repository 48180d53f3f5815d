//! What this voter answers to the others, and to nodes that follow it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest,
};
use quorate_env::BoxFuture;
use quorate_vocab::{NodeId, Time};

use crate::body::Body;
use crate::feeder::Feeder;
use crate::freshness::Freshness;
use crate::types::{Metrics, Raft, Snapshot, Vote};
use crate::wire::{self, PositionBytes, Request, Response, VoteBytes};

/// The largest snapshot that is taken from a peer. It is held in memory while it arrives.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Answers the other voters.
#[derive(Clone)]
pub(crate) struct Voter {
    raft: Raft,
    feeder: Feeder,
    freshness: Freshness,
    /// When a leader was last heard and followed, or a majority last answered this one.
    heard: Arc<AtomicU64>,
    arriving: Arc<Mutex<Option<Arriving>>>,
    #[cfg(feature = "mutants")]
    pub(crate) young_by_append: bool,
}

/// A snapshot of which chunks have come. There is one at a time, as there is one leader: a newer leader's
/// replaces it.
struct Arriving {
    vote: VoteBytes,
    position: PositionBytes,
    total: u64,
    pieces: Vec<Bytes>,
    /// How many bytes they are.
    have: u64,
}

impl Voter {
    pub(crate) fn new(raft: Raft, feeder: Feeder, freshness: Freshness) -> Self {
        // A leader is given the time to be heard from now on.
        let heard = Arc::new(AtomicU64::new(quorate_env::now().0));
        Self {
            raft,
            feeder,
            freshness,
            heard,
            arriving: Arc::default(),
            #[cfg(feature = "mutants")]
            young_by_append: false,
        }
    }

    /// How long ago this node last followed a leader or, as one, last had an answer from a majority.
    pub(crate) fn silence(&self) -> Duration {
        quorate_env::now().since(Time(self.heard.load(Ordering::Relaxed)))
    }

    /// Takes a leader's pulse. Call whenever Raft's metrics have changed.
    pub(crate) fn feel(&self, metrics: &Metrics) {
        self.freshness.lead(metrics);
        if let Some(acked) = metrics.last_quorum_acked {
            self.hear(acked.time());
        }
    }

    fn hear(&self, when: Time) {
        self.heard.fetch_max(when.0, Ordering::Relaxed);
    }

    /// Takes a request from a peer whose identity the mesh has proven.
    ///
    /// The work is polled once before this returns, so requests reach Raft in the order in which they came:
    /// a pipelined append that overtook the one before it would be refused as a gap.
    pub(crate) fn serve(&self, from: NodeId, request: &[u8]) -> BoxFuture<'static, Bytes> {
        let request = match wire::decode::<Request>(request) {
            Ok(request) if speaks_for_itself(from, &request) => request,
            Ok(_) => return answered(&Response::Refused),
            Err(error) => {
                tracing::warn!(%from, %error, "a request from a voter was refused");
                return answered(&Response::Refused);
            }
        };
        let voter = self.clone();
        let mut work: BoxFuture<'static, Bytes> =
            Box::pin(async move { wire::encode(&voter.answer(request).await) });
        match work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(bytes) => Box::pin(std::future::ready(bytes)),
            Poll::Pending => work,
        }
    }

    async fn answer(&self, request: Request) -> Response {
        let answer = match request {
            Request::Append { vote, prev, committed, entries } => {
                let decoded = entries.iter().map(|bytes| wire::decode_entry(bytes)).collect();
                let Ok(entries) = decoded else {
                    return Response::Refused;
                };
                self.append(AppendEntriesRequest {
                    vote: vote.into(),
                    prev_log_id: prev.map(Into::into),
                    leader_commit: committed.map(Into::into),
                    entries,
                })
                .await
            }
            Request::Vote { pre, vote, last, transfer } => {
                let mut rpc = VoteRequest::new(vote.into(), last.map(Into::into));
                rpc.leadership_transfer = transfer;
                self.vote(pre, rpc).await
            }
            Request::Snapshot { vote, position, offset, total, chunk } => {
                let chunk = Bytes::from(chunk.into_vec());
                self.snapshot(vote, position, offset, total, chunk).await
            }
            Request::Transfer { vote, to, last } => {
                let rpc = TransferLeaderRequest::new(vote.into(), to, last.map(Into::into));
                match self.raft.handle_transfer_leader(rpc).await {
                    Ok(Ok(())) => Some(Response::Transferred),
                    Ok(Err(_)) => Some(Response::TransferRefused),
                    Err(_) => None,
                }
            }
            Request::Follow { next } => Some(self.feeder.feed(next).await),
            Request::Piece { index, offset } => Some(self.feeder.piece(index, offset)),
            Request::Age => Some(Response::Age(self.feeder.age(Duration::ZERO))),
        };
        // None: Raft has stopped here, and the node with it.
        answer.unwrap_or(Response::Refused)
    }

    async fn append(&self, rpc: AppendEntriesRequest<crate::types::Types>) -> Option<Response> {
        let answer = self.raft.append_entries(rpc).await.ok()?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            self.hear(quorate_env::now());
            #[cfg(feature = "mutants")]
            if self.young_by_append {
                let age = Duration::ZERO;
                self.freshness.told(quorate_env::now(), wire::AgeBytes { upto: 0, age, held: age });
            }
        }
        Some(match answer {
            AppendEntriesResponse::Success => Response::Appended,
            AppendEntriesResponse::PartialSuccess(last) => {
                Response::AppendedUpTo(last.map(Into::into))
            }
            AppendEntriesResponse::Conflict => Response::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Response::HigherVote(vote.into()),
        })
    }

    async fn vote(&self, pre: bool, rpc: VoteRequest<crate::types::Types>) -> Option<Response> {
        let answer = if pre { self.raft.pre_vote(rpc).await } else { self.raft.vote(rpc).await };
        let answer = answer.ok()?;
        Some(Response::Voted {
            vote: answer.vote.into(),
            granted: answer.vote_granted,
            last: answer.last_log_id.map(Into::into),
        })
    }

    async fn snapshot(
        &self,
        vote: VoteBytes,
        position: PositionBytes,
        offset: u64,
        total: u64,
        chunk: Bytes,
    ) -> Option<Response> {
        let arrived = match self.take_chunk(vote, &position, offset, total, chunk) {
            Taken::Wants(offset) => return Some(Response::Chunk { offset }),
            Taken::Refused => return Some(Response::Refused),
            Taken::Whole(pieces) => Body::Pieces(Arc::new(pieces)),
        };
        let Ok(meta) = position.into_meta() else {
            return Some(Response::Refused);
        };
        let snapshot = Snapshot { meta, snapshot: arrived };
        let answer = self.raft.install_full_snapshot(Vote::from(vote), snapshot).await.ok()?;
        Some(Response::Installed { vote: answer.vote.into() })
    }

    fn take_chunk(
        &self,
        vote: VoteBytes,
        position: &PositionBytes,
        offset: u64,
        total: u64,
        chunk: Bytes,
    ) -> Taken {
        let mut slot = self.arriving.lock().expect("nothing panics while it holds the chunks");
        let same = slot.as_ref().is_some_and(|arriving| {
            arriving.vote == vote && arriving.position == *position && arriving.total == total
        });
        if !same {
            // What is promised is not allocated; the body grows with what arrives.
            let (position, pieces) = (position.clone(), Vec::new());
            *slot = Some(Arriving { vote, position, total, pieces, have: 0 });
        }
        let Some(arriving) = slot.as_mut() else {
            return Taken::Refused;
        };
        let have = arriving.have;
        if total > SNAPSHOT_BYTES_MAX {
            let max = SNAPSHOT_BYTES_MAX;
            tracing::error!(
                total,
                max,
                "the leader's snapshot is too long; this node cannot follow"
            );
        }
        if total > SNAPSHOT_BYTES_MAX || have + chunk.len() as u64 > total {
            *slot = None;
            return Taken::Refused;
        }
        if offset != have {
            return Taken::Wants(have);
        }
        arriving.have += chunk.len() as u64;
        arriving.pieces.push(chunk);
        if arriving.have < total {
            return Taken::Wants(arriving.have);
        }
        slot.take().map_or(Taken::Refused, |arriving| Taken::Whole(arriving.pieces))
    }
}

enum Taken {
    Wants(u64),
    Whole(Vec<Bytes>),
    Refused,
}

/// Who sent a request is known from the session; a request that names another leader or candidate is forged.
fn speaks_for_itself(from: NodeId, request: &Request) -> bool {
    match request {
        Request::Append { vote, .. }
        | Request::Vote { vote, .. }
        | Request::Snapshot { vote, .. }
        | Request::Transfer { vote, .. } => vote.node == from.0,
        Request::Follow { .. } | Request::Piece { .. } | Request::Age => true,
    }
}

fn answered(response: &Response) -> BoxFuture<'static, Bytes> {
    Box::pin(std::future::ready(wire::encode(response)))
}
