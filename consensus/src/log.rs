//! openraft's log store over the journal. It translates; the journal remembers.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use quorate_storage::Log;

use crate::types::{Entry, LogId, Types, Vote};
use crate::wire::{self, LogIdBytes, VoteBytes};

/// How many bytes of entries one read for replication takes, so that a request stays within a frame.
const READ_BYTES_MAX: usize = 512 * 1024;

#[derive(Clone)]
pub(crate) struct LogStore(pub(crate) Log);

/// Whether a log holds this very entry. Two logs with one entry in common have all before it in common, so
/// one look tells whether a log and a state that was applied up to there are of one story.
pub(crate) fn holds(log: &Log, id: LogId) -> io::Result<bool> {
    let found = log.read(id.index, id.index + 1, usize::MAX)?;
    let found = found.first().map(|(_, bytes)| wire::decode_entry(bytes)).transpose()?;
    Ok(found.is_some_and(|entry| entry.log_id == id))
}

/// The vote that a log has saved.
pub(crate) fn vote(log: &Log) -> io::Result<Option<Vote>> {
    let vote = log.state().vote;
    vote.map(|bytes| wire::decode::<VoteBytes>(&bytes).map(Into::into)).transpose()
}

impl LogStore {
    fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let entries = self.0.read(from, to, bytes_max)?;
        entries.iter().map(|(_, bytes)| wire::decode_entry(bytes)).collect()
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let state = self.0.state();
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        let present = state.last.map_or(0, |last| last + 1);
        self.read(from.max(state.first), to.min(present), usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, from: u64, to: u64) -> io::Result<Vec<Entry>> {
        self.read(from, to, READ_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        vote(&self.0)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.0.state();
        let last_purged_log_id = state
            .purged
            .map(|(_, bytes)| wire::decode::<LogIdBytes>(&bytes).map(LogId::from))
            .transpose()?;
        let last = match state.last {
            Some(last) => self.read(last, last + 1, usize::MAX)?.pop().map(|entry| entry.log_id),
            None => None,
        };
        Ok(LogState { last_purged_log_id, last_log_id: last.or(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.0.save_vote(wire::encode(&VoteBytes::from(*vote))).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        // Not forced to the disk: a restart only has to replay a little more, as no restarted leader serves
        // before it was elected anew (`enable_leader_restore` is off).
        if let Some(committed) = committed {
            self.0.save_committed(wire::encode(&LogIdBytes::from(committed)));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let committed = self.0.state().committed;
        committed.map(|bytes| wire::decode::<LogIdBytes>(&bytes).map(Into::into)).transpose()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries
            .into_iter()
            .map(|entry| (entry.log_id.index, wire::encode_entry(&entry)))
            .collect();
        self.0.append(entries, Box::new(|result| callback.io_completed(result)));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.0.truncate_from(last.map_or(0, |last| last.index + 1)).await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.0.purge(upto.index, wire::encode(&LogIdBytes::from(upto)));
        Ok(())
    }
}
