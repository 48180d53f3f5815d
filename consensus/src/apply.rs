//! openraft's state machine over the registry's. Each committed entry is applied here once, in order, whoever
//! brings it: Raft, or the feed of a voter (`follow`).

use std::io;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use quorate_registry::{At, Effect, Frozen, Machine};
use quorate_vocab::Index;

use crate::archive::{Archive, apart, gone};
use crate::body::{self, Body, Draft};
use crate::directory::Directory;
use crate::feed::{Change, Feed};
use crate::types::{
    Answer, Entry, LogId, Payload, Snapshot, SnapshotMeta, StoredMembership, Types,
};
use crate::wire::PositionBytes;

/// How many entries are applied while readers wait: some hundred microseconds.
const APPLY_MAX: usize = 256;
/// How long a snapshot waits before it looks again whether Raft has come as far as the feed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The applied state, and where in the log it stands.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    /// The last entry that Raft itself had applied here: behind `applied` where a feed brought more.
    pub(crate) by_raft: Option<LogId>,
}

/// The state as all share it: one writer, who applies; many readers. Beside it, for those who only look one
/// name up, the directory.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    state: Arc<RwLock<State>>,
    directory: Arc<Directory>,
}

/// This node's copy of the state: entries go in.
#[derive(Clone)]
pub(crate) struct Replica {
    state: Shared,
    feed: Arc<Feed>,
    archive: Archive,
    shelve_every: u64,
    /// Entries applied since the shelf was last visited. Whoever applies holds this, so that what changed is
    /// told in the order in which it was applied.
    unshelved: Arc<Mutex<u64>>,
}

/// An entry was brought to which one is missing before it. Nothing was applied.
#[derive(Debug, thiserror::Error)]
#[error("entry {brought} came where {wanted} is the next")]
pub(crate) struct Gap {
    wanted: u64,
    brought: u64,
}

pub(crate) struct Applier(pub(crate) Replica);

/// Who brings entries.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bearer {
    Raft,
    Feed,
}

impl State {
    pub(crate) fn new(
        machine: Machine,
        applied: Option<LogId>,
        membership: StoredMembership,
    ) -> Self {
        Self { machine, applied, membership, by_raft: applied }
    }

    pub(crate) fn empty() -> Self {
        Self::new(Machine::new(0), None, StoredMembership::default())
    }

    /// The index of the entry that is to be applied next.
    pub(crate) fn next(&self) -> u64 {
        self.applied.map_or(0, |id| id.index + 1)
    }

    pub(crate) fn index(&self) -> Index {
        Index(self.applied.map_or(0, |id| id.index))
    }

    pub(crate) fn position(&self) -> PositionBytes {
        PositionBytes::new(self.applied, &self.membership)
    }

    pub(crate) fn apply(&mut self, entry: Entry, effects: &mut Vec<Effect>) -> Answer {
        let id = entry.log_id;
        let answer = match entry.payload {
            Payload::Blank => None,
            Payload::Normal(asked) => {
                let at = At { index: Index(id.index), term: id.leader_id.term };
                let verdict = self.machine.apply(at, asked.0, effects);
                self.machine.check();
                Some(verdict)
            }
            Payload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership);
                None
            }
        };
        self.applied = Some(id);
        Answer(answer)
    }
}

impl Shared {
    pub(crate) fn new(state: State) -> Self {
        let directory = Arc::new(Directory::of(&state.machine, state.index()));
        Self { state: Arc::new(RwLock::new(state)), directory }
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("a panic while the state is written stops the node")
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("a panic while the state is written stops the node")
    }
}

impl Replica {
    pub(crate) fn new(state: Shared, feed: Arc<Feed>, archive: Archive, shelve_every: u64) -> Self {
        Self { state, feed, archive, shelve_every, unshelved: Arc::default() }
    }

