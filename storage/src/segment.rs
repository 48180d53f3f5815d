//! One file of the journal: how it is named, how it begins, how it is made, and how it is read back.
//!
//! A segment is made whole before it gets its name: zero-filled, headed, synced, renamed, and the folder
//! synced. So a file that bears a segment's name was good once, and a crash in the midst of making one
//! leaves only a nameless rest, which nobody needs. The segment before it was synced to its end by then;
//! torn writes are possible in the last segment only.
//!
//! Not here: what the records of several segments say together (`journal`).

use std::sync::Arc;

use crate::cursor::Cursor;
use crate::disk::{Disk, File, Prepared};
use crate::error::StorageError;
use crate::record::{self, Fault, Found, Record, Seal};
use crate::sum::Sum;

const MAGIC: &[u8; 8] = b"quorateJ";
const VERSION: u32 = 1;
/// Where the magic stands in a file; the version follows it. Every format keeps both there.
const MAGIC_AT: usize = 21;

/// What the first record is called.
const HEADER: &str = "the segment's header";

/// What a segment is called while it is being made.
pub(crate) const UNNAMED: &str = "journal-next.tmp";

/// No segment is longer; what is longer was not written here.
pub(crate) const BYTES_MAX: u64 = 512 << 20;

/// The first record of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Whose journal.
    pub(crate) journal: u64,
    /// Which segment of it, from 1.
    pub(crate) segment: u64,
    /// How long the file is, for good.
    pub(crate) capacity: u64,
    /// The number of the last sync before this segment.
    pub(crate) batch: u64,
    /// What holds at its beginning.
    pub(crate) sum: Sum,
}

/// What follows a segment's header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Where the next record goes.
    pub(crate) end: usize,
    /// The batch of the last record.
    pub(crate) batch: u64,
    /// Where the first record of that batch begins.
    pub(crate) last: usize,
    /// How many bytes behind the end are to be cut: from a write that was never acknowledged.
    pub(crate) cut: usize,
}

/// A segment's file.
pub(crate) fn name(segment: u64) -> String {
    format!("journal-{segment:016x}.seg")
}

/// Which segment a file is, if it is one.
pub(crate) fn number(file: &str) -> Option<u64> {
    let digits = file.strip_prefix("journal-")?.strip_suffix(".seg")?;
    let number = u64::from_str_radix(digits, 16).ok()?;
    (name(number) == file).then_some(number)
}

impl Header {
    /// Its bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut body = MAGIC.to_vec();
        body.extend_from_slice(&VERSION.to_le_bytes());
        for number in [self.journal, self.segment, self.capacity, self.batch] {
            body.extend_from_slice(&number.to_le_bytes());
        }
        self.sum.write(&mut body);
        let mut out = Vec::new();
        record::frame(Seal::PLAIN, self.batch, record::KIND_HEADER, [&body, &[]], &mut out);
        out
    }

    /// Makes the segment, out of a file that was prepared if there is one; durable once the folder is synced.
    /// On an error there is at most a nameless rest, which the next attempt removes.
    pub(crate) async fn make(
        &self,
        disk: &dyn Disk,
        prepared: Option<Prepared>,
    ) -> std::io::Result<Arc<dyn File>> {
        let file: Arc<dyn File> = match prepared {
            Some(prepared) => prepared.await?.into(),
            None => {
                remove_unnamed(disk)?;
                disk.create(UNNAMED, self.capacity)?.into()
            }
        };
        file.write_at(0, &self.to_bytes())?;
        file.sync().await?;
        disk.rename(UNNAMED, &name(self.segment))?;
        Ok(file)
    }

    /// Reads the header of a whole segment, and how many bytes it takes.
    pub(crate) fn read(
        file: &str,
        bytes: &[u8],
        journal: u64,
        segment: u64,
    ) -> Result<(Self, usize), StorageError> {
        let mut front = Cursor(bytes.get(MAGIC_AT..).unwrap_or_default());
        if front.take(MAGIC.len()) != Some(MAGIC) {
            return Err(StorageError::ForeignFile { file: file.to_owned() });
        }
        let found = front.u32().unwrap_or(0);
        if found > VERSION {
            return Err(StorageError::NewerFormat { file: file.to_owned(), found, known: VERSION });
        }
        let corrupt = |why| StorageError::corrupt(file, 0, HEADER, why);
        let Found::Sound(frame) = record::look(Seal::PLAIN, bytes) else {
            return Err(corrupt("the header's checksum fails"));
        };
        let header = Self::parse(&frame.body).ok_or_else(|| corrupt("the header is no header"))?;
        if header.journal != journal {
            return Err(StorageError::ForeignJournal {
                file: file.to_owned(),
                expected: journal,
                found: header.journal,
            });
        }
        if header.segment != segment {
            return Err(corrupt("the file bears the name of another segment"));
        }
        if header.capacity != bytes.len() as u64 {
            return Err(StorageError::corrupt(
                file,
                bytes.len() as u64,
                HEADER,
                "the file is not as long as it was made",
            ));
        }
        Ok((header, frame.bytes))
    }

    fn parse(body: &[u8]) -> Option<Self> {
        let mut body = Cursor(body);
        body.take(MAGIC.len() + 4)?;
        let header = Self {
            journal: body.u64()?,
            segment: body.u64()?,
            capacity: body.u64()?,
            batch: body.u64()?,
            sum: Sum::read(&mut body)?,
        };
        // Syncs are counted one by one: nobody came so far, and counting on must not overflow.
        let is_countable = header.batch < 1 << 63;
        (body.rest().is_empty() && is_countable).then_some(header)
    }
}

