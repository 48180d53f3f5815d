//! The sources, one file for each: what is asked, and how its answer becomes candidates.
//!
//! Not here: how often they are asked, and what is believed of their answers.

pub(crate) mod command;
pub(crate) mod consul;
pub(crate) mod dns;
pub(crate) mod environment;
pub(crate) mod file;
pub(crate) mod fixed;
pub(crate) mod gossip;
pub(crate) mod hosts_erlang;
pub(crate) mod kubernetes;
pub(crate) mod webhook;
