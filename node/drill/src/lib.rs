//! A drill: what is done to a cluster, what was seen of it, what must hold, and the page that shows it.
//!
//! ```text
//!   script ──▶ steps ──▶ actions ─────▶ a world: processes (node/cli), or the simulation (tests/sim)
//!              nemesis ────┘                     │ seen from outside of all nodes
//!                                                ▼
//!                    page ◀── verdict ◀── history, lives of witnesses, answers of nodes
//! ```
//!
//! It asks no clock, starts no process and opens no socket, so two worlds may share it, and a test can show
//! it any history. What witnesses wrote is read from their files, as that is how it outlives them.
//!
//! Not here: what performs an action, and the checkers that read the log of a node (`tests/sim/src/check`).

pub mod check;
mod growth;
pub mod history;
pub mod lives;
pub mod nemesis;
pub mod page;
pub mod script;
pub mod story;
pub mod strip;
pub mod verdict;
