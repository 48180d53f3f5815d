//! What a measurement was taken on: without it a number says nothing.

use std::fs;
use std::thread::available_parallelism;

use serde::Serialize;

/// A machine, and how busy it was before.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// How busy others kept it: the load of the last minute.
    pub load_before: Option<f64>,
    /// What its processor calls itself.
    pub cpu: Option<String>,
    /// How many threads it runs at once.
    pub cores: usize,
    /// What its system calls itself.
    pub os: Option<String>,
    /// The kernel's release.
    pub kernel: Option<String>,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let told = |what: &str| {
            let told = fs::read_to_string(format!("/proc/sys/kernel/{what}")).ok()?;
            Some(told.trim().to_owned())
        };
        Self {
            load_before: load.split(' ').next().and_then(|load| load.parse().ok()),
            cpu: model.and_then(|model| Some(model.split_once(": ")?.1.to_owned())),
            cores: available_parallelism().map_or(0, |cores| cores.get()),
            os: told("ostype"),
            kernel: told("osrelease"),
        }
    }
}
