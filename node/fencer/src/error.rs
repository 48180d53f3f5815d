//! What can go wrong on the parent's side.

use std::io;
use std::path::PathBuf;

/// A fencer could not be had. Nothing runs of what it was to run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// There was no starting it. Trying again helps if the machine was out of something.
    #[error("the fencer {program} could not be started: {source}")]
    Program {
        /// What was to be started.
        program: PathBuf,
        /// Why it was not.
        source: io::Error,
    },
    /// There was no speaking to it.
    #[error("no line to the fencer: {0}")]
    Line(#[from] io::Error),
    /// It started, and could not do what it was told.
    #[error("the fencer gave up: {0}")]
    GaveUp(String),
    /// It ended before it said that it was ready. Trying again may help.
    #[error("the fencer ended before it was ready")]
    Ended,
}

/// The fencer is gone, or does not take the order any more: what it was told before stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fencer did not take the order; what it took before stands")]
pub struct Gone;
