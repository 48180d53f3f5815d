//! Everything the log may say.

use std::collections::BTreeMap;

use quorate_vocab::{Boot, Epoch, Index, Name, NodeId, NodeName, Pid, SessionId};
use serde::{Deserialize, Serialize};

use crate::names::weight;
use crate::{Bearer, Legacy, Level, Rule, Spec};

/// One entry of the log: what is asked, and how a repetition of it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// How a repetition of this command is known.
    pub once: Once,
    /// What is asked.
    pub op: Op,
}

/// How a repeated command is told from a new one. A proposal whose outcome is unknown may be proposed again
/// under the same mark: it is applied once, and answered twice with the same verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Once {
    /// Every copy is applied. For what is harmless to repeat.
    Free,
    /// The `seq`-th command of a session. A session numbers its commands upwards, and none that is under way
    /// lies [`Once::WINDOW`] or more below the newest: such a one is refused as forgotten.
    Seq {
        /// Whose command.
        session: SessionId,
        /// Which of its commands.
        seq: u64,
    },
    /// A key that the client chose. The newest [`Once::KEYS_MAX`] are remembered.
    Key(u128),
}

impl Command {
    /// About how much memory it takes, in bytes: what is asked may be long in one place only.
    pub fn weight(&self) -> usize {
        let long = match &self.op {
            Op::Register { claim, .. } | Op::Confirm { claim, .. } => {
                weight(&claim.value, &claim.meta)
            }
            Op::Amend { value, meta, .. } => {
                let value = value.as_deref().unwrap_or_default();
                value.len() as u64 + meta.as_ref().map_or(0, |meta| weight(&[], meta))
            }
            Op::SetProperty { value, meta, .. } => weight(value, meta),
            Op::Join { address, labels, .. } => address.len() as u64 + weight(&[], labels),
            Op::SetRules { rules, .. } => size_of_val(rules.as_slice()) as u64,
            Op::Volunteer { spec, .. } => spec.weight(),
            Op::EndGrant { ending: Ending::Stopped { state: Some(state) }, .. }
            | Op::Checkpoint { state, .. } => state.len() as u64,
            Op::EndGrant { ending: Ending::Failed { why }, .. }
            | Op::Force { why, .. }
            | Op::Drain { why: Some(why), .. } => why.len() as u64,
            Op::ActUnder { deed: Deed::Register { claim, .. }, .. } => {
                weight(&claim.value, &claim.meta)
            }
            Op::ActUnder { deed: Deed::Amend { value, meta, .. }, .. } => {
                let value = value.as_deref().unwrap_or_default();
                value.len() as u64 + meta.as_ref().map_or(0, |meta| weight(&[], meta))
            }
            _ => 0,
        };
        size_of::<Self>() + usize::try_from(long).unwrap_or(usize::MAX)
    }
}

impl Once {
    /// How many of a session's newest numbers are remembered.
    pub const WINDOW: usize = 256;
    /// How many client keys are remembered.
    pub const KEYS_MAX: usize = 16_384;
}

