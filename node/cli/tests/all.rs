//! The tests of this crate in one binary, so that it is linked once.

mod agent;
mod backup;
mod bench;
mod ca;
mod common;
mod dev;
mod doctor;
mod drill;
mod guard;
mod links;
mod locks;
mod wards;
