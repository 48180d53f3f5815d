//! A hello: who speaks, and what it can. Claims, not facts: nothing in a hello is true before the
//! [handshake](crate::handshake) proved it.
//!
//! ```text
//! "quorate mesh" | u8 layout | bincode of the claims, at most 4 KiB in all
//! ```
//!
//! A layout number is for good: what the claims are may only change under another one. Layout 2 is layout 1
//! and the number of a strand, and is used only where that is not 0, so that builds which know but one
//! connection of a road read all that concerns it. Proofs are made over
//! the bytes as they came, never over bytes encoded anew, since two encodings may read the same.

use bincode::config::{Configuration, Limit, LittleEndian, Varint};
use bytes::Bytes;
use quorate_vocab::{Boot, ClusterId, NodeId, NodeName};
use serde::{Deserialize, Serialize};

use crate::{Road, STRANDS_MAX};

/// The most that any frame has before both sides have proved themselves.
pub const BYTES_MAX: usize = 4 * 1024;

/// The longest address.
pub const ADDRESS_BYTES_MAX: usize = 255;

/// The versions of the frames that this build speaks, from the oldest to the newest.
pub const VERSIONS: (u16, u16) = (1, 1);

/// What this build can besides its version, as bits.
pub const FEATURES: u64 = BEAT;

/// The feature of knowing a heartbeat that asks for no answer.
pub const BEAT: u64 = 1;

const MAGIC: &[u8] = b"quorate mesh";
const LAYOUT: u8 = 1;
const LAYOUT_STRAND: u8 = 2;

/// What one side claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The oldest version it speaks.
    pub version_min: u16,
    /// The newest version it speaks.
    pub version_max: u16,
    /// What else it can, as bits.
    pub features: u64,
    /// Its cluster, if it has one.
    pub cluster: Option<ClusterId>,
    /// Its identity.
    pub node: NodeId,
    /// What people call it.
    pub name: NodeName,
    /// Which life of it.
    pub boot: Boot,
    /// Where it can be dialled.
    pub address: String,
    /// Which road this connection shall be; `None` when it only asks who is there. The acceptor repeats it.
    pub road: Option<Road>,
    /// Which strand of that road; all but the data road have strand 0 alone. The acceptor repeats it.
    #[serde(skip)]
    pub strand: u8,
    /// Drawn at random for this connection, so that a recorded proof fits no other.
    pub nonce: [u8; 32],
}

/// Why bytes are not a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HelloError {
    /// They do not begin as a hello does.
    #[error("this is not quorate's mesh")]
    NotOurs,
    /// They begin as one, of a layout that is not known.
    #[error("a hello of layout {0} cannot be read")]
    Layout(u8),
    /// They do not read as claims, or something follows, or a claim is too long.
    #[error("a hello does not read")]
    Malformed,
}

/// Writes a hello.
pub fn encode(hello: &Hello) -> Bytes {
    let mut claims = bincode::serde::encode_to_vec(hello, config())
        .expect("a name and an address are bounded, and everything else has a fixed size");
    let layout = if hello.strand == 0 { LAYOUT } else { LAYOUT_STRAND };
    claims.extend((hello.strand != 0).then_some(hello.strand));
    [MAGIC, &[layout], &claims].concat().into()
}

/// Reads a hello, and nothing but one.
pub fn decode(bytes: &[u8]) -> Result<Hello, HelloError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(HelloError::NotOurs)?;
    let (&layout, claims) = rest.split_first().ok_or(HelloError::NotOurs)?;
    let (strand, claims) = match layout {
        LAYOUT => (0, claims),
        LAYOUT_STRAND => {
            let (&strand, claims) = claims.split_last().ok_or(HelloError::Malformed)?;
            (strand, claims)
        }
        _ => return Err(HelloError::Layout(layout)),
    };
    let (hello, read): (Hello, usize) =
        bincode::serde::decode_from_slice(claims, config()).map_err(|_| HelloError::Malformed)?;
    let is_strand = match layout {
        LAYOUT => true,
        // One hello, one way to write it.
        _ => hello.road == Some(Road::Data) && (1..STRANDS_MAX).contains(&usize::from(strand)),
    };
    let fits = read == claims.len() && hello.address.len() <= ADDRESS_BYTES_MAX && is_strand;
    fits.then_some(Hello { strand, ..hello }).ok_or(HelloError::Malformed)
}

fn config() -> Configuration<LittleEndian, Varint, Limit<BYTES_MAX>> {
    bincode::config::standard().with_limit::<BYTES_MAX>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            version_min: 1,
            version_max: 3,
            features: 5,
            cluster: Some(ClusterId(9)),
            node: NodeId(7),
            name: "till-1".try_into().unwrap(),
            boot: Boot(4),
            address: "host:7000".into(),
            road: Some(Road::Data),
            strand: 0,
            nonce: [8; 32],
        }
    }

    #[test]
    fn a_hello_reads_back_and_its_bytes_are_kept_for_good() {
        let bytes = encode(&hello());
        assert_eq!(decode(&bytes), Ok(hello()));
        let golden = b"quorate mesh\x01\x01\x03\x05\x01\x09\x07\x06till-1\x04\x09host:7000\x01\x01";
        assert_eq!(&bytes[..golden.len()], golden);
        assert_eq!(&bytes[golden.len()..], [8; 32]);
    }

    #[test]
    fn what_is_not_wholly_a_hello_is_none() {
        let bytes = encode(&hello());
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert_eq!(decode(&[&bytes[..], &[0]].concat()), Err(HelloError::Malformed));
        let mut newer = bytes.to_vec();
        newer[MAGIC.len()] = 3;
        assert_eq!(decode(&newer), Err(HelloError::Layout(3)));
        assert_eq!(decode(b"GET / HTTP/1.1"), Err(HelloError::NotOurs));
        let long = Hello { address: "x".repeat(256), ..hello() };
        assert_eq!(decode(&encode(&long)), Err(HelloError::Malformed));
    }

    #[test]
    fn the_strand_of_a_road_is_said_only_where_it_is_another_than_the_first() {
        let third = Hello { strand: 2, ..hello() };
        let bytes = encode(&third);
        assert_eq!(decode(&bytes), Ok(third.clone()));
        assert_eq!((bytes[MAGIC.len()], bytes.last()), (2, Some(&2)));
        assert_eq!(&bytes[MAGIC.len() + 1..bytes.len() - 1], &encode(&hello())[MAGIC.len() + 1..]);
        // There is no such strand, or the road has none, or it is said in more than one way.
        let beyond = Hello { strand: STRANDS_MAX as u8, ..hello() };
        let control = Hello { road: Some(Road::Control), ..third.clone() };
        let asking = Hello { road: None, ..third.clone() };
        for wrong in [beyond, control, asking] {
            assert_eq!(decode(&encode(&wrong)), Err(HelloError::Malformed));
        }
        let mut first = bytes.to_vec();
        *first.last_mut().unwrap() = 0;
        assert_eq!(decode(&first), Err(HelloError::Malformed));
    }

    #[test]
    fn a_promised_length_is_refused_before_anything_is_reserved_for_it() {
        let mut bytes = encode(&hello()).to_vec();
        let name_at = bytes.windows(6).position(|w| w == b"till-1").unwrap();
        // A length of 2^62 in bincode's widest form, where the name's length of 6 stood.
        let promise = [&[253][..], &(1_u64 << 62).to_le_bytes()].concat();
        bytes.splice(name_at - 1..name_at, promise);
        assert_eq!(decode(&bytes), Err(HelloError::Malformed));
    }
}
