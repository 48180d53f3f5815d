//! What a measurement was taken on: without it a number says nothing.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use quorate_env::now;
use serde_json::{Value, json};

use crate::fail::Fail;

/// How often the disk is asked to sync.
const SYNCS: usize = 50;

/// What tmpfs calls itself.
const TMPFS: u64 = 0x0102_1994;

/// Describes this machine, and the disk under a directory.
pub(crate) fn describe(dir: &Path) -> Result<Value, Fail> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let uname = rustix::system::uname();
    let cores = std::thread::available_parallelism().map_or(0, |cores| cores.get());
    // How busy others kept it meanwhile.
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Option<f64> = load.split(' ').next().and_then(|load| load.parse().ok());
    Ok(json!({
        "load_before": load,
        "cpu": model.map(|(_, model)| model),
        "cores": cores,
        "os": uname.sysname().to_string_lossy(),
        "kernel": uname.release().to_string_lossy(),
        "dir": dir.display().to_string(),
        "tmpfs": is_tmpfs(dir),
        "fdatasync_p50_ms": sync_ms(dir)?,
    }))
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
