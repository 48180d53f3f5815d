//! The way to the other voters. The hall carries bytes; this file says what they mean.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{EmptyNode, OptionalSend, RaftNetworkFactory, RaftNetworkV2};
use quorate_env::BoxFuture;
use quorate_vocab::NodeId;
use serde_bytes::ByteBuf;

use crate::body::Body;
use crate::types::{LogId, Snapshot, Types, Vote};
use crate::wire::{self, PositionBytes, Request, Response};

/// How many requests to one follower may be under way at once.
const PIPELINE: usize = 16;
/// How much of a snapshot travels in one request.
const CHUNK_BYTES: usize = 256 * 1024;

/// Carries requests to the other voters. The hall implements it over the mesh.
pub trait Peers: Send + Sync + 'static {
    /// Sends a request and brings its answer. Requests to one peer arrive in the order of the calls.
    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>>;

    /// The same for what is in no hurry, may be long, and needs no order: elections and heartbeats should not
    /// have to wait for it.
    fn fetch(
        &self,
        to: NodeId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        self.call(to, request, within)
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// Nothing was sent: there is no link.
    #[error("no link to this voter")]
    NoLink,
    /// It was sent; whether it arrived is not known.
    #[error("no answer from this voter")]
    NoAnswer,
}

#[derive(Clone)]
pub(crate) struct Network(pub(crate) Arc<dyn Peers>);

#[derive(Clone)]
pub(crate) struct Peer {
    to: NodeId,
    peers: Arc<dyn Peers>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &EmptyNode) -> Peer {
        Peer { to: NodeId(target), peers: self.0.clone() }
    }
}

impl Peer {
    fn ask(
        &self,
        request: &Request,
        within: Duration,
    ) -> impl Future<Output = Result<Response, RPCError<Types>>> + Send + use<> {
        let answer = self.peers.call(self.to, wire::encode(request), within);
        async move {
            match answer.await {
                Ok(bytes) => wire::decode(&bytes).map_err(|e| network(&e)),
                Err(error @ PeerError::NoLink) => Err(Unreachable::new(&error).into()),
                Err(error @ PeerError::NoAnswer) => Err(network(&error)),
            }
        }
    }

    fn append(
        &self,
        rpc: &AppendEntriesRequest<Types>,
        within: Duration,
    ) -> impl Future<Output = Result<AppendEntriesResponse<Types>, RPCError<Types>>> + Send + use<>
    {
        let answer = self.ask(
            &Request::Append {
                vote: rpc.vote.into(),
                prev: rpc.prev_log_id.map(Into::into),
                committed: rpc.leader_commit.map(Into::into),
                entries: rpc
                    .entries
                    .iter()
                    .map(|entry| ByteBuf::from(wire::encode_entry(entry)))
                    .collect(),
            },
            within,
        );
        async move {
            match answer.await? {
                Response::Appended => Ok(AppendEntriesResponse::Success),
                Response::AppendedUpTo(last) => {
                    Ok(AppendEntriesResponse::PartialSuccess(last.map(Into::into)))
                }
                Response::Conflict => Ok(AppendEntriesResponse::Conflict),
                Response::HigherVote(vote) => Ok(AppendEntriesResponse::HigherVote(vote.into())),
                other => Err(unfit(&other)),
            }
        }
    }

