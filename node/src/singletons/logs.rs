//! What singletons print that nodes run as commands: a file for each on the node that ran it last, asked for
//! from anywhere.
//!
//! Not here: writing it. That is for whoever runs the command.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_vocab::{Name, NodeId};

use super::Singletons;
use crate::error::{Error, NotDone};
use crate::hall::Hall;
use crate::post::{Ask, Told};

/// The longest piece that is asked for.
pub const TAIL_BYTES_MAX: usize = 256 * 1024;

/// Where what a singleton prints is kept in a data directory. A name's slashes are written `%`, which no name
/// holds.
pub fn path(data: &Path, name: &Name) -> PathBuf {
    data.join("singletons").join(format!("{}.log", name.as_str().replace('/', "%")))
}

impl Singletons {
    /// The end of what a singleton printed on the node that has it, or had it last; none if it printed
    /// nothing there.
    pub async fn tail(&self, name: &Name) -> Result<Option<(NodeId, Vec<u8>)>, Error> {
        let node = self.hall.group().read(|machine, _| {
            let row = machine.singleton(name.as_str())?;
            row.grant.map(|grant| grant.node).or(row.past.back().map(|past| past.node))
        });
        let Some(node) = node else { return Ok(None) };
        if node == self.hall.id() {
            return Ok(read(&self.hall, name).map(|tail| (node, tail)));
        }
        match self.hall.ask(node, &Ask::Tail(name.clone()), self.within).await {
            Ok(Told::Tail(tail)) => Ok(tail.map(|tail| (node, tail))),
            // It changes nothing, so that there is no doubt about it.
            Ok(_) | Err(_) => Err(Error::NotDone(NotDone::NoLink)),
        }
    }
}

/// What another node asks for.
pub(crate) fn tell(hall: &Arc<Hall>, name: &Name) -> Told {
    Told::Tail(read(hall, name))
}

fn read(hall: &Hall, name: &Name) -> Option<Vec<u8>> {
    let path = path(&hall.config().data, name);
    // Only this node writes there, and no file of it grows beyond what is asked for.
    let mut all = std::fs::read(path).ok()?;
    let from = all.len().saturating_sub(TAIL_BYTES_MAX);
    all.drain(..from);
    Some(all)
}
