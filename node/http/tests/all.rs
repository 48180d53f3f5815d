//! The tests of this crate in one binary, so that it is linked once.

mod available;
mod claims;
mod common;
mod doors;
mod drill;
mod links;
mod routes;
mod watch;
