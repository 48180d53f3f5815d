//! How the state comes back at a start: from the shelf if it can be believed, else from the newest snapshot;
//! the tail of the log then does the rest.

use std::io;

use quorate_registry::Loader;
use quorate_storage::{Log, Saved};
use quorate_vocab::Index;

use crate::apply::State;
use crate::archive::{Doors, POSITION_KEY, apart, check_newest, gone};
use crate::body;
use crate::error::GroupError;
use crate::log;
use crate::types::{LogId, Vote};
use crate::wire::{self, LogIdBytes, PositionBytes, VoteBytes};

/// What a start found, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The state was taken up at this index; what the log holds behind it is applied anew.
    pub applied: Index,
    /// Where it was taken from.
    pub source: Source,
    /// What was wrong with the shelf, if something was. It is being refilled.
    pub repaired: Option<String>,
    /// The last entry of a log that told another story than the state. It was dropped: what lay behind what
    /// was applied last was decided otherwise.
    pub dropped: Option<Index>,
}

/// Where a state was taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// There was none: the log is applied from its beginning.
    Nothing,
    /// The shelf.
    Shelf,
    /// The newest snapshot.
    Snapshot,
}

/// Finds the newest state that can be believed.
pub(crate) async fn recover(doors: &Doors) -> Result<(State, Recovery), GroupError> {
    let log = doors.log.state();
    let purged = log.purged.as_ref().map(|(index, _)| *index);
    // Shelf and snapshot are read at the same time. A snapshot that is damaged must not be found out when
    // others need it, so it is read even where the shelf has all that is needed.
    let snapshots = doors.snapshots.clone();
    let stopped = |error: io::Error| GroupError::Stopped(error.to_string());
    let checking = apart("quorate-recover", move || check_newest(&snapshots)).map_err(stopped)?;
    let (shelved, fault) = match from_shelf(doors) {
        Ok(state) if state.index().0 >= log.shelved => (Some(state), None),
        Ok(state) => (
            None,
            Some(format!(
                "the shelf was flushed up to index {}, but holds only {}: it forgot",
                log.shelved,
                state.index()
            )),
        ),
        Err(why) => (None, Some(why)),
    };
    let saved = checking.await.map_err(|_| stopped(gone()))??;
    let shelved = shelved.filter(|shelved| shelved.applied.is_some());
    let is_newer =
        |saved: &Saved| shelved.as_ref().is_none_or(|shelved| saved.index() > shelved.index().0);
    let saved = saved.filter(is_newer).map(|saved| from_snapshot(&saved)).transpose()?;
    let (state, source) = match (saved, shelved) {
        (Some(saved), _) => (saved, Source::Snapshot),
        (None, Some(shelved)) => (shelved, Source::Shelf),
        (None, None) => (State::empty(), Source::Nothing),
    };
    match purged {
        Some(purged) if state.applied.is_none_or(|applied| applied.index < purged) => {
            Err(GroupError::StateLost { purged })
        }
        _ => Ok((state.index(), state)).map(|(applied, state)| {
            (state, Recovery { applied, source, repaired: fault, dropped: None })
        }),
    }
}

/// Whether the log goes on from a state: it holds what was applied last, or has purged it. Else it ends
/// before, as a follower may apply what others made durable before its own journal did; or it tells another
/// story, as a feed brought what its voter decided, and here lies what was written as, or for, a leader whom
/// nobody followed.
pub(crate) fn goes_on(log: &Log, state: &State) -> io::Result<bool> {
    let Some(applied) = state.applied else { return Ok(true) };
    let purged = log.state().purged.map(|(index, _)| index);
    if purged >= Some(applied.index) { Ok(true) } else { log::holds(log, applied) }
}

/// Drops all of a log that does not go on from what was applied last, of which there must be a safe copy.
/// Nothing is lost: what lies before is part of the state, and what lies behind an entry that was decided
/// otherwise can never be decided. Tells the last entry of such, if there was any.
///
/// Whoever wrote that entry is accepted as a leader first. Elected by an older vote, this node would write
/// older entries behind that one, and Raft take its store for broken.
pub(crate) async fn begin_behind(log: &Log, applied: LogId) -> io::Result<Option<Index>> {
    let last = log.state().last.filter(|last| *last >= applied.index).map(Index);
    let writer = Vote { leader_id: applied.leader_id, committed: true };
    if log::vote(log)?.is_none_or(|vote| vote.leader_id < writer.leader_id) {
        log.save_vote(wire::encode(&VoteBytes::from(writer))).await?;
    }
    log.truncate_from(applied.index).await?;
    log.purge(applied.index, wire::encode(&LogIdBytes::from(applied)));
    Ok(last)
}

