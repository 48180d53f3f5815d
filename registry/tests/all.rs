//! The tests of this crate in one binary, so that it is linked once.
//! Apart stay those that need the process for themselves.

mod common;
mod laws;
mod lease;
mod lives;
mod names;
mod once;
mod ring;
mod rules;
mod stored;
mod topology;
