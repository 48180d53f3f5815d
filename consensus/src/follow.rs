//! How a node follows the group without a part in it: it asks a voter for what comes next, again and again,
//! and applies it. So the leader replicates to the voters only, however many nodes there are.
//!
//! What is fed is committed, and one entry at an index is the same wherever it comes from; so a feed may stop
//! at any time, be taken up at another voter, and run beside Raft: whatever comes second is passed over.
//! Whoever has a vote, or is on the way to one, follows as well while no leader is heard or the log is behind
//! what was fed; the feed shows a node that was away that it votes no more, and from then on it does not
//! stand for election.
//!
//! Deliberately not here: any promise. A follower answers no append, gives no vote and confirms no leader.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use quorate_vocab::{Index, NodeId, Time};
use tokio::sync::watch;

use crate::apply::Replica;
use crate::archive::{apart, gone};
use crate::body;
use crate::feeder::HELD;
use crate::freshness::Freshness;
use crate::peers::{PeerError, Peers};
use crate::serve::{SNAPSHOT_BYTES_MAX, Voter};
use crate::types::{Entry, Membership, Raft, SnapshotMeta, StoredMembership};
use crate::wire::{self, PositionBytes, Request, Response};

/// How long an answer may take beyond the time for which a feeder may hold the request.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// The least time between two requests that bring something, and what it grows to while each does: what
/// changes meanwhile comes together. Whoever waits for an entry here does not wait for that.
const PACE: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(16));
/// How long a node that needs no feed, or finds nobody to feed it, waits until it looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What a feed tells of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tidings {
    /// Whether a feed is what this node follows.
    pub(crate) follows: bool,
    pub(crate) leader: Option<NodeId>,
    pub(crate) term: u64,
    /// Where in the log the members were named whom this node knows.
    members_at: Option<u64>,
}

/// A node's own end of the feed.
pub(crate) struct Follower {
    me: NodeId,
    raft: Raft,
    voter: Voter,
    replica: Replica,
    peers: Arc<dyn Peers>,
    /// The silence of a leader after which a feed is asked.
    patience: Duration,
    tidings: watch::Sender<Tidings>,
    freshness: Freshness,
    known: Mutex<Known>,
}

struct Known {
    /// Who votes, as others told a node that knows nothing yet.
    told: BTreeSet<NodeId>,
    /// Whether this node may stand for election, where it has a vote.
    may_stand: bool,
}

/// Whom a node follows.
enum Bearing {
    /// A leader of Raft's, or nobody, as it leads itself.
    Raft,
    Feed,
    /// Raft has stopped here.
    Nothing,
}

/// What came of a round with a feeder.
enum Brought {
    Something,
    /// There is nothing new.
    Nothing,
}

/// Why a round with a feeder brought nothing. Nothing changed; another is asked.
#[derive(Debug, thiserror::Error)]
enum Miss {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Bytes(#[from] io::Error),
    #[error("it has no vote, is itself behind, or no longer has what it offered")]
    Declined,
    #[error("it is itself {0:?} old")]
    Stale(Duration),
}

impl Follower {
    pub(crate) fn new(
        me: NodeId,
        raft: Raft,
        voter: Voter,
        replica: Replica,
        peers: Arc<dyn Peers>,
        freshness: Freshness,
        patience: Duration,
    ) -> Self {
        let known = Mutex::new(Known { told: BTreeSet::new(), may_stand: true });
        let tidings = watch::Sender::new(Tidings::default());
        Self { me, raft, voter, replica, peers, patience, tidings, freshness, known }
    }

    /// Says to a node that knows nothing yet who may feed it.
    pub(crate) fn tell(&self, voters: &BTreeSet<NodeId>) {
        self.known().told.clone_from(voters);
    }

    /// Says whether this node may stand for election; the next look at its bearing sees to it.
    pub(crate) fn stand(&self, may_stand: bool) {
        self.known().may_stand = may_stand;
    }

