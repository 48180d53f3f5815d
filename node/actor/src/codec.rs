//! From messages to bytes and back, both under a limit.
//!
//! Nothing allocates what a peer merely promises: the decoder's limit follows from the bytes that are there.

use bincode::config::standard;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::SendError;
use crate::sheet::Sheet;

/// The most that a body may weigh, whatever the config says.
pub(crate) const BODY_BYTES_CEILING: usize = 256 << 20;

/// A protocol's name as letters carry it (FNV-1a). It must never change: nodes of all releases agree on it.
pub(crate) const fn protocol_id(protocol: &str) -> u64 {
    let bytes = protocol.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Appends a value. What a refused value left behind is cut off again.
pub(crate) fn encode<T: Serialize>(
    value: &T,
    into: &mut Sheet,
    bytes_max: usize,
) -> Result<(), SendError> {
    let start = into.mark();
    let mut bounded = Bounded { into, left: bytes_max, full: false };
    let Err(_) = bincode::serde::encode_into_writer(value, &mut bounded, standard()) else {
        return Ok(());
    };
    let error = match bounded.full {
        true => SendError::TooLong { bytes_max },
        false => SendError::Unencodable,
    };
    into.rewind(start);
    Err(error)
}

/// Reads a value that fills `bytes` exactly.
///
/// The decoder counts what values weigh in memory, at most sixteen times what they weigh in bytes, so each
/// limit lets through whatever was honestly encoded in the bytes that are there.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    // Borrowed, so that a blob is copied once, and only when its bytes are there.
    use bincode::serde::borrow_decode_from_slice as decode_from_slice;

    let decoded = match bytes.len() {
        0..=0x1000 => decode_from_slice(bytes, standard().with_limit::<0x1_0000>()),
        0x1001..=0x1_0000 => decode_from_slice(bytes, standard().with_limit::<0x10_0000>()),
        0x1_0001..=0x10_0000 => decode_from_slice(bytes, standard().with_limit::<0x100_0000>()),
        0x10_0001..=0x100_0000 => decode_from_slice(bytes, standard().with_limit::<0x1000_0000>()),
        0x100_0001..=0x500_0000 => decode_from_slice(bytes, standard().with_limit::<0x5000_0000>()),
        0x500_0001..=BODY_BYTES_CEILING => {
            decode_from_slice(bytes, standard().with_limit::<0x1_0000_0000>())
        }
        _ => return None,
    };
    match decoded {
        Ok((value, read)) if read == bytes.len() => Some(value),
        _ => None,
    }
}

struct Bounded<'a> {
    into: &'a mut Sheet,
    left: usize,
    full: bool,
}

impl Writer for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            self.full = true;
            return Err(EncodeError::UnexpectedEnd);
        };
        self.left = left;
        self.into.put(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_protocols_number_is_for_ever() {
        assert_eq!(protocol_id(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(protocol_id("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(protocol_id("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_nothing_behind() {
        let mut into = Sheet::default();
        into.put(&[7]);
        assert_eq!(encode(&"four", &mut into, 5), Ok(()));
        assert_eq!(encode(&"fives", &mut into, 5), Err(SendError::TooLong { bytes_max: 5 }));
        assert_eq!(into.text, [7, 4, b'f', b'o', b'u', b'r']);
    }

    #[test]
    fn the_densest_values_fit_their_decoders_limit() {
        for len in [1, 0xfff, 0x1000, 0xffff, 0x10_0000] {
            let zeros = vec![0_u128; len];
            let mut sheet = Sheet::default();
            encode(&zeros, &mut sheet, BODY_BYTES_CEILING).unwrap();
            assert_eq!(decode::<Vec<u128>>(&sheet.text), Some(zeros));
        }
    }

    #[test]
    fn a_promise_of_many_bytes_is_refused() {
        // A string of 2^40 bytes, of which none follows.
        let mut bytes = vec![253];
        bytes.extend((1_u64 << 40).to_le_bytes());
        assert_eq!(decode::<String>(&bytes), None);
    }

    proptest! {
        #[test]
        fn a_value_comes_back_and_no_other_length_does(value in any::<(u64, String, Option<bool>)>()) {
            let mut sheet = Sheet::default();
            encode(&value, &mut sheet, 1 << 20).unwrap();
            let mut bytes = sheet.text;
            prop_assert_eq!(decode::<(u64, String, Option<bool>)>(&bytes), Some(value));
            prop_assert_eq!(decode::<(u64, String, Option<bool>)>(&bytes[..bytes.len() - 1]), None);
            bytes.push(0);
            prop_assert_eq!(decode::<(u64, String, Option<bool>)>(&bytes), None);
        }
    }
}
