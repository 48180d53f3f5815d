//! Our own bytes for everything of Raft's that is stored or sent.
//!
//! openraft's serde derives promise no stable format, so nothing of it is encoded as it is. Each item begins
//! with a version byte; what a later release adds gets a later number, and what this one does not know it
//! refuses by name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use bytes::Bytes;
use openraft::EmptyNode;
use quorate_registry::Command;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::types::{
    Asked, Entry, LeaderId, LogId, Membership, Payload, SnapshotMeta, StoredMembership, Vote,
    log_id,
};

const VERSION: u8 = 1;
/// The most that any one item may decode to. A batch of entries is the largest.
const BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdBytes {
    term: u64,
    leader: u64,
    index: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteBytes {
    pub(crate) term: u64,
    pub(crate) node: u64,
    pub(crate) committed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MembershipBytes {
    /// One set of voters, or two while they change over.
    configs: Vec<Vec<u64>>,
    nodes: Vec<u64>,
}

/// Where a state stands in the log, and who the members were there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PositionBytes {
    applied: Option<LogIdBytes>,
    membership_at: Option<LogIdBytes>,
    membership: MembershipBytes,
}

/// What one voter asks of another.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Append {
        vote: VoteBytes,
        prev: Option<LogIdBytes>,
        committed: Option<LogIdBytes>,
        entries: Vec<ByteBuf>,
    },
    Vote {
        /// A question whether an election would be won, which changes nothing.
        pre: bool,
        vote: VoteBytes,
        last: Option<LogIdBytes>,
        transfer: bool,
    },
    Snapshot {
        vote: VoteBytes,
        position: PositionBytes,
        offset: u64,
        total: u64,
        chunk: ByteBuf,
    },
    Transfer {
        vote: VoteBytes,
        to: u64,
        last: Option<LogIdBytes>,
    },
    /// What was committed from an index on, for a node that only follows.
    Follow {
        next: u64,
    },
    /// A piece of the snapshot up to an index that was offered to it.
    Piece {
        index: u64,
        offset: u64,
    },
    /// How old what is applied there may be.
    Age,
}

/// What the other answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Response {
    Appended,
    AppendedUpTo(Option<LogIdBytes>),
    Conflict,
    HigherVote(VoteBytes),
    Voted {
        vote: VoteBytes,
        granted: bool,
        last: Option<LogIdBytes>,
    },
    /// A chunk was taken; the next one is expected from here.
    Chunk {
        offset: u64,
    },
    Installed {
        vote: VoteBytes,
    },
    Transferred,
    TransferRefused,
    /// The request was not understood, came from whom it does not speak for, or cannot be met here.
    Refused,
    /// Entries that follow each other.
    Fed {
        entries: Vec<ByteBuf>,
        age: AgeBytes,
        leader: Option<u64>,
        term: u64,
    },
    /// The log no longer reaches back so far; this snapshot does.
    Anew {
        position: PositionBytes,
        total: u64,
    },
    Piece {
        piece: ByteBuf,
    },
    Age(AgeBytes),
}

/// How old what is applied somewhere may be: whatever was committed before so long ago is at this index or
/// below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgeBytes {
    pub(crate) upto: u64,
    /// [`Duration::MAX`] where nobody can say.
    pub(crate) age: Duration,
    /// How long the question waited there to be answered.
    pub(crate) held: Duration,
}

