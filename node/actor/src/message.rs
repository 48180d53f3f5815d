//! What processes receive, and how it is written down when it travels.

use std::fmt;

use quorate_vocab::Lane;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sheet::Sheet;
use crate::{SendError, codec};

/// What a process receives.
///
/// As it stands a message stays on its node: it is moved, never encoded, and may hold anything that is
/// `Send`. With a [`WIRE`](Message::WIRE) it also travels.
pub trait Message: Sized + Send + 'static {
    /// How the message travels to other nodes; `None` when it never does.
    const WIRE: Option<Wire<Self>> = None;
}

/// How a message is written for the wire. The type is the contract, so a change to it that old letters do not
/// fit needs another version.
///
/// Messages come from other machines: keep the type free of recursion (which overflows a stack), of sequences
/// of empty elements (which cost a loop but no bytes) and of `skip_serializing_if`.
pub struct Wire<M> {
    protocol: &'static str,
    /// The protocol's number and version, as letters carry them.
    pub(crate) id: (u64, u16),
    pub(crate) lane: Lane,
    pub(crate) encode: fn(&M, &mut Sheet, usize) -> Result<(), SendError>,
    pub(crate) decode: fn(&[u8]) -> Option<M>,
}

impl<M> Wire<M> {
    /// A protocol by its name and version. One name, one type in a cluster.
    pub const fn new(protocol: &'static str, version: u16) -> Self
    where
        M: Serialize + DeserializeOwned,
    {
        let id = (codec::protocol_id(protocol), version);
        Self {
            protocol,
            id,
            lane: Lane::Normal,
            encode: codec::encode::<M>,
            decode: codec::decode::<M>,
        }
    }

    /// The same in another lane; without this it is [`Lane::Normal`]. Mail of one process to another keeps
    /// its order also where it goes through several lanes.
    pub const fn lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// What the protocol is called.
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }
}

// Derived, these would ask for a message that is `Clone`.
impl<M> Clone for Wire<M> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<M> Copy for Wire<M> {}

impl<M> fmt::Debug for Wire<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wire({}, {})", self.protocol, self.id.1)
    }
}

impl Message for () {}
impl Message for bool {}
impl Message for u64 {}
impl Message for i64 {}
impl Message for String {}
