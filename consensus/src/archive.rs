//! What makes a restart short: snapshots, which are safe copies, and the shelf, which is a quick one.
//!
//! The archivist works aside from the workers, as it waits for disks. Nothing here is on the way of a
//! proposal, and losing all of the shelf loses nothing.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use quorate_storage::{Log, Row, Shelf, Snapshots};
use tokio::sync::{mpsc, oneshot};

use crate::apply::Shared;
use crate::types::Snapshot;
use crate::wire::{self, PositionBytes};

/// The row that says where in the log the shelf's other rows stand. The registry's keys begin at 0x10.
pub(crate) const POSITION_KEY: &[u8] = &[0x01];

/// The doors to what this group remembers.
#[derive(Clone)]
pub struct Doors {
    /// Entries, vote and committed: all that Raft's safety rests on.
    pub log: Log,
    /// Safe copies of the state, which let the log be purged.
    pub snapshots: Arc<Snapshots>,
    /// Rows of the state, which let a restart be short.
    pub shelf: Arc<dyn Shelf>,
}

/// The archivist's in-tray.
#[derive(Clone)]
pub(crate) struct Archive {
    tray: mpsc::Sender<Work>,
    snapshots: Arc<Snapshots>,
}

pub(crate) struct Archivist {
    tray: mpsc::Receiver<Work>,
    doors: Doors,
    state: Shared,
    /// The shelf refused a write. It keeps what it has, which a restart completes from the log.
    shelf_failed: bool,
}

enum Work {
    Shelve {
        all: bool,
    },
    Save {
        position: PositionBytes,
        index: u64,
        body: Bytes,
        saved: oneshot::Sender<io::Result<()>>,
    },
    Stop {
        stopped: oneshot::Sender<()>,
    },
}

pub(crate) fn archive(doors: Doors, state: Shared) -> (Archive, Archivist) {
    let (put, tray) = mpsc::channel(16);
    let archive = Archive { tray: put, snapshots: doors.snapshots.clone() };
    (archive, Archivist { tray, doors, state, shelf_failed: false })
}

impl Archive {
    /// Asks that the newest changes go to the shelf. When the archivist is busy, the next asking covers them.
    pub(crate) fn shelve(&self) {
        let _ = self.tray.try_send(Work::Shelve { all: false });
    }

    /// Asks that the shelf be cleared and filled anew, as the state was replaced.
    pub(crate) fn restock(&self) {
        // If the tray is full, rows of the old state stay on the shelf under their old position: a restart
        // then finds the newer snapshot and refills the shelf by itself.
        let _ = self.tray.try_send(Work::Shelve { all: true });
    }

    /// Returns once a snapshot is on the disk and was read back.
    pub(crate) async fn save(
        &self,
        position: PositionBytes,
        index: u64,
        body: Bytes,
    ) -> io::Result<()> {
        let (saved, saves) = oneshot::channel();
        let work = Work::Save { position, index, body, saved };
        let gone = || io::Error::other("the archivist has stopped");
        self.tray.send(work).await.map_err(|_| gone())?;
        saves.await.map_err(|_| gone())?
    }

    pub(crate) fn newest(&self) -> io::Result<Option<Snapshot>> {
        let Some((_, position, body)) = self.snapshots.newest().map_err(io::Error::other)? else {
            return Ok(None);
        };
        let meta = wire::decode::<PositionBytes>(&position)?.into_meta()?;
        Ok(Some(Snapshot { meta, snapshot: body.into() }))
    }

    /// Shelves what is left and ends the archivist.
    pub(crate) async fn close(&self) {
        let (stopped, stops) = oneshot::channel();
        if self.tray.send(Work::Stop { stopped }).await.is_ok() {
            // An archivist that is gone already has stopped, too.
            let _ = stops.await;
        }
    }
}

impl Archivist {
    pub(crate) async fn run(mut self) {
        while let Some(work) = self.tray.recv().await {
            match work {
                Work::Shelve { all } => self.shelve(all),
                Work::Save { position, index, body, saved } => {
                    let result =
                        self.doors.snapshots.save(index, &wire::encode(&position), &body).await;
                    let _ = saved.send(result);
                }
                Work::Stop { stopped } => {
                    self.shelve(false);
                    let _ = stopped.send(());
                    return;
                }
            }
        }
    }

    fn shelve(&mut self, all: bool) {
        let (index, mut rows): (u64, Vec<Row>) = {
            let mut state = self.state.write();
            let changes = state.machine.take_changes();
            let rows = if all {
                state.machine.rows().map(|(key, value)| (key, Some(value))).collect()
            } else {
                changes
            };
            (state.index().0, with_position(rows, &state.position()))
        };
        if self.shelf_failed && !all {
            return;
        }
        let filled = if all { self.doors.shelf.clear() } else { Ok(()) };
        let filled = filled
            .and_then(|()| self.doors.shelf.commit(std::mem::take(&mut rows)))
            .and_then(|()| self.doors.shelf.flush());
        match filled {
            Ok(()) => {
                self.shelf_failed = false;
                self.doors.log.mark_shelved(index, Box::new(|_| ()));
            }
            Err(error) => {
                self.shelf_failed = true;
                tracing::warn!(
                    %error,
                    "the shelf refused a write; the node goes on without it, and the next start is longer"
                );
            }
        }
    }
}

fn with_position(mut rows: Vec<Row>, position: &PositionBytes) -> Vec<Row> {
    rows.push((POSITION_KEY.to_vec(), Some(wire::encode(position).to_vec())));
    rows
}