fn from_shelf(doors: &Doors) -> Result<State, String> {
    let read = |error: io::Error| format!("the shelf cannot be read: {error}");
    let Some(position) = doors.shelf.get(POSITION_KEY).map_err(read)? else {
        return Ok(State::empty());
    };
    let (mut loader, mut loaded) = (Loader::default(), Ok(()));
    let load = &mut |key: &[u8], value: &[u8]| {
        if key != POSITION_KEY && loaded.is_ok() {
            loaded = loader.take(key, value);
        }
    };
    doors.shelf.scan(load).map_err(read)?;
    let (applied, membership) =
        wire::decode::<PositionBytes>(&position).and_then(PositionBytes::open).map_err(read)?;
    let machine = loaded
        .and_then(|()| loader.finish())
        .map_err(|error| format!("the shelf's rows do not fit: {error}"))?;
    Ok(State::new(machine, applied, membership))
}

fn from_snapshot(saved: &Saved) -> Result<State, GroupError> {
    let broken = GroupError::io(
        "the newest snapshot is whole but cannot be understood; nothing was changed",
    );
    let (applied, membership) = wire::decode::<PositionBytes>(saved.meta())
        .and_then(PositionBytes::open)
        .map_err(broken)?;
    let machine = body::decode(saved.chunks()).map_err(broken)?;
    Ok(State::new(machine, applied, membership))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;
    use std::time::Duration;

    use openraft::EmptyNode;
    use quorate_env::timeout;
    use quorate_registry::{Command, Machine, Once, Op, snapshot};
    use quorate_storage::{MemoryDisk, MemoryShelf};
    use quorate_vocab::{Name, NodeId};

    use super::*;
    use crate::apply::Shared;
    use crate::archive::archive;
    use crate::config::GroupConfig;
    use crate::group::Group;
    use crate::peers::Alone;
    use crate::salvage::remains;
    use crate::types::{Entry, LeaderId, Membership, Payload, StoredMembership, log_id};

    const ME: u64 = 7;
    const PATIENCE: Duration = Duration::from_secs(60);
    /// What a feed brought last.
    const FED: u64 = 5;

    async fn doors(disk: &MemoryDisk, shelf: &MemoryShelf) -> Doors {
        Doors::over(ME, Arc::new(disk.clone()), Arc::new(shelf.clone())).await
    }

    /// Who votes.
    fn voters(ids: impl Into<BTreeSet<u64>>) -> Membership {
        let ids = ids.into();
        let nodes: BTreeMap<u64, EmptyNode> = ids.iter().map(|id| (*id, EmptyNode {})).collect();
        Membership::new(vec![ids], nodes).unwrap()
    }

    /// The memory of a voter that followed who wrote the last one of these entries, which says this, and to
    /// which a feed brought those up to `FED`, the last one of term 2. It votes alone.
    async fn memory(
        fed_to: Source,
        log_has: impl Iterator<Item = LogId>,
        last_says: Payload,
    ) -> (MemoryDisk, MemoryShelf) {
        let (disk, shelf) = (MemoryDisk::new(), MemoryShelf::default());
        let doors = doors(&disk, &shelf).await;
        let mut entries: Vec<Entry> =
            log_has.map(|log_id| Entry { log_id, payload: Payload::Blank }).collect();
        let last = entries.last_mut().expect("the log has entries");
        last.payload = last_says;
        let LeaderId { term, node_id: node } = last.log_id.leader_id;
        let entries: Vec<_> =
            entries.iter().map(|e| (e.log_id.index, wire::encode_entry(e))).collect();
        let (tell, told) = tokio::sync::oneshot::channel();
        doors.log.append(entries, Box::new(|outcome| tell.send(outcome).unwrap()));
        told.await.unwrap().unwrap();
        let vote = VoteBytes { term, node, committed: true };
        doors.log.save_vote(wire::encode(&vote)).await.unwrap();

        let me = StoredMembership::new(Some(log_id(1, ME, 0)), voters([ME]));
        let state = |at: LogId| State::new(Machine::new(0), Some(at), me.clone());
        let save = async |state: State| {
            let (position, body) =
                (wire::encode(&state.position()), snapshot::chunks(&state.machine));
            doors.snapshots.save_chunks(state.index().0, &position, body).await.unwrap();
        };
        // An older snapshot is there, so that nobody else finds that one is missing.
        save(state(log_id(1, ME, 2))).await;
        let state = state(log_id(2, 8, FED));
        if fed_to == Source::Snapshot {
            save(state).await;
        } else {
            let (archive, archivist) = archive(doors.clone(), Shared::new(state));
            quorate_env::spawn(archivist.run());
            archive.restock();
            archive.close().await;
        }
        (disk, shelf)
    }

    /// Opens the voter: what was dropped of its log, up to where that is purged then, and the index at which
    /// it writes down something new.
    async fn begin_again(
        disk: &MemoryDisk,
        shelf: MemoryShelf,
    ) -> ((Option<u64>, Option<u64>), u64) {
        let doors = doors(disk, &shelf).await;
        let (config, log) = (GroupConfig::lan(), doors.log.clone());
        let opened = Group::open(NodeId(ME), &config, doors, Arc::new(Alone::default())).await;
        let (group, recovery) = opened.expect("it begins with what it was fed");
        assert!(recovery.applied >= Index(FED), "{recovery:?}");
        let dropped = recovery.dropped.map(|last| last.0);
        let purged = log.state().purged.map(|(index, _)| index);
        let written = async {
            loop {
                let op = Op::Release { name: Name::new("n").unwrap(), epoch: None };
                match group.propose(Command { once: Once::Free, op }).await {
                    Ok((index, _)) => break index.0,
                    Err(_) => quorate_env::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        let written = timeout(PATIENCE, written).await.expect("it is a majority");
        group.close().await;
        ((dropped, purged), written)
    }

    #[tokio::test]
    async fn a_voter_whose_log_tells_another_story_than_it_was_fed_begins_behind_that() {
        for fed_to in [Source::Shelf, Source::Snapshot] {
            let of = |term, to| (0..to).map(move |index| log_id(term, ME, index));
            for (term, to) in [
                // What it wrote as a leader whom nobody followed: further than was decided, as far; less.
                (1, 10),
                (1, FED + 1),
                (1, FED),
                // What it wrote after the decided entry was proposed, and before another decided that.
                (3, 10),
                (3, FED + 1),
                (3, FED),
            ] {
                // Who votes was among it, and was never decided.
                let others = Payload::Membership(voters([ME, 9]));
                let (disk, shelf) = memory(fed_to, of(term, to), others).await;
                let left =
                    remains(NodeId(ME), Arc::new(disk.clone()), Arc::new(shelf.clone())).await;
                assert_eq!(left.unwrap().last, Index(FED), "it knows that the rest is not agreed");
                let (disk_is, lost) = (Arc::new(disk.clone()), Arc::new(MemoryShelf::default()));
                let left = remains(NodeId(ME), disk_is, lost).await.unwrap();
                let known = if fed_to == Source::Shelf { Index(2) } else { Index(FED) };
                assert_eq!(left.committed, known, "what the shelf had is lost");
                let (log, written) = begin_again(&disk, shelf).await;
                let dropped = Some(to - 1).filter(|last| *last >= FED);
                assert_eq!(log, (dropped, Some(FED)), "{fed_to:?}, {to} of term {term}");
                assert!((FED + 1..FED + 4).contains(&written), "{written}");
                // The shelf may be lost: a safe copy was saved before anything was dropped.
                let (_, again) = begin_again(&disk, MemoryShelf::default()).await;
                assert!(again > written, "{again} after {written}");
            }
        }
    }

    #[tokio::test]
    async fn a_log_that_goes_on_from_the_state_is_kept() {
        let story = (0..10).map(|index| match index < 4 {
            true => log_id(1, ME, index),
            false => log_id(2, 8, index),
        });
        for fed_to in [Source::Shelf, Source::Snapshot] {
            let (disk, shelf) = memory(fed_to, story.clone(), Payload::Blank).await;
            let left = remains(NodeId(ME), Arc::new(disk.clone()), Arc::new(shelf.clone())).await;
            assert_eq!(left.unwrap().last, Index(9));
            let (log, written) = begin_again(&disk, shelf).await;
            assert!(log == (None, None) && written >= 10, "{log:?} {written}");
        }
    }
}
