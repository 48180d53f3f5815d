//! All that sessions, leases and grants can do, within bounds: an explicit-state model around the real
//! cores.
//!
//! ```text
//!   seats (Holder) ── asks, in any order, late, twice, never ──▶ voters (Grantor, log, term)
//!      ▲   │ runs, ends, is stopped, is killed                      │ rounds, expiries, elections
//!      │   └────────────── commands under way ─────────────────────▶│
//!      └───────────────────────── ledger ◀── what a majority stores ┘
//! ```
//!
//! [`quorate_registry::Holder`], [`quorate_registry::Grantor`], `Terms` and [`quorate_registry::Machine`]
//! are the ones that nodes run, stepped by drivers that do what the node's do (`node/src/keeper.rs`,
//! `tenancy.rs`, `singletons/turn.rs`). A [`Mutant`] is a driver or a parameter with one rule left out; a
//! model that lets one pass shows nothing.
//!
//! **Time.** One tick is one step of real time. A clock within 1 ± ρ shows between three and five units
//! in it, ρ being a quarter; holders have the slowest clocks that are allowed and leaders the fastest,
//! all the while. That is the worst case: a faster holder only stops earlier, and a slower leader waits
//! longer. Whatever is not bound to a clock may be put off over any number of ticks. What is bound to one
//! stands in `World::may_tick`.
//!
//! **Finite.** Clocks and the numbers of renews rise for ever; so what tells states apart
//! (`fingerprint.rs`) are their distances to now, and nothing but what can still matter.
//!
//! Not here: Raft itself. A voter's log is copied whole and at once, and what a majority stores under its
//! leader's term is agreed; messages of Raft that are late or lost are copies that are made later or never.
//! Nor waiting for something good: that all ends well is the simulation's (`tests/sim`).

mod bounds;
mod fingerprint;
mod laws;
mod ledger;
mod seat;
mod steps;
mod voter;
mod world;

pub use bounds::{Bounds, Mutant};
pub use steps::Step;
pub use world::{Protocol, World};
