//! Where other nodes may be: sources of addresses, and the one view that they make together.
//!
//! ```text
//!   spec ──▶ sources/* ──look()──▶ Sighting ──▶ View (pure) ──▶ Proposal ──▶ whoever dials
//!   "dns+srv://…"                  snapshot       ▲   │
//!                                  or error       │   └──▶ Explanation
//!                     Word: linked, refused, … ───┘
//! ```
//!
//! It proposes addresses and decides nothing: who belongs to the cluster is in the log. So it is built to be
//! slow to forget. A source that fails takes nothing out of the view; what is missing from an answer must be
//! missed again and again, or be out of reach as well; what is linked stays as long as its link; and
//! however a source flaps, proposals are dealt out at a bounded pace.
//!
//! Not here: links, handshakes and members. Dialling belongs to the mesh, except in [`survey`], which opens a
//! connection to each candidate and closes it at once, to say for `quorate doctor` whether anybody is there.

mod address;
mod aside;
mod discovery;
mod dns;
mod explain;
mod http;
mod list;
mod locator;
mod pause;
mod source;
mod sources;
mod spec;
mod survey;
mod view;

pub use address::{Address, AddressError};
pub use discovery::Discovery;
pub use explain::{CandidateReport, Explanation, SourceReport, Verdict};
pub use locator::nearest;
pub use source::{Candidates, Pace, Sighting, Source, Standing};
pub use spec::{Asker, Spec, SpecError};
pub use survey::survey;
pub use view::{Input, Proposal, Rules, SourceId, View, Word};
