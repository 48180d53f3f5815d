//! Scenarios on signals, mailboxes and what OTP builds on them. Each stands here twice: as Rust in `src`, as
//! Erlang in `erlang`, under the same name. Both print what they saw in the same words, so that it can be
//! compared line by line.
//!
//! ```text
//!   src/links.rs …  ──▶ stage ──▶ "kill_through_trap: ends killed" ──┐
//!                                                                    ├─▶ tests/erlang.rs, differences.rs
//!   erlang/*.erl ───▶ erl ──────▶ erlang/expected.txt ───────────────┘
//! ```
//!
//! A scenario has processes to look at, its subjects (see [`Stage`]). A subject does what it is told and
//! reports whatever else comes to it; in the end it is asked for its fate. Where Rust's half differs, and is
//! meant to, [`DIFFERENCES`] says why.
//!
//! Some scenarios have a second node (`far`): here it is another runtime at a wire, there another Erlang.
//!
//! Not here: races (node/actor's own tests try those by the million), sockets, and speed.

mod calls;
mod differences;
mod events;
mod far;
mod groups;
mod links;
mod monitors;
mod names;
mod order;
mod servers;
mod stage;
mod statems;
mod supervisors;
mod timers;
mod wire;

pub use differences::{DIFFERENCES, Difference};
pub use stage::{Events, Scenario, Stage, World};

/// All scenarios, in the order in which Erlang's half tells them.
pub fn scenarios() -> Vec<Scenario> {
    let modules = [
        links::ALL,
        monitors::ALL,
        order::ALL,
        calls::ALL,
        timers::ALL,
        names::ALL,
        servers::ALL,
        statems::ALL,
        events::ALL,
        supervisors::ALL,
        groups::ALL,
        far::ALL,
    ];
    modules.into_iter().flatten().copied().collect()
}

const KEPT: &str = include_str!("../erlang/expected.txt");

/// What a real Erlang said, line by line, as it was kept.
pub fn kept() -> Vec<&'static str> {
    KEPT.lines().filter(|line| !line.starts_with('#')).collect()
}

/// Which Erlang that was: `# Erlang/OTP 25`.
pub fn kept_release() -> &'static str {
    KEPT.split(',').next().unwrap_or_default()
}
