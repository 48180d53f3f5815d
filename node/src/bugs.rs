//! Deliberate bugs of the hall, which the simulation must catch. They are built in with the feature `mutants`
//! only, and done only where a config asks for one.
//!
//! Not here: those of the journal and of Raft, which have settings of their own.

use std::time::Duration;

use quorate_registry::{Command, Once, Op};

use crate::names::draw_key;

/// A deliberate bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A command that is sent again carries another mark, so that it may be applied twice.
    ForgetsMarks,
    /// What is said under a name is changed whatever its version.
    AmendsBlindly,
    /// The leader waits for half as long as a session may be silent.
    ExpiresEarly,
    /// The leader waits for a lease and no longer: neither for the guard nor for clocks that differ.
    IgnoresGuard,
    /// A voter says that it remembers of whom it heard, and does not.
    ForgetsRenewals,
    /// A node counts its lease from the answer to a renewal.
    CountsFromReceipt,
    /// A node that loses its lease ends nothing that runs under it.
    NeverFences,
    /// A node begins a turn because its own state says so, without a lease.
    BeginsWithoutLease,
    /// What a turn leaves for its successor is not handed on.
    ForgetsState,
    /// A call that an owner may have seen is put to the next one, too.
    RepeatsCalls,
}

impl Bug {
    /// All of them, each with its word on a command line.
    pub const ALL: [(Self, &str); 10] = [
        (Self::ForgetsMarks, "forgets-marks"),
        (Self::AmendsBlindly, "amends-blindly"),
        (Self::ExpiresEarly, "expires-early"),
        (Self::IgnoresGuard, "ignores-guard"),
        (Self::ForgetsRenewals, "forgets-renewals"),
        (Self::CountsFromReceipt, "counts-from-receipt"),
        (Self::NeverFences, "never-fences"),
        (Self::BeginsWithoutLease, "begins-without-lease"),
        (Self::ForgetsState, "forgets-state"),
        (Self::RepeatsCalls, "repeats-calls"),
    ];

    /// What becomes of a command each time that it is sent.
    pub(crate) fn send(self, mut command: Command) -> Command {
        match (self, &mut command.once, &mut command.op) {
            (Self::ForgetsMarks, Once::Key(key), _) => *key = draw_key(),
            (Self::AmendsBlindly, _, Op::Amend { expected, .. }) => *expected = None,
            _ => {}
        }
        command
    }

    /// How long a leader lets a session be silent.
    pub(crate) fn patience(self, ttl: Duration) -> Duration {
        match self {
            Self::ExpiresEarly => ttl / 2,
            // What the grantor's own sum adds: (ttl - 0.14 s + 0.1 s) 1.01 / 0.99 is a lease of 2 s.
            Self::IgnoresGuard => ttl.saturating_sub(Duration::from_millis(140)),
            _ => ttl,
        }
    }
}

/// Whether a config asks for a bug.
pub(crate) fn has(config: &crate::Config, bug: Bug) -> bool {
    config.bug == Some(bug)
}
