//! Comparers of epochs: what people put in front of a thing that a singleton touches, so that an owner who
//! was stopped, paused or cut off for too long changes nothing there any more.
//!
//! ```text
//!                        ┌─ FileGuard   a file, replaced whole
//!   Bar ──► BarFile ─────┤
//!  (pure)   (durable)    └─ Verifier    requests that say `Quorate-Singleton` and `Quorate-Epoch`
//! ```
//!
//! All of them obey one rule: the newest epoch that was ever seen for a name is the bar. What shows the same
//! epoch passes, what shows an older one is refused, and a newer one raises the bar, durably and before its
//! effect. A crash in between refuses more than it had to, never less.
//!
//! Databases compare by themselves; the statements stand in `sql/` and are explained in `docs/FENCING.md`.
//!
//! Not here: the decision who owns a name, proof that whoever shows an epoch was given it, and anything that
//! waits for a network. A guard believes what it is shown; it stands behind whatever tells friends from foes.
//!
//! Invariant I6 ends at the cluster's edge; this carries it on to what is outside.

mod bar;
mod bar_file;
mod denied;
mod file_guard;
mod replace;
mod verifier;

pub use bar::{Bar, Refusal, Standing};
pub use bar_file::{BarFile, KeepError};
pub use denied::{Denied, Problem};
pub use file_guard::{FileError, FileGuard};
pub use quorate_vocab::{Epoch, Name, NameError, Token};
pub use verifier::{EPOCH, SINGLETON, Unmarked, Verifier};
