//! What is decided: the replicated state machine of quorate, and nothing that could wait.
//!
//! ```text
//!             Command ──▶ ┌─────────┐ ──▶ Verdict    to whoever proposed
//!   At { index, term } ──▶│ Machine │ ──▶ [Effect]   to whoever acts or watches
//!                         └────┬────┘
//!                         rows │ snapshot            to whoever remembers
//! ```
//!
//! A command comes out of the log, is applied, and is answered; the state is a function of the log alone
//! (I11), so all replicas agree without talking. A refusal is a verdict. Beside the machine stand the pure
//! cores that surround it: the ring, which says to which node a name falls, the lease, whose two sides
//! decide when silence is death, and the available names, which are no state of the machine.
//!
//! Not here: threads, tasks, sockets, files, clocks, dice. Time never enters the log; where a core needs it,
//! it is a parameter.
//!
//! I1 and I2 hold in [`Machine`], I3 and I4 as far as clocks go in [`lease`], I11 everywhere.
//!
//! Read next: `command.rs`, then `machine.rs`, then the noun that you came for.

mod command;
mod verdict;

mod effect;

mod claims;
mod counters;
mod level;
mod machine;
mod names;
mod nodes;
mod properties;
mod query;
mod sessions;

mod attempts;
mod placement;
mod singletons;
mod spec;

mod rules;
mod topology;

mod once;

mod anew;
mod changes;
mod frozen;
mod rows;
pub mod snapshot;

pub mod available;
pub mod lease;
mod ring;

mod error;

pub use attempts::{Attempts, Sequel};
pub use command::{Bond, Claim, Command, Deed, Ending, Evidence, Once, Op, SessionOwner};
pub use effect::{Effect, ReleaseCause};
pub use error::{Broken, Outgrown, RowError, SnapshotError, TermsError};
pub use frozen::Frozen;
pub use lease::{Grantor, Holder, Terms};
pub use level::Level;
pub use machine::{At, Machine};
pub use names::Registration;
pub use nodes::Node;
pub use placement::{Blocked, Score, Standing};
pub use properties::{Bearer, Property};
pub use query::{Keys, LabelTest, LabelTestError, Query};
pub use ring::Ring;
pub use rows::{Changed, Loader, Row};
pub use rules::{
    Explanation, Judgement, Lanes, NodeFacts, NodeRole, Passed, Rate, RoleError, Rule, Rules,
    RulesError, Selector, Stance, TextError, check_labels,
};
pub use sessions::Session;
pub use singletons::{Candidate, Checkpoint, Grant, Legacy, Past, Phase, Singleton};
pub use spec::{Company, Exec, Pin, Restart, Restarts, Spec};
pub use verdict::{Holding, Refusal, Verdict};
