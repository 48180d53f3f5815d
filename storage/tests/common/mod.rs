//! What several tests of the log share: a plain model of it, and a way to live with a log for a while.

#![allow(dead_code, reason = "every test file takes what it needs of this")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_storage::{Disk, Done, Log, LogConfig, StorageError};
use tokio::sync::oneshot;

/// Segments and a cache so small that every test meets their ends.
pub(crate) const SMALL: LogConfig = LogConfig {
    journal: 7,
    segment_bytes: 4096,
    cache_bytes: 600,
    // A machine that stands still makes no disk slow here.
    slow_after: Duration::from_secs(3600),
    #[cfg(feature = "mutants")]
    ack_before_sync: false,
};

/// What a log should hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) entries: BTreeMap<u64, Vec<u8>>,
    pub(crate) vote: Option<Vec<u8>>,
    pub(crate) committed: Option<Vec<u8>>,
    pub(crate) purged: Option<(u64, Vec<u8>)>,
    pub(crate) shelved: u64,
}

/// What is asked of a log, in numbers that make sense in any state.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Append {
        sizes: Vec<u16>,
    },
    Vote(u8),
    Committed(u8),
    /// Drop so many from the end.
    Truncate {
        count: u8,
    },
    /// Drop so many from the front, possibly beyond the end.
    Purge {
        count: u8,
    },
    Shelved(u64),
}

/// A model and the log that should be like it.
pub(crate) struct Pair {
    pub(crate) model: Model,
    /// Where the next entry goes.
    next: u64,
    /// Gives every entry bytes of its own.
    salt: u8,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self { model: Model::default(), next: 0, salt: 0 }
    }

    /// Asks both the same.
    pub(crate) async fn call(&mut self, log: &Log, call: &Call) {
        let model = &mut self.model;
        match call {
            Call::Append { sizes } => {
                let mut entries = Vec::new();
                for &size in sizes {
                    self.salt = self.salt.wrapping_add(1);
                    // Zeros, too: they look like what was never written.
                    let data =
                        vec![if self.salt.is_multiple_of(3) { 0 } else { self.salt }; size.into()];
                    entries.push((self.next, Bytes::from(data.clone())));
                    model.entries.insert(self.next, data);
                    self.next += 1;
                }
                log.append(entries, Box::new(|outcome| outcome.expect("the append is good")));
            }
            Call::Vote(vote) => {
                model.vote = Some(vec![*vote; 9]);
                log.save_vote(vec![*vote; 9].into()).await.expect("the vote is good");
            }
            Call::Committed(mark) => {
                model.committed = Some(vec![*mark; 5]);
                log.save_committed(vec![*mark; 5].into());
            }
            Call::Truncate { count } => {
                let floor = model.purged.as_ref().map_or(0, |(upto, _)| upto + 1);
                self.next = (self.next.saturating_sub(u64::from(*count))).max(floor);
                model.entries.retain(|index, _| *index < self.next);
                log.truncate_from(self.next).await.expect("the truncation is good");
            }
            Call::Purge { count } => {
                let floor = model.purged.as_ref().map_or(0, |(upto, _)| *upto);
                // Purging up to 0 says something only where nothing was purged yet.
                let upto = floor + u64::from(*count);
                if *count > 0 || model.purged.is_none() {
                    model.entries.retain(|index, _| *index > upto);
                    model.purged = Some((upto, vec![*count; 7]));
                    self.next = self.next.max(upto + 1);
                }
                log.purge(upto, vec![*count; 7].into());
            }
            Call::Shelved(index) => {
                model.shelved = *index;
                log.mark_shelved(*index, Box::new(|outcome| outcome.expect("the mark is good")));
            }
        }
    }
}

/// What a log does hold, in the words of the model.
pub(crate) fn seen(log: &Log) -> Model {
    let state = log.state();
    let vec = |bytes: Bytes| bytes.to_vec();
    let entries = log.read(state.first, u64::MAX, usize::MAX).expect("the log can be read");
    assert_eq!(entries.last().map(|(index, _)| *index), state.last);
    assert!(state.last.is_none() || entries[0].0 == state.first);
    Model {
        entries: entries.into_iter().map(|(index, data)| (index, vec(data))).collect(),
        vote: state.vote.map(vec),
        committed: state.committed.map(vec),
        purged: state.purged.map(|(upto, marker)| (upto, vec(marker))),
        shelved: state.shelved,
    }
}

/// Opens a log, lets `act` use it while its scribe runs, and sees the scribe end.
pub(crate) async fn live<T>(
    disk: &Arc<dyn Disk>,
    config: LogConfig,
    act: impl AsyncFnOnce(Log) -> T,
) -> Result<T, StorageError> {
    let (log, scribe) = Log::open(Arc::clone(disk), config).await?;
    let ((), outcome) = tokio::join!(scribe.run(), act(log));
    Ok(outcome)
}

/// What a log holds that is opened just to look.
pub(crate) async fn look(disk: &Arc<dyn Disk>, config: LogConfig) -> Result<Model, StorageError> {
    live(disk, config, async |log| seen(&log)).await
}

/// Waits until all that was asked so far is durable.
pub(crate) async fn settled(log: &Log) {
    let (done, outcome) = done();
    log.append(Vec::new(), done);
    outcome.await.expect("the scribe answers").expect("the disk is good");
}

/// A `done` that can be awaited.
pub(crate) fn done() -> (Done, oneshot::Receiver<std::io::Result<()>>) {
    let (sender, receiver) = oneshot::channel();
    (Box::new(move |outcome| drop(sender.send(outcome))), receiver)
}

/// Repeatable numbers.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let a = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let b = (a ^ (a >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (b ^ (b >> 31)) % sides
    }
}
