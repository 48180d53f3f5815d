//! The faults of a node's doors: what a drill does to a real node from inside, without any right that the
//! node itself has not.
//!
//! ```text
//!   inject, heal ─► Faults ─┬─► net:  silence, weather      (Faults::net   over the net of the ground)
//!                     ▲     ├─► disk: stall, slow, full     (Faults::disk  over its disk)
//!         expiry ─────┘     └─► clock rate, wall clock      (of the whole process)
//! ```
//!
//! Every fault ends by itself after a span that was said when it was injected, [`LASTS_MAX`] at most and by
//! the machine's clock, though nobody may be able to reach the node by then. Doors that were not wrapped cost
//! nothing.
//!
//! Apart from these stands the disk that forgets ([`Faults::forgetful`]), which is chosen when a node starts
//! and cannot be healed: with it a killed process loses what a power cut would have taken.
//!
//! Not here: who may inject a fault, and the way to say so (the HTTP face, the agent); what a drill makes of
//! faults, also in a simulated world (`node/drill`); the shelf, which may forget anyway; and what only the
//! outside can do to a process, by signals.

mod board;
mod disk;
mod fault;
mod forgetful;
mod line;
mod net;

pub use board::{Faults, LASTS_MAX, PRESENT_MAX, Present};
pub use fault::{Fault, Refused, Way};
