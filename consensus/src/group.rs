//! The group: propose, read, watch, and change who votes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, LinearizableReadError, RaftError};
use openraft::storage::RaftSnapshotBuilder;
use openraft::{ChangeMembers, EmptyNode, ReadPolicy, ServerState};
use quorate_env::BoxFuture;
use quorate_registry::{Command, Level, Machine, Registration, Verdict};
use quorate_storage::{Log, StandingWatch};
use quorate_vocab::{Index, NodeId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::apply::{Applier, Replica, Shared, SnapshotBuilder};
use crate::archive::{Archive, Doors, archive};
use crate::config::GroupConfig;
use crate::electorate::Electorate;
use crate::error::{GroupError, MembershipError, ProposeError, ReadError};
use crate::feed::{Feed, Watch};
use crate::feeder::Feeder;
use crate::follow::Follower;
use crate::freshness::Freshness;
use crate::log::LogStore;
use crate::peers::{Network, Peers};
use crate::recover::{Recovery, Source, begin_behind, goes_on, recover};
use crate::rounds::Rounds;
use crate::serve::Voter;
use crate::types::{Asked, LeaderId, LogId, Raft, Types};

/// What the lightest counts, with all that is kept of it until it is answered.
const PROPOSAL_BYTES_MIN: usize = 4 * 1024;
/// How many proposals go to Raft in one message, and so into one append.
const BATCH_MAX: usize = 2_048;

/// What became of a proposal.
pub type Outcome = Result<(Index, Verdict), ProposeError>;

/// A handle on this node's part in the group. Cheap to clone.
#[derive(Clone)]
pub struct Group {
    raft: Raft,
    voter: Voter,
    follower: Arc<Follower>,
    freshness: Freshness,
    state: Shared,
    feed: Arc<Feed>,
    archive: Archive,
    proposals: mpsc::Sender<Proposal>,
    /// How many more bytes of proposals may wait.
    room: Arc<Semaphore>,
    reads: Rounds<Result<Index, ReadError>>,
    disk: StandingWatch,
}

/// What this node is to the group at the moment. For people: nothing may be decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It follows the log without a vote.
    Learner,
    /// It follows a leader.
    Follower,
    /// It stands for election.
    Candidate,
    /// It led when it last looked.
    Leader,
    /// It has stopped.
    Stopped,
}

/// What this node sees of the group.
#[derive(Clone, Debug)]
pub struct GroupStatus {
    /// This node's role.
    pub role: Role,
    /// Raft's term.
    pub term: u64,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// The last entry in this node's log.
    pub last_index: Index,
    /// The last entry applied here.
    pub applied: Index,
    /// The last entry that a snapshot covers.
    pub snapshot: Index,
    /// The last entry that is no longer in the log.
    pub purged: Index,
    /// Who votes.
    pub voters: BTreeSet<NodeId>,
    /// Who follows without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Up to where this leader knows that the others have its log; empty on any other node.
    pub matched: BTreeMap<NodeId, Index>,
    /// Why Raft has stopped here, if it has by itself.
    pub fault: Option<String>,
}

impl From<ServerState> for Role {
    fn from(state: ServerState) -> Self {
        match state {
            ServerState::Learner => Self::Learner,
            ServerState::Follower => Self::Follower,
            ServerState::Candidate => Self::Candidate,
            ServerState::Leader => Self::Leader,
            ServerState::Shutdown => Self::Stopped,
        }
    }
}

struct Proposal {
    command: Command,
    answer: Answerer,
}

/// Whoever waits for a verdict, and what its proposal weighs until then.
struct Answerer {
    to: oneshot::Sender<Outcome>,
    _weight: OwnedSemaphorePermit,
}

impl Answerer {
    fn give(self, answer: Outcome) {
        // Whoever asked may have stopped waiting.
        let _ = self.to.send(answer);
    }
}

