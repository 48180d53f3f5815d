//! The tests of this crate in one binary, so that it is linked once.
//! Apart stay those that need the process for themselves.

mod common;
mod conformance;
mod flips;
mod full_disk;
mod home;
mod log;
mod model;
mod recovery;
mod shelf;
mod trouble;
