//! The tests of this crate in one binary, so that it is linked once.

#[path = "common/ca.rs"]
mod ca;
mod climate;
mod common;
mod flood;
mod frames;
mod handshake;
mod hostile;
mod links;
mod many;
mod middle;
mod order;
mod tls;
mod tls_attacks;
mod transcript;
mod weather;
mod wire;
