//! How a node stands, as it is shown to people: up, suspect, unreachable from here, down; and the evidence.
//! A core: facts go in, and what they amount to comes out.
//!
//! | Standing | means |
//! |---|---|
//! | up | this node hears it; or no link to it is wanted, and the registry counts it as living |
//! | suspect | this node does not hear it as usual, and does not know yet whether others do |
//! | unreachable from here | this node cannot reach it; others may, and it may be well |
//! | down | the registry has ended its session |
//!
//! One law stands above the rest: **only the registry makes a node down**, and only a new session makes it
//! anything else again. What links, pulses and voters say amounts to unreachable at most, since one node that
//! does not hear another has learned about a road, not about a death.
//!
//! Not here: what follows. Nothing is moved, ended or dialled because of a standing.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use quorate_vocab::{Index, NodeId, SessionId, Time};

use crate::pulse::Verdict;

/// How many voters' answers are remembered; no cluster has more voters.
const VOTERS_MAX: usize = 15;

/// How a node stands, seen from this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// It is heard, or nothing speaks against it.
    Up,
    /// It is not heard as usual, and it is not known whether others hear it.
    Suspect,
    /// It cannot be reached from here. Others may reach it.
    Unreachable,
    /// The registry has ended its session.
    Down,
}

/// The link to a node, as far as it is evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact {
    /// None is wanted at present.
    Apart,
    /// It is up, and its pulse says this.
    Up(Verdict),
    /// It broke, and is dialled again.
    Broken,
    /// It broke or never was, and dialling failed.
    Failed,
}

/// A node's session, as the registry has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// Nothing has been heard of one.
    Unknown,
    /// It has a session, which no entry has ended.
    Held {
        /// Which.
        session: SessionId,
    },
    /// An entry of the log has ended its session.
    Over {
        /// Which.
        session: SessionId,
        /// The entry.
        at: Index,
        /// Why it could be ended.
        end: LeaseEnd,
    },
}

/// Why the registry has ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// Its owner said that it stopped.
    Stopped,
    /// It was not renewed for longer than its lease.
    Expired,
    /// A later life of the node began.
    Superseded,
    /// The node left the cluster.
    Left,
}

/// One fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// A link is up.
    Linked,
    /// The link was closed because nobody needs it.
    Parted,
    /// The link ended in any other way; by its own pulse, too.
    Broken,
    /// The node could not be dialled.
    DialFailed,
    /// The link's pulse was looked at.
    Pulse {
        /// What it says.
        verdict: Verdict,
        /// When the last byte came.
        last: Time,
    },
    /// So many voters are asked whether they hear it. Earlier answers are forgotten.
    Asked {
        /// How many.
        voters: u32,
    },
    /// A voter answered.
    Answered {
        /// Which.
        voter: NodeId,
        /// Whether it hears the node.
        hears: bool,
    },
    /// The registry says this of its session. What is older than what is known is passed over.
    Lease(Lease),
}

/// A standing that became another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Before.
    pub from: Standing,
    /// From now on.
    pub to: Standing,
}

/// All that was seen of one node.
#[derive(Clone, Debug)]
pub struct Sightings {
    link: Contact,
    lease: Lease,
    last: Option<Time>,
    asked: u32,
    answers: BTreeMap<NodeId, bool>,
    standing: Standing,
    since: Time,
}

impl Sightings {
    /// Of a node of which nothing is known: a suspect, as nothing yet says that it lives.
    pub fn new(now: Time) -> Self {
        Self {
            link: Contact::Apart,
            lease: Lease::Unknown,
            last: None,
            asked: 0,
            answers: BTreeMap::new(),
            standing: Standing::Suspect,
            since: now,
        }
    }

