//! `bench mesh`: what lies between two nodes, beside plain TCP and Erlang in the same run.
//!
//! What is measured and how stands in `quorate-bench`. Every run of every side has two OS processes of its
//! own, which are this command again: one that plays, under a flag that nobody needs to see, and the far one.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_bench::{
    BenchError, MESH_ROWS, MeshPlan, MeshProbe, MeshRow, erlang_is_installed, large_bytes_max,
    measure_mesh,
};
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::{failed, listed, seconds, shown};
use crate::args::Output;
use crate::fail::{Done, Fail};
use crate::output;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only this row; repeatable
    #[arg(long = "row", value_name = "NAME", value_parser = row)]
    rows: Vec<&'static MeshRow>,
    /// List the rows, and measure nothing
    #[arg(long, conflicts_with = "rows")]
    list: bool,
    /// How long each run counts
    #[arg(long, value_name = "S", default_value = "2", value_parser = seconds)]
    seconds: Duration,
    /// How often each side of each row is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..))]
    runs: u8,
    /// How many bytes a large message has [default: 64 MiB, or the most that a node lets through]
    #[arg(long, value_name = "BYTES", default_value_t = large_bytes_max(), hide_default_value = true,
          value_parser = clap::value_parser!(usize))]
    message_bytes: usize,
    /// Take one probe in this process, and print its figures
    #[arg(long, value_name = "PROBE", hide = true)]
    probe: Option<String>,
    /// Where the probe may write
    #[arg(long, value_name = "DIR", hide = true)]
    dir: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> Done {
    if let Some(probe) = &args.probe {
        return take(args, probe);
    }
    if args.list {
        return listed(args.output.format, MESH_ROWS.iter().map(|row| (row.key, row.title)));
    }
    super::until_signalled(Builder::new_current_thread(), measure(args))
}

/// Is the far process of a probe.
pub(crate) fn far() -> Done {
    quorate_bench::serve().map_err(failed)
}

fn take(args: &Args, probe: &str) -> Done {
    let probe = MeshProbe::parse(probe, args.seconds, args.message_bytes).map_err(failed)?;
    let own;
    let dir = match &args.dir {
        Some(dir) => dir,
        None => {
            own = place()?;
            own.path()
        }
    };
    std::fs::create_dir_all(dir).map_err(Fail::io(format!("making {}", dir.display())))?;
    let mut far = this_program()?;
    far.args(["bench", "mesh-far"]);
    for figure in probe.take(far, dir.to_owned()).map_err(failed)? {
        output::line(&figure.to_string())?;
    }
    Ok(())
}

async fn measure(args: &Args) -> Done {
    let place = place()?;
    let rows = if args.rows.is_empty() { MESH_ROWS.iter().collect() } else { args.rows.clone() };
    let erlang = erlang_is_installed();
    if !erlang {
        output::talk("there is no Erlang (erl and erlc) in PATH: its figures are left out");
    }
    let (span, large) = (args.seconds, args.message_bytes);
    output::talk(&format!("a large message has {large} bytes; each run counts {span:?}"));
    let plan = MeshPlan { rows, runs: usize::from(args.runs), span, large, erlang };
    let program = this_program()?;
    let number = AtomicU64::new(0);
    let command = |probe: &MeshProbe| {
        // Each begins in a directory that nobody has written to.
        let dir = place.path().join(number.fetch_add(1, Ordering::Relaxed).to_string());
        probe_command(program.get_program().as_ref(), probe, &dir)
    };
    let tell = |row: &MeshRow| output::talk(&format!("measuring {}", row.title));
    let report = measure_mesh(&plan, command, tell).await;
    shown(args.output.format, &report)
}

fn probe_command(program: &Path, probe: &MeshProbe, dir: &Path) -> process::Command {
    let mut command = process::Command::new(program);
    command.args(["bench", "mesh", "--probe", &probe.to_string()]);
    command.args(["--seconds", &probe.span.as_secs_f64().to_string()]);
    command.args(["--message-bytes", &probe.large.to_string()]).arg("--dir").arg(dir);
    command
}

fn this_program() -> Result<process::Command, Fail> {
    let program = std::env::current_exe().map_err(Fail::io("looking for this program"))?;
    Ok(process::Command::new(program))
}

/// A directory that is removed with all that lies in it.
fn place() -> Result<TempDir, Fail> {
    tempfile::Builder::new()
        .prefix("quorate-bench-")
        .tempdir()
        .map_err(Fail::io("making a temporary directory"))
}

fn row(key: &str) -> Result<&'static MeshRow, String> {
    MeshRow::named(key).map_err(|e: BenchError| e.to_string())
}
