//! The sheet that a letter is written on.
//!
//! What is short is written one after another, into memory that a thread keeps for its next letter. A long
//! [blob](crate::Blob) stays where it lies, and the sheet only knows its place; so megabytes are not copied
//! to be sent, and the letter says the same, byte by byte, as if they were.

use std::cell::Cell;

use bytes::Bytes;

use crate::blob;

/// Bytes that are shorter are copied: that is cheaper than to share them.
pub(crate) const SHARED_BYTES_MIN: usize = 64 << 10;

/// What a thread keeps in stock for its next letter.
const TEXT_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static STOCK: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A letter as it is written.
#[derive(Debug, Default)]
pub(crate) struct Sheet {
    /// All but the long blobs.
    pub(crate) text: Vec<u8>,
    /// Each lies behind so many bytes of the text.
    blobs: Vec<(usize, Bytes)>,
    blob_bytes: usize,
}

/// How far a sheet is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    text: usize,
    blobs: usize,
    blob_bytes: usize,
}

impl Sheet {
    /// How long the letter is by now.
    pub(crate) fn len(&self) -> usize {
        self.text.len() + self.blob_bytes
    }

    /// Appends bytes; those of a blob that is being written are shared where they are many.
    #[inline]
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        if bytes.len() >= SHARED_BYTES_MIN
            && let Some(shared) = blob::lent(bytes)
        {
            self.blob_bytes += shared.len();
            self.blobs.push((self.text.len(), shared));
        } else {
            self.text.extend_from_slice(bytes);
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { text: self.text.len(), blobs: self.blobs.len(), blob_bytes: self.blob_bytes }
    }

    /// Cuts off what was written since.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.text.truncate(mark.text);
        self.blobs.truncate(mark.blobs);
        self.blob_bytes = mark.blob_bytes;
    }

    pub(crate) fn clear(&mut self) {
        self.rewind(Mark { text: 0, blobs: 0, blob_bytes: 0 });
    }

    /// The letter in parts, when there are blobs in it that were not copied; else all of it is in the text.
    pub(crate) fn take_parts(&mut self) -> Option<Vec<Bytes>> {
        if self.blobs.is_empty() {
            return None;
        }
        let (text, mut from) = (Bytes::copy_from_slice(&self.text), 0);
        let mut parts = Vec::with_capacity(2 * self.blobs.len() + 1);
        for (to, blob) in std::mem::take(&mut self.blobs) {
            parts.extend([text.slice(std::mem::replace(&mut from, to)..to), blob]);
        }
        parts.push(text.slice(from..));
        self.clear();
        parts.retain(|part| !part.is_empty());
        Some(parts)
    }

    /// The letter in one piece.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        match self.take_parts() {
            None => self.text.into(),
            Some(mut parts) if parts.len() == 1 => parts.remove(0),
            Some(parts) => parts.concat().into(),
        }
    }
}

/// Gives a sheet to write a letter on; its text lies where the thread's last one did, so that a small letter
/// allocates nothing. Whoever writes a letter while another is written gets memory of its own.
#[inline]
pub(crate) fn on_a_sheet<R>(write: impl FnOnce(&mut Sheet) -> R) -> R {
    let text = STOCK.try_with(Cell::take).unwrap_or_default();
    let mut sheet = Sheet { text, ..Sheet::default() };
    let written = write(&mut sheet);
    let mut text = sheet.text;
    if text.capacity() <= TEXT_BYTES_MAX {
        text.clear();
        // A thread that ends has no use for it.
        let _ = STOCK.try_with(|stock| stock.set(text));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_within_a_letter_has_a_sheet_of_its_own_and_long_sheets_are_not_kept() {
        on_a_sheet(|outer| {
            outer.put(b"outer");
            on_a_sheet(|inner| {
                assert_eq!(inner.len(), 0);
                inner.put(b"inner");
            });
            assert_eq!(outer.text, b"outer");
        });
        on_a_sheet(|sheet| {
            assert!(sheet.text.is_empty() && sheet.text.capacity() > 0);
            sheet.text.resize(TEXT_BYTES_MAX + 1, 7);
        });
        on_a_sheet(|sheet| assert_eq!(sheet.text.capacity(), 0));
    }

    #[test]
    fn what_is_cut_off_leaves_no_blob_behind() {
        let mut sheet = Sheet::default();
        sheet.put(b"kept");
        let mark = sheet.mark();
        let blob = Bytes::from(vec![7; SHARED_BYTES_MIN]);
        blob::lending(&blob, |bytes| sheet.put(bytes));
        sheet.put(b"cut");
        assert_eq!((sheet.len(), sheet.text.len()), (4 + SHARED_BYTES_MIN + 3, 7));
        sheet.rewind(mark);
        assert_eq!(sheet.len(), 4);
        assert!(sheet.take_parts().is_none());
        assert_eq!(sheet.into_bytes(), &b"kept"[..]);
    }

    #[test]
    fn only_the_bytes_of_the_blob_that_is_written_are_shared() {
        let (blob, other) = (Bytes::from(vec![7; SHARED_BYTES_MIN]), vec![7; SHARED_BYTES_MIN]);
        let mut sheet = Sheet::default();
        sheet.put(&blob);
        blob::lending(&blob, |_| sheet.put(&other));
        assert_eq!(sheet.text.len(), 2 * SHARED_BYTES_MIN, "copied");
        blob::lending(&blob, |bytes| sheet.put(bytes));
        let parts = sheet.take_parts().unwrap();
        assert_eq!((parts.len(), parts[1].as_ptr()), (2, blob.as_ptr()));
    }
}
