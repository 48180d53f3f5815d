//! How much memory this process has used at most, by the account of the system.
//!
//! The peak and not the present use: what a decoder reserves for a moment counts.

use std::fs;

/// A peak of memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peak {
    /// What was really there.
    pub(crate) resident: u64,
    /// What was reserved, touched or not.
    pub(crate) reserved: u64,
}

impl Peak {
    /// The peak up to now; nothing where the system does not tell.
    pub(crate) fn now() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
        };
        Some(Self { resident: bytes("VmHWM:")?, reserved: bytes("VmPeak:")? })
    }
}
