//! What this voter answers to the others.

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

use crate::types::{Raft, Snapshot, Vote};
use crate::wire::{self, PositionBytes, Request, Response, VoteBytes};

/// The largest snapshot that is taken from a peer. It is held in memory while it arrives.
const SNAPSHOT_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Answers the other voters.
#[derive(Clone)]
pub(crate) struct Voter {
    raft: Raft,
    /// When a leader was last followed or, as one, a majority last answered.
    heard: Arc<AtomicU64>,
    arriving: Arc<Mutex<Option<Arriving>>>,
}

/// A snapshot of which chunks have come. There is one at a time, as there is one leader: a newer leader's
/// replaces it.
struct Arriving {
    vote: VoteBytes,
    position: PositionBytes,
    total: u64,
    body: Vec<u8>,
}

impl Voter {
    pub(crate) fn new(raft: Raft) -> Self {
        Self {
            raft,
            heard: Arc::new(AtomicU64::new(quorate_env::now().0)),
            arriving: Arc::default(),
        }
    }

    /// How old what is applied here may be: how long ago this node last followed a leader or, as one, last
    /// had an answer from a majority.
    pub(crate) fn silence(&self) -> Duration {
        quorate_env::now().since(Time(self.heard.load(Ordering::Relaxed)))
    }

    /// At that time a leader was followed, or a majority answered.
    pub(crate) fn heard(&self, at: Time) {
        self.heard.fetch_max(at.0, Ordering::Relaxed);
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
                let decoded = entries
                    .into_iter()
                    .map(|it| wire::judge_entry(&it.into_vec().into()))
                    .collect();
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
                self.snapshot(vote, position, offset, total, &chunk).await
            }
            Request::Transfer { vote, to, last } => {
                let rpc = TransferLeaderRequest::new(vote.into(), to, last.map(Into::into));
                match self.raft.handle_transfer_leader(rpc).await {
                    Ok(Ok(())) => Some(Response::Transferred),
                    Ok(Err(_)) => Some(Response::TransferRefused),
                    Err(_) => None,
                }
            }
        };
        // None: Raft has stopped here, and the node with it.
        answer.unwrap_or(Response::Refused)
    }

    async fn append(&self, rpc: AppendEntriesRequest<crate::types::Types>) -> Option<Response> {
        let answer = self.raft.append_entries(rpc).await.ok()?;
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            self.heard(quorate_env::now());
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
        chunk: &[u8],
    ) -> Option<Response> {
        let arrived = match self.take_chunk(vote, &position, offset, total, chunk) {
            Taken::Wants(offset) => return Some(Response::Chunk { offset }),
            Taken::Refused => return Some(Response::Refused),
            Taken::Whole(body) => body,
        };
        let Ok(meta) = position.into_meta() else {
            return Some(Response::Refused);
        };
        let snapshot = Snapshot { meta, snapshot: arrived.into() };
        let answer = self.raft.install_full_snapshot(Vote::from(vote), snapshot).await.ok()?;
        Some(Response::Installed { vote: answer.vote.into() })
    }

    fn take_chunk(
        &self,
        vote: VoteBytes,
        position: &PositionBytes,
        offset: u64,
        total: u64,
        chunk: &[u8],
    ) -> Taken {
        let mut slot = self.arriving.lock().expect("nothing panics while it holds the chunks");
        let same = slot.as_ref().is_some_and(|arriving| {
            arriving.vote == vote && arriving.position == *position && arriving.total == total
        });
        if !same {
            // What is promised is not allocated; the body grows with what arrives.
            let body = Vec::new();
            *slot = Some(Arriving { vote, position: position.clone(), total, body });
        }
        let Some(arriving) = slot.as_mut() else {
            return Taken::Refused;
        };
        let have = arriving.body.len() as u64;
        if total > SNAPSHOT_BYTES_MAX || have + chunk.len() as u64 > total {
            *slot = None;
            return Taken::Refused;
        }
        if offset != have {
            return Taken::Wants(have);
        }
        arriving.body.extend_from_slice(chunk);
        if (arriving.body.len() as u64) < total {
            return Taken::Wants(arriving.body.len() as u64);
        }
        slot.take().map_or(Taken::Refused, |arriving| Taken::Whole(arriving.body))
    }
}

enum Taken {
    Wants(u64),
    Whole(Vec<u8>),
    Refused,
}

/// Who sent a request is known from the session; a request that names another leader or candidate is forged.
fn speaks_for_itself(from: NodeId, request: &Request) -> bool {
    let (Request::Append { vote, .. }
    | Request::Vote { vote, .. }
    | Request::Snapshot { vote, .. }
    | Request::Transfer { vote, .. }) = request;
    vote.node == from.0
}

fn answered(response: &Response) -> BoxFuture<'static, Bytes> {
    Box::pin(std::future::ready(wire::encode(response)))
}
