//! A snapshot: the whole state as bytes, as it goes to a peer or into a file, at once or piece by piece.
//!
//! ```text
//! "quorsnap"  format u32  rows u64  { key length u32, value length u32, key, value }*
//! ```
//!
//! Numbers are little-endian, rows stand in the order of their keys. There is no checksum here: whoever keeps
//! or carries the bytes has one.
//!
//! What the bytes promise is never believed: nothing is allocated by a count or a length, only by bytes that
//! are there.

use std::iter;

use crate::rows::Loader;
use crate::{Machine, SnapshotError};

const MAGIC: &[u8; 8] = b"quorsnap";
const FORMAT: u32 = 1;

/// About how long a piece is: rows are whole in it, and it ends with the first that makes it this long.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Writes a machine down.
pub fn encode(machine: &Machine) -> Vec<u8> {
    let mut bytes = Vec::new();
    chunks(machine).for_each(|chunk| bytes.extend_from_slice(&chunk));
    bytes
}

/// Writes a machine down piece by piece; together they are what [`encode`] gives. Of a machine that is
/// [frozen](crate::Frozen) they can be taken at leisure, while the other goes on.
pub fn chunks(machine: &Machine) -> impl Iterator<Item = Vec<u8>> {
    let mut rows = machine.rows().peekable();
    let count = machine.rows_len() as u64;
    let mut head = Some([&MAGIC[..], &FORMAT.to_le_bytes(), &count.to_le_bytes()].concat());
    iter::from_fn(move || {
        // There is at least the header's row, so the head never goes alone.
        rows.peek()?;
        let mut chunk = head.take().unwrap_or_default();
        while chunk.len() < CHUNK_BYTES
            && let Some((key, value)) = rows.next()
        {
            for part in [&key, &value] {
                chunk.extend_from_slice(&length(part).to_le_bytes());
            }
            chunk.extend_from_slice(&key);
            chunk.extend_from_slice(&value);
        }
        Some(chunk)
    })
}

/// Reads a machine back. Nothing that these bytes could be makes it panic.
pub fn decode(bytes: &[u8]) -> Result<Machine, SnapshotError> {
    let mut decoder = Decoder::default();
    decoder.take(bytes)?;
    decoder.finish()
}

/// Reads a machine back from pieces, cut anywhere; holds no more of them than one row. Of no use after an
/// error.
#[derive(Debug, Default)]
pub struct Decoder {
    /// What came and is not a whole row yet.
    rest: Vec<u8>,
    /// How many rows are still to come; none before the head came.
    rows: Option<u64>,
    loader: Loader,
}

impl Decoder {
    /// Takes the next piece.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), SnapshotError> {
        if self.rest.is_empty() {
            let left = self.read(piece)?;
            self.rest.extend_from_slice(left);
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(piece);
            let left = self.read(&rest)?.len();
            rest.drain(..rest.len() - left);
            self.rest = rest;
        }
        match self.rows {
            Some(0) if !self.rest.is_empty() => {
                Err(SnapshotError::Trailing { bytes: self.rest.len() })
            }
            _ => Ok(()),
        }
    }

    /// Judges all of them together.
    pub fn finish(self) -> Result<Machine, SnapshotError> {
        match self.rows {
            Some(0) => Ok(self.loader.finish()?),
            None if !self.rest.starts_with(MAGIC) => Err(SnapshotError::Magic),
            _ => Err(SnapshotError::Short),
        }
    }

    /// Reads all that is whole, and gives what is not.
    fn read<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], SnapshotError> {
        let mut rest = bytes;
        let mut left = match self.rows {
            Some(rows) => rows,
            None => match head(&mut rest)? {
                Some(rows) => rows,
                None => return Ok(bytes),
            },
        };
        while left > 0
            && let Some((key, value)) = row(&mut rest)
        {
            self.loader.take(key, value)?;
            left -= 1;
        }
        self.rows = Some(left);
        Ok(rest)
    }
}

/// How many rows follow; none while the head is not whole.
fn head(rest: &mut &[u8]) -> Result<Option<u64>, SnapshotError> {
    let Some(magic) = array::<8>(rest) else { return Ok(None) };
    if magic != *MAGIC {
        return Err(SnapshotError::Magic);
    }
    let Some(format) = array(rest).map(u32::from_le_bytes) else { return Ok(None) };
    if format != FORMAT {
        return Err(SnapshotError::Format { format });
    }
    Ok(array(rest).map(u64::from_le_bytes))
}

/// The next row, if it is whole; else nothing is taken.
fn row<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let mut ahead = *rest;
    let key = u32::from_le_bytes(array(&mut ahead)?);
    let value = u32::from_le_bytes(array(&mut ahead)?);
    let key = slice(&mut ahead, key)?;
    let value = slice(&mut ahead, value)?;
    *rest = ahead;
    Some((key, value))
}

fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).expect("no key and no value of a row comes near 4 GiB")
}

fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn slice<'a>(rest: &mut &'a [u8], len: u32) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    *rest = after;
    Some(taken)
}
