//! How the state comes back at a start: from the shelf if it can be believed, else from the newest snapshot;
//! the tail of the log then does the rest.

use std::io;

use quorate_registry::Loader;
use quorate_storage::{Saved, StorageError};
use quorate_vocab::Index;

use crate::apply::State;
use crate::archive::{Doors, POSITION_KEY, apart, check_newest, gone};
use crate::body;
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
    let broken = |source: io::Error| {
        GroupError::Storage(StorageError::Io {
            doing: "the newest snapshot is whole but cannot be understood; nothing was changed"
                .to_owned(),
            source,
        })
    };
    let (applied, membership) = wire::decode::<PositionBytes>(saved.meta())
        .and_then(PositionBytes::open)
        .map_err(broken)?;
    let machine = body::decode(saved.chunks()).map_err(broken)?;
    Ok(State::new(machine, applied, membership))
}
