//! How much a node takes: memory, open files, room on its disk.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What stands in `story::Size`, of one process.
pub(super) struct Taken {
    pub(super) memory_kb: u64,
    pub(super) files: u64,
    pub(super) disk_kb: u64,
}

impl Taken {
    /// Measures a process, and what lies below a directory; an error if it has just ended.
    pub(super) fn by(pid: u32, data: &Path) -> io::Result<Self> {
        let place = Path::new("/proc").join(pid.to_string());
        let status = fs::read_to_string(place.join("status"))?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let resident = resident.and_then(|told| told.split_whitespace().next()?.parse().ok());
        let memory_kb = resident.ok_or(io::ErrorKind::UnexpectedEof)?;
        let files = fs::read_dir(place.join("fd"))?.count() as u64;
        Ok(Self { memory_kb, files, disk_kb: room(data)? / 1024 })
    }
}

/// How many bytes of a disk all takes that lies in a directory.
fn room(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(found) if found.is_dir() => room(&entry.path())?,
            Ok(found) => found.blocks() * 512,
            // It was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(bytes)
}
