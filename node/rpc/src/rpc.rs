//! Who calls, and whom this node lets call.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use quorate_actor::{Actors, Addr, Blob, CallError, Mailbox, Message, NameError, Origin, Spawn};
use quorate_vocab::{NodeId, Pid, Ref};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ask::{Ask, DESK, Refusal, Tie, Which};
use crate::desk::Desk;
use crate::tables::Tables;
use crate::{Function, Functions, Process, Roles, RpcError, Rules};

/// What a node lets others do.
#[derive(Clone, Debug)]
pub struct RpcConfig {
    /// How much may run for one other node at once.
    pub callees_max: usize,
    /// Who may call what.
    pub rules: Rules,
}

impl Default for RpcConfig {
    fn default() -> Self {
        Self { callees_max: 10_000, rules: Rules::new() }
    }
}

/// Calls functions of any node, this one too. Clones are the same.
#[derive(Clone)]
pub struct Rpc {
    actors: Actors,
    /// What this node calls its next call.
    next: Arc<AtomicU64>,
    /// What other nodes let this one call.
    tables: Arc<Tables>,
}

impl Rpc {
    /// Opens this node's desk, under a local name of its own, and calls others from now on. It fails when
    /// there is a desk already.
    pub fn start(
        actors: &Actors,
        functions: Functions,
        config: RpcConfig,
        roles: Arc<dyn Roles>,
    ) -> Result<Self, NameError> {
        let tables = Arc::<Tables>::default();
        let desk = Desk {
            functions,
            tables: tables.clone(),
            config,
            roles,
            running: BTreeMap::new(),
            calls: BTreeMap::new(),
            count: BTreeMap::new(),
        };
        let addr = actors.spawn_with(Spawn::labelled("rpc desk"), |mailbox| desk.run(mailbox));
        actors.register(DESK, addr.pid()).inspect_err(|_| {
            actors.kill(addr.pid());
        })?;
        // Numbers of an earlier life of this node must not come again.
        let next = Arc::new(AtomicU64::new(quorate_env::now().0));
        Ok(Self { actors: actors.clone(), next, tables })
    }

    /// A road to a node is open: the two desks tell each other what may be called, so that a call that cannot
    /// succeed is refused without being sent.
    pub fn met(&self, node: NodeId) {
        self.road(node, true);
    }

    /// The road to a node is open no more. It may come back with other functions.
    pub fn parted(&self, node: NodeId) {
        self.road(node, false);
    }

    fn road(&self, node: NodeId, is_open: bool) {
        let ask = Ask::Road { from: Origin::of(&self.actors), node, is_open };
        // It goes through the desk's mailbox, so that it is in order with what nodes say. A desk that is gone
        // has nothing to know.
        let _ = self.desk(self.actors.node()).send(ask);
    }

