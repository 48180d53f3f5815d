//! What is left when a cluster is not: the state that one node still has, and the memory of a node that a new
//! cluster begins with.
//!
//! Everything that this node's log holds is taken as agreed, also what it does not know to be, unless the
//! state knows better: a log that does not go on from it tells what was decided otherwise. Whatever was
//! acknowledged and reached this node is so among it; what was not acknowledged was unknown to whoever
//! proposed it, and may happen. What only others had is lost, and nobody here can say what that was.
//!
//! Not here: whose directory it is, and who the new cluster is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use openraft::EmptyNode;
use quorate_registry::{Machine, snapshot};
use quorate_storage::{Disk, Log, LogConfig, Shelf, Snapshots, StorageError};
use quorate_vocab::{Index, NodeId};

use crate::apply::State;
use crate::archive::Doors;
use crate::error::GroupError;
use crate::log;
use crate::recover::{goes_on, recover};
use crate::types::{LogId, Membership, StoredMembership, log_id};
use crate::wire::{self, LogIdBytes, PositionBytes, VoteBytes};

/// How many bytes of entries are taken up at a time.
const READ_BYTES: usize = 4 << 20;
/// The term in which a new cluster's first node wrote down what it begins with.
const FIRST_TERM: u64 = 1;

/// What one node still has.
#[derive(Clone, Debug)]
pub struct Remains {
    /// The state with all that the log holds.
    pub state: Machine,
    /// The last entry that it has.
    pub last: Index,
    /// Up to where it knows that a majority had agreed; the others may have agreed on more.
    pub committed: Index,
    /// The newest term that it knew of.
    pub term: u64,
    /// Who voted, as far as it knows.
    pub voters: BTreeSet<NodeId>,
}

/// Reads what a node has. Nothing on the disk is changed if that is [`quorate_storage::Untouched`]; of the
/// shelf it should be given a copy. A node that only followed has all that it has there.
pub async fn remains(
    node: NodeId,
    disk: Arc<dyn Disk>,
    shelf: Arc<dyn Shelf>,
) -> Result<Remains, GroupError> {
    let config = LogConfig { journal: node.0, ..LogConfig::default() };
    // Nothing is written, so nobody has to run the scribe.
    let (log, _scribe) = Log::open(disk.clone(), config).await?;
    let snapshots = Arc::new(Snapshots::open(disk)?);
    let doors = Doors { log, snapshots, shelf };
    let (mut state, _) = recover(&doors).await?;
    let known = state.index();
    if goes_on(&doors.log, &state).map_err(unreadable)? {
        take_up(&doors.log, &mut state)?;
    }

    let noted = doors.log.state();
    let note = noted.committed.map(|note| wire::decode::<LogIdBytes>(&note).map(LogId::from));
    let note = note.transpose();
    let committed = note.map_err(unreadable)?.map_or(0, |id| id.index);
    let vote = log::vote(&doors.log).map_err(unreadable)?;
    let last = state.index();
    Ok(Remains {
        last,
        // A snapshot and the shelf have only what was agreed. What the shelf had once tells nothing of the
        // log: a feed may have brought it.
        committed: Index(committed).max(known).min(last),
        term: vote.map_or(0, |vote| vote.leader_id.term),
        voters: state.membership.membership().voter_ids().map(NodeId).collect(),
        state: state.machine,
    })
}

/// Applies all that the log holds beyond the state.
fn take_up(log: &Log, state: &mut State) -> Result<(), GroupError> {
    let end = log.state().last.map_or(0, |last| last + 1);
    loop {
        let entries = log.read(state.next(), end, READ_BYTES).map_err(unreadable)?;
        if entries.is_empty() {
            return Ok(());
        }
        for (_, bytes) in entries {
            let entry = wire::decode_entry(&bytes).map_err(unreadable)?;
            // What it did before is no news to anybody.
            state.apply(entry, &mut Vec::new());
        }
    }
}

/// Writes the memory of a node that is all of a new cluster, whose state this is, into an empty folder.
pub async fn plant(node: NodeId, state: &Machine, disk: Arc<dyn Disk>) -> Result<(), StorageError> {
    let doing = |doing: &str| {
        let doing = doing.to_owned();
        move |source| StorageError::Io { doing, source }
    };
    let at = log_id(FIRST_TERM, node.0, state.applied().0);
    let alone =
        Membership::new(vec![BTreeSet::from([node.0])], BTreeMap::from([(node.0, EmptyNode {})]));
    let alone = alone.expect("one node is a set of voters");
    let position = PositionBytes::new(Some(at), &StoredMembership::new(Some(at), alone));
    let snapshots = Snapshots::open(disk.clone())?;
    let position = wire::encode(&position);
    let saved = snapshots.save_chunks(at.index, &position, snapshot::chunks(state)).await;
    saved.map_err(doing("saving the state that is begun with"))?;

    let config = LogConfig { journal: node.0, ..LogConfig::default() };
    let (log, scribe) = Log::open(disk, config).await?;
    let vote = VoteBytes { term: FIRST_TERM, node: node.0, committed: true };
    let write = async move {
        log.purge(at.index, wire::encode(&LogIdBytes::from(at)));
        log.save_vote(wire::encode(&vote)).await
        // Here the log ends, and the scribe with it.
    };
    let ((), written) = tokio::join!(scribe.run(), write);
    written.map_err(doing("writing the journal that is begun with"))
}

fn unreadable(source: std::io::Error) -> GroupError {
    GroupError::io("reading the log")(source)
}
