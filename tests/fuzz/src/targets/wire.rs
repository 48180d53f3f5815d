//! What one voter may send another: requests, answers and entries of the log.
//!
//! What must hold: reading ends, within its bounds. What the items mean is not public, so the corpus is made
//! of twins of consensus's own types; when one of them is no longer read, the two have drifted apart.

use std::collections::BTreeMap;

use quorate_consensus::fuzz_decode;
use quorate_registry::{Bond, Claim, Command, Lanes, Once, Op, Rate, Rule, Selector, Stance};
use quorate_vocab::{Index, Name, NodeId};
use serde::Serialize;
use serde_bytes::ByteBuf;

use crate::Target;

const VERSION: u8 = 1;

#[derive(Clone, Copy, Serialize)]
struct LogId {
    term: u64,
    leader: u64,
    index: u64,
}

#[derive(Clone, Copy, Serialize)]
struct Vote {
    term: u64,
    node: u64,
    committed: bool,
}

#[derive(Clone, Serialize)]
struct Membership {
    configs: Vec<Vec<u64>>,
    nodes: Vec<u64>,
}

#[derive(Serialize)]
struct Position {
    applied: Option<LogId>,
    membership_at: Option<LogId>,
    membership: Membership,
}

#[derive(Serialize)]
enum Request {
    Append { vote: Vote, prev: Option<LogId>, committed: Option<LogId>, entries: Vec<ByteBuf> },
    Vote { pre: bool, vote: Vote, last: Option<LogId>, transfer: bool },
    Snapshot { vote: Vote, position: Position, offset: u64, total: u64, chunk: ByteBuf },
    Transfer { vote: Vote, to: u64, last: Option<LogId> },
}

#[derive(Serialize)]
enum Response {
    Appended,
    AppendedUpTo(Option<LogId>),
    Conflict,
    HigherVote(Vote),
    Voted { vote: Vote, granted: bool, last: Option<LogId> },
    Chunk { offset: u64 },
    Installed { vote: Vote },
    Transferred,
    TransferRefused,
    Refused,
}

/// Items of the Raft lane.
pub struct Wire {
    corpus: Vec<Vec<u8>>,
}

impl Default for Wire {
    fn default() -> Self {
        Self::new()
    }
}

impl Wire {
    /// Writes one of everything.
    pub fn new() -> Self {
        let mut corpus = entries();
        corpus.extend(requests(&corpus).iter().map(item));
        corpus.extend(responses().iter().map(item));
        Self { corpus }
    }
}

impl Target for Wire {
    fn name(&self) -> &'static str {
        "wire"
    }

    fn corpus(&self) -> &[Vec<u8>] {
        &self.corpus
    }

    /// Numbers and texts have no frame of their own in an item, so its parts are just stretches of it.
    fn parts(&self, input: &[u8]) -> Vec<Vec<u8>> {
        input.chunks(7).map(<[u8]>::to_vec).collect()
    }

    fn assemble(&self, parts: &[Vec<u8>]) -> Vec<u8> {
        parts.concat()
    }

    fn run(&self, input: &[u8]) -> bool {
        fuzz_decode(input)
    }
}

fn item(item: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(item, &mut bytes, bincode::config::standard())
        .expect("a vector takes all bytes");
    bytes
}

fn entries() -> Vec<Vec<u8>> {
    let command = |once, op| item(&Command { once, op })[1..].to_vec();
    let join = Op::Join {
        node: NodeId(u64::MAX),
        name: "n1".try_into().expect("it is a name"),
        address: "host:7000".into(),
        labels: BTreeMap::from([("zone".into(), "a".into()), ("rack".into(), String::new())]),
    };
    let name = Name::new("shop/till").expect("it is a name");
    let claim = Claim {
        bond: Bond::Durable,
        holder: None,
        value: vec![9; 300],
        meta: BTreeMap::from([("role".into(), "main".into())]),
    };
    let register = Op::Register { name, claim, replace: None };
    let rule = Rule {
        from: Selector::Node("n1".try_into().expect("it is a name")),
        to: Selector::Group("shop".into()),
        stance: Stance::Allow,
        lanes: Lanes::ALL,
        rates: [Some(Rate::new(1 << 40)), None, None],
    };
    let set_rules = Op::SetRules { rules: vec![rule; 3], replace: Some(Index(9)) };
    let membership = |configs| item(&Membership { configs, nodes: vec![1, 2, 3, 4] })[1..].to_vec();
    let bodies = [
        (0, Vec::new()),
        (1, command(Once::Free, join)),
        (1, command(Once::Key(u128::MAX), register)),
        (1, command(Once::Key(7), set_rules)),
        (2, membership(vec![vec![1, 2, 3]])),
        (2, membership(vec![vec![1, 2, 3], vec![2, 3, 4]])),
    ];
    let entry = |(kind, body): (u8, Vec<u8>)| {
        let numbers: Vec<u8> = [3_u64, 9, 6].into_iter().flat_map(u64::to_le_bytes).collect();
        [&[VERSION], &numbers[..], &[kind], &body].concat()
    };
    bodies.into_iter().map(entry).collect()
}

fn requests(entries: &[Vec<u8>]) -> Vec<Request> {
    let vote = Vote { term: 300, node: 1, committed: true };
    let last = Some(LogId { term: 3, leader: 1, index: u64::MAX });
    let membership = Membership { configs: vec![vec![1, 2, 3]], nodes: vec![1, 2, 3] };
    let position = Position { applied: last, membership_at: None, membership };
    let entries = || entries.iter().cloned().map(ByteBuf::from);
    let chunk = ByteBuf::from(vec![5; 400]);
    vec![
        Request::Append { vote, prev: None, committed: None, entries: Vec::new() },
        Request::Append { vote, prev: last, committed: last, entries: entries().collect() },
        Request::Append {
            vote,
            prev: last,
            committed: None,
            entries: entries().cycle().take(64).collect(),
        },
        Request::Vote { pre: true, vote, last, transfer: false },
        Request::Snapshot { vote, position, offset: 0, total: 1 << 40, chunk },
        Request::Transfer { vote, to: 2, last },
    ]
}

fn responses() -> Vec<Response> {
    let vote = Vote { term: 1, node: 2, committed: false };
    let last = Some(LogId { term: 3, leader: 1, index: 70_000 });
    vec![
        Response::Appended,
        Response::AppendedUpTo(last),
        Response::Conflict,
        Response::HigherVote(vote),
        Response::Voted { vote, granted: true, last: None },
        Response::Chunk { offset: 1 << 33 },
        Response::Installed { vote },
        Response::Transferred,
        Response::TransferRefused,
        Response::Refused,
    ]
}
