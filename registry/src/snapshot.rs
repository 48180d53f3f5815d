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
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(SnapshotError::Magic)?;
    let format = u32::from_le_bytes(array(&mut rest)?);
    if format != FORMAT {
        return Err(SnapshotError::Format { format });
    }
    let mut loader = Loader::default();
    for _ in 0..u64::from_le_bytes(array(&mut rest)?) {
        let key = u32::from_le_bytes(array(&mut rest)?);
        let value = u32::from_le_bytes(array(&mut rest)?);
        let key = slice(&mut rest, key)?;
        let value = slice(&mut rest, value)?;
        loader.take(key, value)?;
    }
    if !rest.is_empty() {
        return Err(SnapshotError::Trailing { bytes: rest.len() });
    }
    Ok(loader.finish()?)
}

fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).expect("no key and no value of a row comes near 4 GiB")
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], SnapshotError> {
    let (taken, after) = rest.split_first_chunk().ok_or(SnapshotError::Short)?;
    *rest = after;
    Ok(*taken)
}

fn slice<'a>(rest: &mut &'a [u8], len: u32) -> Result<&'a [u8], SnapshotError> {
    let len = usize::try_from(len).map_err(|_| SnapshotError::Short)?;
    let (taken, after) = rest.split_at_checked(len).ok_or(SnapshotError::Short)?;
    *rest = after;
    Ok(taken)
}
