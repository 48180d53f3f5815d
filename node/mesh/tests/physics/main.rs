//! What the mesh knows of silence, distance, clocks and rates: its pure cores, told as stories and as laws.

mod bucket;
mod clocks;
mod hlc;
mod pulse;
mod span;
mod standing;
