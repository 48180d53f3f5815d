//! One record of the journal, and how it lies in a file.
//!
//! ```text
//! 0    4          8      16   20    21    …    …
//! len  len check  batch  crc  kind  body  FF…  to a multiple of 8
//! ```
//!
//! `len` counts kind and body. `batch` is the number of the sync that covered the record. The checksum
//! covers everything but itself and the length check.
//!
//! What a torn write looks like decides this layout. A disk writes sectors, so a record that was not
//! synced lacks whole sectors, and those are still zero. Therefore no part of a sound record that fills
//! its share of a sector is all zero: the body is veiled, the record ends in 0xFF, and the length, whose
//! eight bytes never straddle two sectors, has a check of its own, so that a flipped length cannot point
//! into the zeros behind the end. A damaged record without a zero sector is then known to have been
//! synced once.
//!
//! Veil and checksum depend on the journal and the segment: what was left by another file never passes.
//!
//! Not here: what the records mean together (`sum`), and where they lie (`segment`).

use bytes::Bytes;

use crate::cursor::Cursor;

/// What stands before the body.
const HEAD_BYTES: usize = 21;

/// Where in a record its kind stands.
const KIND_AT: usize = 20;

/// A disk writes no less than this at once.
const SECTOR_BYTES: usize = 512;

/// Records begin at multiples of this.
pub(crate) const ALIGN_BYTES: usize = 8;

/// The longest entry.
pub(crate) const ENTRY_BYTES_MAX: usize = 64 << 20;

/// The longest vote, committed mark or purge marker: every segment's header repeats them.
pub(crate) const NOTE_BYTES_MAX: usize = 64 << 10;

/// What the journal may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// An entry of the log.
    Entry { index: u64, data: Bytes },
    /// The vote, from here on.
    Vote(Bytes),
    /// How far the log is known to be committed.
    Committed(Bytes),
    /// Entries at and above `from` are void.
    Truncate { from: u64 },
    /// Entries up to `upto` are no longer needed.
    Purge { upto: u64, marker: Bytes },
    /// The shelf was flushed up to here.
    Shelved { index: u64 },
}

/// The first record of a segment, which `segment` reads.
pub(crate) const KIND_HEADER: u8 = 1;
const KIND_ENTRY: u8 = 2;
const KIND_VOTE: u8 = 3;
const KIND_COMMITTED: u8 = 4;
const KIND_TRUNCATE: u8 = 5;
const KIND_PURGE: u8 = 6;
const KIND_SHELVED: u8 = 7;

/// What a record of an entry is called.
pub(crate) const ENTRY: &str = "entry";

/// What the record at a place calls itself. Of a damaged one, that may be what is damaged.
pub(crate) fn kind_at(segment: &[u8], at: usize) -> &'static str {
    match segment.get(at + KIND_AT) {
        Some(&KIND_ENTRY) => ENTRY,
        Some(&KIND_VOTE) => "the vote",
        Some(&KIND_COMMITTED) => "the committed mark",
        Some(&KIND_TRUNCATE) => "a truncation",
        Some(&KIND_PURGE) => "a purge",
        Some(&KIND_SHELVED) => "the shelf's mark",
        _ => "a record",
    }
}

/// What ties records to their journal and segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seal {
    seed: u32,
    veil: [u8; 8],
}

/// What lies at a place of a segment.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nothing was written here.
    End,
    /// A record as it was written.
    Sound(Frame),
    /// Something else.
    Broken(Fault),
}

/// A sound record.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) batch: u64,
    pub(crate) kind: u8,
    pub(crate) body: Bytes,
    /// How many bytes of the file it takes.
    pub(crate) bytes: usize,
}

/// How a record is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The length does not agree with its check, or points out of the file.
    Length,
    /// The checksum fails. The claimed batch is as the bytes say.
    Checksum { batch: u64, has_zero_sector: bool },
}

impl Seal {
    /// For the first record of every segment, which must be readable before anything is known.
    pub(crate) const PLAIN: Self = Self { seed: 0, veil: [0; 8] };

    /// For the other records of a segment.
    pub(crate) fn new(journal: u64, segment: u64) -> Self {
        let mixed = mix(mix(journal) ^ segment);
        // No byte of the veil is zero, so zeros in a body never stay zeros.
        let veil = (mixed | 0x0101_0101_0101_0101).to_le_bytes();
        Self { seed: (mix(mixed) >> 32) as u32, veil }
    }

