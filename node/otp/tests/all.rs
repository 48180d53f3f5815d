//! The tests of this crate in one binary, so that it is linked once.

mod application;
mod events;
mod example_supervision_tree;
mod examples;
mod family;
mod groups;
mod groups_abroad;
mod partition;
mod server;
mod statem;
mod stories;
mod supervisor;
mod supervisor_model;
mod task;
