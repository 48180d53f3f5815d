//! The HTTP face of a node: its API in JSON, its probes and its metrics.
//!
//! ```text
//!   client ─► door (bounded, impatient) ─► guard (who may) ─► names sessions watch links status ─► Node
//!                                             │                                 │
//!                                          metrics ◄── counts         problem, shape (JSON)
//! ```
//!
//! This crate and the command line's client are the only owners of JSON. A request is understood, handed to
//! the node, and its answer is put into words; every failure is a [`Code`] that says what happened to the
//! state.
//!
//! Deliberately not here: any decision of the registry, waiting for anything without a bound, and TLS. The
//! face speaks plain HTTP/1.1; beyond loopback it belongs behind something that encrypts, which is why it
//! refuses to listen there without a token.
//!
//! No invariant is held here; I8 shows here, as 503.

mod available;
mod backup;
mod codes;
mod counters;
mod door;
mod drill;
mod error;
mod face;
mod group;
mod guard;
mod links;
mod locks;
mod metrics;
mod names;
mod parse;
mod pen_pal;
mod problem;
mod properties;
mod sessions;
mod shape;
mod singletons;
mod status;
mod watch;

pub use codes::{ALL, Code, Outcome, by_name};
pub use error::FaceError;
pub use face::{Face, FaceConfig};

/// The codes by name, for faces that share them.
pub mod code {
    pub use crate::codes::named::*;
}
