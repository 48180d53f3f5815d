//! The tests of this crate in one binary, so that it is linked once.

mod common;
mod consul;
mod discovery;
mod dns;
mod gossip;
mod kubernetes;
mod laws;
mod lists;
mod webhook;
