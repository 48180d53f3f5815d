//! Values as bytes: a version, and then a record in the codec of that version.
//!
//! What this release writes of a kind has one version; the versions before it are still read, and say what
//! they meant.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};

use quorate_vocab::{Epoch, Index, Name, NodeId, NodeName, Pid, SessionId};
use serde::{Deserialize, Serialize};

use crate::{
    Bearer, Candidate, Checkpoint, Claim, Grant, Level, Machine, Node, Once, Past, Property,
    Registration, RowError, Rules, Session, SessionOwner, Singleton, Spec, Verdict,
};

/// What a decoder may claim for one row. The codec counts eight bytes for every length, so the heaviest row
/// is a registration whose whole weight is in tiny labels: 28 thousand of them, at sixteen bytes beside their
/// own.
const VALUE_BYTES_MAX: usize = 16 * Claim::BYTES_MAX;

/// Something that is stored under a key.
pub(super) trait Record {
    fn record(&self) -> Vec<u8>;
}

/// A value that is yet to be judged. Reading it allocates what it holds and, for one text whose length is a
/// lie, at most [`VALUE_BYTES_MAX`] for a moment.
pub(super) struct Stored<'a> {
    pub(super) kind: u8,
    pub(super) bytes: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct HeaderRow {
    generation: u16,
    applied: Index,
    level: u16,
}

/// Before there were levels.
#[derive(Deserialize)]
struct HeaderRow1 {
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
    version: Index,
    reserved: bool,
}

/// Before what is said under a name could change, and names be reserved.
#[derive(Deserialize)]
struct NameRow1<'a> {
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

#[derive(Serialize, Deserialize)]
struct PropertyRow<'a> {
    #[serde(borrow, with = "serde_bytes")]
    value: Cow<'a, [u8]>,
    meta: Cow<'a, BTreeMap<String, String>>,
    version: Index,
}

#[derive(Serialize, Deserialize)]
struct SingletonRow<'a> {
    spec: Cow<'a, Spec>,
    version: Index,
    halted: bool,
    grant: Option<Grant>,
    past: Cow<'a, VecDeque<Past>>,
}

#[derive(Serialize, Deserialize)]
struct CandidateRow<'a> {
    node: NodeId,
    since: Index,
    failed: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
struct CheckpointRow<'a> {
    epoch: Epoch,
    version: Index,
    #[serde(borrow, with = "serde_bytes")]
    state: Cow<'a, [u8]>,
}

impl Record for Machine {
    fn record(&self) -> Vec<u8> {
        let Self { generation, applied, level, .. } = *self;
        write(2, &HeaderRow { generation, applied, level: level.number() })
    }
}

impl Record for Node {
    fn record(&self) -> Vec<u8> {
        let row = NodeRow {
            name: Cow::Borrowed(&self.name),
            address: Cow::Borrowed(&self.address),
            labels: Cow::Borrowed(&self.labels),
        };
        write(1, &row)
    }
}

impl Record for Session {
    fn record(&self) -> Vec<u8> {
        write(1, &SessionRow { owner: self.owner, ttl_ms: self.ttl_ms })
    }
}

impl Record for Registration {
    fn record(&self) -> Vec<u8> {
        let row = NameRow {
            epoch: self.epoch,
            index: self.index,
            session: self.session,
            holder: self.holder,
            value: Cow::Borrowed(&self.value),
            meta: Cow::Borrowed(&self.meta),
            version: self.version,
            reserved: self.reserved,
        };
        write(2, &row)
    }
}

impl Record for Verdict {
    fn record(&self) -> Vec<u8> {
        write(1, self)
    }
}

impl Record for (Once, Verdict) {
    fn record(&self) -> Vec<u8> {
        write(1, &KeptRow { once: self.0, verdict: Cow::Borrowed(&self.1) })
    }
}

impl Record for (Index, &Rules) {
    fn record(&self) -> Vec<u8> {
        write(1, &RulesRow { version: self.0, rules: Cow::Borrowed(self.1) })
    }
}

impl Record for Property {
    fn record(&self) -> Vec<u8> {
        let (value, meta) = (Cow::Borrowed(&self.value[..]), Cow::Borrowed(&self.meta));
        write(1, &PropertyRow { value, meta, version: self.version })
    }
}

impl Record for i64 {
    fn record(&self) -> Vec<u8> {
        write(1, self)
    }
}

impl Record for Singleton {
    fn record(&self) -> Vec<u8> {
        let (spec, past) = (Cow::Borrowed(&self.spec), Cow::Borrowed(&self.past));
        let Self { version, halted, grant, .. } = *self;
        write(1, &SingletonRow { spec, version, halted, grant, past })
    }
}

impl Record for Candidate {
    fn record(&self) -> Vec<u8> {
        let failed = self.failed.as_deref().map(Cow::Borrowed);
        write(1, &CandidateRow { node: self.node, since: self.since, failed })
    }
}

