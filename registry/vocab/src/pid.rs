//! Addresses of processes, near or far.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Boot, NodeId};

/// A process: which node, which life of it, which process in that life. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid {
    /// Where it runs.
    pub node: NodeId,
    /// In which life of that node.
    pub boot: Boot,
    /// Its number within that life.
    pub serial: u64,
}

/// A one-use tag: of a call that waits, or of a monitor. Unique within one life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ref(pub u64);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}.{}.{}>", self.node, self.boot.0, self.serial)
    }
}
