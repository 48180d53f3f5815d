//! The tests of this crate in one binary, so that it is linked once.

mod bar;
mod common;
mod docs;
mod file;
mod kill;
mod postgres;
mod sqlite;
mod verifier;
