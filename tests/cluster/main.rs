//! Real processes on loopback: the daemon and the command as their users run them. Built as a test of
//! `quorate-cli`, so that cargo provides the binary.
//!
//! Not here: what one command does by itself (`node/cli/tests`), faults that need rights, and anything that
//! can be shown in one process.

mod agents;
mod deaths;
mod doors;
mod failovers;
mod host;
mod kills;
mod load;
mod rolling;
mod runs;
mod stage;
