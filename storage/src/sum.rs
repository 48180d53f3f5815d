//! What all records before a place of the journal say together, entries' data aside. Every segment begins
//! with it, so older segments can be deleted, and so a segment proves that nothing before it was lost.
//!
//! Not here: any byte layout but its own, any file.

use bytes::Bytes;

use crate::cursor::Cursor;
use crate::record::Record;

/// What holds at a place of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
    /// Entries up to here are gone, and what the caller noted about that.
    pub(crate) purged: Option<(u64, Bytes)>,
    pub(crate) shelved: u64,
    /// The index of the next entry; `None` while there never was one, and then any will do.
    pub(crate) next: Option<u64>,
}

impl Sum {
    /// Takes a record; says why when it cannot stand here, and is then unchanged.
    pub(crate) fn take(&mut self, record: &Record) -> Result<(), &'static str> {
        match record {
            Record::Entry { index, .. } => {
                if self.next.is_some_and(|next| next != *index) {
                    return Err("an entry does not follow the entry before it");
                }
                self.next = Some(index.checked_add(1).ok_or("an index is beyond all numbers")?);
            }
            Record::Vote(vote) => self.vote = Some(vote.clone()),
            Record::Committed(committed) => self.committed = Some(committed.clone()),
            Record::Truncate { from } => {
                let floor = self.floor();
                self.next = self.next.map(|next| next.min((*from).max(floor)));
            }
            Record::Purge { upto, marker } => {
                let floor = upto.checked_add(1).ok_or("an index is beyond all numbers")?;
                if floor <= self.floor() {
                    return Err("a purge is behind the purge before it");
                }
                self.next = Some(self.next.map_or(floor, |next| next.max(floor)));
                self.purged = Some((*upto, marker.clone()));
            }
            Record::Shelved { index } => self.shelved = *index,
        }
        Ok(())
    }

    /// The lowest index that is not purged.
    pub(crate) fn floor(&self) -> u64 {
        self.purged.as_ref().map_or(0, |(upto, _)| upto + 1)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut text = |text: Option<&Bytes>| {
            out.push(u8::from(text.is_some()));
            let text = text.map_or(&[][..], |text| text);
            let count = u32::try_from(text.len()).expect("notes are bounded");
            out.extend_from_slice(&count.to_le_bytes());
            out.extend_from_slice(text);
        };
        text(self.vote.as_ref());
        text(self.committed.as_ref());
        text(self.purged.as_ref().map(|(_, marker)| marker));
        let upto = self.purged.as_ref().map_or(0, |(upto, _)| *upto);
        out.push(u8::from(self.next.is_some()));
        for number in [upto, self.shelved, self.next.unwrap_or(0)] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    pub(crate) fn read(bytes: &mut Cursor<'_>) -> Option<Self> {
        let mut text = || -> Option<Option<Bytes>> {
            let is_there = flag(bytes)?;
            let text = bytes.counted()?;
            Some(is_there.then(|| Bytes::copy_from_slice(text)))
        };
        let (vote, committed, marker) = (text()?, text()?, text()?);
        let has_next = flag(bytes)?;
        let (upto, shelved, next) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
        let purged = match marker {
            // `floor` could not be told.
            Some(_) if upto == u64::MAX => return None,
            marker => marker.map(|marker| (upto, marker)),
        };
        Some(Self { vote, committed, purged, shelved, next: has_next.then_some(next) })
    }
}

fn flag(bytes: &mut Cursor<'_>) -> Option<bool> {
    match bytes.take(1)? {
        [0] => Some(false),
        [1] => Some(true),
        _ => None,
    }
}
