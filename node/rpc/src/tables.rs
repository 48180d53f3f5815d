//! What other nodes let this one call, as far as they have said: a call that cannot succeed is refused here,
//! without a round trip.
//!
//! Nodes of different releases are linked during every upgrade, so a difference ends no link; it is met where
//! something is called that the other node does not know, or knows otherwise. A table is forgotten when its
//! road ends, for the node may come back with another one.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use quorate_vocab::NodeId;
use serde::{Deserialize, Serialize};

use crate::ask::{Refusal, Which};

/// The most functions that a table names, and the most bytes of their names.
const ENTRIES_MAX: usize = 512;
const NAME_BYTES_MAX: usize = 16 * 1024;

/// What a node lets another one call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Whether everything is in it; else what is not in it may be there nevertheless.
    is_whole: bool,
    known: Vec<Which>,
}

/// The tables of other nodes.
#[derive(Debug, Default)]
pub(crate) struct Tables(RwLock<BTreeMap<NodeId, Table>>);

impl Table {
    /// As much of what there is as a table holds. Who leaves something out says so.
    pub(crate) fn of(known: impl Iterator<Item = Which>, is_whole: bool) -> Self {
        let mut table = Self { is_whole, known: Vec::new() };
        let mut bytes = 0;
        for which in known {
            bytes += which.name.len();
            if table.known.len() == ENTRIES_MAX || bytes > NAME_BYTES_MAX {
                table.is_whole = false;
                break;
            }
            table.known.push(which);
        }
        table
    }

    fn find(&self, which: &Which) -> Result<(), Refusal> {
        match self.known.iter().find(|known| known.name == which.name) {
            None if self.is_whole => Err(Refusal::Unknown),
            Some(known) if known.version != which.version => Err(Refusal::Version(known.version)),
            Some(known) if known.digest != which.digest => Err(Refusal::Digest),
            _ => Ok(()),
        }
    }
}

impl Tables {
    /// A node says what it lets this one call. What is longer than a table may be is not kept.
    pub(crate) fn learn(&self, node: NodeId, table: Table) {
        let bytes: usize = table.known.iter().map(|which| which.name.len()).sum();
        if table.known.len() <= ENTRIES_MAX && bytes <= NAME_BYTES_MAX {
            self.0.write().unwrap_or_else(PoisonError::into_inner).insert(node, table);
        }
    }

    pub(crate) fn forget(&self, node: NodeId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&node);
    }

    /// Refuses what would certainly be refused there.
    pub(crate) fn check(&self, node: NodeId, which: &Which) -> Result<(), Refusal> {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tables.get(&node).map_or(Ok(()), |table| table.find(which))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn which(name: String, version: u16) -> Which {
        Which { name, version, digest: 7 }
    }

    #[test]
    fn a_table_is_bounded_and_what_it_leaves_out_is_not_taken_for_absent() {
        let many = |count: usize| (0..count).map(|number| which(format!("f{number}"), 1));
        let (tables, near, far) = (Tables::default(), NodeId(1), NodeId(2));
        tables.learn(near, Table::of(many(3), true));
        tables.learn(far, Table::of(many(10_000), true));
        assert_eq!(tables.check(near, &which("f9999".into(), 1)), Err(Refusal::Unknown));
        assert_eq!(tables.check(far, &which("f9999".into(), 1)), Ok(()));
        assert_eq!(tables.check(far, &which("f2".into(), 2)), Err(Refusal::Version(1)));
        let long = Table { is_whole: true, known: vec![which("f".repeat(NAME_BYTES_MAX + 1), 1)] };
        tables.forget(near);
        tables.learn(near, long);
        assert_eq!(tables.check(near, &which("f".into(), 1)), Ok(()), "it was not kept");
    }
}