    pub(crate) fn tidings(&self) -> Tidings {
        *self.tidings.borrow()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Tidings> {
        self.tidings.subscribe()
    }

    /// The members as of the newest entry that this node knows of.
    pub(crate) fn membership(&self) -> StoredMembership {
        let by_raft = self.raft.server_metrics().borrow_watched().membership_config.clone();
        let applied = self.replica.state().read().membership.clone();
        if applied.log_id() > by_raft.log_id() { applied } else { (*by_raft).clone() }
    }

    /// Follows for as long as Raft runs.
    pub(crate) async fn run(self: Arc<Self>) {
        let (mut turn, mut pace) = (0, PACE.0);
        loop {
            match self.bearing() {
                Bearing::Nothing => return,
                Bearing::Raft => {
                    turn = 0;
                    self.hear(|tidings| *tidings = Tidings::default());
                    quorate_env::sleep(LOOK_AGAIN).await;
                }
                Bearing::Feed => {
                    let feeders = self.feeders();
                    let feeder = feeders.get(turn % feeders.len().max(1));
                    let Some(feeder) = feeder else {
                        quorate_env::sleep(LOOK_AGAIN).await;
                        continue;
                    };
                    let asked = quorate_env::now();
                    match self.round(*feeder, asked).await {
                        Ok(Brought::Nothing) => pace = PACE.0,
                        Ok(Brought::Something) => {
                            let left = (asked + pace).since(quorate_env::now());
                            // Either way it is time.
                            let _ = quorate_env::timeout(left, self.replica.feed().wanted()).await;
                            pace = (pace * 2).min(PACE.1);
                        }
                        Err(miss) => {
                            tracing::debug!(%feeder, %miss, "this voter feeds nothing now");
                            turn += 1;
                            quorate_env::sleep(LOOK_AGAIN).await;
                        }
                    }
                }
            }
        }
    }

    fn bearing(&self) -> Bearing {
        let members = self.membership();
        let (role, by_raft) = {
            // Only these tell that Raft has stopped.
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            (metrics.state, metrics.membership_config.clone())
        };
        match role {
            ServerState::Shutdown => return Bearing::Nothing,
            ServerState::Leader => return Bearing::Raft,
            ServerState::Learner | ServerState::Follower | ServerState::Candidate => {}
        }
        let votes = |members: &Membership| members.voter_ids().any(|node| node == self.me.0);
        let voted_out = votes(by_raft.membership()) && !votes(members.membership());
        let stands = !voted_out && self.known().may_stand;
        self.raft.runtime_config().elect(stands);
        let is_ahead = {
            let state = self.replica.state().read();
            state.by_raft < state.applied
        };
        match members.membership().get_node(&self.me.0) {
            Some(_) if !is_ahead && self.voter.silence() < self.patience => Bearing::Raft,
            _ => Bearing::Feed,
        }
    }

    /// Who may feed this node: the voters that it knows of, in an order of its own, so that the followers
    /// spread over them; then whom others named, and who led when it last heard of anybody. A node that lost
    /// its state knows no voters, and those that it knows may all have been replaced.
    fn feeders(&self) -> Vec<NodeId> {
        let voters: BTreeSet<NodeId> =
            self.membership().membership().voter_ids().map(NodeId).collect();
        let leader = self.raft.server_metrics().borrow_watched().current_leader.map(NodeId);
        let mut feeders = voters.clone();
        feeders.extend(&self.known().told);
        feeders.extend(leader);
        feeders.remove(&self.me);
        let mut feeders: Vec<NodeId> = feeders.into_iter().collect();
        feeders.sort_by_key(|node| (!voters.contains(node), spread(self.me, *node)));
        feeders
    }

    /// Asks once for what comes next.
    async fn round(&self, feeder: NodeId, asked: Time) -> Result<Brought, Miss> {
        let next = self.replica.state().read().next();
        match self.ask(feeder, &Request::Follow { next }, HELD + ANSWERED_WITHIN).await? {
            Response::Fed { entries, age, leader, term } => {
                let entries = in_order(next, &entries)?;
                let brought = match entries.is_empty() {
                    true => Brought::Nothing,
                    false => Brought::Something,
                };
                self.replica.take_fed(entries).map_err(io::Error::other)?;
                self.note(leader, term);
                // One answer takes so much and no more.
                let has_all = self.replica.state().read().index().0 >= age.upto;
                if has_all {
                    self.freshness.told(asked, age);
                }
                match brought {
                    _ if age.age > self.patience * 2 => Err(Miss::Stale(age.age)),
                    // It is fed itself, and feeds only what Raft brought it.
                    Brought::Nothing if !has_all => Err(Miss::Declined),
                    brought => Ok(brought),
                }
            }
            Response::Anew { position, total } => {
                self.take_anew(feeder, position, total).await?;
                Ok(Brought::Something)
            }
            _ => Err(Miss::Declined),
        }
    }

    fn note(&self, leader: Option<u64>, term: u64) {
        let members_at = self.membership().log_id().map(|id| id.index);
        self.hear(|tidings| {
            *tidings = Tidings { follows: true, leader: leader.map(NodeId), term, members_at };
        });
    }

    fn hear(&self, change: impl FnOnce(&mut Tidings)) {
        self.tidings.send_if_modified(|tidings| {
            let before = *tidings;
            change(tidings);
            before != *tidings
        });
    }

    /// Takes a whole snapshot: what comes next is in the feeder's log no more.
    async fn take_anew(
        &self,
        feeder: NodeId,
        position: PositionBytes,
        total: u64,
    ) -> Result<(), Miss> {
        let meta: SnapshotMeta = position.into_meta()?;
        let index = meta.last_log_id.map_or(0, |id| id.index);
        if total > SNAPSHOT_BYTES_MAX || meta.last_log_id <= self.replica.state().read().applied {
            return Err(Miss::Declined);
        }
        // What is promised is not allocated; pieces are kept as they arrive.
        let (mut pieces, mut offset) = (Vec::new(), 0);
        while offset < total {
            let request = Request::Piece { index, offset };
            match self.ask(feeder, &request, ANSWERED_WITHIN).await? {
                Response::Piece { piece }
                    if !piece.is_empty() && offset + piece.len() as u64 <= total =>
                {
                    offset += piece.len() as u64;
                    pieces.push(Bytes::from(piece.into_vec()));
                }
                _ => return Err(Miss::Declined),
            }
        }
        let decode = move || body::decode(pieces.into_iter().map(Ok::<_, io::Error>));
        let machine = apart("quorate-install", decode)?.await.map_err(|_| gone())??;
        self.replica.replace(&meta, machine);
        tracing::info!(%feeder, index, "took a snapshot from a voter");
        Ok(())
    }

    /// Asks who leads, again and again, how old its state is, and so learns how old this one is. Where no
    /// leader is heard, a feed says it.
    pub(crate) async fn keep_fresh(self: Arc<Self>) {
        loop {
            quorate_env::sleep(LOOK_AGAIN).await;
            let (state, leader, votes_alone) = {
                let metrics = self.raft.metrics();
                let metrics = metrics.borrow_watched();
                let mut voters = metrics.membership_config.membership().voter_ids();
                let votes_alone = voters.all(|node| node == self.me.0);
                (metrics.state, metrics.current_leader.map(NodeId), votes_alone)
            };
            if state == ServerState::Shutdown {
                return;
            }
            if state == ServerState::Leader && votes_alone {
                self.freshness.ask_oneself(&self.raft).await;
            }
            let is_heard = self.voter.silence() < self.patience;
            let Some(leader) = leader.filter(|leader| is_heard && *leader != self.me) else {
                continue;
            };
            tokio::select! {
                biased;
                // What it said may never come, or never be reached.
                () = self.leads_no_more(leader) => {}
                compared = self.compare(leader) => if let Err(miss) = compared {
                    tracing::debug!(%leader, %miss, "this leader does not say how old its state is");
                }
            }
        }
    }

    async fn leads_no_more(&self, leader: NodeId) {
        let mut server = self.raft.server_metrics();
        while server.borrow_watched().current_leader == Some(leader.0) {
            if WatchReceiver::changed(&mut server).await.is_err() {
                return;
            }
        }
    }

    async fn compare(&self, leader: NodeId) -> Result<(), Miss> {
        let asked = quorate_env::now();
        // It is as short as a heartbeat, and tells more the sooner it is answered.
        let answer = self.peers.call(leader, wire::encode(&Request::Age), ANSWERED_WITHIN).await?;
        let Response::Age(said) = wire::decode(&answer)? else {
            return Err(Miss::Declined);
        };
        // However long that takes: whoever always lags would never come to know how far.
        self.replica.feed().reached(Index(said.upto)).await;
        self.freshness.told(asked, said);
        Ok(())
    }

    async fn ask(
        &self,
        feeder: NodeId,
        request: &Request,
        within: Duration,
    ) -> Result<Response, Miss> {
        let answer: Bytes = self.peers.fetch(feeder, wire::encode(request), within).await?;
        Ok(wire::decode(&answer)?)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics while it holds what is known")
    }
}

/// Decodes entries that must follow each other from an index on.
fn in_order(next: u64, entries: &[serde_bytes::ByteBuf]) -> io::Result<Vec<Entry>> {
    let decoded = (next..).zip(entries).map(|(index, bytes)| {
        let entry = wire::decode_entry(bytes)?;
        match entry.log_id.index == index {
            true => Ok(entry),
            false => Err(wire::invalid(format!("entry {} was fed as {index}", entry.log_id.index))),
        }
    });
    decoded.collect()
}

/// A number that no two pairs share but by chance: the bits of both are mixed (splitmix64).
fn spread(me: NodeId, voter: NodeId) -> u64 {
    let mut bits = me.0.rotate_left(32) ^ voter.0;
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use quorate_storage::{MemoryDisk, MemoryShelf};

    use super::*;
    use crate::archive::Doors;
    use crate::config::GroupConfig;
    use crate::group::Group;
    use crate::peers::Alone;
    use crate::wire::VoteBytes;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn who_has_lost_its_state_asks_who_led_and_whom_it_is_told_of() {
        let (disk, shelf) = (MemoryDisk::new(), MemoryShelf::default());
        let doors = Doors::over(0, Arc::new(disk), Arc::new(shelf)).await;
        let vote = VoteBytes { term: 3, node: 8, committed: true };
        doors.log.save_vote(wire::encode(&vote)).await.unwrap();
        let (config, peers) = (GroupConfig::lan(), Alone::default());
        let opened = Group::open(NodeId(7), &config, doors, Arc::new(peers.clone())).await;
        let (group, _) = opened.unwrap();
        let are_asked = async |wanted: [u64; 3]| {
            let mut asked = BTreeSet::new();
            while asked != wanted.map(NodeId).into() {
                quorate_env::sleep(LOOK_AGAIN).await;
                asked.extend(peers.asked());
            }
        };
        let all = async {
            are_asked([8, 8, 8]).await;
            group.follow(&[1, 2].map(NodeId).into());
            are_asked([1, 2, 8]).await;
        };
        quorate_env::timeout(PATIENCE, all).await.expect("each has its turn");
        group.close().await;
    }
}