/// What may be asked of the registry. Logs hold these by their places: new ones come last, with a level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// A node takes part, or changed its address or labels.
    Join {
        /// Which node.
        node: NodeId,
        /// What people call it; refused while another live node is called so.
        name: NodeName,
        /// Where its mesh listens.
        address: String,
        /// What placement and topology rules know of it.
        labels: BTreeMap<String, String>,
    },
    /// A node is taken out for good; its sessions end.
    Leave {
        /// Which node.
        node: NodeId,
    },
    /// A life begins.
    Open {
        /// Whose life.
        owner: SessionOwner,
        /// How long it may stay silent, in milliseconds; 0 means that it never expires.
        ttl_ms: u64,
    },
    /// A life ends, and every name that it held is released.
    End {
        /// Which life.
        session: SessionId,
        /// How it is known to have ended.
        evidence: Evidence,
    },
    /// Take a name.
    Register {
        /// Which name.
        name: Name,
        /// What is registered.
        claim: Claim,
        /// `None`: only if the name is free. `Some`: only if it is held under exactly this epoch, which the
        /// new registration replaces.
        replace: Option<Epoch>,
    },
    /// Give a name back.
    Release {
        /// Which name.
        name: Name,
        /// Only if it is held under exactly this epoch.
        epoch: Option<Epoch>,
    },
    /// Put other topology rules in the place of those in force; none at all opens everything.
    SetRules {
        /// The rules, the first to be asked first. Judged when this is applied, whoever judged them before.
        rules: Vec<Rule>,
        /// Only if those in force have exactly this version; 0 when none were ever set.
        replace: Option<Index>,
    },
    /// Say something else under a name, whose epoch stays.
    Amend {
        /// Which name.
        name: Name,
        /// Only if it is held under exactly this epoch.
        epoch: Epoch,
        /// Only if what is said under it has exactly this version.
        expected: Option<Index>,
        /// Another value; `None` leaves it.
        #[serde(with = "serde_bytes")]
        value: Option<Vec<u8>>,
        /// Other labels, all of them; `None` leaves them.
        meta: Option<BTreeMap<String, String>>,
    },
    /// Take a name before there is anything to say under it. It is held by nobody, and nobody else gets it.
    Reserve {
        /// Which name.
        name: Name,
        /// What frees it if it is never confirmed; not [`Bond::Durable`].
        bond: Bond,
        /// As for [`Op::Register`].
        replace: Option<Epoch>,
    },
    /// Make a reservation a registration, under the same epoch.
    Confirm {
        /// Which name.
        name: Name,
        /// The epoch that it was reserved under.
        epoch: Epoch,
        /// What is registered. Its bond takes the place of the reservation's, and may be the same.
        claim: Claim,
    },
    /// Say something under a key that many may bear.
    SetProperty {
        /// Which key.
        key: Name,
        /// Who says it. It goes when the bearer's session ends.
        bearer: Bearer,
        /// What it says.
        #[serde(with = "serde_bytes")]
        value: Vec<u8>,
        /// Labels, by which it is found.
        meta: BTreeMap<String, String>,
        /// Only if what it said before has exactly this version; 0 when it said nothing.
        expected: Option<Index>,
    },
    /// Say nothing under a key any more.
    DropProperty {
        /// Which key.
        key: Name,
        /// Who said it.
        bearer: Bearer,
    },
    /// Add to a counter, which is made with 0 in it if it does not exist.
    Count {
        /// Which counter.
        name: Name,
        /// How much; 0 makes it, and tells what is in it.
        add: i64,
        /// Only if exactly this is in it; 0 when it does not exist.
        expected: Option<i64>,
    },
    /// Take a counter away. The next count begins with 0.
    DropCounter {
        /// Which counter.
        name: Name,
        /// Only if exactly this is in it.
        expected: Option<i64>,
    },
    /// Allow commands up to this level, for good. A member that does not understand it cannot read this
    /// entry, and stops there.
    Raise {
        /// The level. One that is lower than what is agreed, or that not every node announced, changes
        /// nothing.
        level: Level,
    },
    /// A life offers to run a singleton, and says what is wanted of it. The newest word on that is in force.
    Volunteer {
        /// Which singleton.
        name: Name,
        /// The life; the offer ends with it.
        session: SessionId,
        /// The node on which that life is.
        node: NodeId,
        /// What is wanted. It is long, and most commands are not.
        spec: Box<Spec>,
    },
    /// A life offers no more to run a singleton; if it held it, what ran has ended.
    Withdraw {
        /// Which singleton.
        name: Name,
        /// The life.
        session: SessionId,
    },
    /// What ran under a grant has ended, its owner says.
    EndGrant {
        /// Which singleton.
        name: Name,
        /// The epoch that it was held under.
        epoch: Epoch,
        /// How it ended.
        ending: Ending,
    },
    /// A singleton runs, its owner says: others that wait for it may start.
    Ready {
        /// Which singleton.
        name: Name,
        /// The epoch that it is held under.
        epoch: Epoch,
    },
    /// What a singleton wants its successor to know.
    Checkpoint {
        /// Which singleton.
        name: Name,
        /// The epoch that it is held under.
        epoch: Epoch,
        /// What it says.
        #[serde(with = "serde_bytes")]
        state: Vec<u8>,
    },
    /// A change of the registry that a singleton makes; refused unless it is held under this epoch.
    ActUnder {
        /// Which singleton.
        name: Name,
        /// The epoch.
        epoch: Epoch,
        /// The change.
        deed: Deed,
    },
    /// The owner of a singleton is to give it up for another.
    Move {
        /// Which singleton.
        name: Name,
        /// The node that shall have it; whoever it falls to, if none is named.
        to: Option<NodeId>,
        /// Only if it is held under exactly this epoch.
        expected: Option<Epoch>,
    },
    /// A singleton is to stop, and not to be started until somebody says so.
    Halt {
        /// Which singleton.
        name: Name,
    },
    /// A singleton may run again, also where it failed.
    Resume {
        /// Which singleton.
        name: Name,
    },
    /// An operator says that what ran under a grant has ended. Nobody proves it.
    Force {
        /// Which singleton.
        name: Name,
        /// The epoch that it is held under.
        epoch: Epoch,
        /// Who says so, and why.
        why: String,
    },
    /// Take a singleton out that nobody offers to run, and what it left behind.
    Forget {
        /// Which singleton.
        name: Name,
    },
    /// A node gets no more singletons, and those that it has are moved away; or it gets some again.
    Drain {
        /// Which node.
        node: NodeId,
        /// Why; `None` ends it.
        why: Option<String>,
    },
}