    /// Calls a function, and waits for its answer. When the time is over, or the future is dropped, what runs
    /// there is killed.
    pub async fn call<A, R>(
        &self,
        node: NodeId,
        function: &Function<A, R>,
        args: &A,
        within: Duration,
    ) -> Result<R, RpcError>
    where
        A: Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        let args = Blob::of(args).map_err(|_| RpcError::Args)?;
        let answer = self.ask(node, function.which(), args, within).await?;
        answer.read().ok_or(RpcError::Answer)
    }

    /// Calls a function, and goes on: the answer is fetched from what this returns. The call is under way at
    /// once.
    pub fn call_async<A, R>(
        &self,
        node: NodeId,
        function: &Function<A, R>,
        args: &A,
        within: Duration,
    ) -> Pending<R>
    where
        A: Serialize + DeserializeOwned,
        R: DeserializeOwned + Send + 'static,
    {
        let (rpc, which) = (self.clone(), function.which());
        let args = Blob::of(args).map_err(|_| RpcError::Args);
        let mut answer: BoxFuture<'static, _> = Box::pin(async move {
            let answer = rpc.ask(node, which, args?, within).await?;
            answer.read().ok_or(RpcError::Answer)
        });
        // The first look sends it.
        let early = answer.as_mut().now_or_never();
        Pending { answer, early }
    }

    /// Runs a function; nobody learns what became of it. An error says that it was not sent.
    pub fn cast<A, R>(
        &self,
        node: NodeId,
        function: &Function<A, R>,
        args: &A,
    ) -> Result<(), RpcError>
    where
        A: Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        let args = Blob::of(args).map_err(|_| RpcError::Args)?;
        let which = function.which();
        self.tables.check(node, &which)?;
        let ask = Ask::Cast { from: Origin::of(&self.actors), which, args };
        Ok(self.desk(node).send(ask)?)
    }

    /// Calls a function on many nodes at once, and waits for all: what each has answered.
    pub async fn multicall<A, R>(
        &self,
        nodes: impl IntoIterator<Item = NodeId>,
        function: &Function<A, R>,
        args: &A,
        within: Duration,
    ) -> BTreeMap<NodeId, Result<R, RpcError>>
    where
        A: Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        let calls = nodes
            .into_iter()
            .map(async |node| (node, self.call(node, function, args, within).await));
        join_all(calls).await.into_iter().collect()
    }

    /// Casts a function to many nodes, one letter to each: to which it was not sent, and why.
    pub fn broadcast<A, R>(
        &self,
        nodes: impl IntoIterator<Item = NodeId>,
        function: &Function<A, R>,
        args: &A,
    ) -> BTreeMap<NodeId, RpcError>
    where
        A: Serialize + DeserializeOwned,
        R: DeserializeOwned,
    {
        let cast = |node| self.cast(node, function, args).err().map(|error| (node, error));
        nodes.into_iter().filter_map(cast).collect()
    }

    /// Starts a process on a node. It lives on whatever becomes of who started it; on an error that says so
    /// it [may](RpcError::maybe_done) live.
    pub async fn spawn<A, M>(
        &self,
        node: NodeId,
        process: &Process<A, M>,
        args: &A,
        within: Duration,
    ) -> Result<Addr<M>, RpcError>
    where
        A: Serialize + DeserializeOwned,
        M: Message,
    {
        let args = Blob::of(args).map_err(|_| RpcError::Args)?;
        let pid = self.start_there(node, process.which(), args, Tie::Nothing, within).await?;
        Ok(self.actors.addr(pid))
    }

    /// Starts a process on a node, linked to the one of this mailbox before its first step. On an error that
    /// says so it [may](RpcError::maybe_done) live, and be linked.
    pub async fn spawn_link<A, M, P: Message>(
        &self,
        parent: &mut Mailbox<P>,
        node: NodeId,
        process: &Process<A, M>,
        args: &A,
        within: Duration,
    ) -> Result<Addr<M>, RpcError>
    where
        A: Serialize + DeserializeOwned,
        M: Message,
    {
        let args = Blob::of(args).map_err(|_| RpcError::Args)?;
        let tie = Tie::Link(parent.pid());
        let pid = self.start_there(node, process.which(), args, tie, within).await?;
        Ok(self.actors.addr(pid))
    }

    /// Starts a process on a node, monitored by the one of this mailbox from its first step on. On an error
    /// it is not monitored, but [may](RpcError::maybe_done) live.
    pub async fn spawn_monitor<A, M, P: Message>(
        &self,
        parent: &mut Mailbox<P>,
        node: NodeId,
        process: &Process<A, M>,
        args: &A,
        within: Duration,
    ) -> Result<(Addr<M>, Ref), RpcError>
    where
        A: Serialize + DeserializeOwned,
        M: Message,
    {
        let args = Blob::of(args).map_err(|_| RpcError::Args)?;
        let monitor = parent.monitor_ahead(node);
        let tie = Tie::Monitor(parent.pid(), monitor);
        match self.start_there(node, process.which(), args, tie, within).await {
            Ok(pid) => Ok((self.actors.addr(pid), monitor)),
            Err(error) => {
                parent.demonitor(monitor);
                Err(error)
            }
        }
    }

    async fn start_there(
        &self,
        node: NodeId,
        which: Which,
        args: Blob,
        tie: Tie,
        within: Duration,
    ) -> Result<Pid, RpcError> {
        self.tables.check(node, &which)?;
        let from = Origin::of(&self.actors);
        let ask = |to| Ask::Spawn { from, which, args, tie, to };
        Ok(self.desk(node).call::<Result<Pid, Refusal>>(within, ask).await??)
    }

    async fn ask(
        &self,
        node: NodeId,
        which: Which,
        args: Blob,
        within: Duration,
    ) -> Result<Blob, RpcError> {
        self.tables.check(node, &which)?;
        let (from, id) = (Origin::of(&self.actors), self.next.fetch_add(1, Ordering::Relaxed));
        let left_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        let mut open = Open { rpc: self, node, id, is_open: true };
        let ask = |to| Ask::Call { from, which, args, left_ms, id, to };
        let answer = self.desk(node).call::<Result<Blob, Refusal>>(within, ask).await;
        open.is_open = matches!(answer, Err(CallError::Timeout));
        Ok(answer??)
    }

    fn desk(&self, node: NodeId) -> Addr<Ask> {
        self.actors.named(node, DESK)
    }
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rpc({})", self.actors.node())
    }
}

/// A call that waits. When it is dropped so, it is cancelled.
struct Open<'a> {
    rpc: &'a Rpc,
    node: NodeId,
    id: u64,
    is_open: bool,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.is_open {
            let cancel = Ask::Cancel { from: Origin::of(&self.rpc.actors), id: self.id };
            // What cannot be told ends by its deadline.
            let _ = self.rpc.desk(self.node).send(cancel);
        }
    }
}

/// An answer that is under way. Dropping it cancels the call.
pub struct Pending<R> {
    answer: BoxFuture<'static, Result<R, RpcError>>,
    early: Option<Result<R, RpcError>>,
}

impl<R> Pending<R> {
    /// The answer, if it comes within a time; else this, to be asked again.
    pub async fn within(mut self, time: Duration) -> Result<Result<R, RpcError>, Self> {
        match quorate_env::timeout(time, &mut self).await {
            Ok(answer) => Ok(answer),
            Err(_) => Err(self),
        }
    }
}

// It holds the answer beside the future that gives it; neither is pinned in it.
impl<R> Unpin for Pending<R> {}

/// The answer itself.
impl<R> Future for Pending<R> {
    type Output = Result<R, RpcError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.early.take() {
            Some(answer) => Poll::Ready(answer),
            None => self.answer.as_mut().poll(cx),
        }
    }
}

impl<R> fmt::Debug for Pending<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}