impl Group {
    /// Recovers what is remembered and takes part.
    ///
    /// A boxed future, so that all of openraft is compiled here once, and not again into each program that
    /// awaits this.
    pub fn open<'a>(
        id: NodeId,
        config: &'a GroupConfig,
        doors: Doors,
        peers: Arc<dyn Peers>,
    ) -> BoxFuture<'a, Result<(Self, Recovery), GroupError>> {
        Box::pin(Self::take_part(id, config, doors, peers))
    }

    async fn take_part(
        id: NodeId,
        config: &GroupConfig,
        doors: Doors,
        peers: Arc<dyn Peers>,
    ) -> Result<(Self, Recovery), GroupError> {
        let raft_config = config.checked()?;
        let (state, mut recovery) = recover(&doors).await?;
        // openraft takes a log that tells another story than the state for a broken one.
        let goes_on =
            goes_on(&doors.log, &state).map_err(GroupError::io("reading the log's end"))?;
        let left_behind = if goes_on { None } else { state.applied };
        let feed = Arc::new(Feed::new(state.index(), config.changes_kept));
        let state = Shared::new(state);
        let (log, disk) = (doors.log.clone(), doors.log.standing());
        let (archive, archivist) = archive(doors, state.clone());
        // Nobody has to wait for the archivist's end: `close` asks it for its last work.
        let _ended = quorate_env::aside("quorate-archivist", archivist.run())
            .map_err(|e| GroupError::Stopped(e.to_string()))?;
        if recovery.repaired.is_some() || recovery.source == Source::Snapshot {
            archive.restock();
        }
        if let Some(applied) = left_behind {
            // Nothing may be dropped that only the shelf remembers.
            if recovery.source == Source::Shelf {
                let saved = SnapshotBuilder::new(&state, &archive).build_snapshot().await;
                saved
                    .map_err(GroupError::io("saving a state from which the log does not go on"))?;
            }
            let dropped = begin_behind(&log, applied).await;
            recovery.dropped =
                dropped.map_err(GroupError::io("dropping a log that its state left behind"))?;
        }
        let replica =
            Replica::new(state.clone(), feed.clone(), archive.clone(), config.shelve_every);
        let (network, applier) = (Network(peers.clone()), Applier(replica.clone()));
        let raft = Raft::new(id.0, raft_config, network, LogStore(log.clone()), applier)
            .await
            .map_err(|e| GroupError::Stopped(e.to_string()))?;
        let (proposals, tray) = mpsc::channel((config.proposals_bytes / PROPOSAL_BYTES_MIN).max(1));
        let feeds = log.clone();
        quorate_env::spawn(propose_in_batches(raft.clone(), log, tray));
        let room = Arc::new(Semaphore::new(config.proposals_bytes));
        let freshness = Freshness::default();
        let feeder = Feeder::new(id, raft.clone(), replica.clone(), feeds, freshness.clone());
        #[cfg_attr(not(feature = "mutants"), expect(unused_mut, reason = "no bug is built in"))]
        let mut voter = Voter::new(raft.clone(), feeder, freshness.clone());
        #[cfg(feature = "mutants")]
        {
            voter.young_by_append = config.young_by_append;
        }
        let every = config.snapshot_every;
        quorate_env::spawn(follow_metrics(raft.clone(), voter.clone(), state.clone(), every));
        let follower = Arc::new(Follower::new(
            id,
            raft.clone(),
            voter.clone(),
            replica,
            peers,
            freshness.clone(),
            config.election_max,
        ));
        quorate_env::spawn(follower.clone().run());
        quorate_env::spawn(follower.clone().keep_fresh());
        let reads = Rounds::default();
        let group = Self {
            raft,
            voter,
            follower,
            freshness,
            state,
            feed,
            archive,
            proposals,
            room,
            reads,
            disk,
        };
        Ok((group, recovery))
    }

    /// Proposes a command. Many that are proposed at the same time share one append and one sync.
    ///
    /// It may wait as long as no majority answers; whoever calls bounds it, and a bound that runs out
    /// means [`ProposeError::Unknown`]. When too much waits already, or the journal waits for the disk, it is
    /// refused at once: others may be able to commit it, but this node could only pile it up.
    pub async fn propose(&self, command: Command) -> Result<(Index, Verdict), ProposeError> {
        let answers = self.submit(command)?;
        answers.await.unwrap_or(Err(ProposeError::Unknown))
    }

    /// Proposes several, each with an outcome of its own. All are under way before the first is waited for.
    pub async fn propose_many(&self, commands: Vec<Command>) -> Vec<Outcome> {
        let under_way: Vec<_> = commands.into_iter().map(|one| self.submit(one)).collect();
        let mut outcomes = Vec::with_capacity(under_way.len());
        for answers in under_way {
            outcomes.push(match answers {
                Ok(answers) => answers.await.unwrap_or(Err(ProposeError::Unknown)),
                Err(refused) => Err(refused),
            });
        }
        outcomes
    }

    fn submit(&self, command: Command) -> Result<oneshot::Receiver<Outcome>, ProposeError> {
        if self.disk.is_stuck() {
            return Err(ProposeError::Disk);
        }
        if let Some(refused) = self.refused_by_level(&command) {
            let (to, answers) = oneshot::channel();
            let _ = to.send(Ok(refused));
            return Ok(answers);
        }
        let weight = command.weight().max(PROPOSAL_BYTES_MIN);
        let weight = self.room.clone().try_acquire_many_owned(weight as u32);
        let weight = weight.map_err(|_| ProposeError::Overloaded)?;
        let (to, answers) = oneshot::channel();
        let answer = Answerer { to, _weight: weight };
        // There is a place for each that has weight.
        let nobody = ProposeError::NotDone { leader: None };
        self.proposals.try_send(Proposal { command, answer }).map_err(|_| nobody)?;
        Ok(answers)
    }

    /// The verdict on what some members do not understand, without a word in the log: they could not read it
    /// there, and a mark would keep a refusal that is over as soon as they are brought to this release.
    fn refused_by_level(&self, command: &Command) -> Option<(Index, Verdict)> {
        if command.level() <= Level::FIRST {
            return None;
        }
        self.read(|machine, index| {
            machine.admit(command).err().map(|refusal| (index, Verdict::Refused(refusal)))
        })
    }

    /// Confirms with a majority that this node leads, in a round that begins after the call, and returns
    /// once everything that was acknowledged before the call is applied here. The index is the state's that
    /// may then be read.
    pub async fn confirm(&self) -> Result<Index, ReadError> {
        let raft = self.raft.clone();
        let round = self.reads.join(move || confirm(raft.clone())).await;
        round.unwrap_or(Err(ReadError::NotLeader { leader: None }))
    }

    /// Returns once everything up to `index` is applied here.
    pub async fn reached(&self, index: Index) {
        self.feed.reached(index).await;
    }

    /// Reads the applied state as it is here and now, with its index. Keep `read` short: apply waits for it.
    pub fn read<R>(&self, read: impl FnOnce(&Machine, Index) -> R) -> R {
        let state = self.state.read();
        read(&state.machine, state.index())
    }

    /// Looks one name up as it is here and now, and waits for nobody: in a state that is at least as new as
    /// the index.
    pub fn look(&self, name: &str) -> (Option<Arc<Registration>>, Index) {
        self.state.directory().look(name)
    }

    /// The last index that is applied here.
    pub fn applied(&self) -> Index {
        self.feed.tip()
    }

    /// Watches what changes after an index.
    pub fn watch(&self, from: Index) -> Watch {
        self.feed.watch(from)
    }

    /// Takes a request of another voter, whose identity is proven. Call in the order of arrival.
    pub fn serve(&self, from: NodeId, request: &[u8]) -> BoxFuture<'static, Bytes> {
        self.voter.serve(from, request)
    }

    /// Whether this node already belongs to a group, by its log or by what it follows.
    pub async fn is_bootstrapped(&self) -> Result<bool, GroupError> {
        if self.state.read().applied.is_some() {
            return Ok(true);
        }
        self.raft.is_initialized().await.map_err(|e| GroupError::Stopped(e.to_string()))
    }

    /// Begins a new group of these voters. Only once in the life of a cluster, on one of them; all others
    /// learn of it from the log.
    pub async fn bootstrap(&self, voters: &BTreeSet<NodeId>) -> Result<(), MembershipError> {
        let members: BTreeMap<u64, EmptyNode> =
            voters.iter().map(|node| (node.0, EmptyNode {})).collect();
        self.raft.initialize(members).await.map_err(|e| match e {
            RaftError::APIError(e) => MembershipError::Refused(e.to_string()),
            RaftError::Fatal(_) => MembershipError::Unknown,
        })
    }

    /// Says who votes to a node that knows of no group yet: from them it learns the rest.
    pub fn follow(&self, voters: &BTreeSet<NodeId>) {
        self.follower.tell(voters);
    }

    /// Replicates the log to a node, as who is to vote needs it.
    pub async fn add_learner(&self, node: NodeId) -> Result<(), MembershipError> {
        let added = self.raft.add_learner(node.0, EmptyNode {}, false).await;
        added.map(drop).map_err(changed)
    }

    /// Gives these nodes, which all follow the log, a vote, and takes it from all others, who go on to
    /// follow.
    pub async fn set_voters(&self, nodes: &BTreeSet<NodeId>) -> Result<(), MembershipError> {
        let voters = nodes.iter().map(|node| node.0).collect();
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Takes nodes out of the group, voters and learners alike.
    pub async fn remove(&self, nodes: &BTreeSet<NodeId>) -> Result<(), MembershipError> {
        let ids: BTreeSet<u64> = nodes.iter().map(|node| node.0).collect();
        let voters = self.status().voters;
        if nodes.iter().any(|node| voters.contains(node)) {
            self.change(ChangeMembers::RemoveVoters(ids.clone())).await?;
        }
        self.change(ChangeMembers::RemoveNodes(ids)).await
    }

    /// Asks the leader, if this node is it, to hand over to another voter.
    pub async fn hand_over(&self, to: NodeId) -> Result<(), GroupError> {
        let asked = self.raft.trigger().transfer_leader(to.0).await;
        asked.map_err(|e| GroupError::Stopped(e.to_string()))
    }

    /// How the disk stands to this node, to be watched.
    pub fn disk(&self) -> &StandingWatch {
        &self.disk
    }

    /// Whether this node stands for election when no leader is heard. It may still be made to.
    pub fn stand(&self, stands: bool) {
        self.follower.stand(stands);
    }

    /// Builds a snapshot now, and purges what it covers as the settings say.
    pub async fn snapshot(&self) -> Result<(), GroupError> {
        self.raft.trigger().snapshot().await.map_err(|e| GroupError::Stopped(e.to_string()))
    }

    /// Who leads, as far as this node knows: where to ask first, and nothing more.
    pub fn leader(&self) -> Option<NodeId> {
        let fed = self.follower.tidings();
        match fed.follows {
            true => fed.leader,
            false => self.raft.server_metrics().borrow_watched().current_leader.map(NodeId),
        }
    }

    /// How old what is applied here may be: whatever was committed anywhere before so long ago is in it. By
    /// nodes' clocks, so it is wrong by as much as those go wrong. [`Duration::MAX`] where this node cannot
    /// say, as it has not caught up with a majority since it began.
    pub fn age(&self) -> Duration {
        self.freshness.age()
    }

    /// What this node sees of the group.
    pub fn status(&self) -> GroupStatus {
        // Before the metrics are held: each of them looks there as well.
        let (members, leader) = (self.follower.membership(), self.leader());
        let (membership, fed) = (members.membership(), self.follower.tidings());
        let (role, term) = {
            let server = self.raft.server_metrics();
            let server = server.borrow_watched();
            (Role::from(server.state), server.vote.leader_id.term)
        };
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let index = |id: Option<u64>| Index(id.unwrap_or(0));
        GroupStatus {
            // Those of the server do not tell that it has stopped.
            role: if metrics.running_state.is_err() { Role::Stopped } else { role },
            term: term.max(fed.term),
            leader,
            last_index: index(metrics.last_log_index),
            applied: self.feed.tip(),
            snapshot: index(metrics.snapshot.map(|id| id.index)),
            purged: index(metrics.purged.map(|id| id.index)),
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            matched: metrics
                .replication
                .iter()
                .flatten()
                .map(|(node, id)| (NodeId(*node), index(id.map(|id| id.index))))
                .collect(),
            fault: match &metrics.running_state {
                // It was asked to.
                Ok(()) | Err(Fatal::Stopped) => None,
                Err(fatal) => Some(fatal.to_string()),
            },
        }
    }

    /// Who votes by this node's log, and for whom it does itself.
    pub fn electorate(&self) -> Electorate {
        let office = |leader: &LeaderId| (leader.term, NodeId(leader.node_id));
        let server = self.raft.server_metrics();
        let server = server.borrow_watched();
        let at = *server.membership_config.log_id();
        let named = at.map(|at| (office(&at.leader_id), Index(at.index))).unwrap_or_default();
        let sets = server.membership_config.membership().get_joint_config();
        let sets = sets.iter().map(|set| set.iter().copied().map(NodeId).collect()).collect();
        // This is the vote that is flushed.
        Electorate::new(office(&server.vote.leader_id), named, sets)
    }

    /// Returns when who leads, as far as this node sees, or the term, or who is a member has changed.
    pub async fn status_changed(&self, seen: &GroupStatus) {
        // Not the metrics of the log, which change with each entry.
        let (mut server, mut fed) = (self.raft.server_metrics(), self.follower.watch());
        loop {
            fed.borrow_and_update();
            let now = self.status();
            let same = now.leader == seen.leader
                && now.term == seen.term
                && now.role == seen.role
                && now.voters == seen.voters
                && now.learners == seen.learners;
            if !same {
                return;
            }
            tokio::select! {
                biased;
                raft = WatchReceiver::changed(&mut server) => if raft.is_err() {
                    return;
                },
                // The follower, and with it the sender, lives as long as `self`.
                _ = fed.changed() => {}
            }
        }
    }

    /// Stops taking part, after the shelf has what is applied.
    pub async fn close(&self) {
        // Raft's task ends by itself or has ended; there is nothing to do about its error here.
        let _ = self.raft.shutdown().await;
        self.archive.close().await;
    }

    async fn change(&self, change: ChangeMembers<u64, EmptyNode>) -> Result<(), MembershipError> {
        let done = self.raft.change_membership(change, true).await;
        done.map(drop).map_err(changed)
    }
}

