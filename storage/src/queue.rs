//! The work that waits for the scribe: bounded in bytes, and taken as a whole, so that one sync serves all
//! that came together.
//!
//! Some work asks for a sync (entries, votes, purges, watermarks); some only rides along with the next one
//! (truncations, how far the log is committed), since losing it costs nothing but a repetition.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;

use crate::record::Record;

/// Called once with the outcome, on the scribe's thread. It must not block and not panic.
pub type Done = Box<dyn FnOnce(io::Result<()>) + Send>;

/// What a piece of work costs in memory besides its bytes; a rough number.
const JOB_BYTES: usize = 64;

/// One piece of work.
pub(crate) struct Job {
    pub(crate) records: Vec<Record>,
    /// The stamp of the first entry among the records.
    pub(crate) stamp: u64,
    pub(crate) done: Option<Done>,
}

/// What waits.
#[derive(Default)]
pub(crate) struct Queue {
    jobs: VecDeque<Job>,
    /// The newest word on how far the log is committed; older ones are of no use.
    committed: Option<Bytes>,
    /// Something waits that asks for a sync.
    is_urgent: bool,
    /// What waits and what the scribe has taken and not finished.
    bytes: usize,
}

impl Queue {
    /// Puts work behind the other work.
    pub(crate) fn push(&mut self, job: Job, is_urgent: bool) {
        self.bytes += job.bytes();
        self.is_urgent |= is_urgent;
        self.jobs.push_back(job);
    }

    /// Notes how far the log is committed.
    pub(crate) fn commit(&mut self, committed: Bytes) {
        self.committed = Some(committed);
    }

    /// How many bytes wait or are being written.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// All that waits, if something in it asks for a sync, or if this is the end. What rides along goes
    /// last: a torn write loses the last first.
    pub(crate) fn take(&mut self, is_end: bool) -> Option<VecDeque<Job>> {
        if !self.is_urgent && !is_end {
            return None;
        }
        self.is_urgent = false;
        let mut jobs = std::mem::take(&mut self.jobs);
        if let Some(committed) = self.committed.take() {
            let job = Job { records: vec![Record::Committed(committed)], stamp: 0, done: None };
            self.bytes += job.bytes();
            jobs.push_back(job);
        }
        (!jobs.is_empty()).then_some(jobs)
    }

    /// Says that work which was taken is finished.
    pub(crate) fn finish(&mut self, bytes: usize) {
        self.bytes -= bytes;
    }
}

impl Job {
    /// What it counts for.
    pub(crate) fn bytes(&self) -> usize {
        let record = |record: &Record| JOB_BYTES + record.framed();
        JOB_BYTES + self.records.iter().map(record).sum::<usize>()
    }
}
