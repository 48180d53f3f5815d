//! The targets: every place where bytes of others are read.

mod frame;
mod handshake;
mod journal;
mod reader;
mod snapshot;
mod wire;

pub use frame::Frames;
pub use handshake::Handshakes;
pub use journal::Journals;
pub use reader::Readers;
pub use snapshot::Snapshots;
pub use wire::Wire;

use crate::Target;

/// All of them.
pub fn all() -> Vec<Box<dyn Target>> {
    vec![
        Box::new(Frames::new()),
        Box::new(Handshakes::new()),
        Box::new(Readers::new()),
        Box::new(Snapshots::new()),
        Box::new(Wire::new()),
        Box::new(Journals::new()),
    ]
}
