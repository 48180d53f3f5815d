//! The tests of this crate in one binary, so that it is linked once.

mod arrows;
mod bans;
mod headers;
mod invariants;
mod owners;
mod signatures;
mod sizes;
mod top_level;
