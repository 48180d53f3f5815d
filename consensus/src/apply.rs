//! openraft's state machine over the registry's. Each committed entry passes here once, in order.

use std::io;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use quorate_registry::{At, Effect, Machine, snapshot};
use quorate_vocab::Index;

use crate::archive::Archive;
use crate::directory::Directory;
use crate::feed::{Change, Feed};
use crate::types::{
    Answer, Entry, LogId, Payload, Snapshot, SnapshotBody, SnapshotMeta, StoredMembership, Types,
};
use crate::wire::{self, PositionBytes};

/// How many entries are applied while readers wait: some hundred microseconds.
const APPLY_MAX: usize = 256;

/// The applied state, and where in the log it stands.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

/// The state as all share it: one writer, who applies; many readers. Beside it, for those who only look one
/// name up, the directory.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    state: Arc<RwLock<State>>,
    directory: Arc<Directory>,
}

pub(crate) struct Applier {
    state: Shared,
    feed: Arc<Feed>,
    archive: Archive,
    shelve_every: u64,
    /// Entries applied since the shelf was last visited.
    unshelved: u64,
}

impl State {
    pub(crate) fn empty() -> Self {
        Self { machine: Machine::new(0), applied: None, membership: StoredMembership::default() }
    }

    pub(crate) fn index(&self) -> Index {
        Index(self.applied.map_or(0, |id| id.index))
    }

    pub(crate) fn position(&self) -> PositionBytes {
        PositionBytes::new(self.applied, &self.membership)
    }

    /// Fails on a command that this release cannot read; then nothing was applied.
    fn apply(&mut self, entry: Entry, effects: &mut Vec<Effect>) -> io::Result<Answer> {
        let id = entry.log_id;
        let answer = match entry.payload {
            Payload::Blank => None,
            Payload::Normal(asked) => {
                let at = At { index: Index(id.index), term: id.leader_id.term };
                let command = wire::decode_command(&asked)?;
                let verdict = self.machine.apply(at, command, effects);
                self.machine.check();
                Some(verdict)
            }
            Payload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(id), membership);
                None
            }
        };
        self.applied = Some(id);
        Ok(Answer(answer))
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

impl Applier {
    pub(crate) fn new(state: Shared, feed: Arc<Feed>, archive: Archive, shelve_every: u64) -> Self {
        Self { state, feed, archive, shelve_every, unshelved: 0 }
    }
}

impl RaftStateMachine<Types> for Applier {
    type SnapshotData = SnapshotBody;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.state.read();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        // What is there is applied at once; readers come in between, and nobody waits for more to come.
        let mut batches = entries.ready_chunks(APPLY_MAX);
        while let Some(batch) = batches.next().await {
            let batch: Vec<_> = batch.into_iter().collect::<io::Result<_>>()?;
            self.unshelved += batch.len() as u64;
            let mut changes = Vec::with_capacity(batch.len());
            let mut answers = Vec::with_capacity(batch.len());
            let index = {
                let mut state = self.state.write();
                for (entry, responder) in batch {
                    let (index, mut effects) = (Index(entry.log_id.index), Vec::new());
                    let answer = state.apply(entry, &mut effects)?;
                    self.state.directory().follow(&state.machine, &effects);
                    if !effects.is_empty() {
                        changes.push(Change { index, effects });
                    }
                    answers.extend(responder.map(|responder| (responder, answer)));
                }
                state.index()
            };
            // Before anybody is told that so much is applied.
            self.state.directory().reached(index);
            self.feed.publish(changes, index);
            for (responder, answer) in answers {
                responder.send(answer);
            }
        }
        if self.unshelved >= self.shelve_every {
            self.unshelved = 0;
            self.archive.shelve();
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(&self.state, &self.archive)
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, body: Bytes) -> io::Result<()> {
        let machine = snapshot::decode(&body).map_err(|e| wire::invalid(e.to_string()))?;
        // First to the disk: openraft purges the log up to here as soon as this returns.
        self.archive.save(PositionBytes::from_meta(meta), meta_index(meta), body).await?;
        let state =
            State { machine, applied: meta.last_log_id, membership: meta.last_membership.clone() };
        let index = state.index();
        {
            let mut held = self.state.write();
            *held = state;
            self.state.directory().replace(&held.machine, index);
            // Nobody sees the new state before this was asked: its changes are not of what is on the shelf.
            self.archive.restock();
        }
        self.feed.restart(index);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.archive.newest()
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
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotBody;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (meta, frozen) = {
            let state = self.state.read();
            let meta = SnapshotMeta {
                last_log_id: state.applied,
                last_membership: state.membership.clone(),
            };
            (meta, state.machine.freeze())
        };
        // Whoever applies goes on meanwhile.
        let body = Bytes::from(snapshot::encode(&frozen));
        let position = PositionBytes::from_meta(&meta);
        self.archive.save(position, meta_index(&meta), body.clone()).await?;
        Ok(Snapshot { meta, snapshot: body })
    }
}

fn meta_index(meta: &SnapshotMeta) -> u64 {
    meta.last_log_id.map_or(0, |id| id.index)
}
