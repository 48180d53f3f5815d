//! A strait between two shores: real kernels' TCP over a link that is long and loses packets.
//!
//! ```text
//!   near shore (a network namespace)                       far shore (another one)
//!   ┌──────────────────────────┐                           ┌──────────────────────────┐
//!   │ load ── TCP ── TUN device│══▶ path: rate, queue, ══▶ │TUN device ── TCP ── load │
//!   │                          │◀══ loss, one way delay ◀══│                          │
//!   └──────────────────────────┘        (relay)            └──────────────────────────┘
//! ```
//!
//! The mesh has weather of its own for tests, which delays bytes above TCP. Here it is packets that are late
//! or lost, so what the kernel makes of that (retransmission, congestion control) is real. Namespaces are
//! those of the two processes that carry the load and go with them; nothing on the machine is left changed.
//!
//! [`path`] is the pure core. Not here: verdicts. A machine that is busy with something else is no defect, so
//! tests look at what a path does to packets, and that a load comes across, never at how fast.

pub mod load;
pub mod path;
pub mod raw;
#[cfg(target_os = "linux")]
pub mod relay;
#[cfg(target_os = "linux")]
pub mod shore;
