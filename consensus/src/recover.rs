//! How the state comes back at a start: from the shelf if it can be believed, else from the newest snapshot;
//! the tail of the log then does the rest.

use quorate_registry::{Machine, snapshot};
use quorate_storage::StorageError;
use quorate_vocab::Index;

use crate::apply::State;
use crate::archive::{Doors, POSITION_KEY};
use crate::error::GroupError;
use crate::wire::{self, PositionBytes};

/// What a start found, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The state was taken up at this index; what the log holds behind it is applied anew.
    pub applied: Index,
    /// Where it was taken from.
    pub source: Source,
    /// What was wrong with the shelf, if something was. It is being refilled.
    pub repaired: Option<String>,
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
pub(crate) fn recover(doors: &Doors) -> Result<(State, Recovery), GroupError> {
    let log = doors.log.state();
    let purged = log.purged.as_ref().map(|(index, _)| *index);
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
    let saved = from_snapshot(doors, shelved.as_ref())?;
    let (state, source) = match (shelved, saved) {
        (Some(shelved), Some(saved)) if saved.index() > shelved.index() => {
            (saved, Source::Snapshot)
        }
        (Some(shelved), _) if shelved.applied.is_some() => (shelved, Source::Shelf),
        (_, Some(saved)) => (saved, Source::Snapshot),
        _ => (State::empty(), Source::Nothing),
    };
    match purged {
        Some(purged) if state.applied.is_none_or(|applied| applied.index < purged) => {
            Err(GroupError::StateLost { purged })
        }
        _ => Ok((state.index(), state))
            .map(|(applied, state)| (state, Recovery { applied, source, repaired: fault })),
    }
}

/// Whether a state is ahead of all that the log holds or once held: a follower may apply what others made
/// durable before its own journal did, and the shelf may survive a power cut that such entries do not.
pub(crate) fn outruns(state: &State, doors: &Doors) -> bool {
    let log = doors.log.state();
    let purged = log.purged.map(|(index, _)| index);
    state.index().0 > log.last.max(purged).unwrap_or(0)
}

fn from_shelf(doors: &Doors) -> Result<State, String> {
    let read = |error: std::io::Error| format!("the shelf cannot be read: {error}");
    let Some(position) = doors.shelf.get(POSITION_KEY).map_err(read)? else {
        return Ok(State::empty());
    };
    let mut rows = Vec::new();
    let keep = &mut |key: &[u8], value: &[u8]| {
        if key != POSITION_KEY {
            rows.push((key.to_vec(), value.to_vec()));
        }
    };
    doors.shelf.scan(keep).map_err(read)?;
    let (applied, membership) =
        wire::decode::<PositionBytes>(&position).and_then(PositionBytes::open).map_err(read)?;
    let machine = Machine::from_rows(rows)
        .map_err(|error| format!("the shelf's rows do not fit: {error}"))?;
    Ok(State::new(machine, applied, membership))
}

/// The newest snapshot's state, unless the shelf's is as new. Then the snapshot is checked and not decoded,
/// which takes longer than all else: a damaged one must not be found out when others need it.
fn from_snapshot(doors: &Doors, shelved: Option<&State>) -> Result<Option<State>, GroupError> {
    let Some(saved) = doors.snapshots.open_newest()? else {
        return Ok(None);
    };
    let is_as_new = |state: &State| state.applied.is_some() && state.index().0 >= saved.index();
    let is_needed = !shelved.is_some_and(is_as_new);
    let mut body = Vec::with_capacity(if is_needed { saved.body_bytes() as usize } else { 0 });
    for chunk in saved.chunks() {
        let chunk = chunk?;
        if is_needed {
            body.extend_from_slice(&chunk);
        }
    }
    if !is_needed {
        return Ok(None);
    }
    let position = saved.meta();
    let broken = |why: String| {
        GroupError::Storage(StorageError::Io {
            doing: "the newest snapshot is whole but cannot be understood; nothing was changed"
                .to_owned(),
            source: wire::invalid(why),
        })
    };
    let (applied, membership) = wire::decode::<PositionBytes>(position)
        .and_then(PositionBytes::open)
        .map_err(|e| broken(e.to_string()))?;
    let machine = snapshot::decode(&body).map_err(|e| broken(e.to_string()))?;
    Ok(Some(State::new(machine, applied, membership)))
}
