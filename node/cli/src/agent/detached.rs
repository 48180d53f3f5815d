//! Commands that this node runs as singletons, where `--allow-exec` lets it: one of all the nodes that may
//! runs each of them, and every one of these offers to.
//!
//! What such a command prints goes to this agent's log and to a file that every node can be asked for.

#![expect(clippy::disallowed_types, reason = "what commands print is kept in files of the system")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::{Exec, Exit, Name, Node, Singleton, Spec, TAIL_BYTES_MAX, Tenure, log_path};
use quorate_env::{now, sleep};
use quorate_fencer::{MYSELF, Orders, Status, Streams, Until, Ward, Why};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// How often it is looked which commands there are.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How long one that is to end because it moves may take.
const STOP_WITHIN: Duration = Duration::from_secs(9);
/// A longer line is cut into pieces.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Offers to run whatever the cluster wants run as a command, for as long as the node lives.
pub(super) async fn follow(node: Node, data: PathBuf) {
    let mut offered = std::collections::BTreeMap::<Name, Spec>::new();
    let singletons = node.singletons();
    loop {
        let wanted = singletons.commands();
        for (name, spec) in &wanted {
            if offered.get(name) == Some(spec) {
                continue;
            }
            let Some(exec) = spec.exec.clone() else { continue };
            let command = Detached { exec, data: data.clone(), ward: Arc::default() };
            match singletons.define_with(name, spec.clone(), command).await {
                Ok(()) => drop(offered.insert(name.clone(), spec.clone())),
                Err(error) => tracing::warn!(%name, %error, "a command is not offered yet"),
            }
        }
        let gone: Vec<Name> =
            offered.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        for name in gone {
            // It is another kind of singleton by now, or was taken out.
            let _ = singletons.undefine(&name).await;
            offered.remove(&name);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// A command that nodes run.
struct Detached {
    exec: Exec,
    data: PathBuf,
    /// What runs at the moment; it is known here so that its end is waited for, whatever ends the turn.
    ward: Arc<Mutex<Option<Arc<Ward>>>>,
}

impl Singleton for Detached {
    type Message = ();

    async fn run(&self, tenure: Tenure<()>) -> Exit {
        match self.turn(&tenure).await {
            Ok(exit) => exit,
            Err(error) => Exit::because(format!("{}: {error}", self.exec.argv[0])),
        }
    }

    async fn gone(&self) {
        let ward = self.ward.lock().expect("a mere slot").take();
        if let Some(ward) = ward {
            // What a fencer left that was killed is ended by this process, its heir.
            let _ = ward.stop(Duration::ZERO).await;
            ward.ended().await;
        }
    }
}

impl Detached {
    async fn turn(&self, tenure: &Tenure<()>) -> io::Result<Exit> {
        let Some(until) = self.until(tenure) else { return Ok(Exit::because("no lease")) };
        let (read, stdout) = io::pipe()?;
        let (stdout, stderr) = (OwnedFd::from(stdout.try_clone()?), OwnedFd::from(stdout));
        let env = self.exec.env.iter().map(|(key, value)| (key.into(), value.into()));
        let known = [
            ("QUORATE_SINGLETON".into(), tenure.name().as_str().into()),
            ("QUORATE_EPOCH".into(), tenure.epoch().to_string().into()),
        ];
        let directory = self.exec.dir.clone().map_or_else(|| self.data.clone(), PathBuf::from);
        let orders = Orders {
            fencer: MYSELF.into(),
            command: self.exec.argv.iter().map(Into::into).collect(),
            env: env.chain(known).collect(),
            directory: Some(fs::canonicalize(directory)?),
            streams: Streams {
                stdin: Some(File::open("/dev/null")?.into()),
                stdout: Some(stdout),
                stderr: Some(stderr),
            },
            until,
            wards: Some(fs::canonicalize(&self.data)?.join("wards")),
            last_word: Vec::new(),
            is_heir: true,
        };
        let ward = Arc::new(Ward::spawn(orders).await.map_err(io::Error::other)?);
        *self.ward.lock().expect("a mere slot") = Some(ward.clone());
        let journal = Journal::open(&self.data, tenure.name())?;
        quorate_env::spawn(keep(read.into(), journal));
        let renewals = async {
            let mut last = until;
            loop {
                sleep(Duration::from_millis(50)).await;
                if let Some(next) = self.until(tenure).filter(|next| *next != last) {
                    last = next;
                    // If it is not taken, the deadline before stands.
                    let _ = ward.until(next.term_at, next.kill_at).await;
                }
            }
        };
        let ending = tokio::select! {
            biased;
            ending = ward.ended() => ending,
            () = renewals => unreachable!("renewals go on for ever"),
            () = tenure.stopping() => {
                let _ = ward.stop(STOP_WITHIN).await;
                ward.ended().await
            }
        };
        Ok(match (ending.why, ending.status) {
            (Why::Itself, Status::Exited(0)) => Exit::Normal,
            (Why::Itself, Status::Exited(code)) => Exit::because(format!("it ended with {code}")),
            (Why::Itself, Status::Signaled(number)) => {
                Exit::because(format!("it ended by signal {number}"))
            }
            (Why::Asked, _) => Exit::Shutdown,
            (why, _) => Exit::because(format!("it was ended: {why:?}")),
        })
    }

    /// Until when the command may run.
    fn until(&self, tenure: &Tenure<()>) -> Option<Until> {
        let deadline = tenure.deadline()?;
        let left = deadline.since(now());
        let kill_at = deadline - left / 20;
        let grace = Duration::from_millis(self.exec.grace_ms).min(left / 2);
        Some(Until { term_at: kill_at - grace, kill_at })
    }
}

/// Where what a command prints is kept; bounded, the newest stays.
struct Journal {
    name: Name,
    path: PathBuf,
    file: File,
    bytes: usize,
}

impl Journal {
    fn open(data: &std::path::Path, name: &Name) -> io::Result<Self> {
        let path = log_path(data, name);
        fs::create_dir_all(path.parent().unwrap_or(data))?;
        let mut options = OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(&path)?;
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        Ok(Self { name: name.clone(), path, file, bytes })
    }

    fn take(&mut self, text: &[u8]) -> io::Result<()> {
        if self.bytes + text.len() > TAIL_BYTES_MAX {
            // The newest half stays.
            let all = fs::read(&self.path)?;
            let from = all.len().saturating_sub(TAIL_BYTES_MAX / 2);
            let line = all[from..].iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            fs::write(&self.path, &all[from + line..])?;
            self.bytes = all.len() - from - line;
        }
        self.file.write_all(text)?;
        self.bytes += text.len();
        Ok(())
    }
}

/// Keeps what a command prints, line by line, until it and all that it started have closed their output.
async fn keep(read: OwnedFd, mut journal: Journal) {
    let Ok(mut read) = pipe::Receiver::from_owned_fd(read) else { return };
    let (mut line, mut piece) = (Vec::new(), [0; LINE_BYTES_MAX]);
    loop {
        let count = read.read(&mut piece).await.unwrap_or(0);
        line.extend_from_slice(&piece[..count]);
        while let Some(end) = end_of_line(&line, count == 0) {
            let rest = line.split_off(end);
            let text = String::from_utf8_lossy(&line);
            tracing::info!(singleton = %journal.name, "{}", text.trim_end());
            if let Err(error) = journal.take(&line) {
                tracing::warn!(singleton = %journal.name, %error, "what it printed is not kept");
            }
            line = rest;
        }
        if count == 0 {
            return;
        }
    }
}

/// Where the first line ends, if it does.
fn end_of_line(text: &[u8], is_over: bool) -> Option<usize> {
    let newline = text.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
    let is_long = text.len() >= LINE_BYTES_MAX;
    newline.or((is_long || is_over && !text.is_empty()).then_some(text.len()))
}
