//! The workloads that quorate's processes are measured by, and the same on plain tokio.
//!
//! A [`Row`] is one workload. `processes` holds our side of it and `tasks` the other: `tokio::spawn` with
//! mpsc and oneshot channels, in the same shape. A [`Probe`] is one measurement of one side. [`measure`]
//! takes many of them, each in an OS process of its own and the sides in turn, and makes a [`Report`].
//!
//! Why a process for each probe: a million dead processes leave an allocator, caches and thread-local
//! free lists behind that no fresh runtime gets rid of, so that rows and runs would colour each other,
//! and memory could not be told at all. Why in turn: when a neighbour takes the machine away, it takes it
//! from both sides.
//!
//! Not here: JSON and the command line (the faces print a [`Report`]), and any verdict of a test: a
//! machine that is busy with something else is no defect. What can be counted is tested, in
//! `tests/bench`.

mod error;
mod latch;
mod line;
mod machine;
mod memory;
mod mesh;
mod probe;
mod processes;
mod report;
mod row;
mod suite;
mod tasks;

pub use error::BenchError;
pub use line::{Line, Unit};
pub use machine::Machine;
pub use memory::resident;
pub use mesh::{
    MESH_ROWS, MeshPlan, MeshProbe, MeshRow, Player, erlang_is_installed, large_bytes_max,
    measure_mesh, serve,
};
pub use probe::{Probe, Side};
pub use report::{Failed, Figure, Measured, Report};
pub use row::{ROWS, Row};
pub use suite::{Plan, measure};
