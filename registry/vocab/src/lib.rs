//! The nouns that all rooms share: values only, no behaviour that could wait, fail or surprise.
//!
//! One word, one meaning; `docs/GLOSSARY.md` is the law. A type stands here when two rooms that must not
//! know each other speak of the same thing.
//!
//! Not here: anything that reads a clock, a disk or a socket.

mod epoch;
mod lane;
mod name;
mod node;
mod pid;
mod time;

pub use epoch::{Epoch, Index, Token};
pub use lane::Lane;
pub use name::{Name, NameError};
pub use node::{Boot, ClusterId, NodeId, NodeName, SessionId};
pub use pid::{Pid, Ref};
pub use time::Time;
