//! Fencers with real processes. All in one program, which also plays those that are stopped and killed.

mod common;
mod guard;
mod ward;
