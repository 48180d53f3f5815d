//! Hostile bytes for the decoders of quorate: whatever a peer, a file or a shelf may hold.
//!
//! ```text
//!   encoders ─▶ corpus ─▶ mutate (seed, run) ─▶ input ─▶ Target::run ─▶ accepted | refused | a panic
//!                                                            └─ time, memory: bounded, or it is a finding
//! ```
//!
//! An input is a function of its target, the seed and the run's number, and of nothing that was seen before.
//! So a finding is repeated by one short line, whoever found it and after however many runs.
//!
//! A target is more than "it does not crash": each states what must hold of inputs that are accepted, such as
//! that they encode back to themselves, or that nobody without the cookie is let in.
//!
//! Deliberately not here: feedback from coverage, which needs a compiler of its own. In its place, the
//! mutations know the structure of what they change: a row, a frame, a record with its checksum mended.

mod dice;
mod memory;
mod mutate;
mod runner;
pub mod targets;

pub use dice::Dice;
pub use mutate::{join, mutated, split};
pub use runner::{Finding, Plan, Report, Until, fuzz, input_of, judge};

/// Something that takes bytes from others.
pub trait Target: Send + Sync {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// Valid inputs, as the encoders make them.
    fn corpus(&self) -> &[Vec<u8>];

    /// Cuts an input into the parts that it is made of, as far as it can be read.
    fn parts(&self, input: &[u8]) -> Vec<Vec<u8>>;

    /// Puts parts together so that they read as parts again.
    fn assemble(&self, parts: &[Vec<u8>]) -> Vec<u8>;

    /// Draws a hostile input.
    fn draw(&self, dice: &mut Dice) -> Vec<u8> {
        mutated(self, dice)
    }

    /// Takes an input, and says whether it was accepted as valid.
    ///
    /// # Panics
    /// When something does not hold that must.
    fn run(&self, input: &[u8]) -> bool;
}