/// How what ran under a grant ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// As it was asked to.
    Stopped {
        /// What its successor is to know, if that is something else than before.
        state: Option<Vec<u8>>,
    },
    /// It failed, too often for its node to try again.
    Failed {
        /// What was wrong.
        why: String,
    },
    /// As it was asked to, and what its successor is to know is too long for the log: it went from node to
    /// node before. Refused if it is to be handed to somebody else by now.
    Left {
        /// Who has it; none if there was nobody to bring it to.
        to: Option<SessionId>,
        /// By what its successor knows it.
        legacy: Legacy,
    },
}

/// What a singleton may do to the registry under its epoch. Each is what the [`Op`] of its name is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Deed {
    /// As [`Op::Register`].
    Register {
        /// Which name.
        name: Name,
        /// What is registered.
        claim: Claim,
        /// Which registration it replaces, if it may replace one.
        replace: Option<Epoch>,
    },
    /// As [`Op::Release`].
    Release {
        /// Which name.
        name: Name,
        /// Only if it is held under exactly this epoch.
        epoch: Option<Epoch>,
    },
    /// As [`Op::Amend`].
    Amend {
        /// Which name.
        name: Name,
        /// The epoch of the name.
        epoch: Epoch,
        /// Only if what is said under it has exactly this version.
        expected: Option<Index>,
        /// Another value; `None` leaves it.
        #[serde(with = "serde_bytes")]
        value: Option<Vec<u8>>,
        /// Other labels; `None` leaves them.
        meta: Option<BTreeMap<String, String>>,
    },
    /// As [`Op::Count`].
    Count {
        /// Which counter.
        name: Name,
        /// How much.
        add: i64,
        /// Only if exactly this is in it.
        expected: Option<i64>,
    },
}

/// Whose life a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SessionOwner {
    /// A node's. A later boot of the same node ends the sessions of its earlier ones.
    Node {
        /// Which node.
        node: NodeId,
        /// Which life of it.
        boot: Boot,
    },
    /// A client's, which came over HTTP.
    Client,
    /// That of one name, which was claimed with [`Bond::Ttl`]. It is renewed as every session is; it ends
    /// with the name, and the name with it. Nothing else is bound to it.
    Name,
}

/// How a session is known to have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Evidence {
    /// Its owner said so.
    Stopped,
    /// The leader of this term waited for longer than its lease and heard nothing. Void when the term that
    /// applies it is another, so `term` is compared by whoever proposes, in the entry itself.
    Expired {
        /// The Raft term of the leader that waited.
        term: u64,
    },
    /// A later life of the same node exists.
    Superseded {
        /// The life that came after.
        by: Boot,
    },
    /// Its node was taken out.
    NodeLeft,
    /// It was that of a name, which was released or has another bond.
    NameGone,
    /// Who guarded it saw it end, and ended what it left.
    ProvenDead,
    /// An operator says so, or it was in a cluster that began anew since. Nobody proved it.
    Forced,
}

/// What is registered under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What ends it, beside a release.
    pub bond: Bond,
    /// The process that holds it, if a process does.
    pub holder: Option<Pid>,
    /// What the holder wants to be known under this name.
    #[serde(with = "serde_bytes")]
    pub value: Vec<u8>,
    /// Labels of the registration.
    pub meta: BTreeMap<String, String>,
}

/// What ends a claim, beside a release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bond {
    /// Nothing.
    #[default]
    Durable,
    /// The end of this life.
    Session(SessionId),
    /// The end of a life of its own, which begins with the claim, and whose session the verdict tells.
    Ttl {
        /// How long that life may stay silent, in milliseconds; 0 means that it never expires.
        ms: u64,
    },
}

impl From<Option<SessionId>> for Bond {
    fn from(session: Option<SessionId>) -> Self {
        session.map_or(Self::Durable, Self::Session)
    }
}

impl Claim {
    /// The most that value and metadata may weigh together, in bytes.
    pub const BYTES_MAX: usize = 64 * 1024;
}
