//! `quorate-strait`: how much goes over a long link that loses packets, and how long heartbeats take
//! meanwhile; for the mesh and for bare TCP, with each congestion control that the kernel has.
//!
//! ```console
//! $ cargo run --release -p quorate-strait                       # 40 ms, 1 % loss, 100 Mbit/s; needs root
//! $ cargo run --release -p quorate-strait -- --loss 0.001 --congestion bbr --load mesh
//! ```
//!
//! Not here: anything that judges the figures.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod voyage;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    match voyage::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("quorate-strait: {why:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("quorate-strait: network namespaces and TUN devices are Linux's");
    ExitCode::FAILURE
}