    pub(crate) fn state(&self) -> &Shared {
        &self.state
    }

    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.archive
    }

    /// Applies committed entries that another node's feed brought; those that are applied already are passed
    /// over.
    pub(crate) fn take_fed(&self, entries: Vec<Entry>) -> Result<(), Gap> {
        let mut entries = entries.into_iter().map(|entry| (entry, None)).peekable();
        while entries.peek().is_some() {
            let batch = entries.by_ref().take(APPLY_MAX).collect();
            drop(self.take(Bearer::Feed, batch)?);
        }
        Ok(())
    }

    /// Replaces the state by one that a feed brought, unless this one is as new.
    pub(crate) fn replace(&self, meta: &SnapshotMeta, machine: Machine) {
        self.put(Bearer::Feed, meta, machine);
    }

    fn take(
        &self,
        bearer: Bearer,
        batch: Vec<EntryResponder<Types>>,
    ) -> Result<Vec<(ApplyResponder<Types>, Answer)>, Gap> {
        let mut unshelved = self.unshelved.lock().expect("a panic while applying stops the node");
        // That Raft leaves nothing out is its own promise.
        let (wanted, first) = (self.state.read().next(), batch.first());
        if let Some(brought) = first.map(|(entry, _)| entry.log_id.index)
            && brought > wanted
            && bearer == Bearer::Feed
        {
            return Err(Gap { wanted, brought });
        }
        *unshelved += batch.len() as u64;
        let mut changes = Vec::with_capacity(batch.len());
        let mut answers = Vec::with_capacity(batch.len());
        let index = {
            let mut state = self.state.write();
            for (entry, responder) in batch {
                let (id, mut effects) = (entry.log_id, Vec::new());
                let answer = match id.index < state.next() {
                    // The feed was faster. Whoever proposed it here does not hear what came of it.
                    true => Answer(None),
                    false => state.apply(entry, &mut effects),
                };
                self.state.directory().follow(&effects);
                if bearer == Bearer::Raft {
                    state.by_raft = Some(id);
                }
                if !effects.is_empty() {
                    changes.push(Change { index: Index(id.index), effects });
                }
                answers.extend(responder.map(|responder| (responder, answer)));
            }
            state.index()
        };
        // Before anybody is told that so much is applied.
        self.state.directory().reached(index);
        self.feed.publish(changes, index);
        if *unshelved >= self.shelve_every {
            *unshelved = 0;
            self.archive.shelve();
        }
        Ok(answers)
    }

    fn put(&self, bearer: Bearer, meta: &SnapshotMeta, machine: Machine) {
        let _applying = self.unshelved.lock().expect("a panic while applying stops the node");
        let before = {
            let mut held = self.state.write();
            let by_raft = match bearer {
                Bearer::Raft => meta.last_log_id,
                Bearer::Feed => held.by_raft,
            };
            let mut before = None;
            if held.applied < meta.last_log_id {
                let (applied, membership) = (meta.last_log_id, meta.last_membership.clone());
                let state = State::new(machine, applied, membership);
                before = Some(std::mem::replace(&mut *held, state));
                self.state.directory().replace(&held.machine, held.index());
                // Nobody sees the new state before this was asked: its changes are not of what is on the
                // shelf.
                self.archive.restock();
                self.feed.restart(held.index());
            }
            held.by_raft = by_raft;
            before
        };
        // What was large takes long to go, and nobody is to wait for that.
        drop(before);
    }
}

impl RaftStateMachine<Types> for Applier {
    type SnapshotData = Body;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.0.state.read();
        Ok((state.by_raft, state.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        // What is there is applied at once; readers come in between, and nobody waits for more to come.
        let mut batches = entries.ready_chunks(APPLY_MAX);
        while let Some(batch) = batches.next().await {
            let batch: Vec<_> = batch.into_iter().collect::<io::Result<_>>()?;
            let answers = self.0.take(Bearer::Raft, batch).map_err(io::Error::other)?;
            for (responder, answer) in answers {
                responder.send(answer);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(&self.0.state, &self.0.archive)
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, body: Body) -> io::Result<()> {
        let pieces = body.into_pieces()?;
        let read = pieces.clone();
        let decode = move || body::decode(read.iter().cloned().map(Ok::<_, io::Error>));
        let machine = apart("quorate-install", decode)?.await.map_err(|_| gone())??;
        // First to the disk: openraft purges the log up to here as soon as this returns.
        let (position, draft) = (PositionBytes::from_meta(meta), Draft::Pieces(pieces));
        self.0.archive.save(position, meta_index(meta), draft).await?;
        self.0.put(Bearer::Raft, meta, machine);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.0.archive.newest_checked().await
    }
}

/// Writes the state down as it is at one moment.
pub(crate) struct SnapshotBuilder {
    state: Shared,
    archive: Archive,
}

impl SnapshotBuilder {
    pub(crate) fn new(state: &Shared, archive: &Archive) -> Self {
        Self { state: state.clone(), archive: archive.clone() }
    }

    /// The state at one moment; none while a feed is ahead of Raft, which could not place it in its log.
    fn freeze(&self) -> Option<(SnapshotMeta, Frozen)> {
        let state = self.state.read();
        let meta =
            SnapshotMeta { last_log_id: state.applied, last_membership: state.membership.clone() };
        (state.by_raft == state.applied).then(|| (meta, state.machine.freeze()))
    }
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = Body;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (meta, frozen) = loop {
            if let Some(frozen) = self.freeze() {
                break frozen;
            }
            if self.archive.has_ended() {
                return Err(gone());
            }
            quorate_env::sleep(LOOK_AGAIN).await;
        };
        // Whoever applies goes on meanwhile.
        let position = PositionBytes::from_meta(&meta);
        self.archive.save(position, meta_index(&meta), Draft::State(frozen)).await?;
        // That one, or a newer one that came from a leader meanwhile.
        self.archive.newest()?.ok_or_else(|| io::Error::other("a saved snapshot is gone"))
    }
}

fn meta_index(meta: &SnapshotMeta) -> u64 {
    meta.last_log_id.map_or(0, |id| id.index)
}
