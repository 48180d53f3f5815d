//! The witness of a drill: a program that writes down that it lives, by the machine's one clock.
//!
//! It asks nobody, so what it wrote is evidence against whoever says that it had ended.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use quorate_env::{now, sleep};
use quorate_fencer::MYSELF;
use tokio::signal::unix::{SignalKind, signal};

use crate::fail::{Done, Fail};
use crate::span;

/// How often it says that it lives.
const PERIOD: Duration = Duration::from_millis(5);

/// Where to write, and how it behaves.
#[derive(clap::Args)]
pub(crate) struct Beat {
    /// The directory of what witnesses write
    dir: PathBuf,
    /// Do not end when it is asked to
    #[arg(long)]
    deaf: bool,
    /// Have a child that beats, too, and do not wait for it
    #[arg(long)]
    kin: bool,
    /// End after so long
    #[arg(long, value_name = "TIME", value_parser = span::parse)]
    lasts: Option<Duration>,
    /// The process that a runner started, if it is not this one
    #[arg(long, value_name = "PID")]
    root: Option<u32>,
    /// The singleton that it is
    #[arg(long, env = "QUORATE_SINGLETON", default_value = "-")]
    name: String,
    /// Under which epoch it was started
    #[arg(long, env = "QUORATE_EPOCH", default_value_t = 0)]
    epoch: u64,
    /// On which node
    #[arg(long, env = "QUORATE_NODE", default_value = "-")]
    node: String,
}

/// Beats until it is ended.
pub(super) async fn live(beat: &Beat) -> Done {
    let pid = std::process::id();
    let root = beat.root.unwrap_or(pid);
    let Beat { name, epoch, node, .. } = beat;
    // A name may have slashes, and a file's name may not.
    let file = beat.dir.join(format!("{pid}.{epoch}.{}", name.replace('/', "_")));
    let file = OpenOptions::new().create(true).append(true).open(file);
    let mut file = file.map_err(Fail::io("opening what a witness writes"))?;
    let mut line = String::new();
    let mut say = move |what: &str| {
        line.clear();
        let _ = writeln!(line, "{what} {name} {epoch} {node} {root} {pid} {}", now().0);
        // One write, so that what is killed leaves whole lines.
        file.write_all(line.as_bytes()).map_err(Fail::io("writing down that it lives"))
    };
    say("begin")?;
    if beat.kin {
        let mut child = std::process::Command::new(MYSELF);
        child.args(["drill", "beat", "--root", &pid.to_string()]).arg(&beat.dir);
        child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Nobody waits for it: it is to be somebody's orphan.
        drop(child.spawn().map_err(Fail::io("starting a child of a witness"))?);
    }
    let until = beat.lasts.map(|lasts| now() + lasts);
    let mut asked = signal(SignalKind::terminate()).map_err(Fail::io("listening for signals"))?;
    loop {
        tokio::select! {
            biased;
            _ = asked.recv() => {
                if !beat.deaf {
                    return say("end");
                }
            }
            () = sleep(PERIOD) => {
                if until.is_some_and(|until| now() >= until) {
                    return say("end");
                }
                say("beat")?;
            }
        }
    }
}
