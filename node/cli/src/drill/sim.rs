//! `quorate drill sim`: the simulation, which is a program of its own beside this one.
//!
//! It is no part of this program, because it is built with doors that nobody should run a node behind.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use quorate_http::code;

use crate::fail::{Done, Fail};

const PROGRAM: &str = "quorate-sim";

/// What to simulate.
#[derive(clap::Args)]
pub(crate) struct Sim {
    /// A drill to play in each world, by its name or as a file of steps [default: what the seed draws]
    drill: Option<String>,
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 200)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Only this seed
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// For how many minutes there are faults in each world, in its own time, if no drill says it
    #[arg(long, value_name = "M", default_value_t = 1, conflicts_with = "drill",
          value_parser = clap::value_parser!(u64).range(1..=1_440))]
    minutes: u64,
    /// Print everything that happened; for one seed
    #[arg(long, requires = "seed")]
    trace: bool,
}

/// Becomes the simulation.
pub(super) fn run(wish: &Sim) -> Done {
    let mut command = Command::new(beside()?);
    if let Some(drill) = &wish.drill {
        let script = super::named(drill)?;
        if !script.keeps_the_log() {
            let why = format!("`{drill}` begins a cluster anew, which the simulation cannot");
            let next = "play it on real processes: `quorate drill run`";
            return Err(Fail::new(code::BAD_SETTING, why).next(next));
        }
        command.args(["--script", &serde_json::json!(script).to_string()]);
    }
    match wish.seed {
        Some(seed) => command.args(["--seed", &seed.to_string()]),
        None => {
            command.args(["--seeds", &wish.seeds.to_string(), "--from", &wish.from.to_string()])
        }
    };
    command.args(["--seconds", &(wish.minutes * 60).to_string()]);
    if wish.trace {
        command.arg("--trace");
    }
    // Only a failure comes back.
    Err(Fail::io(format!("starting {PROGRAM}"))(command.exec()))
}

/// In the directory of this program.
fn beside() -> Result<PathBuf, Fail> {
    let here = std::env::current_exe().map_err(Fail::io("looking for this program"))?;
    let program = here.with_file_name(PROGRAM);
    if program.exists() {
        return Ok(program);
    }
    let why = format!("there is no {}", program.display());
    let next = "build it with `cargo build --release -p quorate-sim`, and put it beside this one";
    Err(Fail::new(code::IO, why).next(next))
}
