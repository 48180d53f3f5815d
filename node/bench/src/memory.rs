//! How much memory this OS process has, by the account of the system.

use std::fs;

use crate::error::BenchError;

/// The bytes that are really there.
pub fn resident() -> Result<u64, BenchError> {
    let doing = "reading VmRSS in /proc/self/status";
    let status = fs::read_to_string("/proc/self/status").map_err(BenchError::system(doing))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let missing = || std::io::Error::other("there is no such line");
    kib.map(|kib| kib * 1024).ok_or_else(missing).map_err(BenchError::system(doing))
}
