//! Where the nodes are, and how the links between them fall silent.

use std::ffi::OsStr;
use std::process::Command;

use crate::namespaces::Namespaces;
use crate::proxies::Proxies;

/// All places of a world.
pub(crate) enum Places {
    /// One machine's loopback: between two agents is a proxy that holds what it was given. Needs no rights.
    Loopback(Proxies),
    /// A network namespace each, on one bridge: the receiver's kernel drops what arrives.
    Namespaces(Namespaces),
}

impl Places {
    pub(crate) fn loopback(count: usize) -> Self {
        Self::Loopback(Proxies::begin(count))
    }

    /// Or why there can be none here.
    pub(crate) fn namespaces(count: usize) -> Result<Self, String> {
        Namespaces::begin(count).map(Self::Namespaces)
    }

    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Loopback(proxies) => proxies.count(),
            Self::Namespaces(spaces) => spaces.count(),
        }
    }

    /// A program that is to run in the place of a node.
    pub(crate) fn command(&self, node: usize, program: &OsStr) -> Command {
        match self {
            Self::Loopback(_) => Command::new(program),
            Self::Namespaces(spaces) => spaces.command(node, program),
        }
    }

    /// Where the agent of a node listens for others, where those find it, and where it is asked.
    pub(crate) fn addresses(&self, node: usize) -> [String; 3] {
        match self {
            Self::Loopback(proxies) => proxies.addresses(node),
            Self::Namespaces(spaces) => spaces.addresses(node),
        }
    }

    /// From now on nothing that one sends arrives at the other.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        match self {
            Self::Loopback(proxies) => proxies.cut(from, to),
            Self::Namespaces(spaces) => spaces.cut(from, to),
        }
    }

    /// Whatever is sent arrives.
    pub(crate) fn heal(&mut self) {
        match self {
            Self::Loopback(proxies) => proxies.heal(),
            Self::Namespaces(spaces) => spaces.heal(),
        }
    }
}
