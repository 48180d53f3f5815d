//! Bytes that travel as they are.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::SendError;
use crate::codec::{self, BODY_BYTES_CEILING};
use crate::sheet::{SHARED_BYTES_MIN, Sheet};

/// Bytes inside of a message. Short ones are copied whole into a letter and out of it; long ones are not
/// copied at all, neither into a letter nor out of one that they mostly fill. A `Vec<u8>` would be written
/// and read byte by byte; large payloads belong in here. Clones share the bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Bytes);

thread_local! {
    /// The letter that is being read, where it may be kept.
    static LETTER: RefCell<Option<Bytes>> = const { RefCell::new(None) };
    /// The blob that is being written.
    static LENT: RefCell<Option<Bytes>> = const { RefCell::new(None) };
}

/// Has bytes written that whoever writes them may [keep](lent) instead. A serializer only lets a slice
/// through; here it is found again.
pub(crate) fn lending<R>(blob: &Bytes, write: impl FnOnce(&[u8]) -> R) -> R {
    /// Also when a foreign serializer panics.
    struct TakeBack(Option<Bytes>);
    impl Drop for TakeBack {
        fn drop(&mut self) {
            LENT.set(self.0.take());
        }
    }
    let _take_back = TakeBack(LENT.replace(Some(blob.clone())));
    write(blob)
}

/// The blob that is being written, if these are its bytes.
pub(crate) fn lent(bytes: &[u8]) -> Option<Bytes> {
    LENT.with_borrow(|blob| blob.clone().filter(|blob| blob.as_ptr_range() == bytes.as_ptr_range()))
}

/// Reads a letter that blobs may keep alive.
pub(crate) fn keeping<R>(letter: &Bytes, read: impl FnOnce(&[u8]) -> R) -> R {
    /// Also when a message's own code panics.
    struct PutBack(Option<Bytes>);
    impl Drop for PutBack {
        fn drop(&mut self) {
            LETTER.set(self.0.take());
        }
    }
    let _put_back = PutBack(LETTER.replace(Some(letter.clone())));
    read(letter)
}

/// Bytes of the letter that is being read: shared when they are most of it, else copied, so that what is
/// small does not keep what is large.
fn kept(bytes: &[u8]) -> Bytes {
    LETTER.with_borrow(|letter| match letter {
        Some(letter) if bytes.len() * 2 > letter.len() && lies_in(bytes, letter) => {
            letter.slice_ref(bytes)
        }
        _ => Bytes::copy_from_slice(bytes),
    })
}

fn lies_in(bytes: &[u8], letter: &[u8]) -> bool {
    let (bytes, letter) = (bytes.as_ptr_range(), letter.as_ptr_range());
    letter.start <= bytes.start && bytes.end <= letter.end
}

impl Blob {
    /// A value, written as messages are.
    pub fn of<T: Serialize>(value: &T) -> Result<Self, SendError> {
        let mut sheet = Sheet::default();
        codec::encode(value, &mut sheet, BODY_BYTES_CEILING)?;
        Ok(Self(sheet.into_bytes()))
    }

    /// Reads the value that fills it; `None` when it is no such value.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        codec::decode(&self.0)
    }
}

impl Deref for Blob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.len() {
            0..SHARED_BYTES_MIN => serializer.serialize_bytes(&self.0),
            _ => lending(&self.0, |bytes| serializer.serialize_bytes(bytes)),
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Borrowed, so that nothing is allocated before the bytes are known to be there.
        deserializer.deserialize_bytes(Whole)
    }
}

struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_borrowed_bytes<E: Error>(self, bytes: &'de [u8]) -> Result<Blob, E> {
        Ok(Blob(kept(bytes)))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(Blob(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Blob, E> {
        Ok(Blob(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_shares_a_long_letter_and_is_copied_out_of_one_that_is_mostly_something_else() {
        let written = |value: &(Blob, Vec<u64>)| Blob::of(value).unwrap().0;
        let blob = Blob::from(vec![7; 1000]);
        for (others, shares) in [(Vec::new(), true), (vec![u64::MAX; 1000], false)] {
            let letter = written(&(blob.clone(), others));
            let (read, _): (Blob, Vec<u64>) = keeping(&letter, codec::decode).unwrap();
            assert_eq!(read, blob);
            assert_eq!(lies_in(&read, &letter), shares);
            // Nobody said that it may be kept.
            let (read, _): (Blob, Vec<u64>) = codec::decode(&letter).unwrap();
            assert!(read == blob && !lies_in(&read, &letter));
        }
    }
}