/// Takes a leader's pulse, and has a snapshot built whenever one is due.
async fn follow_metrics(raft: Raft, voter: Voter, state: Shared, every: u64) {
    let mut metrics = raft.metrics();
    let mut asked = 0;
    loop {
        let (applied, covered) = {
            let metrics = metrics.borrow_watched();
            voter.feel(&metrics);
            let index = |id: Option<LogId>| id.map_or(0, |id| id.index);
            (index(metrics.last_applied), index(metrics.snapshot))
        };
        let since = applied.saturating_sub(covered.max(asked));
        // Only then is it worth to keep apply waiting for a look at the state.
        let names_and_fed = || {
            let state = state.read();
            (state.machine.names_held() as u64, state.by_raft < state.applied)
        };
        if since >= every
            && let (names, false) = names_and_fed()
            && is_due(since, every, names)
        {
            asked = applied;
            if raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}

/// Whether so many entries since the last snapshot are worth one: `every` at least, and half as many as names
/// are held. A snapshot costs as much as the state is large, so each entry bears the same small share of it;
/// while names only come, there is one whenever they have doubled.
fn is_due(since: u64, every: u64, names: u64) -> bool {
    since >= every && since >= names / 2
}

/// One round of questions.
async fn confirm(raft: Raft) -> Result<Index, ReadError> {
    match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
        Ok(read) => Ok(Index(read.index())),
        Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
            Err(ReadError::NotLeader { leader: to.leader_id.map(NodeId) })
        }
        Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
            Err(ReadError::NoQuorum)
        }
        Err(RaftError::Fatal(_)) => Err(ReadError::NotLeader { leader: None }),
    }
}

