//! Keys as bytes, whose order is that of what they stand for.
//!
//! A property's key is its name, a byte that no name holds, and its bearer; so a name that begins another one
//! comes before it, as it does without.

use std::iter;

use quorate_vocab::{Boot, Index, Name, NodeId, Pid, SessionId};

use super::Key;
use crate::Bearer;

const HEADER: u8 = 0x10;
const NODE: u8 = 0x20;
const SESSION: u8 = 0x30;
const NAME: u8 = 0x40;
const ANSWER: u8 = 0x50;
const KEPT: u8 = 0x60;
const RULES: u8 = 0x70;
const PROPERTY: u8 = 0x80;
const COUNTER: u8 = 0x90;
const SINGLETON: u8 = 0xa0;
const CANDIDATE: u8 = 0xb0;
const CHECKPOINT: u8 = 0xc0;
const DRAINED: u8 = 0xd0;

/// What stands between the name and the bearer of a property, or the life of a candidate.
const END_OF_NAME: u8 = 0;

impl Key {
    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = |kind, numbers: &[u64]| {
            let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
            iter::once(kind).chain(bytes).collect()
        };
        let named = |kind, name: &Name| [&[kind], name.as_str().as_bytes()].concat();
        match self {
            Self::Header => vec![HEADER],
            Self::Node(node) => numbers(NODE, &[node.0]),
            Self::Session(session) => numbers(SESSION, &[session.0]),
            Self::Name(name) => named(NAME, name),
            Self::Answer(session, seq) => numbers(ANSWER, &[session.0, *seq]),
            Self::Kept(index) => numbers(KEPT, &[index.0]),
            Self::Rules => vec![RULES],
            Self::Property((key, Bearer { session, process })) => {
                let bearer = match process {
                    None => numbers(END_OF_NAME, &[session.0]),
                    Some(pid) => {
                        let Pid { node, boot, serial } = *pid;
                        numbers(END_OF_NAME, &[session.0, node.0, boot.0, serial])
                    }
                };
                [named(PROPERTY, key), bearer].concat()
            }
            Self::Counter(name) => named(COUNTER, name),
            Self::Singleton(name) => named(SINGLETON, name),
            Self::Candidate((name, session)) => {
                [named(CANDIDATE, name), numbers(END_OF_NAME, &[session.0])].concat()
            }
            Self::Checkpoint(name) => named(CHECKPOINT, name),
            Self::Drained(node) => numbers(DRAINED, &[node.0]),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let number = || Some(u64::from_be_bytes(rest.try_into().ok()?));
        match *kind {
            HEADER if rest.is_empty() => Some(Self::Header),
            NODE => Some(Self::Node(NodeId(number()?))),
            SESSION => Some(Self::Session(SessionId(number()?))),
            NAME => Some(Self::Name(name(rest)?)),
            ANSWER => match numbers(rest)?[..] {
                [session, seq] => Some(Self::Answer(SessionId(session), seq)),
                _ => None,
            },
            KEPT => Some(Self::Kept(Index(number()?))),
            RULES if rest.is_empty() => Some(Self::Rules),
            PROPERTY => {
                let end = rest.iter().position(|byte| *byte == END_OF_NAME)?;
                Some(Self::Property((name(&rest[..end])?, bearer(&rest[end + 1..])?)))
            }
            COUNTER => Some(Self::Counter(name(rest)?)),
            SINGLETON => Some(Self::Singleton(name(rest)?)),
            CANDIDATE => {
                let end = rest.iter().position(|byte| *byte == END_OF_NAME)?;
                match numbers(&rest[end + 1..])?[..] {
                    [session] => Some(Self::Candidate((name(&rest[..end])?, SessionId(session)))),
                    _ => None,
                }
            }
            CHECKPOINT => Some(Self::Checkpoint(name(rest)?)),
            DRAINED => Some(Self::Drained(NodeId(number()?))),
            _ => None,
        }
    }
}

fn name(bytes: &[u8]) -> Option<Name> {
    Name::new(str::from_utf8(bytes).ok()?).ok()
}

fn bearer(bytes: &[u8]) -> Option<Bearer> {
    let (session, process) = match numbers(bytes)?[..] {
        [session] => (session, None),
        [session, node, boot, serial] => {
            (session, Some(Pid { node: NodeId(node), boot: Boot(boot), serial }))
        }
        _ => return None,
    };
    Some(Bearer { session: SessionId(session), process })
}

/// As many numbers as there are; never more than four are asked for.
fn numbers(bytes: &[u8]) -> Option<Vec<u64>> {
    let (whole, rest) = bytes.as_chunks::<8>();
    (rest.is_empty() && whole.len() <= 4)
        .then(|| whole.iter().map(|number| u64::from_be_bytes(*number)).collect())
}
