//! A small client of the domain name system (RFC 1035, 2782, 6891): A, AAAA and SRV from the servers of
//! `/etc/resolv.conf`, over UDP, and over TCP when an answer does not fit.
//!
//! It is our own because the resolver that the system has cannot be asked for SRV, and says of no name
//! whether it is not there or could not be asked; and because the resolvers that the registry has bring
//! sixty crates for it (docs/adr/0008).
//!
//! Not here: caches, DNSSEC, encrypted transports, and names beyond ASCII.

mod client;
mod message;
mod settings;

pub(crate) use client::Client;
pub(crate) use message::{Kind, is_name};