    async fn ask_for_vote(
        &self,
        pre: bool,
        rpc: VoteRequest<Types>,
        within: Duration,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let request = Request::Vote {
            pre,
            vote: rpc.vote.into(),
            last: rpc.last_log_id.map(Into::into),
            transfer: rpc.leadership_transfer,
        };
        match self.ask(&request, within).await? {
            Response::Voted { vote, granted, last } => Ok(VoteResponse {
                vote: vote.into(),
                vote_granted: granted,
                last_log_id: last.map(Into::into),
            }),
            other => Err(unfit(&other)),
        }
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
        within: Duration,
    ) -> Result<SnapshotResponse<Types>, RPCError<Types>> {
        let position = PositionBytes::from_meta(&snapshot.meta);
        let body = snapshot.snapshot;
        let total = body.bytes();
        let mut offset = 0;
        loop {
            let chunk = body.read(offset, CHUNK_BYTES).map_err(|error| network(&error))?;
            let request = Request::Snapshot {
                vote: vote.into(),
                position: position.clone(),
                offset,
                total,
                chunk: ByteBuf::from(Vec::from(chunk)),
            };
            match self.ask(&request, within).await? {
                Response::Installed { vote } => return Ok(SnapshotResponse::new(vote.into())),
                Response::Chunk { offset: next } if next <= total => offset = next,
                other => return Err(unfit(&other)),
            }
        }
    }
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = Body;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        self.append(&rpc, option.hard_ttl()).await
    }

    /// Keeps several requests under way; answers come in the order of the requests.
    ///
    /// openraft credits an answer to every request under way that ends at the same entry, so the answer to an
    /// append would count for a bare update of `committed` that was sent after it and may never have
    /// arrived: a leader that nobody hears would believe in a quorum round that there was not (I4, I8). Such
    /// an answer is therefore left out; the one to the later request says the same, and means it.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let peer = self.clone();
        Box::pin(async move {
            let ends = Arc::new(Mutex::new(VecDeque::<Option<LogId>>::with_capacity(PIPELINE)));
            let under_way = ends.clone();
            let answers = input.map(move |rpc| {
                let prev = rpc.prev_log_id;
                let last = rpc.entries.last().map(|entry| entry.log_id).or(prev);
                lock(&under_way).push_back(last);
                let answer = peer.append(&rpc, option.hard_ttl());
                async move { Ok(answer.await?.into_stream_result(prev, last)) }
            });
            let answers = answers.buffered(PIPELINE).filter_map(move |answer| {
                let mut ends = lock(&ends);
                let answered = ends.pop_front();
                let is_whole = matches!(&answer, Ok(Ok(upto)) if Some(*upto) == answered);
                let is_said_again = is_whole && answered.as_ref() == ends.front();
                std::future::ready((!is_said_again).then_some(answer))
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_for_vote(false, rpc, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.ask_for_vote(true, rpc, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        tokio::select! {
            biased;
            closed = cancel => Err(closed.into()),
            sent = self.send_snapshot(vote, snapshot, option.hard_ttl()) => {
                sent.map_err(|error| match error {
                    RPCError::Unreachable(error) => error.into(),
                    RPCError::Timeout(error) => error.into(),
                    RPCError::Network(error) => error.into(),
                    other => NetworkError::new(&other).into(),
                })
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let request = Request::Transfer {
            vote: (*rpc.from_leader()).into(),
            to: *rpc.to_node_id(),
            last: rpc.last_log_id().map(|id| (*id).into()),
        };
        match self.ask(&request, option.hard_ttl()).await? {
            Response::Transferred => Ok(Ok(())),
            other => Err(unfit(&other)),
        }
    }
}

type AppendResults<'s> =
    futures_util::stream::BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>;

fn lock(ends: &Mutex<VecDeque<Option<LogId>>>) -> MutexGuard<'_, VecDeque<Option<LogId>>> {
    ends.lock().expect("nothing panics while it holds this")
}

fn network(error: &(impl std::error::Error + 'static)) -> RPCError<Types> {
    NetworkError::new(error).into()
}

fn unfit(response: &Response) -> RPCError<Types> {
    network(&wire::invalid(format!("an answer that does not fit the request: {response:?}")))
}

/// Nobody is there, for a test. It remembers of whom something long was asked: a feed, or a piece of it.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Alone(Arc<Mutex<Vec<NodeId>>>);

#[cfg(test)]
impl Alone {
    /// Of whom that was, since this was asked last.
    pub(crate) fn asked(&self) -> Vec<NodeId> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[cfg(test)]
impl Peers for Alone {
    fn call(
        &self,
        _to: NodeId,
        _request: Bytes,
        _within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        Box::pin(std::future::ready(Err(PeerError::NoLink)))
    }

    fn fetch(
        &self,
        to: NodeId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
        self.0.lock().unwrap().push(to);
        self.call(to, request, within)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;
    use crate::types::{Entry, Payload, log_id};

    type Waiting = oneshot::Sender<Result<Bytes, PeerError>>;

    /// A voter that answers when the test says so.
    struct Slow(mpsc::Sender<Waiting>);

    impl Peers for Slow {
        fn call(
            &self,
            _to: NodeId,
            _request: Bytes,
            _within: Duration,
        ) -> BoxFuture<'static, Result<Bytes, PeerError>> {
            let (answer, answers) = oneshot::channel();
            self.0.try_send(answer).expect("the test asks for few answers");
            Box::pin(async move { answers.await.expect("the test answers all") })
        }
    }

    /// An append after one entry, of so many further ones.
    fn append(after: u64, count: u64) -> AppendEntriesRequest<Types> {
        let entry = |index| Entry { log_id: log_id(1, 1, index), payload: Payload::Blank };
        AppendEntriesRequest {
            vote: Vote::new(1, 1),
            prev_log_id: Some(log_id(1, 1, after)),
            entries: (after + 1..=after + count).map(entry).collect(),
            leader_commit: None,
        }
    }

    #[tokio::test]
    async fn an_answer_does_not_count_for_what_was_sent_after_its_request() {
        let (asked, mut asks) = mpsc::channel(8);
        let mut peer = Peer { to: NodeId(2), peers: Arc::new(Slow(asked)) };
        // Two entries, one more, and a bare update that ends where that one does.
        let requests = futures_util::stream::iter([append(1, 2), append(3, 1), append(4, 0)]);
        let option = RPCOption::new(Duration::from_secs(1));
        let mut answers = peer.stream_append(requests, option).await.unwrap();
        assert!(futures_util::poll!(answers.next()).is_pending());

        let mut answer = async || {
            let waiting = asks.recv().await.unwrap();
            waiting.send(Ok(wire::encode(&Response::Appended))).unwrap();
        };
        answer().await;
        let upto = |answer: Option<Result<StreamAppendResult<Types>, RPCError<Types>>>| {
            answer.unwrap().unwrap().unwrap()
        };
        assert_eq!(upto(answers.next().await), Some(log_id(1, 1, 3)));
        answer().await;
        let silent = futures_util::poll!(answers.next()).is_pending();
        assert!(
            silent,
            "the answer to an append was given while an update after it was not answered"
        );
        answer().await;
        assert_eq!(upto(answers.next().await), Some(log_id(1, 1, 4)));
        assert!(answers.next().await.is_none());
    }
}
