//! The tests of this crate in one binary, so that it is linked once.
//! Apart stay those that need the process for themselves.

mod available;
mod checkers;
mod disk;
mod drills;
mod net;
mod sayings;
mod stories;
mod trouble;
mod turns;
mod world;
