//! The state as rows: one encoding for the shelf, which takes what changed, and for snapshots, which take
//! everything.
//!
//! A row's key is a kind and then bytes whose order is the order of what they stand for; kinds below 0x10
//! belong to whoever shares the shelf. A value is a version and then a record (`rows/record.rs`). What can be
//! derived, such as the names of a session, is not stored.
//!
//! Rows that were written by other hands are judged, not trusted: what does not satisfy I1, I2 and I11 is no
//! machine.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use quorate_vocab::{Index, Name, NodeId, SessionId};

use crate::changes::Changes;
use crate::{Bearer, Machine, RowError};

mod key;
mod record;

use record::{Record, Stored};

/// One row that changed: its key, and its value or `None` when it is to be removed.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// Which rows changed.
#[derive(Debug)]
pub struct Changed(BTreeMap<Key, bool>);

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
    Property((Name, Bearer)),
    Counter(Name),
    Singleton(Name),
    Candidate((Name, SessionId)),
    Checkpoint(Name),
    Drained(NodeId),
}

impl Machine {
    /// The rows that changed since this was last called, in the order of their keys. The first call after
    /// [`Machine::new`] gives all rows; the first after [`Machine::from_rows`] what changed since then.
    pub fn take_changes(&mut self) -> Vec<Row> {
        let changed = self.take_changed();
        self.rows_of(changed).collect()
    }

    /// Which rows changed since this, or [`Machine::take_changes`], was last called. Costs the same however
    /// many they are.
    pub fn take_changed(&mut self) -> Changed {
        Changed(self.changes.take())
    }

    /// The rows that changed, as they are here: in the state that they were taken from, or one that was
    /// [frozen](crate::Frozen) with it and can be asked at leisure.
    pub fn rows_of(&self, changed: Changed) -> impl Iterator<Item = Row> {
        changed.0.into_keys().map(|key| (key.encode(), self.value(&key)))
    }

    /// All rows, in the order of their keys.
    pub fn rows(&self) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
        let nodes = self.nodes.iter().map(|node| (Key::Node(node.id), node.record()));
        let sessions = self.sessions.iter().map(|one| (Key::Session(one.id), one.record()));
        let names =
            self.names.list("", None).map(|one| (Key::Name(one.name.clone()), one.record()));
        let answers = self
            .memory
            .answers()
            .map(|(session, seq, verdict)| (Key::Answer(session, seq), verdict.record()));
        let kept = self.memory.queue().map(|(index, kept)| (Key::Kept(index), kept.record()));
        let rules = self.topology.set().map(|set| (Key::Rules, set.record()));
        let properties = self
            .properties
            .iter()
            .map(|one| (Key::Property((one.key.clone(), one.bearer)), one.record()));
        let counters =
            self.counters.iter().map(|(name, value)| (Key::Counter(name.clone()), value.record()));
        iter::once((Key::Header, self.record()))
            .chain(nodes)
            .chain(sessions)
            .chain(names)
            .chain(answers)
            .chain(kept)
            .chain(rules)
            .chain(properties)
            .chain(counters)
            .chain(self.rows_of_singletons())
            .map(|(key, value)| (key.encode(), value))
    }

    /// How many rows there are; known without a look at any.
    pub fn rows_len(&self) -> usize {
        let [answers, kept] = self.memory.sizes();
        let rules = usize::from(self.topology.set().is_some());
        let people = self.nodes.len() + self.sessions.len() + self.names.len();
        let said = self.properties.len() + self.counters.len();
        1 + people + answers + kept + rules + said + self.singletons.rows()
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

    fn rows_of_singletons(&self) -> impl Iterator<Item = (Key, Vec<u8>)> {
        let book = &self.singletons;
        let all = book.iter().map(|one| (Key::Singleton(one.name.clone()), one.record()));
        let offers =
            book.iter_candidates().map(|(key, one)| (Key::Candidate(key.clone()), one.record()));
        let checkpoints = book
            .iter_checkpoints()
            .map(|(name, one)| (Key::Checkpoint(name.clone()), one.record()));
        let drained = book.iter_drained().map(|(node, why)| (Key::Drained(*node), why.record()));
        all.chain(offers).chain(checkpoints).chain(drained)
    }

    fn value(&self, key: &Key) -> Option<Vec<u8>> {
        match key {
            Key::Header => Some(self.record()),
            Key::Node(node) => self.nodes.find(*node).map(Record::record),
            Key::Session(session) => self.sessions.find(*session).map(Record::record),
            Key::Name(name) => self.names.find(name.as_str()).map(Record::record),
            Key::Answer(session, seq) => self.memory.answer(*session, *seq).map(Record::record),
            Key::Kept(index) => self.memory.queued(*index).map(Record::record),
            Key::Rules => self.topology.set().map(|set| set.record()),
            Key::Property(place) => self.properties.find(place).map(Record::record),
            Key::Counter(name) => self.counters.find(name.as_str()).map(|value| value.record()),
            Key::Singleton(name) => self.singletons.find(name.as_str()).map(Record::record),
            Key::Candidate((name, session)) => {
                self.singletons.candidate(name, *session).map(Record::record)
            }
            Key::Checkpoint(name) => self.singletons.checkpoint(name.as_str()).map(Record::record),
            Key::Drained(node) => self.singletons.drained(*node).map(Record::record),
        }
    }
}

/// Builds a machine of rows that come one by one, as a shelf's scan gives them.
#[derive(Debug)]
pub struct Loader {
    last: Vec<u8>,
    has_header: bool,
    machine: Machine,
}

impl Default for Loader {
    fn default() -> Self {
        Self { last: Vec::new(), has_header: false, machine: Machine::new(0) }
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
        self.load(key, Stored { kind, bytes: value })
    }

    fn load(&mut self, key: Key, value: Stored<'_>) -> Result<(), RowError> {
        let machine = &mut self.machine;
        match key {
            Key::Header => {
                (machine.generation, machine.applied, machine.level) = value.header()?;
                self.has_header = true;
            }
            Key::Node(id) => machine.nodes.load(value.node(id)?),
            Key::Session(id) => machine.sessions.load(value.session(id)?),
            Key::Name(name) => drop(machine.names.load(Arc::new(value.registration(name)?))),
            Key::Answer(session, seq) => {
                machine.memory.load_answer(session, seq, value.verdict()?);
            }
            Key::Kept(index) => {
                let (once, verdict) = value.kept()?;
                machine.memory.load_queued(index, once, verdict);
            }
            Key::Rules => {
                let (version, rules) = value.rules()?;
                machine.topology.load(version, rules);
            }
            Key::Property((key, bearer)) => {
                machine.properties.load(value.property(key, bearer)?);
            }
            Key::Counter(name) => machine.counters.load(name, value.counter()?),
            Key::Singleton(name) => machine.singletons.load(value.singleton(name)?),
            Key::Candidate((name, session)) => {
                machine.singletons.load_candidate(name, value.candidate(session)?);
            }
            Key::Checkpoint(name) => {
                machine.singletons.load_checkpoint(name, value.checkpoint()?);
            }
            Key::Drained(node) => machine.singletons.load_drained(node, value.reason()?),
        }
        Ok(())
    }

    /// Judges all rows together.
    pub fn finish(mut self) -> Result<Machine, RowError> {
        if !self.has_header {
            return Err(RowError::NoHeader);
        }
        self.machine.changes = Changes::default();
        self.machine.audit_all()?;
        Ok(self.machine)
    }
}