impl Record for Checkpoint {
    fn record(&self) -> Vec<u8> {
        let state = Cow::Borrowed(&self.state[..]);
        write(1, &CheckpointRow { epoch: self.epoch, version: self.version, state })
    }
}

/// Why something is so.
impl Record for str {
    fn record(&self) -> Vec<u8> {
        write(1, &self)
    }
}

impl<'a> Stored<'a> {
    pub(super) fn header(self) -> Result<(u16, Index, Level), RowError> {
        if self.version()? == 1 {
            let HeaderRow1 { generation, applied } = self.read(1)?;
            // As a replay of the same log would begin (I11).
            return Ok((generation, applied, Level::FIRST));
        }
        let HeaderRow { generation, applied, level } = self.read(2)?;
        let known = Level::from_number(level).ok_or(RowError::Level { level })?;
        Ok((generation, applied, known))
    }

    pub(super) fn node(self, id: NodeId) -> Result<Node, RowError> {
        let NodeRow { name, address, labels } = self.read(1)?;
        let (name, address) = (name.into_owned(), address.into_owned());
        Ok(Node { id, name, address, labels: labels.into_owned() })
    }

    pub(super) fn session(self, id: SessionId) -> Result<Session, RowError> {
        let SessionRow { owner, ttl_ms } = self.read(1)?;
        Ok(Session { id, owner, ttl_ms })
    }

    pub(super) fn registration(self, name: Name) -> Result<Registration, RowError> {
        let row = if self.version()? == 1 {
            let NameRow1 { epoch, index, session, holder, value, meta } = self.read(1)?;
            let (version, reserved) = (index, false);
            NameRow { epoch, index, session, holder, value, meta, version, reserved }
        } else {
            self.read(2)?
        };
        let NameRow { epoch, index, session, holder, value, meta, version, reserved } = row;
        let (value, meta) = (value.into_owned(), meta.into_owned());
        Ok(Registration { name, epoch, session, holder, value, meta, index, version, reserved })
    }

    pub(super) fn verdict(self) -> Result<Verdict, RowError> {
        self.read(1)
    }

    pub(super) fn kept(self) -> Result<(Once, Verdict), RowError> {
        let KeptRow { once, verdict } = self.read(1)?;
        Ok((once, verdict.into_owned()))
    }

    pub(super) fn rules(self) -> Result<(Index, Rules), RowError> {
        let RulesRow { version, rules } = self.read(1)?;
        Ok((version, rules.into_owned()))
    }

    pub(super) fn property(self, key: Name, bearer: Bearer) -> Result<Property, RowError> {
        let PropertyRow { value, meta, version } = self.read(1)?;
        let (value, meta) = (value.into_owned(), meta.into_owned());
        Ok(Property { key, bearer, value, meta, version })
    }

    pub(super) fn counter(self) -> Result<i64, RowError> {
        self.read(1)
    }

    pub(super) fn singleton(self, name: Name) -> Result<Singleton, RowError> {
        let SingletonRow { spec, version, halted, grant, past } = self.read(1)?;
        let (spec, past) = (spec.into_owned(), past.into_owned());
        Ok(Singleton { name, spec, version, halted, grant, past })
    }

    pub(super) fn candidate(self, session: SessionId) -> Result<Candidate, RowError> {
        let CandidateRow { node, since, failed } = self.read(1)?;
        Ok(Candidate { session, node, since, failed: failed.map(Cow::into_owned) })
    }

    pub(super) fn checkpoint(self) -> Result<Checkpoint, RowError> {
        let CheckpointRow { epoch, version, state } = self.read(1)?;
        Ok(Checkpoint { epoch, version, state: state.into_owned() })
    }

    pub(super) fn reason(self) -> Result<String, RowError> {
        self.read(1)
    }

    fn version(&self) -> Result<u8, RowError> {
        self.bytes.first().copied().ok_or(RowError::Value { kind: self.kind })
    }

    fn read<T: Deserialize<'a>>(self, known: u8) -> Result<T, RowError> {
        let version = self.version()?;
        if version != known {
            return Err(RowError::Version { kind: self.kind, version });
        }
        let record = &self.bytes[1..];
        match bincode::serde::borrow_decode_from_slice(record, codec()) {
            Ok((value, read)) if read == record.len() => Ok(value),
            _ => Err(RowError::Value { kind: self.kind }),
        }
    }
}

fn write(version: u8, record: &impl Serialize) -> Vec<u8> {
    let mut bytes = vec![version];
    bincode::serde::encode_into_std_write(record, &mut bytes, codec())
        .expect("memory takes every byte, and rows are of fields whose lengths are known");
    bytes
}

fn codec() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<VALUE_BYTES_MAX>()
}