impl From<LogId> for LogIdBytes {
    fn from(id: LogId) -> Self {
        Self { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogIdBytes> for LogId {
    fn from(id: LogIdBytes) -> Self {
        log_id(id.term, id.leader, id.index)
    }
}

impl From<Vote> for VoteBytes {
    fn from(vote: Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<VoteBytes> for Vote {
    fn from(vote: VoteBytes) -> Self {
        Self {
            leader_id: LeaderId { term: vote.term, node_id: vote.node },
            committed: vote.committed,
        }
    }
}

impl From<&Membership> for MembershipBytes {
    fn from(membership: &Membership) -> Self {
        let configs = membership.get_joint_config();
        Self {
            configs: configs.iter().map(|set| set.iter().copied().collect()).collect(),
            nodes: membership.nodes().map(|(node, _)| *node).collect(),
        }
    }
}

impl TryFrom<MembershipBytes> for Membership {
    type Error = io::Error;

    fn try_from(bytes: MembershipBytes) -> io::Result<Self> {
        let configs: Vec<BTreeSet<u64>> =
            bytes.configs.into_iter().map(|set| set.into_iter().collect()).collect();
        let nodes: BTreeMap<u64, EmptyNode> =
            bytes.nodes.into_iter().map(|node| (node, EmptyNode {})).collect();
        if configs.is_empty() && nodes.is_empty() {
            return Ok(Self::default());
        }
        Self::new(configs, nodes)
            .map_err(|e| invalid(format!("a set of voters that cannot be: {e}")))
    }
}

impl PositionBytes {
    pub(crate) fn new(applied: Option<LogId>, membership: &StoredMembership) -> Self {
        Self {
            applied: applied.map(Into::into),
            membership_at: membership.log_id().as_ref().map(|id| (*id).into()),
            membership: membership.membership().into(),
        }
    }

    pub(crate) fn open(self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let membership =
            StoredMembership::new(self.membership_at.map(Into::into), self.membership.try_into()?);
        Ok((self.applied.map(Into::into), membership))
    }

    pub(crate) fn from_meta(meta: &SnapshotMeta) -> Self {
        Self::new(meta.last_log_id, &meta.last_membership)
    }

    pub(crate) fn into_meta(self) -> io::Result<SnapshotMeta> {
        let (last_log_id, last_membership) = self.open()?;
        Ok(SnapshotMeta { last_log_id, last_membership })
    }
}

/// An entry's bytes: version, term, leader, index, kind, and the kind's body.
pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let mut bytes = Vec::with_capacity(96);
    bytes.push(VERSION);
    let id = entry.log_id;
    for number in [id.leader_id.term, id.leader_id.node_id, id.index] {
        bytes.extend_from_slice(&number.to_le_bytes());
    }
    match &entry.payload {
        Payload::Blank => bytes.push(0),
        Payload::Normal(asked) => {
            bytes.push(1);
            append(&mut bytes, &asked.0);
        }
        Payload::Membership(membership) => {
            bytes.push(2);
            append(&mut bytes, &MembershipBytes::from(membership));
        }
    }
    bytes.into()
}

pub(crate) fn decode_entry(bytes: &[u8]) -> io::Result<Entry> {
    let (head, body) = bytes.split_at_checked(26).ok_or_else(|| invalid("an entry cut short"))?;
    known_version(head[0])?;
    let number = |at: usize| {
        u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes are eight bytes"))
    };
    let payload = match head[25] {
        0 if body.is_empty() => Payload::Blank,
        1 => Payload::Normal(Asked(whole::<Command>(body)?)),
        2 => Payload::Membership(whole::<MembershipBytes>(body)?.try_into()?),
        _ => {
            return Err(invalid("an entry of a kind that this release does not know"));
        }
    };
    Ok(Entry { log_id: log_id(number(1), number(9), number(17)), payload })
}

/// Any other item's bytes.
pub(crate) fn encode<T: Serialize>(item: &T) -> Bytes {
    let mut bytes = vec![VERSION];
    append(&mut bytes, item);
    bytes.into()
}

pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    let (version, body) =
        bytes.split_first().ok_or_else(|| invalid("nothing where bytes belong"))?;
    known_version(*version)?;
    whole(body)
}

/// Decodes whatever a peer may send, for the fuzzer: must end, and never panic.
pub fn fuzz_decode(bytes: &[u8]) -> bool {
    let request = decode::<Request>(bytes);
    if let Ok(Request::Append { entries, .. }) = &request {
        for entry in entries {
            // Only that it ends matters.
            let _ = decode_entry(entry);
        }
    }
    request.is_ok() | decode::<Response>(bytes).is_ok() | decode_entry(bytes).is_ok()
}

fn append<T: Serialize>(bytes: &mut Vec<u8>, item: &T) {
    bincode::serde::encode_into_std_write(item, bytes, bincode::config::standard())
        .expect("a vector takes all bytes, and our items have no shape that bincode refuses");
}

fn whole<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    let config = bincode::config::standard().with_limit::<BYTES_MAX>();
    let (item, used) = bincode::serde::decode_from_slice(body, config)
        .map_err(|e| invalid(format!("bytes that do not decode: {e}")))?;
    if used != body.len() {
        return Err(invalid("bytes left over behind an item"));
    }
    Ok(item)
}

fn known_version(version: u8) -> io::Result<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(invalid(format!(
        "format {version}, which this release does not read ({VERSION} is the newest)"
    )))
}

pub(crate) fn invalid(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

#[cfg(test)]
mod tests {
    use quorate_registry::{Once, Op};
    use quorate_vocab::Name;

    use super::*;

    fn entries() -> Vec<Entry> {
        let release = Op::Release { name: Name::new("till").unwrap(), epoch: None };
        let asked = Asked(Command { once: Once::Key(7), op: release });
        let voters =
            MembershipBytes { configs: vec![vec![1, 2], vec![2, 3]], nodes: vec![1, 2, 3, 4] };
        [Payload::Blank, Payload::Normal(asked), Payload::Membership(voters.try_into().unwrap())]
            .into_iter()
            .zip(5..)
            .map(|(payload, index)| Entry { log_id: log_id(3, 9, index), payload })
            .collect()
    }

    #[test]
    fn an_entry_comes_back_as_it_went() {
        for entry in entries() {
            let back = decode_entry(&encode_entry(&entry)).unwrap();
            assert_eq!(format!("{back:?}"), format!("{entry:?}"));
        }
    }

    #[test]
    fn the_bytes_of_an_entry_are_fixed() {
        let bytes = encode_entry(&entries()[1]);
        assert_eq!(
            bytes[..],
            [
                &[1, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1][..],
                &[2, 7, 5, 4, b't', b'i', b'l', b'l', 0][..],
            ]
            .concat(),
            "a change of this format needs a new version number"
        );
    }

    #[test]
    fn an_entry_that_was_cut_or_lengthened_is_refused() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            for length in 0..bytes.len() {
                assert!(decode_entry(&bytes[..length]).is_err());
            }
            assert!(decode_entry(&[&bytes[..], &[0]].concat()).is_err());
            let newer = [&[VERSION + 1][..], &bytes[1..]].concat();
            assert!(decode_entry(&newer).unwrap_err().to_string().contains("format 2"));
        }
    }
}
