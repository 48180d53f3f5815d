//! What every source of addresses is: something that is looked at again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_env::BoxFuture;

use crate::Address;

/// No source is believed to know more nodes than this; what is beyond is left out, and the report says so.
pub(crate) const CANDIDATES_MAX: usize = 1024;

/// No answer of a source is longer.
pub(crate) const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a source says of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// A node is there, or is about to be. Whether it is ready for others is not asked: a node that waits for
    /// its first peer is never ready before it was found.
    Present,
    /// The node there is about to leave. It is kept, and not newly proposed.
    Draining,
}

/// Addresses, and how each of them stands.
pub type Candidates = BTreeMap<Address, Standing>;

/// What one look at a source gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// All that the source knows at the moment.
    Snapshot(Candidates),
    /// The source could not be asked, or its answer was not understood. It says nothing about any node.
    Error(String),
}

/// A source of addresses.
///
/// Each runs in a task of its own, and holds nothing that another would wait for. One that does not answer
/// within its patience is told as an error, and looked at again later.
pub trait Source: Send {
    /// Looks once. The first look answers as soon as it can; a later one may wait until something has
    /// changed, where the source can tell. May be dropped at any await.
    fn look(&mut self) -> BoxFuture<'_, Sighting>;

    /// How often it wants to be looked at, and how long one look may take.
    fn pace(&self) -> Pace;
}

/// The rhythm of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Between an answer and the next look.
    pub rest: Duration,
    /// What a look may take before it is given up.
    pub patience: Duration,
}

impl Pace {
    /// A source that is asked now and then and answers at once.
    pub(crate) const fn poll(rest: Duration) -> Self {
        Self { rest, patience: Duration::from_secs(15) }
    }
}

impl From<Result<Candidates, String>> for Sighting {
    fn from(found: Result<Candidates, String>) -> Self {
        match found {
            Ok(candidates) => Self::Snapshot(candidates),
            Err(why) => Self::Error(why),
        }
    }
}

/// Addresses that are simply there.
pub(crate) fn present(addresses: impl IntoIterator<Item = Address>) -> Candidates {
    addresses.into_iter().map(|address| (address, Standing::Present)).collect()
}
