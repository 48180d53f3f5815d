//! The tests of this crate in one binary, so that it is linked once.
//! Apart stay those that need the process for themselves.

mod anew;
mod available;
mod claims;
mod common;
mod laws;
mod lease;
mod levels;
mod lives;
mod names;
mod once;
mod placement;
mod remembered;
mod ring;
mod rules;
mod shared;
mod singletons;
mod stored;
mod topology;
