//! Why there is no figure. Whatever it is, nothing stays behind: a probe's process is killed with it.

use std::time::Duration;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Nothing was measured; ask again with another word.
    #[error("no row is called {asked}; there are {there}")]
    NoSuchRow {
        /// The word that was given.
        asked: String,
        /// The words that are known.
        there: String,
    },
    /// Nothing was measured; ask again with another word.
    #[error("{row} has no side {asked}; there are {there}")]
    NoSuchSide {
        /// The row that was asked for.
        row: &'static str,
        /// The word that was given.
        asked: String,
        /// The words that are known.
        there: String,
    },
    /// The system refused a thread, a process or a look at its accounts. Trying again may help.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The workload ended early. That is a defect of what is measured: do not trust the other rows.
    #[error("the workload ended without a figure")]
    NoFigure,
    /// A node of the measurement did not start, or found no cluster. Trying again may help.
    #[error("a node of the measurement does not serve: {why}")]
    NoNode {
        /// What it said.
        why: String,
    },
    /// Something that was sent did not come back. That is a defect of what is measured, unless the machine
    /// stood still.
    #[error("waited in vain for {what}")]
    Lost {
        /// What was waited for.
        what: &'static str,
    },
    /// The probe's process failed; it has ended.
    #[error("{probe} came to nothing: {why}")]
    Failed {
        /// Which probe.
        probe: String,
        /// What it said, or how it ended.
        why: String,
    },
    /// The probe's process was killed. Either the machine stood still, or what is measured lost a wake-up.
    #[error("{probe} was killed after {limit:?}")]
    Late {
        /// Which probe.
        probe: String,
        /// How long it was given.
        limit: Duration,
    },
}

impl BenchError {
    pub(crate) fn system(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::System { doing: doing.into(), source }
    }
}
