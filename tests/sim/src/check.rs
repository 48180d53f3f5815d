//! The checkers: what must hold of a run, whatever happened in it.
//!
//! One file for each invariant of `docs/INVARIANTS.md` that can be seen from outside, one for what the log
//! says of singletons and one for calls to them, and one each for counters, properties and the rules of the
//! topology; those that drills of real processes need, too, are in `node/drill`. They read the client's
//! history and what nodes applied; none of them shares code with what it judges. A checker answers
//! with violations and never panics, so that one run shows all of them.

pub use quorate_drill::check::{Violation, i12_mail_in_order, linear};
use quorate_registry::{Effect, Op};
use quorate_vocab::Index;

pub mod bearers;
pub mod calls;
pub mod counts;
pub mod grants;
pub mod i01_rising_epochs;
pub mod i02_one_holder;
pub mod i03_one_at_a_time;
pub mod i04_answered_renewals;
pub mod i05_turns;
pub mod i06_stale_acts;
pub mod i07_handoffs;
pub mod i08_silent_minority;
pub mod i10_nothing_lost;
pub mod i11_same_everywhere;
pub mod i13_known_ages;
pub mod l01_runs_again;
pub mod topology;

/// One entry of the log, as one life of a node applied it.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// Which node.
    pub node: &'a str,
    /// Which life of it; each start of a node is another one.
    pub life: u64,
    /// Where in the log.
    pub index: Index,
    /// What the entry asked for, where that is known.
    pub op: Option<&'a Op>,
    /// What changed.
    pub effects: &'a [Effect],
}