    fn checksum(self, len: u32, covered: [&[u8]; 2]) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.seed);
        hasher.update(&len.to_le_bytes());
        covered.iter().for_each(|part| hasher.update(part));
        hasher.finalize()
    }

    fn check_of(self, len: u32) -> u32 {
        !len ^ self.seed
    }

    /// Veils or unveils.
    fn veil(self, body: &mut [u8]) {
        let word = u64::from_le_bytes(self.veil);
        let mut chunks = body.chunks_exact_mut(8);
        for chunk in &mut chunks {
            let eight: [u8; 8] = (&*chunk).try_into().expect("a chunk is eight bytes");
            chunk.copy_from_slice(&(u64::from_le_bytes(eight) ^ word).to_le_bytes());
        }
        for (byte, veil) in chunks.into_remainder().iter_mut().zip(self.veil) {
            *byte ^= veil;
        }
    }
}

/// How many bytes of a file a record with such a body takes.
pub(crate) const fn framed(body_bytes: usize) -> usize {
    // At least one byte of 0xFF closes it.
    (HEAD_BYTES + body_bytes + ALIGN_BYTES) & !(ALIGN_BYTES - 1)
}

/// Writes a frame behind what `out` holds.
pub(crate) fn frame(seal: Seal, batch: u64, kind: u8, body: [&[u8]; 2], out: &mut Vec<u8>) {
    let start = out.len();
    let body_bytes = body[0].len() + body[1].len();
    let len = u32::try_from(1 + body_bytes).expect("bodies are bounded");
    out.resize(start + framed(body_bytes), 0xFF);
    let out = &mut out[start..];
    out[..4].copy_from_slice(&len.to_le_bytes());
    out[4..8].copy_from_slice(&seal.check_of(len).to_le_bytes());
    out[8..16].copy_from_slice(&batch.to_le_bytes());
    out[KIND_AT] = kind;
    let (first, second) = out[HEAD_BYTES..HEAD_BYTES + body_bytes].split_at_mut(body[0].len());
    first.copy_from_slice(body[0]);
    second.copy_from_slice(body[1]);
    seal.veil(&mut out[HEAD_BYTES..HEAD_BYTES + body_bytes]);
    let crc = seal.checksum(len, [&out[8..16], &out[KIND_AT..]]);
    out[16..KIND_AT].copy_from_slice(&crc.to_le_bytes());
}

/// Looks at the front of `bytes`, which reach to the end of the segment.
pub(crate) fn look(seal: Seal, bytes: &[u8]) -> Found {
    let mut head = Cursor(bytes);
    let (Some(len), Some(check)) = (head.u32(), head.u32()) else {
        return Found::End;
    };
    if len == 0 && check == 0 {
        return Found::End;
    }
    let body_bytes = (len as usize).wrapping_sub(1);
    let fits = len > 0 && body_bytes < bytes.len() && framed(body_bytes) <= bytes.len();
    if !fits || check != seal.check_of(len) {
        return Found::Broken(Fault::Length);
    }
    let bytes = &bytes[..framed(body_bytes)];
    let batch = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes"));
    let crc = u32::from_le_bytes(bytes[16..20].try_into().expect("four bytes"));
    if crc != seal.checksum(len, [&bytes[8..16], &bytes[20..]]) {
        return Found::Broken(Fault::Checksum { batch, has_zero_sector: false });
    }
    let mut body = bytes[HEAD_BYTES..HEAD_BYTES + body_bytes].to_vec();
    seal.veil(&mut body);
    Found::Sound(Frame { batch, kind: bytes[KIND_AT], body: body.into(), bytes: bytes.len() })
}

/// Looks at a place of a whole segment, where sectors can be told.
pub(crate) fn look_at(seal: Seal, segment: &[u8], at: usize) -> Found {
    match look(seal, &segment[at..]) {
        Found::Broken(Fault::Checksum { batch, .. }) => {
            let len = u32::from_le_bytes(segment[at..at + 4].try_into().expect("four bytes"));
            let end = at + framed(len as usize - 1);
            let has_zero_sector = has_zero_sector(segment, at, end);
            Found::Broken(Fault::Checksum { batch, has_zero_sector })
        }
        found => found,
    }
}

/// Whether the share of some sector in `from..to` is all zero.
fn has_zero_sector(segment: &[u8], from: usize, to: usize) -> bool {
    let mut at = from;
    while at < to {
        let end = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(to);
        if segment[at..end].iter().all(|&byte| byte == 0) {
            return true;
        }
        at = end;
    }
    false
}

