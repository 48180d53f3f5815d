//! A deterministic world for whole quorate nodes: one thread, one seed, no real time, no real machine.
//!
//! ```text
//!                      nemesis ── plans: cut, crash, power loss, stall …
//!                         │
//!   clients ──▶ history   ▼                                   true time (clock)
//!      │           │   ┌───────────────── one paused runtime ───────────────────┐
//!      │           │   │  Life n1           Life n2           Life n3           │
//!      └───────────┼──▶│  ┌───────┐ SimNet  ┌───────┐ SimNet  ┌───────┐         │
//!                  │   │  │ node  │◀═══════▶│ node  │◀═══════▶│ node  │         │
//!                  │   │  └─┬───┬─┘         └─┬───┬─┘         └─┬───┬─┘         │
//!                  │   │ SimDisk SimShelf  SimDisk SimShelf  SimDisk SimShelf   │
//!                  │   └──────┬──────────────────┬──────────────────┬───────────┘
//!                  │          │ applied effects, states             │ every event
//!                  ▼          ▼                                     ▼
//!             check: I1-I4 I8 I10-I13, linearizability        trace: one hash
//! ```
//!
//! The nodes are the real ones. Only the doors are twins: `quorate_env`'s clock, dice, tasks and net, and
//! `quorate_storage`'s disk and shelf. What is above the doors cannot know that it is simulated; what is
//! below them is decided by a seed, so a seed repeats a run to the nanosecond, and the hash of the trace
//! proves it.
//!
//! It is deliberately no model: it shares no code with what it judges, except that the nouns are the same.
//! Nor is it a proof; it finds in minutes what a cluster would show in years.

#[cfg(not(any(tokio_unstable, doc)))]
compile_error!(
    "the simulator needs tokio's `Builder::rng_seed`, which is behind `--cfg tokio_unstable`. The repository \
     sets it in .cargo/config.toml; an environment variable RUSTFLAGS (or CARGO_ENCODED_RUSTFLAGS, or \
     `--config build.rustflags`) replaces that line silently. Unset it, or add `--cfg tokio_unstable` to it, \
     and build again"
);

pub mod clock;
pub mod trace;

pub mod disk;
pub mod net;
pub mod shelf;

pub mod check;
pub mod history;

pub mod shrink;
pub mod sweep;
pub mod world;
