//! The state as rows: one encoding for the shelf, which takes what changed, and for snapshots, which take
//! everything.
//!
//! A row's key is a kind and then bytes whose order is the order of what they stand for; kinds below 0x10
//! belong to whoever shares the shelf. A value is a version and then a record. What can be derived, such as
//! the names of a session, is not stored.
//!
//! Rows that were written by other hands are judged, not trusted: what does not satisfy I1, I2 and I11 is no
//! machine.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::iter;

use quorate_vocab::{Epoch, Index, Name, NodeId, NodeName, Pid, SessionId};
use serde::{Deserialize, Serialize};

use crate::changes::Changes;
use crate::names::Names;
use crate::{
    Claim, Machine, Node, Once, Registration, RowError, Rules, Session, SessionOwner, Verdict,
};

/// One row that changed: its key, and its value or `None` when it is to be removed.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// Which row. The variants stand in the order of their kinds, so that keys order as their bytes do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Header,
    Node(NodeId),
    Session(SessionId),
    Name(Name),
    Answer(SessionId, u64),
    Kept(Index),
    Rules,
}

const HEADER: u8 = 0x10;
const NODE: u8 = 0x20;
const SESSION: u8 = 0x30;
const NAME: u8 = 0x40;
const ANSWER: u8 = 0x50;
const KEPT: u8 = 0x60;
const RULES: u8 = 0x70;

/// The version that this release writes, for every kind.
const VERSION: u8 = 1;

/// What a decoder may claim for one row. The codec counts eight bytes for every length, so the heaviest row
/// is a registration whose whole weight is in tiny labels: 28 thousand of them, at sixteen bytes beside their
/// own.
const VALUE_BYTES_MAX: usize = 16 * Claim::BYTES_MAX;

#[derive(Serialize, Deserialize)]
struct HeaderRow {
    generation: u16,
    applied: Index,
}

#[derive(Serialize, Deserialize)]
struct NodeRow<'a> {
    name: Cow<'a, NodeName>,
    address: Cow<'a, str>,
    labels: Cow<'a, BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
struct SessionRow {
    owner: SessionOwner,
    ttl_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct NameRow<'a> {
    epoch: Epoch,
    index: Index,
    session: Option<SessionId>,
    holder: Option<Pid>,
    #[serde(borrow, with = "serde_bytes")]
    value: Cow<'a, [u8]>,
    meta: Cow<'a, BTreeMap<String, String>>,
}

#[derive(Serialize, Deserialize)]
struct KeptRow<'a> {
    once: Once,
    verdict: Cow<'a, Verdict>,
}

#[derive(Serialize, Deserialize)]
struct RulesRow<'a> {
    version: Index,
    rules: Cow<'a, Rules>,
}

impl Machine {
    /// The rows that changed since this was last called, in the order of their keys. The first call after
    /// [`Machine::new`] gives all rows; the first after [`Machine::from_rows`] what changed since then.
    pub fn take_changes(&mut self) -> Vec<Row> {
        self.changes.take().map(|key| (key.encode(), self.value(&key))).collect()
    }

    /// All rows, in the order of their keys.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let nodes = self.nodes.iter().map(|node| (Key::Node(node.id), node_row(node)));
        let sessions = self.sessions.iter().map(|one| (Key::Session(one.id), session_row(one)));
        let names =
            self.names.list("", None).map(|one| (Key::Name(one.name.clone()), name_row(one)));
        let answers = self
            .memory
            .answers()
            .map(|(session, seq, verdict)| (Key::Answer(session, seq), record(verdict)));
        let kept = self.memory.queue().map(|(index, kept)| (Key::Kept(index), kept_row(kept)));
        let rules = self.topology.set().map(|set| (Key::Rules, rules_row(set)));
        iter::once((Key::Header, self.header_row()))
            .chain(nodes)
            .chain(sessions)
            .chain(names)
            .chain(answers)
            .chain(kept)
            .chain(rules)
            .map(|(key, value)| (key.encode(), value))
    }

    /// Builds the state that rows describe; they come in the order of their keys.
    pub fn from_rows<K, V>(rows: impl IntoIterator<Item = (K, V)>) -> Result<Self, RowError>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut loader = Loader::default();
        for (key, value) in rows {
            loader.take(key.as_ref(), value.as_ref())?;
        }
        loader.finish()
    }

    fn value(&self, key: &Key) -> Option<Vec<u8>> {
        match key {
            Key::Header => Some(self.header_row()),
            Key::Node(node) => self.nodes.find(*node).map(node_row),
            Key::Session(session) => self.sessions.find(*session).map(session_row),
            Key::Name(name) => self.names.find(name.as_str()).map(name_row),
            Key::Answer(session, seq) => self.memory.answer(*session, *seq).map(record),
            Key::Kept(index) => self.memory.queued(*index).map(kept_row),
            Key::Rules => self.topology.set().map(rules_row),
        }
    }

    fn header_row(&self) -> Vec<u8> {
        record(&HeaderRow { generation: self.generation, applied: self.applied })
    }
}

/// Builds a machine of rows that come one by one, as a shelf's scan gives them.
#[derive(Debug)]
pub struct Loader {
    last: Vec<u8>,
    has_header: bool,
    machine: Machine,
    names: Vec<Registration>,
}

impl Default for Loader {
    fn default() -> Self {
        Self { last: Vec::new(), has_header: false, machine: Machine::new(0), names: Vec::new() }
    }
}

impl Loader {
    /// Takes one row, whose key comes after that of the row before it.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), RowError> {
        // No key is empty, so the first one comes after the empty beginning.
        if *self.last >= *key && !key.is_empty() {
            return Err(RowError::Order);
        }
        self.last.clear();
        self.last.extend_from_slice(key);