/// Takes up whatever waits and proposes it as one batch. While one batch is on its way the next gathers, and
/// while much waits for the disk, so does all that comes.
async fn propose_in_batches(raft: Raft, log: Log, mut tray: mpsc::Receiver<Proposal>) {
    let mut waiting = Vec::new();
    while tray.recv_many(&mut waiting, BATCH_MAX).await > 0 {
        if !has_room(&log).await {
            for proposal in waiting.drain(..) {
                proposal.answer.give(Err(ProposeError::Disk));
            }
            continue;
        }
        let (commands, answers): (Vec<_>, Vec<_>) =
            waiting.drain(..).map(|proposal| (Asked(proposal.command), proposal.answer)).unzip();
        match raft.client_write_many(commands).await {
            Ok(results) => {
                quorate_env::spawn(hand_out(results, answers));
            }
            Err(_) => {
                // Raft has stopped and took nothing.
                for answer in answers {
                    answer.give(Err(ProposeError::NotDone { leader: None }));
                }
            }
        }
    }
}

/// Waits until the log welcomes more; says so, or that the disk takes nothing.
async fn has_room(log: &Log) -> bool {
    let disk = log.standing();
    tokio::select! {
        biased;
        () = log.room() => true,
        () = disk.stuck() => false,
    }
}

