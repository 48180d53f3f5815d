//! What a view can say about itself: for each source what it saw and when, for each candidate why it is
//! used or is not. Plain data; whoever prints it chooses the words around it.

use std::fmt;
use std::time::Duration;

use crate::Address;

/// All that is known, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// In the order in which they were given.
    pub sources: Vec<SourceReport>,
    /// In the order of their addresses.
    pub candidates: Vec<CandidateReport>,
}

/// What a source has said so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceReport {
    /// The source as it was asked for, without secrets.
    pub spec: String,
    /// How many answers it gave.
    pub answers: u64,
    /// How often it gave none.
    pub errors: u64,
    /// How long ago it last answered.
    pub answered_ago: Option<Duration>,
    /// How many candidates stand in the view because of it.
    pub found: usize,
    /// How many of them its newest answer lacks; they stay until that is confirmed.
    pub missing: usize,
    /// How many of its newest answer were left out, since they were more than a view holds.
    pub left_out: usize,
    /// What went wrong last, and how long ago.
    pub last_error: Option<(Duration, String)>,
    /// Whether nothing but errors came since its last answer.
    pub failing: bool,
}

/// What is known of a candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateReport {
    /// Where it may be.
    pub address: Address,
    /// Who named it.
    pub sources: Vec<String>,
    /// Whether the newest answers of all of them lack it.
    pub missing: bool,
    /// Why it is used, or is not.
    pub verdict: Verdict,
}

/// Why a candidate is used, or is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is a link to it.
    Linked,
    /// It was proposed, and nothing was heard of it yet.
    Proposed,
    /// Something accepts connections there; who it is was not asked.
    Answers,
    /// It is this node.
    Itself,
    /// It is about to leave, and was not linked before.
    Draining,
    /// It will be proposed after this long; proposals are dealt out slowly.
    Waiting(Duration),
    /// There was a link, and it has ended.
    Unlinked,
    /// Nobody answers there, and why.
    Unreachable(String),
    /// Who answers there is not wanted here, or does not want us, and why.
    Refused(String),
}

impl Verdict {
    /// The verdict in a word that programs may rely on.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::Proposed => "proposed",
            Self::Answers => "answers",
            Self::Itself => "self",
            Self::Draining => "draining",
            Self::Waiting(_) => "waiting",
            Self::Unlinked => "unlinked",
            Self::Unreachable(_) => "unreachable",
            Self::Refused(_) => "refused",
        }
    }

    /// Whether a link to it is up or may come up.
    pub fn is_usable(&self) -> bool {
        matches!(self, Self::Linked | Self::Proposed | Self::Answers | Self::Waiting(_))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linked => f.write_str("there is a link to it"),
            Self::Proposed => f.write_str("proposed, nothing heard of it yet"),
            Self::Answers => f.write_str("something accepts connections there"),
            Self::Itself => f.write_str("it is this node"),
            Self::Draining => f.write_str("it is about to leave"),
            Self::Waiting(span) => write!(f, "will be proposed in {} ms", span.as_millis()),
            Self::Unlinked => f.write_str("its link has ended"),
            Self::Unreachable(why) => write!(f, "unreachable: {why}"),
            Self::Refused(why) => write!(f, "refused: {why}"),
        }
    }
}
