//! The table of the processes that live on this node.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_vocab::Pid;
use tokio::sync::{oneshot, watch};

use crate::letter::Mail;
use crate::{Actors, Exit, LetterError};

/// A process's door for letters, whatever its protocol.
pub(crate) trait Inlet: Any + Send + Sync {
    /// The protocol's number and version.
    fn protocol(&self) -> (u64, u16);

    /// Decodes a mail in this protocol and puts it last. Whoever waits for an answer to a mail that was not
    /// placed has been told when it returns.
    fn accept(&self, actors: &Actors, mail: Mail) -> Result<(), LetterError>;

    /// Takes nothing any more and drops what lies in it.
    fn close(&self);
}

/// What the table knows of a process.
pub(crate) struct Entry {
    pub(crate) inlet: Arc<dyn Inlet>,
    /// Gone once the process was told to end.
    pub(crate) kill: Option<oneshot::Sender<Exit>>,
    /// Holds the exit when it has ended.
    pub(crate) ended: watch::Receiver<Option<Exit>>,
}

/// All living processes by serial, and the serial that comes next.
#[derive(Default)]
pub(crate) struct Table {
    entries: BTreeMap<u64, Entry>,
    last_serial: u64,
    closed: bool,
}

impl Table {
    /// Draws the number of a new process. Never reused.
    pub(crate) fn next_serial(&mut self) -> u64 {
        self.last_serial += 1;
        self.last_serial
    }

    /// Enters a process; gives the entry back when the table is closed.
    pub(crate) fn enter(&mut self, serial: u64, entry: Entry) -> Result<(), Entry> {
        if self.closed {
            return Err(entry);
        }
        let before = self.entries.insert(serial, entry);
        assert!(before.is_none(), "serials are never reused");
        Ok(())
    }

    pub(crate) fn find(&self, pid: Pid) -> Option<&Entry> {
        self.entries.get(&pid.serial)
    }

    pub(crate) fn remove(&mut self, pid: Pid) -> Option<Entry> {
        self.entries.remove(&pid.serial)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Tells a process to end. Whether this call is the one that did.
    pub(crate) fn end(&mut self, pid: Pid, exit: Exit) -> bool {
        let entry = self.entries.get_mut(&pid.serial);
        entry.and_then(|entry| entry.kill.take()).is_some_and(|kill| kill.send(exit).is_ok())
    }

    /// Lets nobody in any more, tells all to end, and says whose end is to be waited for.
    pub(crate) fn close(&mut self) -> Vec<watch::Receiver<Option<Exit>>> {
        self.closed = true;
        for entry in self.entries.values_mut() {
            if let Some(kill) = entry.kill.take() {
                // One that ends at this moment needs no telling.
                let _ = kill.send(Exit::Shutdown);
            }
        }
        self.entries.values().map(|entry| entry.ended.clone()).collect()
    }
}
