//! The tests of this crate in one binary, so that it is linked once.
//! Apart stay those that need the process for themselves.

mod abroad;
mod blocking;
mod closing;
mod common;
mod examples;
mod far;
mod hostile;
mod info;
mod life;
mod monitors;
mod names;
mod near;
mod postage;
mod puppets;
mod receive;
mod scene;
mod ties;
mod timers;
mod weather;