impl Record {
    /// Writes it behind what `out` holds.
    pub(crate) fn write(&self, seal: Seal, batch: u64, out: &mut Vec<u8>) {
        let (kind, number, text): (u8, Option<u64>, &[u8]) = match self {
            Self::Entry { index, data } => (KIND_ENTRY, Some(*index), data),
            Self::Vote(vote) => (KIND_VOTE, None, vote),
            Self::Committed(committed) => (KIND_COMMITTED, None, committed),
            Self::Truncate { from } => (KIND_TRUNCATE, Some(*from), &[]),
            Self::Purge { upto, marker } => (KIND_PURGE, Some(*upto), marker),
            Self::Shelved { index } => (KIND_SHELVED, Some(*index), &[]),
        };
        let number = number.map(u64::to_le_bytes);
        frame(seal, batch, kind, [number.as_ref().map_or(&[], |n| n), text], out);
    }

    /// How many bytes of a file it takes.
    pub(crate) fn framed(&self) -> usize {
        framed(match self {
            Self::Entry { data, .. } => 8 + data.len(),
            Self::Vote(vote) => vote.len(),
            Self::Committed(committed) => committed.len(),
            Self::Truncate { .. } | Self::Shelved { .. } => 8,
            Self::Purge { marker, .. } => 8 + marker.len(),
        })
    }

    /// Reads what a sound frame says; `None` when no record of this format says that.
    pub(crate) fn read(frame: &Frame) -> Option<Self> {
        let mut body = Cursor(&frame.body);
        let record = match frame.kind {
            KIND_ENTRY => Self::Entry { index: body.u64()?, data: frame.body.slice(8..) },
            KIND_VOTE => Self::Vote(frame.body.clone()),
            KIND_COMMITTED => Self::Committed(frame.body.clone()),
            KIND_TRUNCATE if frame.body.len() == 8 => Self::Truncate { from: body.u64()? },
            KIND_PURGE => Self::Purge { upto: body.u64()?, marker: frame.body.slice(8..) },
            KIND_SHELVED if frame.body.len() == 8 => Self::Shelved { index: body.u64()? },
            _ => return None,
        };
        Some(record)
    }
}

/// Spreads a number over all bits (the finisher of splitmix64).
fn mix(number: u64) -> u64 {
    let a = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    c ^ (c >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Record> {
        let text = Bytes::from_static;
        vec![
            Record::Entry { index: 7, data: text(b"") },
            Record::Entry { index: u64::MAX, data: Bytes::from(vec![0; 3000]) },
            Record::Vote(text(b"v")),
            Record::Committed(text(b"")),
            Record::Truncate { from: 4 },
            Record::Purge { upto: 9, marker: text(b"marker") },
            Record::Shelved { index: 0 },
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let seal = Seal::new(1, 2);
        for record in all() {
            let mut out = Vec::new();
            record.write(seal, 5, &mut out);
            assert_eq!(out.len(), record.framed());
            assert_eq!(out.len() % ALIGN_BYTES, 0);
            assert!(!has_zero_sector(&out, 0, out.len()), "zeros in a body must not stay zeros");
            let Found::Sound(frame) = look(seal, &out) else { panic!("{record:?} is not sound") };
            assert_eq!((frame.batch, frame.bytes), (5, out.len()));
            assert_eq!(Record::read(&frame), Some(record));
        }
    }

    #[test]
    fn no_flipped_bit_passes_and_none_looks_torn() {
        let seal = Seal::new(1, 2);
        for record in all() {
            let mut out = Vec::new();
            record.write(seal, 5, &mut out);
            let length = out.len();
            out.resize(length + 2048, 0);
            for bit in 0..length * 8 {
                out[bit / 8] ^= 1 << (bit % 8);
                match look_at(seal, &out, 0) {
                    Found::Broken(Fault::Length) => {}
                    Found::Broken(Fault::Checksum { has_zero_sector, .. }) => {
                        assert!(!has_zero_sector, "{record:?}: bit {bit} looks torn");
                    }
                    found => panic!("{record:?}: bit {bit} passed: {found:?}"),
                }
                out[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn a_record_of_another_segment_or_journal_is_not_sound() {
        let mut out = Vec::new();
        Record::Shelved { index: 1 }.write(Seal::new(1, 2), 1, &mut out);
        for seal in [Seal::new(1, 3), Seal::new(2, 2), Seal::PLAIN] {
            assert!(matches!(look(seal, &out), Found::Broken(Fault::Length)));
        }
    }
}
