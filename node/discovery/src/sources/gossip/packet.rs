//! One packet of gossip: who somebody is, what was asked of them, and a mac over all of it.
//!
//! ```text
//!   "QRGS" 1 | kind | incarnation 16 | seq 8 | nonce 16 | name 1+n | address 2+n | echoes 1+16·n | mac 32
//! ```

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::Address;

const MAGIC: &[u8; 5] = b"QRGS\x01";
const MAC_BYTES: usize = 32;
const NAME_BYTES_MAX: usize = 64;

/// How many questions one packet answers.
pub(crate) const ECHOES_MAX: usize = 16;

/// No packet is longer; it fits into one frame of every LAN.
pub(crate) const PACKET_BYTES_MAX: usize = 1024;

/// A number drawn once.
pub(crate) type Nonce = [u8; 16];

/// What a packet says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Drawn when its sender started.
    pub(crate) incarnation: Nonce,
    /// Rises with each packet of an incarnation.
    pub(crate) seq: u64,
    /// A question: whoever hears this shall say who they are, with this number.
    pub(crate) asks: Option<Nonce>,
    pub(crate) name: String,
    /// Where its sender can be dialled, if it wants to be.
    pub(crate) address: Option<Address>,
    /// The numbers of the questions that it answers.
    pub(crate) echoes: Vec<Nonce>,
}

/// Why a packet is not listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deaf {
    /// It is not one of ours, or was torn.
    NotOurs,
    /// Its sender does not know the secret.
    Forged,
}

impl Packet {
    /// Its bytes, under a secret.
    pub(crate) fn encode(&self, secret: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(u8::from(self.asks.is_some()));
        bytes.extend(self.incarnation);
        bytes.extend(self.seq.to_be_bytes());
        bytes.extend(self.asks.unwrap_or_default());
        let name = &self.name.as_bytes()[..self.name.len().min(NAME_BYTES_MAX)];
        bytes.push(name.len() as u8);
        bytes.extend(name);
        let address = self.address.as_ref().map_or("", Address::as_str);
        bytes.extend((address.len() as u16).to_be_bytes());
        bytes.extend(address.bytes());
        let echoes = &self.echoes[..self.echoes.len().min(ECHOES_MAX)];
        bytes.push(echoes.len() as u8);
        bytes.extend(echoes.as_flattened());
        let mac = mac(secret, &bytes).finalize().into_bytes();
        bytes.extend(mac);
        bytes
    }

    /// Reads a packet, if its sender knows the secret.
    pub(crate) fn decode(secret: &[u8], bytes: &[u8]) -> Result<Self, Deaf> {
        let body = bytes.len().checked_sub(MAC_BYTES).filter(|_| bytes.starts_with(MAGIC));
        let (body, proof) = bytes.split_at(body.ok_or(Deaf::NotOurs)?);
        // Nothing is read of what was not proven.
        mac(secret, body).verify_slice(proof).map_err(|_| Deaf::Forged)?;
        Self::read(&body[MAGIC.len()..]).ok_or(Deaf::NotOurs)
    }

    fn read(mut rest: &[u8]) -> Option<Self> {
        let rest = &mut rest;
        let asks = take(rest, 1)?[0] & 1 != 0;
        let incarnation = nonce(rest)?;
        let seq = u64::from_be_bytes(take(rest, 8)?.try_into().ok()?);
        let asked = nonce(rest)?;
        let name_length = usize::from(take(rest, 1)?[0]);
        let name = String::from_utf8_lossy(take(rest, name_length)?).into_owned();
        let length = u16::from_be_bytes(take(rest, 2)?.try_into().ok()?);
        let address = std::str::from_utf8(take(rest, usize::from(length))?).ok()?;
        let address = match address {
            "" => None,
            address => Some(Address::parse(address).ok()?),
        };
        let count = usize::from(take(rest, 1)?[0]);
        let echoes = (0..count).map(|_| nonce(rest)).collect::<Option<Vec<Nonce>>>()?;
        let asks = asks.then_some(asked);
        rest.is_empty().then_some(Self { incarnation, seq, asks, name, address, echoes })
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(count)?;
    *rest = after;
    Some(taken)
}

fn nonce(rest: &mut &[u8]) -> Option<Nonce> {
    take(rest, 16)?.try_into().ok()
}

fn mac(secret: &[u8], bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(bytes);
    mac
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Packet {
        Packet {
            incarnation: [1; 16],
            seq: 7,
            asks: Some([2; 16]),
            name: "n1".into(),
            address: Some(Address::parse("10.0.0.1:4747").unwrap()),
            echoes: vec![[3; 16]; ECHOES_MAX],
        }
    }

    #[test]
    fn a_packet_reads_back_and_one_changed_bit_is_a_forgery() {
        let bytes = sample().encode(b"secret");
        assert_eq!(Packet::decode(b"secret", &bytes), Ok(sample()));
        assert!(bytes.len() <= PACKET_BYTES_MAX);
        assert_eq!(Packet::decode(b"other", &bytes), Err(Deaf::Forged));
        for at in MAGIC.len()..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(Packet::decode(b"secret", &changed), Err(Deaf::Forged), "{at}");
        }
    }

    proptest! {
        #[test]
        fn any_proven_bytes_are_a_packet_or_none(body in vec(any::<u8>(), 0..200)) {
            let mut bytes = [MAGIC.as_slice(), &body].concat();
            bytes.extend(mac(b"s", &bytes).finalize().into_bytes());
            if let Ok(packet) = Packet::decode(b"s", &bytes) {
                prop_assert!(packet.echoes.len() <= usize::from(u8::MAX));
            }
            let _ = Packet::decode(b"s", &body);
        }
    }
}
