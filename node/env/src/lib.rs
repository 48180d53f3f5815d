//! The doors of a node to its world: clock, dice, tasks and net. Beside the clock hangs the wall clock,
//! which is shown and decides nothing. The fourth door, the disk, belongs to the
//! room that remembers (`quorate_storage::Disk`).
//!
//! A room never asks the operating system for the time, a number, a task or a socket; it asks here. Run
//! plainly, the answers are the system's. Run inside of a [`Life`], they are the simulator's: the same code
//! then lives through crashes, skewed clocks and odd schedules that a seed repeats to the bit.
//!
//! Not here: any decision. These are doors, not rooms.

mod clock;
mod dice;
mod life;
pub mod machine;
mod net;
mod tcp;
mod wall;

pub use clock::{Late, now, sleep, sleep_until, timeout};
pub use dice::{Dice, dice};
pub use life::{Life, LifeConfig, aside, blocking, defers, is_simulated, spawn, yield_to_others};
pub use net::{BoxFuture, Listener, Net, Secured, Stream};
pub use tcp::{CongestionError, PacedTcp, Tcp};
pub use wall::{Wall, set_wall_skew, wall, wall_skew};
