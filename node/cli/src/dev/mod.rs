//! A throw-away cluster: real nodes as processes on this machine, gone without a trace when it ends.
//!
//! The nodes are children that die with this process, however it dies. What it writes lies in one temporary
//! directory, and in one file that tells the other commands where the nodes are. With a command of the user's
//! it lives for as long as that runs, and its banner is talk: stdout is the command's.

mod charge;
pub(crate) mod cluster;
mod keys;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use quorate_env::{now, sleep};
use serde_json::{Value, json};

use crate::agent::{Signals, small_runtime};
use crate::context::Context;
use crate::fail::{Done, Fail};
use crate::output::{self, column, shown};
use crate::wan::Wan;
use cluster::{Cluster, Plan};
use keys::Key;

/// How often it is looked whether a node has ended.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How long the cluster may take to come up.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the banner waits for an election that is under way.
const ELECTION: Duration = Duration::from_secs(5);

/// What kind of throw-away cluster.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many nodes
    #[arg(short = 'n', value_name = "N", default_value_t = 3)]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// The HTTP port of the first node; the system chooses all others
    #[arg(long, value_name = "P", default_value_t = 0)]
    http_port: u16,
    /// Put the nodes on different continents, a round trip apart: 40ms[,jitter=5ms][,loss=1%][,rate=100mbit]
    #[arg(long, value_name = "TIME[,…]")]
    wan: Option<Wan>,
    /// Keep the directory with data and logs
    #[arg(long)]
    retain: bool,
    /// Let the agents be drilled: `quorate drill run NAME --on AGENT,…`
    #[arg(long)]
    allow_drill: bool,
    /// Run CMD in it as the singleton `dev`, and end with it
    #[arg(last = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// `quorate dev`
pub(crate) fn run(args: &Args) -> Done {
    // The nodes are bound to the thread that starts them, so that thread must be the one that stays: this.
    small_runtime()?.block_on(live(args))
}

async fn live(args: &Args) -> Done {
    let began = now();
    let mut signals = Signals::new()?;
    tidy_up_after_others().await;
    let (nodes, wan) = (usize::from(args.nodes), args.wan.clone());
    let flags: &[&str] = if args.allow_drill { &["--allow-drill"] } else { &[] };
    let plan = Plan { nodes, http_port: args.http_port, root: None, wan, flags };
    let mut cluster = Cluster::new(plan)?;
    let up = tokio::select! {
        biased;
        _ = signals.next() => None,
        up = cluster.come_up(PATIENCE) => Some(up),
    };
    let mut code = Ok(());
    let context = match up {
        None => None,
        Some(Err(fail)) => {
            cluster.end().await;
            return Err(fail);
        }
        Some(Ok(())) => {
            let context = note(&cluster);
            let is_noted = context.is_some();
            let done = match banner(&cluster, args, is_noted, now().since(began)).await {
                Ok(()) if args.command.is_empty() => watch(&mut cluster, &mut signals).await,
                Ok(()) => charge::run(&mut cluster, &args.command, is_noted, &mut signals).await,
                // Nobody reads the banner: then nobody uses the cluster either.
                Err(fail) => Err(fail),
            };
            if let Err(Fail::Exit(_)) = done {
                code = done;
            } else if let Err(fail) = done {
                if let Some(context) = &context {
                    context.remove();
                }
                cluster.end().await;
                return Err(fail);
            }
            context
        }
    };
    if let Some(context) = context {
        context.remove();
    }
    if args.retain {
        output::talk(&format!("data and logs are in {}", cluster.retain().display()));
    }
    cluster.end().await;
    code
}

/// Removes what a `dev` left behind that was killed. Its nodes have died with it.
async fn tidy_up_after_others() {
    let Some(orphaned) = Context::orphaned() else { return };
    let dir = &orphaned.dir;
    // Only a directory that bears our mark is ours to remove.
    if dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(cluster::MARK))
        && let Err(e) = cluster::remove_left(dir).await
    {
        output::talk(&format!("{} is left of a dev that was killed: {e}", dir.display()));
    }
    orphaned.remove();
}

/// Lets the other commands find this cluster, unless another one was first.
fn note(cluster: &Cluster) -> Option<Context> {
    if Context::present().is_some() {
        return None;
    }
    let context = Context {
        pid: std::process::id(),
        agents: cluster.https().map(|http| format!("http://{http}")).collect(),
        dir: cluster.dir().to_owned(),
    };
    context.write().ok().map(|()| context)
}

/// At most twelve lines for three nodes: what runs, what to try, and the keys.
async fn banner(cluster: &Cluster, args: &Args, noted: bool, took: Duration) -> Done {
    let leader = cluster.leader(ELECTION).await;
    let rows: Vec<Value> = cluster
        .members()
        .iter()
        .map(|member| {
            let role = if Some(&member.name) == leader.as_ref() { "leader" } else { "" };
            let http = format!("http://{}", member.http());
            json!({ "name": member.name, "http": http, "pid": member.pid(), "role": role })
        })
        .collect();
    let columns = [
        column("NODE", |row| shown(&row["name"])),
        column("HTTP", |row| shown(&row["http"])),
        column("PID", |row| shown(&row["pid"])),
        column("", |row| shown(&row["role"])),
    ];
    let first = cluster.https().next().unwrap_or_default();
    let agent = if noted { String::new() } else { format!(" --agent http://{first}") };
    let mut text = format!(
        "quorate {} · a throw-away cluster in {}, ready in {:.1} s\n\n",
        env!("CARGO_PKG_VERSION"),
        cluster.dir().display(),
        took.as_secs_f64(),
    );
    text.push_str(&output::table(false, &rows, &columns));
    // Writing to a string does not fail.
    if let Some(wan) = &args.wan {
        let _ = writeln!(text, "\nwan   {}", wan.told());
    }
    let _ = write!(
        text,
        "{}try   quorate name register web/primary http://10.0.0.4{agent}\n      \
         quorate name lookup web/primary -o json{agent}\n",
        if args.wan.is_some() { "" } else { "\n" },
    );
    if !args.command.is_empty() {
        output::talk(text.trim_end());
        return Ok(());
    }
    let keys = if keys::are_read() { keys::SUMMARY } else { "Ctrl-C ends it" };
    let _ = writeln!(text, "keys  {keys}");
    output::bytes(text.as_bytes())
}

async fn watch(cluster: &mut Cluster, signals: &mut Signals) -> Done {
    let mut keys = keys::read();
    let mut typed = true;
    loop {
        let key = tokio::select! {
            biased;
            _ = signals.next() => return Ok(()),
            key = keys.recv(), if typed => key,
            () = sleep(LOOK_AGAIN) => {
                for death in cluster.reap() {
                    output::line(&death)?;
                }
                continue;
            }
        };
        match key {
            Some(Key::Quit) => return Ok(()),
            Some(key) => output::line(&press(cluster, key).await)?,
            // Nobody types, or no more; signals still come.
            None => typed = false,
        }
    }
}

async fn press(cluster: &mut Cluster, key: Key) -> String {
    let done: Result<String, Fail> = match key {
        Key::Kill(at) => cluster.kill(at),
        Key::Restart(at) => cluster.restart(at).await,
        Key::Pause(at) => cluster.pause(at),
        Key::Help => Ok(keys::HELP.to_owned()),
        Key::Quit => Ok(String::new()),
        Key::Unknown(text) => Ok(format!("`{text}` is no key; h lists them")),
    };
    match done {
        Ok(said) => said,
        Err(Fail::Told(told)) => told.to_string(),
        Err(_) => String::new(),
    }
}
