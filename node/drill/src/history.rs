//! What clients asked for and what they were told, written down outside of all nodes.
//!
//! The history is the only witness that the checkers of promises believe. It tells three ends of an
//! operation apart: it was answered; it certainly did not happen; nobody knows, and it may still happen.
//!
//! Times are true ones: those of one clock outside of all nodes. Within one nanosecond the order of writing
//! counts.

use std::time::Duration;

use quorate_registry::{Refusal, Registration, Verdict};
use quorate_vocab::{Epoch, Index, Name, Pid, SessionId};

/// A point of the history: true time since its beginning, and the place among what happened at that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// True time.
    pub at: Duration,
    /// How many moments there were before.
    pub nth: u64,
}

impl Moment {
    /// Before everything.
    pub const START: Self = Self { at: Duration::ZERO, nth: 0 };
    /// After everything.
    pub const NEVER: Self = Self { at: Duration::MAX, nth: u64::MAX };
}

/// What stands for a registered value. Each registration of a history has a value of its own, so that a
/// reader's answer tells whose write it saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

impl Mark {
    /// The mark of a value.
    pub fn of(value: &[u8]) -> Self {
        Self(hash_of(value))
    }

    /// The mark of a process, which registers itself rather than a value.
    pub fn of_process(holder: Pid) -> Self {
        Self::of(holder.to_string().as_bytes())
    }

    /// The mark of a reservation, which says nothing yet; whoever asks reserves a name once in a session.
    pub fn of_reservation(session: SessionId) -> Self {
        Self::of(format!("reserved in {session}").as_bytes())
    }

    /// The mark of what is registered.
    pub fn of_registration(held: &Registration) -> Self {
        match (held.holder, held.session) {
            (Some(holder), _) => Self::of_process(holder),
            (None, Some(session)) if held.reserved && held.version == held.index => {
                Self::of_reservation(session)
            }
            _ => Self::of(&held.value),
        }
    }
}

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Take the name.
    Register {
        /// What is registered.
        value: Mark,
        /// The life that it is bound to.
        session: Option<SessionId>,
        /// The epoch that it is to replace.
        replace: Option<Epoch>,
    },
    /// Take the name for a life of its own, which begins with it.
    Lease {
        /// What is registered.
        value: Mark,
    },
    /// Take the name as a lock, which whoever got it gives back. It says nothing that tells it from others.
    Lock,
    /// Say something else under the name.
    Amend {
        /// Only if it is held under this epoch.
        epoch: Epoch,
        /// Only if what is said has this version.
        expected: Option<Index>,
        /// What is said from then on.
        value: Mark,
    },
    /// Make a reservation a registration, under the same epoch and for the same life.
    Confirm {
        /// The epoch of the reservation.
        epoch: Epoch,
        /// What is said from then on.
        value: Mark,
    },
    /// Give the name back.
    Release {
        /// Only if it is held under this epoch.
        epoch: Option<Epoch>,
    },
    /// Who holds the name now: a linearizable read.
    Find,
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer.
    Done(Answer),
    /// It did not happen and never will.
    NotDone,
    /// Nobody knows: it may have happened, may happen later, or never.
    Unknown,
}

/// An answer of the registry, reduced to what a checker can judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name is held by who asked.
    Registered {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// The name is held by somebody.
    Taken {
        /// Under this epoch.
        epoch: Epoch,
    },
    /// The name was given back.
    Released {
        /// It was held under this epoch.
        epoch: Epoch,
    },
    /// Nobody holds the name.
    Free,
    /// The name is not held under the expected epoch.
    Stale {
        /// But under this one, if it is held.
        present: Option<Epoch>,
    },
    /// Who holds the name, and what was said when it was taken.
    Found(Option<(Epoch, Mark)>),
    /// Who holds the name, and what was said later.
    FoundAmended {
        /// Under this epoch.
        epoch: Epoch,
        /// Since this entry of the log.
        version: Index,
        /// What is said.
        value: Mark,
    },
    /// Something else is said, under the same epoch.
    Amended {
        /// Since this entry of the log.
        version: Index,
    },
    /// The reservation is a registration now. A repetition is answered as the first was, so no version can be
    /// told from when it was answered.
    Confirmed,
    /// What is said has another version than was expected.
    Changed {
        /// Which.
        present: Index,
    },
    /// The name is held, and not only reserved.
    NotReserved,
    /// Refused for a reason that is not the name's: its session has ended, or something is too large.
    Void,
}

impl Answer {
    /// Reads a verdict; `None` if it answers no question about a name.
    pub fn from_verdict(verdict: &Verdict) -> Option<Self> {
        Some(match verdict {
            Verdict::Registered { epoch } | Verdict::Leased { epoch, .. } => {
                Self::Registered { epoch: *epoch }
            }
            Verdict::Amended { version } => Self::Amended { version: *version },
            Verdict::Released { epoch } => Self::Released { epoch: *epoch },
            Verdict::Refused(Refusal::Taken(held)) => Self::Taken { epoch: held.epoch },
            Verdict::Refused(Refusal::Stale { present }) => Self::Stale { present: *present },
            Verdict::Refused(Refusal::Free) => Self::Free,
            Verdict::Refused(Refusal::Changed { present }) => Self::Changed { present: *present },
            Verdict::Refused(Refusal::NotReserved) => Self::NotReserved,
            Verdict::Refused(_) => Self::Void,
            _ => return None,
        })
    }

    /// Reads what a linearizable read found.
    pub fn from_found(found: Option<&Registration>) -> Self {
        match found {
            Some(held) if held.version != held.index => Self::FoundAmended {
                epoch: held.epoch,
                version: held.version,
                value: Mark::of_registration(held),
            },
            found => Self::Found(found.map(|held| (held.epoch, Mark::of_registration(held)))),
        }
    }
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Who asked.
    pub client: String,
    /// The node that was asked.
    pub asked: String,
    /// The name that it is about.
    pub name: Name,
    /// What was asked for.
    pub ask: Ask,
    /// When.
    pub invoked: Moment,
    /// When the client gave up or was answered; [`Moment::NEVER`] if it still waits.
    pub returned: Moment,
    /// How it ended.
    pub outcome: Outcome,
}

/// The end of a session, which frees its names without any client asking for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Which session.
    pub session: SessionId,
    /// It had not ended before this.
    pub from: Moment,
    /// It had ended by then; [`Moment::NEVER`] if it may not have ended at all.
    pub by: Moment,
}

/// The hash of nothing. FNV-1a is the same on every machine and in every version, which the standard
/// library's hasher does not promise. Nobody attacks it here.
pub const NO_HASH: u64 = 0xcbf2_9ce4_8422_2325;

/// A hash of what came before, and of more bytes.
pub fn hash_on(before: u64, bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(before, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// The hash of bytes.
pub fn hash_of(bytes: &[u8]) -> u64 {
    hash_on(NO_HASH, bytes)
}
