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
}

impl Bug {
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
        if self == Self::ExpiresEarly { ttl / 2 } else { ttl }
    }
}
