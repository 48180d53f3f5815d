//! One node of a cluster, as a process: it starts what its settings say, serves until a signal or a fault,
//! and closes in order.

mod detached;
mod last_word;
mod rotation;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quorate::{Climate, Config, Ground, Node, StartError, Weather};
use quorate_env::timeout;
use quorate_faults::Faults;
use quorate_http::{Face, FaceConfig, FaceError, code};
use rustix::process::{Signal, getppid, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{self, SignalKind};

use crate::fail::{Done, Fail};
use crate::wan::Wan;
use crate::{args, secrets, span};
use settings::{Drill, Settings};

/// How long a node may take to close before its process ends anyway.
const FAREWELL: Duration = Duration::from_secs(5);

/// The settings of a node. What is not said here is looked for in the config file.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// A TOML file with the same keys as these flags
    #[arg(long, value_name = "FILE", env = "QUORATE_CONFIG")]
    config: Option<PathBuf>,
    /// What the node is called; unique in the cluster [default: the host's name]
    #[arg(long, env = "QUORATE_NAME")]
    name: Option<String>,
    /// Where the mesh listens [default: 127.0.0.1:4747]
    #[arg(long, value_name = "ADDR", env = "QUORATE_LISTEN")]
    listen: Option<String>,
    /// Where other nodes dial it, if that is not where it listens
    #[arg(long, value_name = "ADDR", env = "QUORATE_ADVERTISE")]
    advertise: Option<String>,
    /// Where API and metrics listen [default: 127.0.0.1:4748]
    #[arg(long, value_name = "ADDR", env = "QUORATE_HTTP")]
    http: Option<String>,
    /// The data directory, made with mode 0700 [default: ./quorate-data]
    #[arg(long, value_name = "DIR", env = "QUORATE_DATA")]
    data: Option<PathBuf>,
    /// Where to look for the others: addresses, or file://LIST with one in each line
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', env = "QUORATE_JOIN")]
    join: Option<Vec<String>>,
    /// Begin a new cluster once this many nodes see each other [default: 0, join one only]
    #[arg(long, value_name = "N", env = "QUORATE_EXPECT")]
    expect: Option<usize>,
    /// How many voters the cluster keeps; odd [default: 3]
    #[arg(long, value_name = "N", env = "QUORATE_VOTERS")]
    voters: Option<usize>,
    /// How long a voter may be gone before a member votes in its place for good [default: 5m]
    #[arg(long, value_name = "TIME", value_parser = span::parse, env = "QUORATE_REPLACE_AFTER")]
    replace_after: Option<Duration>,
    /// What placement knows of this node; repeatable
    #[arg(long, value_name = "K=V", value_parser = args::pair, value_delimiter = ',', env = "QUORATE_LABEL")]
    label: Option<Vec<(String, String)>>,
    /// How long a node may be silent before the cluster takes it for dead [default: 2s]
    #[arg(long, value_name = "TIME", value_parser = span::parse, env = "QUORATE_LEASE")]
    lease: Option<Duration>,
    /// The secret that all nodes share (mode 0600), and below it the one before while that is still valid;
    /// read again when it changes [default, on loopback only: ~/.quorate/cookie]
    #[arg(long, value_name = "FILE", env = "QUORATE_COOKIE_FILE")]
    cookie_file: Option<PathBuf>,
    /// This node's certificate, from `quorate ca issue`; read again when it changes. With it no cookie is
    /// needed
    #[arg(long, value_name = "FILE", env = "QUORATE_TLS_CERT")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key (mode 0600)
    #[arg(long, value_name = "FILE", env = "QUORATE_TLS_KEY")]
    tls_key: Option<PathBuf>,
    /// The CA whose certificates are let in
    #[arg(long, value_name = "FILE", env = "QUORATE_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// How what is sent to other nodes is paced: bbr, cubic, … [default: as the kernel likes]
    #[arg(long, value_name = "CONTROL", env = "QUORATE_CONGESTION")]
    congestion: Option<String>,
    /// How many connections carry what processes say to those of another node, 1 to 4 [default: 1]
    #[arg(long, value_name = "N", env = "QUORATE_DATA_CONNECTIONS")]
    data_connections: Option<usize>,
    /// The token that writes over HTTP need (mode 0600); required unless --http is loopback
    #[arg(long, value_name = "FILE", env = "QUORATE_API_TOKEN_FILE")]
    api_token_file: Option<PathBuf>,
    /// Let whoever may write over HTTP have this node run commands, by `quorate singleton run --detach`
    #[arg(long, env = "QUORATE_ALLOW_EXEC", num_args = 0..=1, default_missing_value = "true")]
    allow_exec: Option<bool>,
    /// Let whoever may write over HTTP put this node's net, disk and clocks wrong for a while, as drills do
    #[arg(long, env = "QUORATE_ALLOW_DRILL", num_args = 0..=1, default_missing_value = "true")]
    allow_drill: Option<bool>,
    /// What to log to stderr: error, warn, info, debug, trace, or a list such as warn,quorate_mesh=debug
    /// [default: info]
    #[arg(long, value_name = "LEVEL", env = "QUORATE_LOG")]
    log: Option<String>,
    /// Live as if the others were far away: 40ms[,jitter=5ms][,loss=1%][,rate=100mbit]
    #[arg(long, value_name = "WEATHER", hide = true)]
    wan: Option<Wan>,
    /// Lose on SIGKILL what a power cut would take; for drills
    #[arg(long, hide = true)]
    drill_forgetful: bool,
    /// End when this process is no longer the parent
    #[arg(long, value_name = "PID", hide = true)]
    die_with_parent: Option<i32>,
    /// Say for the life before this one that it is over, and be no node
    #[arg(long, hide = true)]
    bury: bool,
    /// Write the addresses down here once they are known
    #[arg(long, value_name = "FILE", hide = true)]
    announce: Option<PathBuf>,
}

