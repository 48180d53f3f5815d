//! What a measurement was taken on: without it a number says nothing.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use quorate_bench::Machine;
use quorate_env::now;
use serde_json::{Value, json};

use crate::fail::Fail;

/// How often the disk is asked to sync.
const SYNCS: usize = 50;

/// What tmpfs calls itself.
const TMPFS: u64 = 0x0102_1994;

/// Describes this machine, and the disk under a directory.
pub(crate) fn describe(dir: &Path) -> Result<Value, Fail> {
    let mut machine = json!(Machine::here());
    machine["dir"] = dir.display().to_string().into();
    machine["tmpfs"] = is_tmpfs(dir).into();
    machine["fdatasync_p50_ms"] = sync_ms(dir)?.into();
    Ok(machine)
}

/// Whether nothing under this directory ever reaches a disk.
pub(crate) fn is_tmpfs(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|found| found.f_type as u64 == TMPFS)
}

/// How long a small write takes to be durable here.
fn sync_ms(dir: &Path) -> Result<f64, Fail> {
    let path = dir.join("sync-probe");
    let doing = || format!("writing {}", path.display());
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&path)
        .map_err(Fail::io(doing()))?;
    let mut took = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let began = now();
        file.write_all(&[7; 512]).and_then(|()| file.sync_data()).map_err(Fail::io(doing()))?;
        took.push(now().since(began));
    }
    fs::remove_file(&path).map_err(Fail::io(doing()))?;
    took.sort_unstable();
    Ok(took[SYNCS / 2].as_secs_f64() * 1000.0)
}
