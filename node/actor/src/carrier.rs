//! The door outward: who carries letters to other nodes.

use bytes::Bytes;
use quorate_vocab::NodeId;

use crate::NotSent;

/// Carries letters. The hall implements it over the mesh.
pub trait Carrier: Send + Sync + 'static {
    /// Takes a letter for a node, or refuses it; never waits. Letters that were taken for one node arrive in
    /// that order, each at most once. When some may have been lost, `Actors::lost` must be told.
    ///
    /// It is called from wherever a message is sent or an answer is dropped, so it must not hold a lock that
    /// its own callers hold.
    fn post(&self, to: NodeId, letter: Bytes) -> Result<(), NotSent>;
}
