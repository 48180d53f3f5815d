//! Why a request does not pass, as HTTP says it: `application/problem+json`.
//!
//! The texts stand in the table of all codes, too (`quorate explain`); a test of the command line holds the
//! two together, since what stands before other people's things cannot depend on a node.

use quorate_vocab::{Epoch, Name};

use crate::KeepError;

/// Why a request does not pass. Nothing of it was passed on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Denied {
    /// A newer owner was here. It is of no use to try again.
    #[error("{name} was seen under epoch {newest}, and this says {shown}")]
    Stale {
        /// Which singleton.
        name: Name,
        /// The epoch that the request said.
        shown: Epoch,
        /// The newest one.
        newest: Epoch,
    },
    /// It says neither a name nor an epoch, and has to. It may be tried again with both.
    #[error("it has no Quorate-Singleton and no Quorate-Epoch")]
    Unmarked,
    /// What it says is no name or no epoch, or is said twice. It may be tried again when it is put right.
    #[error("{0}")]
    BadMark(&'static str),
    /// The name is new, and as many as may be remembered are.
    #[error("{names_max} names are remembered, which is the most")]
    Full {
        /// How many names are remembered at most.
        names_max: usize,
    },
    /// A newer epoch could not be made durable, so it must not have an effect. It may be tried again.
    #[error("the file of epochs could not be written")]
    NotKept(#[source] KeepError),
}

/// A refusal in words, of the same members as those of the HTTP face.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The number behind the Q.
    pub code: u16,
    /// What became of what was asked: `refused`, or `not_done` if it may be asked again as it is.
    pub outcome: &'static str,
    /// What happened, in a few words.
    pub title: &'static str,
    /// What happened, in this case.
    pub detail: String,
    /// What to do.
    pub hint: &'static str,
}

impl Denied {
    /// What to answer.
    pub fn problem(&self) -> Problem {
        let (code, status, outcome, title, hint) = match self {
            Self::Stale { .. } => (
                601,
                412,
                "refused",
                "a newer epoch was here",
                "Stop: another owner has taken over. Whoever shows this epoch has to be given the name \
                 anew before it writes.",
            ),
            Self::Unmarked => (
                602,
                428,
                "refused",
                "the request shows no epoch",
                "Send Quorate-Singleton: NAME and Quorate-Epoch: E, as QUORATE_SINGLETON and QUORATE_EPOCH \
                 say them.",
            ),
            Self::BadMark(_) => (
                603,
                400,
                "refused",
                "the epoch that is shown is not understood",
                "Send one name and one epoch, a number below 2^53, each once.",
            ),
            Self::Full { .. } => (
                604,
                507,
                "not_done",
                "the guard remembers no more names",
                "Allow more names (--names-max), or put a guard of its own in front of each thing.",
            ),
            Self::NotKept(_) => (
                605,
                503,
                "not_done",
                "the guard cannot keep the newest epoch",
                "Look at the disk of the guard: what it cannot remember it must not pass on.",
            ),
        };
        Problem { status, code, outcome, title, detail: self.to_string(), hint }
    }
}

impl Problem {
    /// The media type of [`Problem::json`].
    pub const MEDIA_TYPE: &str = "application/problem+json";

    /// The object that a client reads.
    pub fn json(&self) -> String {
        let Self { status, code, outcome, title, detail, hint } = self;
        // Names have no character that JSON would escape, and the rest of each text is ours.
        format!(
            "{{\"code\":\"Q{code:04}\",\"title\":\"{title}\",\"status\":{status},\
             \"detail\":\"{detail}\",\"hint\":\"{hint}\",\"outcome\":\"{outcome}\"}}"
        )
    }
}
