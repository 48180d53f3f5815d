//! A command of the operator's that prints addresses: lines or a JSON list on its stdout.
//!
//! It runs in a process group of its own, and the whole group is killed when it is over, when its time is,
//! or when nobody waits for it any more. What leaves that group on purpose is beyond our reach.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use futures_util::future::try_join3;
use quorate_env::{BoxFuture, sleep, timeout};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use crate::address::shown;
use crate::locator::Locator;
use crate::source::ANSWER_BYTES_MAX;
use crate::{Candidates, Pace, Sighting, Source, SpecError, list};

/// How much of its complaints is kept.
const COMPLAINT_BYTES_MAX: usize = 4096;

/// How often it is asked whether it has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    program: PathBuf,
    args: Vec<String>,
    port: Option<u16>,
    within: Duration,
    every: Duration,
}

impl Settings {
    pub(crate) fn read(locator: &Locator) -> Result<Self, SpecError> {
        let program = locator.path()?;
        if !program.is_absolute() {
            return Err(locator.wrong("the command is no absolute path, as in exec:///bin/x"));
        }
        let args = locator.all("arg").to_vec();
        if args.iter().any(|arg| arg.contains('\0')) {
            return Err(locator.wrong("no argument of a command has a zero byte"));
        }
        Ok(Self {
            program,
            args,
            port: locator.port("port")?,
            within: locator.span("timeout", Duration::from_secs(10))?,
            every: locator.span("every", Duration::from_secs(30))?,
        })
    }

    async fn candidates(&self) -> Result<Candidates, String> {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).kill_on_drop(true).spawn();
        let child = child.map_err(|e| format!("{}: {e}", self.program.display()))?;
        let mut tree = Tree(child);
        let run = timeout(self.within, run(&mut tree.0)).await;
        let text = run.map_err(|_| format!("it was killed after {:?}", self.within))??;
        list::json_or_lines(&text, self.port)
    }
}

/// Reads what it prints until it has ended, and whoever it started has ended with it.
async fn run(child: &mut Child) -> Result<String, String> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let pid = group(child).ok_or("it has ended before it began")?;
    let ended = async {
        while !has_ended(pid)? {
            sleep(LOOK_AGAIN).await;
        }
        // Not waited for yet, it keeps its number, so this is still its own group.
        let _ = kill_process_group(pid, Signal::KILL);
        Ok(())
    };
    let (out, err, ()) = try_join3(printed(stdout), complaint(stderr), ended).await?;
    let status = child.wait().await.map_err(|e| e.to_string())?;
    if !status.success() {
        let last = err.trim().lines().last().map(shown).unwrap_or_default();
        return Err(format!("{status}: {last}").trim_end_matches(": ").to_owned());
    }
    String::from_utf8(out).map_err(|_| "what it printed is not UTF-8".to_owned())
}

async fn printed(pipe: Option<ChildStdout>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let read = pipe.take(ANSWER_BYTES_MAX + 1).read_to_end(&mut bytes).await;
        read.map_err(|e| format!("reading what it prints: {e}"))?;
    }
    match bytes.len() as u64 > ANSWER_BYTES_MAX {
        true => Err(format!("it printed more than {ANSWER_BYTES_MAX} bytes")),
        false => Ok(bytes),
    }
}

/// Reads all that it complains of, so that it never waits for a reader, and keeps the end.
async fn complaint(pipe: Option<ChildStderr>) -> Result<String, String> {
    let mut kept = Vec::new();
    let mut some = [0; COMPLAINT_BYTES_MAX];
    if let Some(mut pipe) = pipe {
        // A pipe that breaks has ended.
        while let Ok(count @ 1..) = pipe.read(&mut some).await {
            kept.extend(&some[..count]);
            kept.drain(..kept.len().saturating_sub(COMPLAINT_BYTES_MAX));
        }
    }
    Ok(String::from_utf8_lossy(&kept).into_owned())
}

/// Whether a child has ended. It is left to be waited for.
fn has_ended(pid: Pid) -> Result<bool, String> {
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), how).map(|status| status.is_some()).map_err(|e| e.to_string())
}

/// The process group of a child that was not waited for yet.
fn group(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

/// A child and whoever it started. Dropped, they are killed.
struct Tree(Child);

impl Drop for Tree {
    fn drop(&mut self) {
        // Once it was waited for, its number may be somebody else's; its group was killed before that.
        if let Some(group) = group(&self.0) {
            // That there is nobody left is what was wanted.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Source for Settings {
    fn look(&mut self) -> BoxFuture<'_, Sighting> {
        Box::pin(async { self.candidates().await.into() })
    }

    fn pace(&self) -> Pace {
        Pace { rest: self.every, patience: self.within + Duration::from_secs(5) }
    }
}
