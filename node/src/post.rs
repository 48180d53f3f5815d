//! What nodes say to each other over the mesh, apart from actors' letters.
//!
//! A body begins with one byte that says whose it is: Raft's own bytes go through unopened, everything else
//! is an [`Ask`] in our format, version first.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_registry::{Command, Op, Verdict};
use quorate_vocab::{ClusterId, Epoch, Index, Name, NodeId, NodeName, SessionId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::available::exchange::Word;

const RAFT: u8 = 0;
const ASK: u8 = 1;
const VERSION: u8 = 1;
const BYTES_MAX: usize = 1024 * 1024;

/// How many proposals travel together at most.
pub(crate) const LOAD_MAX: usize = 1_024;

/// How many sessions are spoken of together at most.
pub(crate) const SESSIONS_MAX: usize = 4_096;

/// What one node asks of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Propose this, if you lead.
    Propose(Command),
    /// Confirm with a majority that you lead, and say up to where I must have applied before I read.
    Confirm,
    /// This session is still there. Answered only after a majority confirmed the leader.
    Renew(Renewal),
    /// Do you hear this node? I do not.
    Hear(NodeId),
    /// I would like to take part.
    Admit(Newcomer),
    /// Shall we begin this cluster together?
    Found(Founding),
    /// Let another voter lead: this one, or whoever follows you most closely.
    HandOver(Option<NodeId>),
    /// Take this letter in if you hold this name under this epoch now, by your own table and lease.
    Hand { name: Name, epoch: Epoch, letter: Vec<u8> },
    /// Would you begin this cluster with me? The answer promises nothing.
    WouldFound(Founding),
    /// How far are the others behind you, if you lead?
    Progress,
    /// This is what I know of available names; tell me what you know.
    Available(Word),
    /// Propose these, if you lead; each by itself. At most [`LOAD_MAX`].
    ProposeMany(Vec<Command>),
    /// What did this singleton print last, on you?
    Tail(Name),
    /// My life before this one is over. Who I am, and in which life, the mesh has proven.
    Bury,
    /// I lead, and have heard of these sessions: remember when I told you. At most [`SESSIONS_MAX`].
    Remember { by: Served, sessions: Vec<SessionId> },
    /// I lead, as of the voters that this entry names: for how long have you not heard of these sessions? At
    /// most [`SESSIONS_MAX`].
    Recall { by: Served, named: (Served, Index), sessions: Vec<SessionId> },
}

/// A leader's term, and itself.
pub(crate) type Served = (u64, NodeId);

/// What became of one of many proposals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Decided(Index, Verdict),
    /// Nothing was done: I do not lead.
    NotLeader,
    /// Nothing was done: too much waits already.
    Overloaded,
    /// It may have been done.
    Unknown,
}

/// Whose session is to be renewed. A client cannot keep a node's session alive, nor a node a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Renewal {
    pub(crate) session: SessionId,
    /// The node that renews its own; none for a client.
    pub(crate) node: Option<NodeId>,
}

/// What the other answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    Decided(Index, Verdict),
    Confirmed(Index),
    Renewed {
        ttl_ms: u64,
    },
    SessionEnded,
    /// Whether I hear the node that you asked about.
    Heard(bool),
    /// You take part; these are the others at an index, so that you can reach whoever leads.
    Admitted {
        at: Index,
        nodes: Vec<(NodeId, String)>,
        voters: BTreeSet<NodeId>,
    },
    /// Yes; I will never begin another.
    Agreed,
    NotLeader {
        leader: Option<NodeId>,
    },
    NoQuorum,
    /// It may have been done.
    Unknown,
    /// Not understood, or not now.
    Declined,
    /// Nothing was done: too much waits already.
    Overloaded,
    /// I no longer lead; this node does.
    HandedOver {
        to: NodeId,
    },
    /// The letter was taken in.
    Handed,
    /// The letter was not taken in: the name is not held here under that epoch.
    NotHolder {
        /// What it is held under, as far as I know.
        present: Option<Epoch>,
    },
    /// The last entry of my log, and of the logs of those who follow me.
    Progress {
        last: Index,
        matched: BTreeMap<NodeId, Index>,
    },
    /// This is what I know of available names.
    Available(Word),
    /// What became of each, in the order in which they were proposed.
    DecidedMany(Vec<Outcome>),
    /// The end of what it printed, if it did.
    Tail(Option<Vec<u8>>),
    /// No life of yours before this one has a session any more.
    Buried,
    /// I shall remember when I heard of these sessions.
    Remembered,
    /// For how many milliseconds I have not heard of each session, in the order of the question.
    Recalled(Vec<u64>),
}

/// Who would like to take part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newcomer {
    pub(crate) id: NodeId,
    pub(crate) name: NodeName,
    pub(crate) address: String,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Newcomer {
    /// What is proposed so that it takes part.
    pub(crate) fn into_op(self) -> Op {
        let Self { id, name, address, labels } = self;
        Op::Join { node: id, name, address, labels }
    }
}

/// A cluster that is about to begin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Founding {
    pub(crate) cluster: ClusterId,
    pub(crate) founders: Vec<(NodeId, String)>,
}

/// A body that came.
pub(crate) enum Post {
    Raft(Bytes),
    Ask(Box<Ask>),
}

pub(crate) fn wrap_raft(request: &[u8]) -> Bytes {
    let mut body = Vec::with_capacity(request.len() + 1);
    body.push(RAFT);
    body.extend_from_slice(request);
    body.into()
}

pub(crate) fn wrap_ask(ask: &Ask) -> Bytes {
    let mut body = vec![ASK];
    append(&mut body, ask);
    body.into()
}

pub(crate) fn unwrap(body: &Bytes) -> Option<Post> {
    match *body.first()? {
        RAFT => Some(Post::Raft(body.slice(1..))),
        ASK => Some(Post::Ask(Box::new(read(&body[1..])?))),
        _ => None,
    }
}

pub(crate) fn wrap_told(told: &Told) -> Bytes {
    let mut body = Vec::new();
    append(&mut body, told);
    body.into()
}

/// `None` for bytes that are no answer; whoever asked treats that as no answer at all.
pub(crate) fn unwrap_told(body: &[u8]) -> Option<Told> {
    read(body)
}

fn append<T: Serialize>(body: &mut Vec<u8>, item: &T) {
    body.push(VERSION);
    bincode::serde::encode_into_std_write(item, body, bincode::config::standard())
        .expect("a vector takes all bytes, and our items have no shape that bincode refuses");
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let (version, body) = body.split_first()?;
    if *version != VERSION {
        return None;
    }
    let config = bincode::config::standard().with_limit::<BYTES_MAX>();
    let (item, used) = bincode::serde::decode_from_slice(body, config).ok()?;
    (used == body.len()).then_some(item)
}
