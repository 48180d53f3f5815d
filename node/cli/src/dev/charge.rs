//! The command of `quorate dev -- CMD`: a runner of its own, on the cluster that was made for it.
//!
//! The runner is a process like any user's, and in this one's group: so a terminal is handed on to CMD, and
//! nothing of what it does can touch the nodes.

use std::ffi::OsString;

use quorate_fencer::MYSELF;
use tokio::process::{Child, Command};

use super::cluster::Cluster;
use crate::agent::Signals;
use crate::charge::{FAILED, signal_of};
use crate::fail::{Done, Fail};
use crate::output;

/// The singleton that CMD is.
const NAME: &str = "dev";

/// How long the cluster may be unheard of before CMD is ended.
const LEASE: &str = "30s";

/// Runs a command as a singleton, and ends with its code. Without a context the first node is asked alone.
pub(super) async fn run(
    cluster: &mut Cluster,
    command: &[OsString],
    is_noted: bool,
    signals: &mut Signals,
) -> Done {
    let mut runner = Command::new(MYSELF);
    runner.arg0("quorate").args(["singleton", "run", NAME]);
    if !is_noted {
        runner.args(["--agent", cluster.https().next().unwrap_or_default()]);
    }
    // Nobody stands by for it: a machine that is busy, or asleep for a moment, may take its time.
    runner.args(["--lease", LEASE, "--timeout", LEASE]);
    // What is set for the user's own agent is not meant for these.
    runner.env_remove("QUORATE_AGENT").env_remove("QUORATE_API_TOKEN_FILE");
    runner.arg("--").args(command).kill_on_drop(true);
    let mut runner = runner.spawn().map_err(Fail::io("starting a runner"))?;
    loop {
        tokio::select! {
            biased;
            ended = runner.wait() => {
                let code = ended.map_err(Fail::io("waiting for the runner"))?.code();
                return match code.and_then(|code| u8::try_from(code).ok()).unwrap_or(FAILED) {
                    0 => Ok(()),
                    code => Err(Fail::Exit(code)),
                };
            }
            // It passes on what it is told, and ends when its command does.
            name = signals.next() => pass(&runner, name),
            () = quorate_env::sleep(super::LOOK_AGAIN) => {
                for death in cluster.reap() {
                    output::talk(&death);
                }
            }
        }
    }
}

fn pass(runner: &Child, name: &str) {
    let pid = runner.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()));
    if let Some(pid) = pid {
        // It may have ended just now.
        let _ = rustix::process::kill_process(pid, signal_of(name));
    }
}
