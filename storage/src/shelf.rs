//! The door to the shelf: rows of applied state, which a restart takes down instead of replaying the log.
//!
//! Nothing on the shelf is the only copy of anything. It may forget, and it may fail to open: the journal's
//! watermark tells, and the state is rebuilt from the newest snapshot and the journal.

use std::io;

/// One row: its key, and its value or `None` when it is to be removed.
pub type Row = (Vec<u8>, Option<Vec<u8>>);

/// A small ordered store of rows.
pub trait Shelf: Send + Sync + 'static {
    /// Calls `take` with every row in the order of the keys.
    fn scan(&self, take: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<()>;

    /// One row.
    fn get(&self, key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Puts and removes rows: all of them or, after a crash, possibly none.
    fn commit(&self, rows: Vec<Row>) -> io::Result<()>;

    /// Removes every row.
    fn clear(&self) -> io::Result<()>;

    /// Makes what was committed durable, as far as the store can. Blocks.
    fn flush(&self) -> io::Result<()>;
}
