//! What the inside has to be told, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use quorate_vocab::NodeId;

use crate::{Peer, Reason, Road};

/// What the inside has to be told.
#[derive(Debug)]
pub(crate) enum Event {
    Up(Arc<Peer>, Road),
    Down(NodeId, Road, Reason),
}

/// What the inside is to be told.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// The oldest first.
    pub(super) queue: VecDeque<Event>,
    /// How many there have been.
    pub(super) count: u64,
    pub(super) announcing: bool,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) -> u64 {
        self.queue.push_back(event);
        self.count += 1;
        self.count
    }
}
