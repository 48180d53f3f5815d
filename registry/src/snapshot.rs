//! A snapshot: the whole state in one piece of bytes, as it goes to a peer or into a file.
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

use crate::rows::Loader;
use crate::{Machine, SnapshotError};

const MAGIC: &[u8; 8] = b"quorsnap";
const FORMAT: u32 = 1;

/// Writes a machine down.
pub fn encode(machine: &Machine) -> Vec<u8> {
    let mut rows: u64 = 0;
    let mut body = Vec::new();
    for (key, value) in machine.rows() {
        rows += 1;
        for part in [&key, &value] {
            body.extend_from_slice(&length(part).to_le_bytes());
        }
        body.extend_from_slice(&key);
        body.extend_from_slice(&value);
    }
    [&MAGIC[..], &FORMAT.to_le_bytes(), &rows.to_le_bytes(), &body].concat()
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
