//! How it is agreed. This is the only room that names openraft; nothing of it leaves through the public API.
//!
//! ```text
//!  propose(Command) ──► Group ──► openraft ──► log.rs ──► quorate_storage::Log ──► journal (one sync a
//! batch)
//!                         ▲          │ ▲
//!              verdict    │          │ └── peers.rs / serve.rs ◄──► the other voters, by way of the hall
//!                         │          ▼
//!                         └──── apply.rs: Machine::apply ──► effects ──► feed.rs ──► watchers, steward
//!                                    │
//!                         ▲          └─► archive.rs: snapshots (files) and the shelf (sled), aside
//!                         └ follow.rs ◄──► feeder.rs of a voter: nodes that have no part in Raft
//! ```
//!
//! What is applied here may be old; `freshness.rs` says how old.
//!
//! Deliberately not here: what a command means (registry), where bytes lie (storage), how a peer is reached
//! (the hall, through [`Peers`]), and any decision that rests on openraft's own view of who leads. Ownership
//! is decided by a committed entry or a ReadIndex round, never by metrics and never by a term.
//!
//! Invariants held here: I8 (a minority acknowledges nothing), I10 (the log is purged only up to a snapshot
//! that was synced and read back), I11 (apply sees an entry's position and content, and nothing else), I13
//! (whatever is older than a state is said to be is in it).
//!
//! Read next: `group.rs`, then `apply.rs`, then `log.rs`.

mod apply;
mod archive;
pub mod backup;
mod body;
mod config;
mod directory;
mod electorate;
mod error;
mod feed;
mod feeder;
mod follow;
mod freshness;
mod group;
mod log;
mod peers;
mod recover;
mod rounds;
mod runtime;
pub mod salvage;
mod serve;
mod shelver;
#[cfg(test)]
mod suite;
mod types;
mod wire;

pub use archive::Doors;
pub use config::GroupConfig;
pub use electorate::Electorate;
pub use error::{GroupError, MembershipError, ProposeError, ReadError};
pub use feed::{Change, TooOld, Watch};
pub use group::{Group, GroupStatus, Outcome, Role};
pub use peers::{PeerError, Peers};
pub use recover::{Recovery, Source};
pub use rounds::Rounds;
pub use wire::fuzz_decode;