/// Removes what is left of a segment in the making, if something is. Nobody was told of it.
pub(crate) fn remove_unnamed(disk: &dyn Disk) -> std::io::Result<()> {
    match disk.remove(UNNAMED) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Reads the records behind the header, gives each to `take`, and finds the end.
///
/// In the last segment, what does not fit may be a write that was under way when the power went;
/// everywhere else it is damage. A write that was under way belongs to the sync after the last good one,
/// lacks at least one sector, and nothing of a later sync is behind it: syncs come one after the other.
pub(crate) fn scan(
    file: &str,
    bytes: &[u8],
    from: usize,
    header: &Header,
    is_last: bool,
    mut take: impl FnMut(Record, usize, usize) -> Result<(), &'static str>,
) -> Result<Scan, StorageError> {
    let seal = Seal::new(header.journal, header.segment);
    let corrupt =
        |at: usize, why| StorageError::corrupt(file, at as u64, record::kind_at(bytes, at), why);
    let (mut at, mut batch, mut last) = (from, header.batch, from);
    let claimed = loop {
        match record::look_at(seal, bytes, at) {
            Found::Sound(frame) => {
                if frame.batch != batch && frame.batch != batch + 1 {
                    return Err(corrupt(at, "a record is out of the order of the syncs"));
                }
                let record = Record::read(&frame).ok_or_else(|| corrupt(at, "unknown record"))?;
                take(record, at, frame.bytes).map_err(|why| corrupt(at, why))?;
                if frame.batch != batch {
                    (batch, last) = (frame.batch, at);
                }
                at += frame.bytes;
            }
            Found::End => break None,
            Found::Broken(Fault::Length) => return Err(corrupt(at, "a length is damaged")),
            Found::Broken(Fault::Checksum { batch: claimed, has_zero_sector }) => {
                let is_of_last_sync = [0, batch, batch + 1].contains(&claimed);
                if !is_last || !has_zero_sector || !is_of_last_sync {
                    return Err(corrupt(at, "a checksum fails, and the record was written whole"));
                }
                break Some(claimed);
            }
        }
    };
    let cut = bytes[at..].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    if cut > 0 && !is_last {
        return Err(corrupt(at, "a record is missing"));
    }
    // A record that claims the last good batch was synced with it, once anything of a later one is there.
    let newest = if claimed == Some(batch) { batch } else { batch + 1 };
    if has_record_after(seal, &bytes[at..at + cut], newest) {
        return Err(corrupt(at, "a record is damaged, and records of later syncs are behind it"));
    }
    Ok(Scan { end: at, batch, last, cut })
}

/// Whether a sound record of a batch later than `newest` lies anywhere in `bytes`.
fn has_record_after(seal: Seal, bytes: &[u8], newest: u64) -> bool {
    (0..bytes.len()).step_by(record::ALIGN_BYTES).any(|at| {
        // Cheap in the common case, as hardly any place passes the check of its length.
        matches!(record::look(seal, &bytes[at..]), Found::Sound(frame) if frame.batch > newest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_segment_s_own_name_is_read_as_one() {
        assert_eq!(number(&name(0x1f)), Some(0x1f));
        for other in ["journal-1.seg", "journal-000000000000001F.seg", UNNAMED, "snapshot-1"] {
            assert_eq!(number(other), None);
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let sum = Sum {
            vote: Some(b"v".as_slice().into()),
            committed: None,
            purged: Some((4, b"m".as_slice().into())),
            shelved: 3,
            next: Some(9),
        };
        let mut header = Header { journal: 1, segment: 2, capacity: 4096, batch: 7, sum };
        for _ in 0..2 {
            let mut bytes = header.to_bytes();
            let length = bytes.len();
            bytes.resize(4096, 0);
            assert_eq!(Header::read("f", &bytes, 1, 2).unwrap(), (header.clone(), length));
            header.sum = Sum::default();
        }
    }
}
