//! The fencer: a small second process that ends what may no longer run, whatever else is stopped or killed.
//!
//! ```text
//!   runner ──Ward──▶ fencer ──▶ CMD and all that comes of it      renewed: Until{term_at, kill_at}
//!   node ───Guard──▶ fencer ──▶ (the node itself, by its pidfd)   renewed: Until{kill_at}
//!            ▲ one line: orders down, acknowledgements and the end up; its end is the parent's end
//! ```
//!
//! A promise that is kept by the process which made it is broken when that process is stopped. So the
//! deadline lies with another one, which has nothing else to do: single threaded, no runtime, no heap to
//! speak of, asleep in `poll` until a line speaks, a child ends or the timer of `CLOCK_BOOTTIME` rings.
//!
//! The parent's side is [`Ward`] and [`Guard`]; an extension counts once it was acknowledged. The other side
//! is [`main`], to which a program hands over at its very beginning when its first argument is [`CALL`]. What
//! is decided there stands in `charge` as a pure core.
//!
//! What it can prove: that a tree of processes is empty, by being its reaper and having no child left. What
//! it cannot: docs/adr/0017.
//!
//! Not here: leases and names. Whoever has a lease says until when. Linux only.

mod cgroup;
mod charge;
mod error;
mod guard;
mod kin;
mod line;
mod process;
mod tree;
mod ward;
mod words;

pub use charge::{Status, Until, Why};
pub use error::{Gone, SpawnError};
pub use guard::{Guard, GuardOrders, none_is_left};
pub use process::main;
pub use ward::{Ending, Orders, Streams, Ward};

/// The first argument of a program that is to be a fencer.
pub const CALL: &str = "--fencer";

/// Where a program finds itself, also after its file was replaced by that of another release.
pub const MYSELF: &str = "/proc/self/exe";
