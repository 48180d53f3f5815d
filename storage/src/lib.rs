//! What is remembered: the journal, snapshots and the shelf. Bytes and indexes; what they mean is the
//! business of the rooms above.
//!
//! ```text
//!   Log ──queue──▶ Scribe ──▶ Disk: journal-….seg      the log, the vote: what safety rests on
//!   Snapshots ──────────────▶ Disk: snapshot-….snap    the safe copy of the applied state
//!   SledShelf ──────────────▶ sled                     the quick copy, which may forget
//! ```
//!
//! Everything that Raft's safety rests on goes through the [`Disk`] door, into files of a format that is
//! laid out for one thing: to come back from any crash with all that was acknowledged, or to refuse by
//! name. The shelf saves the time of a replay and is never the only copy of anything; a watermark in the
//! journal tells when it forgot.
//!
//! What holds here: a voter that lost its memory is never taken for a fresh one (I9), and what was
//! acknowledged stays (I10).
//!
//! Deliberately not here: any type of the consensus library, any compression or encryption, any repair.
//! What is damaged is refused, since a quorum has better copies.
//!
//! Read next: `record` for the layout and why it is so, `segment` for recovery's rules, `log` for use.

#[cfg(feature = "conformance")]
pub mod conformance;
mod cursor;
mod disk;
mod error;
mod home;
mod journal;
mod log;
mod memory;
mod queue;
mod real_disk;
mod record;
mod scribe;
mod segment;
mod shelf;
mod sled;
mod snapshots;
mod standing;
mod sum;
mod thread;
mod untouched;
mod window;

pub use disk::{Disk, File, Prepared, Sync};
pub use error::StorageError;
pub use home::{Home, Nursery};
pub use journal::OpenReport;
pub use log::{Log, LogConfig, LogState};
pub use memory::{MemoryDisk, MemoryShelf};
pub use queue::Done;
pub use real_disk::RealDisk;
pub use scribe::Scribe;
pub use shelf::{Row, Shelf};
pub use sled::{SledShelf, open_or_replace_shelf};
pub use snapshots::{Saved, Snapshots};
pub use standing::{Standing, StandingWatch};
pub use untouched::Untouched;