/// Where an agent can be reached, as it announces it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    pub(crate) pid: u32,
    pub(crate) mesh: String,
    pub(crate) http: String,
}

/// The signals that ask a process to end.
pub(crate) struct Signals([unix::Signal; 3]);

/// `quorate agent`
pub(crate) fn run(args: Args) -> Done {
    if args.bury {
        return last_word::say(args);
    }
    if let Some(parent) = args.die_with_parent {
        die_with(parent)?;
    }
    let announce = args.announce.clone();
    let mut settings = Settings::gather(args)?;
    settings.config.fencer = Some(last_word::fencer());
    settings.log.start()?;
    settings.tell();
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Fail::io("starting the runtime"))?;
    let done = runtime.block_on(live(settings, announce.as_deref()));
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

async fn live(settings: Settings, announce: Option<&Path>) -> Done {
    let mut signals = Signals::new()?;
    if let Some(file) = settings.cookie_file {
        quorate_env::spawn(rotation::follow(file, settings.config.cookies.clone()));
    }
    let data = settings.config.data.clone();
    let node = tokio::select! {
        biased;
        _ = signals.next() => return Ok(()),
        started = start(settings.config, settings.wan, settings.drill.as_ref()) => {
            started.map_err(|e| Fail::new(code::NO_START, e.to_string()))?
        }
    };
    let allow_exec = settings.allow_exec;
    if allow_exec {
        quorate_env::spawn(detached::follow(node.clone(), data.clone()));
    }
    let faults = settings.drill.map(|drill| drill.faults);
    let face = FaceConfig { listen: settings.http, token: settings.token, allow_exec, faults };
    let face = match Face::start(node.clone(), face).await {
        Ok(face) => face,
        Err(error) => {
            close(&node, None, &mut signals).await;
            return Err(match error {
                FaceError::Open { .. } => Fail::new(code::NO_SECRET, error.to_string()),
                _ => Fail::new(code::NO_FACE, error.to_string()),
            });
        }
    };
    let addresses = Addresses {
        pid: std::process::id(),
        mesh: node.address().to_owned(),
        http: face.address().to_string(),
    };
    tracing::info!(
        name = %node.name(), id = %node.id(), mesh = addresses.mesh, http = addresses.http,
        "this node runs"
    );
    quorate_env::spawn(last_word::note_peers(node.clone(), data));
    if let Some(file) = announce {
        secrets::write_whole(file, &serde_json::json!(addresses).to_string())?;
    }
    let fault = tokio::select! {
        biased;
        name = signals.next() => {
            tracing::info!(signal = name, "this node closes");
            None
        }
        fault = node.stopped() => Some(fault),
    };
    close(&node, Some(face), &mut signals).await;
    match fault {
        Some(fault) => Err(Fail::new(code::NODE_STOPPED, fault)),
        None => Ok(()),
    }
}

/// Starts a node, under weather and behind doors that can be put wrong if there are to be such.
async fn start(
    config: Config,
    wan: Option<Wan>,
    drill: Option<&Drill>,
) -> Result<Node, StartError> {
    if wan.is_none() && drill.is_none() {
        return Node::start(config).await;
    }
    config.validate()?;
    let mut ground = Ground::real(&config)?;
    if let Some(wan) = wan {
        ground.net = Arc::new(Weather::over(ground.net, Climate::new(wan.conditions())));
    }
    if let Some(Drill { faults, forgetful }) = drill {
        ground.net = faults.net(ground.net);
        if *forgetful {
            ground.disk = Faults::forgetful(ground.disk);
        }
        ground.disk = faults.disk(ground.disk);
    }
    Node::start_on(config, ground).await
}

/// Closes in bounded time; a second signal ends the wait.
async fn close(node: &Node, face: Option<Face>, signals: &mut Signals) {
    let closing = async {
        if let Some(face) = face {
            face.close().await;
        }
        node.shutdown().await;
    };
    tokio::select! {
        biased;
        _ = signals.next() => tracing::warn!("a second signal came; not waiting for the rest"),
        closed = timeout(FAREWELL, closing) => {
            if closed.is_err() {
                tracing::warn!("the node did not close in time; what it acknowledged is on its disk");
            }
        }
    }
}

/// Binds this process's life to its parent's.
fn die_with(parent: i32) -> Done {
    let bound = set_parent_process_death_signal(Some(Signal::KILL));
    bound.map_err(|e| Fail::io("binding this process to its parent")(e.into()))?;
    // The parent may have ended before it was bound to.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        return Err(Fail::new(code::NO_START, "the process that started this one has ended"));
    }
    Ok(())
}

impl Signals {
    /// Begins to take note of signals.
    pub(crate) fn new() -> Result<Self, Fail> {
        let listen = |kind| unix::signal(kind).map_err(Fail::io("listening for signals"));
        Ok(Self([
            listen(SignalKind::interrupt())?,
            listen(SignalKind::terminate())?,
            listen(SignalKind::hangup())?,
        ]))
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> &'static str {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            biased;
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
        }
    }
}

/// A runtime for a command that mostly waits. Its tasks run on the calling thread.
pub(crate) fn small_runtime() -> Result<Runtime, Fail> {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.map_err(Fail::io("starting the runtime"))
}
