//! What a history alone can tell: the judges that need nothing but what clients asked and were told.
//!
//! A judge answers with violations and never panics, so that one run shows all of them. None of them shares
//! code with what it judges.

use std::fmt;

pub mod i12_mail_in_order;
pub mod linear;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

impl Violation {
    /// What was seen, against an invariant.
    pub fn new(invariant: &'static str, what: fmt::Arguments<'_>) -> Self {
        Self { invariant, what: what.to_string() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}
