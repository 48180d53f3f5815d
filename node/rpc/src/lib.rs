//! Functions and processes that other nodes may start by name.
//!
//! Rust cannot send a closure, so both sides know a function by its name, its version and the shape of what
//! it takes and gives: a [`Function`] or [`Process`] is a constant that the caller names and the callee
//! registers in its table of [`Functions`]. Who calls says how long it waits; that time travels with the
//! call, and what still runs when it is over, or when the caller gives up, is killed.
//!
//! Every call runs in a process of its own. One process on each node, the desk, is asked for all of them; it
//! looks up, admits and starts, and never waits for what it has started.
//!
//! A call is made at most once. Its error says whether it can have been: [`RpcError::maybe_done`].
//!
//! Reading order: `functions` is what can be called, `shape` how two nodes know that they mean the same,
//! `ask` what is said, `desk` who answers, `rpc` who calls, `tables` what of others is known before they
//! are asked.
//!
//! Not here: sockets and names of the cluster (below and above), repetition of calls that may have been made,
//! and choice of the node.

mod ask;
mod desk;
mod error;
mod functions;
mod rpc;
mod rules;
mod shape;
mod tables;

pub use error::RpcError;
pub use functions::{Function, Functions, Process};
pub use rpc::{Pending, Rpc, RpcConfig};
pub use rules::{Nobody, Roles, Rule, Rules};
