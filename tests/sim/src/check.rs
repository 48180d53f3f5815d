//! The checkers: what must hold of a run, whatever happened in it.
//!
//! One file for each invariant of `docs/INVARIANTS.md` that can be seen from outside, one for
//! linearizability, and one each for counters, properties and the rules of the topology. They read the
//! client's history and what nodes applied; none of them shares code with what it judges. A checker answers
//! with violations and never panics, so that one run shows all of them.

use std::fmt;

use quorate_registry::{Effect, Op};
use quorate_vocab::Index;

pub mod bearers;
pub mod counts;
pub mod i01_rising_epochs;
pub mod i02_one_holder;
pub mod i03_one_at_a_time;
pub mod i04_answered_renewals;
pub mod i08_silent_minority;
pub mod i10_nothing_lost;
pub mod i11_same_everywhere;
pub mod i12_mail_in_order;
pub mod linear;
pub mod topology;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, what: fmt::Arguments<'_>) -> Self {
        Self { invariant, what: what.to_string() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

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
