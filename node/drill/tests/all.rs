//! The tests of this crate in one binary, so that it is linked once.

mod damage;
mod linear;
mod nemesis;
mod script;
mod verdict;
