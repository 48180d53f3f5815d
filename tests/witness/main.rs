//! Singletons as real processes, under faults that a seed draws: does one ever run twice?
//!
//! ```text
//!   world: 3 or 5 places ── agent, and one `quorate singleton run` for each name ── CMD = the witness
//!            │ links that fall silent: the receiver drops (namespaces), or a proxy holds (loopback)
//!   rounds: fault ▶ heal ▶ all held and beating again ▶ read what the witnesses wrote ▶ check
//! ```
//!
//! A witness writes down that it lives, with the machine's one monotonic clock, into a file of its own. It
//! asks nobody, so what it wrote is evidence against whoever says that it had ended (`quorate drill beat`, as
//! in the drills that users have). Built as a test of
//! `quorate-cli`, so that cargo provides the binary, and a binary of its own, so that no other drill takes
//! the machine meanwhile.
//!
//! Not here: clocks of another rate, which one machine does not have (`tests/sim`), and the rows of what
//! `singleton run` does with its command (`node/cli/tests`).

mod drill;
mod faults;
mod namespaces;
mod places;
mod proxies;
mod table;
mod world;