    /// Takes a fact in. Gives what it changed, if it changed the standing.
    pub fn see(&mut self, now: Time, sight: Sight) -> Option<Change> {
        match sight {
            Sight::Linked => self.link = Contact::Up(Verdict::Up),
            Sight::Parted => self.link = Contact::Apart,
            Sight::Broken => self.link = Contact::Broken,
            Sight::DialFailed => self.link = Contact::Failed,
            Sight::Pulse { verdict, last } => self.beat(verdict, last),
            Sight::Asked { voters } => {
                self.asked = voters;
                self.answers.clear();
            }
            Sight::Answered { voter, hears } => {
                if self.answers.len() < VOTERS_MAX || self.answers.contains_key(&voter) {
                    self.answers.insert(voter, hears);
                }
            }
            Sight::Lease(lease) => self.learn(lease),
        }
        if self.link == Contact::Up(Verdict::Up) {
            // Whoever hears it needs no answers, and late ones must not speak in the next silence.
            self.asked = 0;
            self.answers.clear();
        }
        self.judge(now)
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Why it stands so, to be shown.
    pub fn evidence(&self, now: Time) -> Evidence {
        let answered = self.answers.len() as u32;
        Evidence {
            standing: self.standing,
            lasting: now.since(self.since),
            link: self.link,
            silence: self.last.map(|last| now.since(last)),
            voters_asked: self.asked.max(answered),
            voters_answered: answered,
            voters_hear: self.hearing() as u32,
            lease: self.lease,
        }
    }

    /// Checks what holds at all times.
    pub fn check(&self) {
        let is_over = matches!(self.lease, Lease::Over { .. });
        assert_eq!(self.standing == Standing::Down, is_over, "only the registry makes a node down");
        assert_eq!(self.standing, self.amount(), "the standing is not what the facts amount to");
        assert!(self.answers.len() <= VOTERS_MAX, "{} voters answered", self.answers.len());
    }

    fn beat(&mut self, verdict: Verdict, last: Time) {
        self.last = self.last.max(Some(last));
        // The last look at a link that has ended says nothing about the next one.
        if let Contact::Up(shown) = &mut self.link {
            *shown = verdict;
        }
    }

    /// Sessions are numbered in the order of the log, so what is older is known to be.
    fn learn(&mut self, told: Lease) {
        let (known, over) = (self.lease.session(), matches!(told, Lease::Over { .. }));
        let is_news = told.session() > known || (over && told.session() == known);
        if is_news {
            self.lease = told;
        }
    }

    fn judge(&mut self, now: Time) -> Option<Change> {
        let (from, to) = (self.standing, self.amount());
        if from == to {
            return None;
        }
        (self.standing, self.since) = (to, now);
        Some(Change { from, to })
    }

    /// What the facts amount to.
    fn amount(&self) -> Standing {
        let heard_elsewhere = self.hearing() > 0;
        match (self.lease, self.link) {
            (Lease::Over { .. }, _) => Standing::Down,
            (_, Contact::Up(Verdict::Up)) | (Lease::Held { .. }, Contact::Apart) => Standing::Up,
            (Lease::Unknown, Contact::Apart) if heard_elsewhere => Standing::Up,
            (Lease::Unknown, Contact::Apart) => Standing::Suspect,
            (_, Contact::Up(Verdict::Silent) | Contact::Failed) => Standing::Unreachable,
            (_, Contact::Up(Verdict::Suspect) | Contact::Broken) if heard_elsewhere => {
                Standing::Unreachable
            }
            (_, Contact::Up(Verdict::Suspect) | Contact::Broken) => Standing::Suspect,
        }
    }

    fn hearing(&self) -> usize {
        self.answers.values().filter(|hears| **hears).count()
    }
}

impl Lease {
    fn session(self) -> Option<SessionId> {
        match self {
            Self::Unknown => None,
            Self::Held { session } | Self::Over { session, .. } => Some(session),
        }
    }
}

/// Why a node stands as it does: numbers for a table, and a sentence by `Display`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// How it stands.
    pub standing: Standing,
    /// For how long it has.
    pub lasting: Duration,
    /// The link.
    pub link: Contact,
    /// How long ago the last byte came; `None` when none ever did.
    pub silence: Option<Duration>,
    /// How many voters were asked about it since it was heard last.
    pub voters_asked: u32,
    /// How many of them have answered.
    pub voters_answered: u32,
    /// How many of those hear it.
    pub voters_hear: u32,
    /// Its session.
    pub lease: Lease,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}: ", self.standing, Brief(self.lasting))?;
        match self.link {
            Contact::Apart => f.write_str("no link is wanted")?,
            Contact::Up(_) => f.write_str("the link is up")?,
            Contact::Broken => f.write_str("the link broke")?,
            Contact::Failed => f.write_str("it cannot be dialled")?,
        }
        match self.silence {
            Some(silence) => write!(f, "; last byte heard {} ago", Brief(silence))?,
            None => f.write_str("; never heard")?,
        }
        if self.voters_asked > 0 {
            let Self { voters_hear, voters_asked, .. } = self;
            write!(f, "; {voters_hear} of {voters_asked} voters hear it")?;
            if self.voters_answered < self.voters_asked {
                write!(f, " ({} answered)", self.voters_answered)?;
            }
        }
        match self.lease {
            Lease::Unknown => f.write_str("; the registry has told nothing of it"),
            Lease::Held { session } => write!(f, "; session {session} holds its lease"),
            Lease::Over { session, at, end } => {
                write!(f, "; session {session} {end} at index {}", at.0)
            }
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Suspect => "suspect",
            Self::Unreachable => "unreachable from here",
            Self::Down => "down",
        })
    }
}

impl fmt::Display for LeaseEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "was stopped",
            Self::Expired => "expired",
            Self::Superseded => "was followed by a later life",
            Self::Left => "ended with the node's leave",
        })
    }
}

/// A span in few letters: 250 ms, 1.4 s, 12 min.
struct Brief(Duration);

impl fmt::Display for Brief {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            millis @ ..1000 => write!(f, "{millis} ms"),
            millis @ ..120_000 => write!(f, "{}.{} s", millis / 1000, millis % 1000 / 100),
            millis => write!(f, "{} min", millis / 60_000),
        }
    }
}