type Results = futures_util::stream::BoxStream<
    'static,
    Result<openraft::raft::WriteResult<Types>, Fatal<Types>>,
>;

async fn hand_out(results: Results, answers: Vec<Answerer>) {
    // If Raft stops before it has decided all of them, what it gives ends with the first of those.
    let mut results = results.fuse();
    for answer in answers {
        let outcome = match results.next().await {
            Some(Ok(Ok(written))) => match written.response.0 {
                Some(verdict) => Ok((Index(written.log_id.index), verdict)),
                None => Err(ProposeError::Unknown),
            },
            Some(Ok(Err(ClientWriteError::ForwardToLeader(to)))) => {
                Err(ProposeError::NotDone { leader: to.leader_id.map(NodeId) })
            }
            Some(Ok(Err(_)) | Err(_)) | None => Err(ProposeError::Unknown),
        };
        answer.give(outcome);
    }
}

fn changed(error: RaftError<Types, ClientWriteError<Types>>) -> MembershipError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(to)) => {
            MembershipError::NotLeader { leader: to.leader_id.map(NodeId) }
        }
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            MembershipError::Refused(error.to_string())
        }
        RaftError::APIError(_) | RaftError::Fatal(_) => MembershipError::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream::unfold;

    use super::*;

    /// What openraft gives ends with the first error, and is not to be asked again after that.
    #[tokio::test]
    async fn everybody_in_a_batch_is_answered_though_raft_has_stopped() {
        let stopped =
            |first: Option<()>| async move { first.map(|()| (Err(Fatal::Stopped), None)) };
        let weights = Arc::new(Semaphore::new(3));
        let weigh = || weights.clone().try_acquire_owned().expect("there are as many as ask");
        let (answers, outcomes): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| oneshot::channel())
            .map(|(to, outcome)| (Answerer { to, _weight: weigh() }, outcome))
            .unzip();
        hand_out(unfold(Some(()), stopped).boxed(), answers).await;
        for outcome in outcomes {
            assert!(matches!(outcome.await, Ok(Err(ProposeError::Unknown))));
        }
    }

    #[test]
    fn snapshots_come_while_names_only_grow_and_as_seldom_as_the_state_is_large() {
        let (every, mut covered, mut taken) = (20_000, 0, 0);
        // Each entry brings a name.
        for applied in 1..=1_000_000_u64 {
            if is_due(applied - covered, every, applied) {
                (covered, taken) = (applied, taken + 1);
            }
        }
        assert!(covered > 500_000 && (4..=8).contains(&taken), "{covered} {taken}");
        // A million names, of which one is changed again and again.
        assert!(!is_due(499_999, every, 1_000_000) && is_due(500_000, every, 1_000_000));
        assert!(!is_due(19_999, every, 0));
    }
}
