//! What can go wrong with stored state and with terms. `apply` itself cannot fail: it answers.

/// An invariant does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant} does not hold: {what}")]
pub struct Broken {
    /// Its number in `docs/INVARIANTS.md`, or `state` for what only this room relies on.
    pub invariant: &'static str,
    /// What was found.
    pub what: &'static str,
}

/// Rows that are not the state of a registry. Nothing was built of them. Reading the same rows again gives
/// the same error: rebuild the state from a snapshot or from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// The header row is missing, so nothing says how far the rows reach.
    #[error("the header row is missing")]
    NoHeader,
    /// A key that no row of a registry has.
    #[error("a row's key of kind {kind:#04x} cannot be read")]
    Key {
        /// Its first byte; 0 when it has none.
        kind: u8,
    },
    /// A row that a later release wrote. That release can read it.
    #[error("a row of kind {kind:#04x} has version {version}, which this release does not know")]
    Version {
        /// The first byte of its key.
        kind: u8,
        /// The version it has.
        version: u8,
    },
    /// The state of a cluster that has agreed on more than this release understands. A later one can read it.
    #[error("the state has feature level {level}, which this release does not know")]
    Level {
        /// The level it has.
        level: u16,
    },
    /// A row whose value cannot be read.
    #[error("the value of a row of kind {kind:#04x} cannot be read")]
    Value {
        /// The first byte of its key.
        kind: u8,
    },
    /// A key that does not come after the key before it.
    #[error("the rows are not in the order of their keys, or one of them came twice")]
    Order,
    /// Each row can be read, and together they are no state that commands lead to.
    #[error("the rows contradict each other: {0}")]
    Broken(#[from] Broken),
}

/// No epoch is left for a cluster that begins anew from this state. Nothing was changed, and trying again
/// gives the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no epoch is left above generation {generation} and index {index}")]
pub struct Outgrown {
    /// The generation that would have to be risen above.
    pub generation: u16,
    /// The index that would have to be risen above.
    pub index: u64,
}

/// Bytes that are not a snapshot. Nothing was built of them. Reading the same bytes again gives the same
/// error: take another snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The bytes do not begin as a snapshot does.
    #[error("these bytes are not a snapshot")]
    Magic,
    /// A snapshot that a later release wrote. That release can read it.
    #[error("the snapshot has format {format}, which this release does not know")]
    Format {
        /// The format it has.
        format: u32,
    },
    /// The bytes end before the snapshot does.
    #[error("the snapshot is cut short")]
    Short,
    /// Bytes follow the last row.
    #[error("{bytes} bytes follow the end of the snapshot")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// Its rows are not the state of a registry.
    #[error(transparent)]
    Row(#[from] RowError),
}

/// Lease terms that no wait can be computed from. Nothing was changed; correct the configuration.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsError {
    /// The drift is not a rate, or so large that a lease would mean nothing.
    #[error("a drift of {drift} is not within 0 and {drift_max}")]
    Drift {
        /// What was asked for.
        drift: f64,
        /// The most that is accepted.
        drift_max: f64,
    },
}