        let kind = key.first().copied().unwrap_or(0);
        let key = Key::decode(key).ok_or(RowError::Key { kind })?;
        self.load(key, Value { kind, bytes: value })
    }

    fn load(&mut self, key: Key, value: Value<'_>) -> Result<(), RowError> {
        match key {
            Key::Header => {
                let HeaderRow { generation, applied } = value.read()?;
                self.machine.generation = generation;
                self.machine.applied = applied;
                self.has_header = true;
            }
            Key::Node(id) => {
                let NodeRow { name, address, labels } = value.read()?;
                let name = name.into_owned();
                let (address, labels) = (address.into_owned(), labels.into_owned());
                self.machine.nodes.load(Node { id, name, address, labels });
            }
            Key::Session(id) => {
                let SessionRow { owner, ttl_ms } = value.read()?;
                self.machine.sessions.load(Session { id, owner, ttl_ms });
            }
            Key::Name(name) => {
                let NameRow { epoch, index, session, holder, value, meta } = value.read()?;
                let (value, meta) = (value.into_owned(), meta.into_owned());
                let held = Registration { name, epoch, session, holder, value, meta, index };
                self.names.push(held);
            }
            Key::Answer(session, seq) => {
                self.machine.memory.load_answer(session, seq, value.read()?);
            }
            Key::Kept(index) => {
                let KeptRow { once, verdict } = value.read()?;
                self.machine.memory.load_queued(index, once, verdict.into_owned());
            }
            Key::Rules => {
                let RulesRow { version, rules } = value.read()?;
                self.machine.topology.load(version, rules.into_owned());
            }
        }
        Ok(())
    }

    /// Judges all rows together.
    pub fn finish(mut self) -> Result<Machine, RowError> {
        if !self.has_header {
            return Err(RowError::NoHeader);
        }
        self.machine.names = Names::load(self.names);
        self.machine.changes = Changes::default();
        self.machine.audit_all()?;
        Ok(self.machine)
    }
}

impl Key {
    fn encode(&self) -> Vec<u8> {
        let numbers = |kind, numbers: &[u64]| {
            let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
            iter::once(kind).chain(bytes).collect()
        };
        match self {
            Self::Header => vec![HEADER],
            Self::Node(node) => numbers(NODE, &[node.0]),
            Self::Session(session) => numbers(SESSION, &[session.0]),
            Self::Name(name) => [&[NAME], name.as_str().as_bytes()].concat(),
            Self::Answer(session, seq) => numbers(ANSWER, &[session.0, *seq]),
            Self::Kept(index) => numbers(KEPT, &[index.0]),
            Self::Rules => vec![RULES],
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let number = || Some(u64::from_be_bytes(rest.try_into().ok()?));
        match *kind {
            HEADER if rest.is_empty() => Some(Self::Header),
            NODE => Some(Self::Node(NodeId(number()?))),
            SESSION => Some(Self::Session(SessionId(number()?))),
            NAME => Some(Self::Name(Name::new(str::from_utf8(rest).ok()?).ok()?)),
            ANSWER => {
                let (session, seq) = rest.split_first_chunk()?;
                let seq = u64::from_be_bytes(seq.try_into().ok()?);
                Some(Self::Answer(SessionId(u64::from_be_bytes(*session)), seq))
            }
            KEPT => Some(Self::Kept(Index(number()?))),
            RULES if rest.is_empty() => Some(Self::Rules),
            _ => None,
        }
    }
}

fn node_row(node: &Node) -> Vec<u8> {
    record(&NodeRow {
        name: Cow::Borrowed(&node.name),
        address: Cow::Borrowed(&node.address),
        labels: Cow::Borrowed(&node.labels),
    })
}

fn session_row(session: &Session) -> Vec<u8> {
    record(&SessionRow { owner: session.owner, ttl_ms: session.ttl_ms })
}

fn name_row(held: &Registration) -> Vec<u8> {
    record(&NameRow {
        epoch: held.epoch,
        index: held.index,
        session: held.session,
        holder: held.holder,
        value: Cow::Borrowed(&held.value),
        meta: Cow::Borrowed(&held.meta),
    })
}

fn kept_row((once, verdict): &(Once, Verdict)) -> Vec<u8> {
    record(&KeptRow { once: *once, verdict: Cow::Borrowed(verdict) })
}

fn rules_row((version, rules): (Index, &Rules)) -> Vec<u8> {
    record(&RulesRow { version, rules: Cow::Borrowed(rules) })
}

/// A value: its version, then the record.
fn record(record: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    bincode::serde::encode_into_std_write(record, &mut bytes, codec())
        .expect("memory takes every byte, and rows are of fields whose lengths are known");
    bytes
}

/// A value that is yet to be judged. Reading it allocates what it holds and, for one text whose length is a
/// lie, at most [`VALUE_BYTES_MAX`] for a moment.
struct Value<'a> {
    kind: u8,
    bytes: &'a [u8],
}

impl<'a> Value<'a> {
    fn read<T: Deserialize<'a>>(self) -> Result<T, RowError> {
        let unreadable = RowError::Value { kind: self.kind };
        let (version, record) = self.bytes.split_first().ok_or(unreadable)?;
        if *version != VERSION {
            return Err(RowError::Version { kind: self.kind, version: *version });
        }
        match bincode::serde::borrow_decode_from_slice(record, codec()) {
            Ok((value, read)) if read == record.len() => Ok(value),
            _ => Err(unreadable),
        }
    }
}

fn codec() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<VALUE_BYTES_MAX>()
}
