//! Nodes as child processes on loopback, in one temporary directory.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use quorate_env::{now, sleep, timeout};
use quorate_http::code;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::agent::Addresses;
use crate::fail::{Done, Fail};
use crate::secrets;
use crate::wan::Wan;
use crate::wire::{Wire, once};

/// How the directories of throw-away clusters begin.
pub(crate) const MARK: &str = "quorate-dev-";

/// How long nodes may take to close by themselves.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long whoever guarded a dead node may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long a node may take to say where it is found: a disk may be slow, and is read first.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// How often something that is waited for is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How much of a log is shown of a node that failed.
const TAIL_LINES: usize = 8;

/// What kind of cluster.
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    /// The HTTP port of the first node; 0 lets the system choose.
    pub(crate) http_port: u16,
    /// Where its directory is made; none takes the system's place for temporary files.
    pub(crate) root: Option<PathBuf>,
    /// How far apart the nodes are to be, if they are.
    pub(crate) wan: Option<Wan>,
    /// What more is said to each agent.
    pub(crate) flags: &'static [&'static str],
}

/// The cluster. Dropped, it kills its nodes and removes its directory.
pub(crate) struct Cluster {
    members: Vec<Member>,
    // After the members: what they write to is removed when they are gone.
    dir: Option<TempDir>,
    kept: PathBuf,
    wan: Option<Wan>,
    flags: &'static [&'static str],
}

/// One node.
pub(crate) struct Member {
    pub(crate) name: String,
    addresses: Option<Addresses>,
    child: Option<Child>,
    paused: bool,
}

impl Member {
    pub(crate) fn http(&self) -> &str {
        self.addresses.as_ref().map_or("", |addresses| &addresses.http)
    }

    pub(crate) fn mesh(&self) -> &str {
        self.addresses.as_ref().map_or("", |addresses| &addresses.mesh)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    fn signal(&self, signal: Signal) -> Done {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(()) };
        kill_process(pid, signal)
            .map_err(|e| Fail::io(format!("signalling {}", self.name))(e.into()))
    }
}

impl Cluster {
    /// Makes the directory and what all nodes share. Nothing runs yet.
    pub(crate) fn new(plan: Plan) -> Result<Self, Fail> {
        let root = plan.root.unwrap_or_else(std::env::temp_dir);
        let made = tempfile::Builder::new().prefix(MARK).tempdir_in(&root);
        let dir = made.map_err(Fail::io(format!("making a directory in {}", root.display())))?;
        secrets::draw(&dir.path().join("cookie")).map_err(Fail::io("drawing a cookie"))?;
        let member = |at| Member {
            name: format!("n{}", at + 1),
            // What is known before it runs is where it is to listen.
            addresses: (at == 0).then(|| Addresses {
                pid: 0,
                mesh: "127.0.0.1:0".to_owned(),
                http: format!("127.0.0.1:{}", plan.http_port),
            }),
            child: None,
            paused: false,
        };
        let members = (0..plan.nodes).map(member).collect();
        let (kept, dir) = (dir.path().to_owned(), Some(dir));
        Ok(Self { members, kept, dir, wan: plan.wan, flags: plan.flags })
    }

    /// Starts all nodes and returns when each of them is quorate.
    pub(crate) async fn come_up(&mut self, within: Duration) -> Done {
        let until = now() + within;
        // The others look for the first one, so its address must be known.
        self.spawn(0)?;
        self.learn_addresses(0, until).await?;
        for at in 1..self.members.len() {
            self.spawn(at)?;
        }
        for at in 1..self.members.len() {
            self.learn_addresses(at, until).await?;
        }
        for at in 0..self.members.len() {
            loop {
                self.check_alive(at)?;
                if self.is_ready(at).await {
                    break;
                }
                if now() >= until {
                    let why = format!("{} is not quorate after {within:?}", self.members[at].name);
                    return Err(self.failed(at, &why));
                }
                sleep(LOOK_AGAIN).await;
            }
        }
        Ok(())
    }

    pub(crate) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(crate) fn https(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(Member::http)
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.kept
    }

    /// Who leads, as the first node says that answers and knows. While they elect, nobody knows.
    pub(crate) async fn leader(&self, within: Duration) -> Option<String> {
        let until = now() + within;
        loop {
            for member in &self.members {
                if let Some((200, body)) = ask(member.http(), "/v1/status").await
                    && let Ok(status) = serde_json::from_slice::<Value>(&body)
                    && let Some(leader) = status["leader"].as_str()
                {
                    return Some(leader.to_owned());
                }
            }
            if now() >= until {
                return None;
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// Keeps the directory beyond the cluster's life.
    pub(crate) fn retain(&mut self) -> &Path {
        if let Some(dir) = self.dir.take() {
            self.kept = dir.keep();
        }
        &self.kept
    }

    /// Kills a node.
    pub(crate) fn kill(&mut self, number: usize) -> Result<String, Fail> {
        let at = match self.place(number) {
            Ok(at) => at,
            Err(said) => return Ok(said),
        };
        match self.members[at].pid() {
            Some(pid) => {
                self.members[at].signal(Signal::KILL)?;
                Ok(format!("n{number} (pid {pid}) is being killed; r {number} starts it again"))
            }
            None => Ok(format!("n{number} does not run; r {number} starts it")),
        }
    }

    /// Starts a node again that has ended.
    pub(crate) async fn restart(&mut self, number: usize) -> Result<String, Fail> {
        let at = match self.place(number) {
            Ok(at) => at,
            Err(said) => return Ok(said),
        };
        self.reap();
        if self.members[at].pid().is_some() {
            return Ok(format!("n{number} runs; k {number} kills it"));
        }
        self.start(at).await?;
        let pid = self.members[at].pid().unwrap_or(0);
        Ok(format!("n{number} runs again (pid {pid})"))
    }

    /// Starts a node, if it does not run, and returns when it can be asked.
    pub(crate) async fn start(&mut self, at: usize) -> Done {
        self.reap();
        if self.members[at].pid().is_some() {
            return Ok(());
        }
        self.spawn(at)?;
        self.learn_addresses(at, now() + STARTS_WITHIN).await
    }

    /// Sends a signal to a node, if it runs.
    pub(crate) fn signal(&self, at: usize, signal: Signal) -> Done {
        self.members[at].signal(signal)
    }

    /// Returns when a node has ended.
    pub(crate) async fn ended(&mut self, at: usize) -> Done {
        if let Some(child) = self.members[at].child.as_mut() {
            child.wait().await.map_err(Fail::io("waiting for a node's end"))?;
        }
        self.members[at].child = None;
        Ok(())
    }

    /// Stops a node in its tracks, or lets it go on.
    pub(crate) fn pause(&mut self, number: usize) -> Result<String, Fail> {
        let at = match self.place(number) {
            Ok(at) => at,
            Err(said) => return Ok(said),
        };
        let member = &mut self.members[at];
        if member.pid().is_none() {
            return Ok(format!("n{number} does not run; r {number} starts it"));
        }
        member.signal(if member.paused { Signal::CONT } else { Signal::STOP })?;
        member.paused = !member.paused;
        Ok(match member.paused {
            true => format!("n{number} is stopped in its tracks; p {number} lets it go on"),
            false => format!("n{number} goes on"),
        })
    }

    /// Notes which nodes have ended, and says so of each once.
    pub(crate) fn reap(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for member in &mut self.members {
            let ended = member.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                member.child = None;
                member.paused = false;
                said.push(format!("{} has ended ({status})", member.name));
            }
        }
        said
    }

    /// Ends all nodes, gently first, and removes the directory unless it is kept.
    pub(crate) async fn end(mut self) {
        for member in &self.members {
            // A node that ends in this very moment needs no signal.
            let _ = member.signal(Signal::TERM);
            let _ = member.signal(Signal::CONT);
        }
        let all = async {
            for child in self.members.iter_mut().filter_map(|member| member.child.as_mut()) {
                let _ = child.wait().await;
            }
        };
        let _late = timeout(FAREWELL, all).await;
        for child in self.members.iter_mut().filter_map(|member| member.child.as_mut()) {
            // Does nothing to a child that has ended, and waits for one that has not.
            let _ = child.kill().await;
        }
        if self.dir.is_some() {
            // If it cannot be, the system removes it as it does all that is temporary.
            let _ = remove_left(&self.kept).await;
        }
    }

    fn spawn(&mut self, at: usize) -> Done {
        let joins: Vec<&str> = self
            .members
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != at)
            .filter_map(|(_, member)| member.addresses.as_ref())
            .map(|addresses| addresses.mesh.as_str())
            .filter(|mesh| !mesh.ends_with(":0"))
            .collect();
        let (name, count) = (self.members[at].name.clone(), self.members.len());
        let voters = if count < 3 { 1 } else { (count - 1 + count % 2).min(5) };
        let nowhere = || "127.0.0.1:0".to_owned();
        let known = self.members[at].addresses.as_ref();
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("quorate")
            .arg("agent")
            .args(["--name", &name])
            .args(["--listen", &known.map_or_else(nowhere, |known| known.mesh.clone())])
            .args(["--http", &known.map_or_else(nowhere, |known| known.http.clone())])
            .args(["--expect", &count.to_string(), "--voters", &voters.to_string()])
            .arg("--data")
            .arg(self.kept.join(&name))
            .arg("--cookie-file")
            .arg(self.kept.join("cookie"))
            .arg("--announce")
            .arg(self.announcement(at))
            .args(["--die-with-parent", &std::process::id().to_string()]);
        command.args(self.flags);
        if let Some(wan) = &self.wan {
            command.args(["--wan", &wan.to_string()]);
        }
        if !joins.is_empty() {
            command.args(["--join", &joins.join(",")]);
        }
        forget_settings(&mut command);
        let _ = std::fs::remove_file(self.announcement(at));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log(at));
        let log = log.map_err(Fail::io(format!("opening the log of {name}")))?;
        let errors = log.try_clone().map_err(Fail::io(format!("opening the log of {name}")))?;
        // A group of its own: Ctrl-C is for this process, which then ends the nodes in order.
        command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0).kill_on_drop(true);
        let child = command.spawn().map_err(Fail::io(format!("starting {name}")))?;
        self.members[at].child = Some(child);
        Ok(())
    }

    async fn learn_addresses(&mut self, at: usize, until: quorate::Time) -> Done {
        loop {
            let written = std::fs::read(self.announcement(at)).unwrap_or_default();
            if let Ok(addresses) = serde_json::from_slice(&written) {
                self.members[at].addresses = Some(addresses);
                return Ok(());
            }
            self.check_alive(at)?;
            if now() >= until {
                return Err(
                    self.failed(at, &format!("{} did not start in time", self.members[at].name))
                );
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn is_ready(&self, at: usize) -> bool {
        matches!(ask(self.members[at].http(), "/readyz").await, Some((200, _)))
    }

    fn check_alive(&mut self, at: usize) -> Done {
        let ended =
            self.members[at].child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        match ended {
            Some(status) => {
                let why = format!("{} has ended ({status})", self.members[at].name);
                Err(self.failed(at, &why))
            }
            None => Ok(()),
        }
    }

    fn failed(&self, at: usize, why: &str) -> Fail {
        let log = std::fs::read_to_string(self.log(at)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        let fail = Fail::new(code::DEV_FAILED, format!("{why}\n{}", tail.join("\n")));
        if log.contains(&code::NO_FACE.name()) {
            return fail.next("choose another port with --http-port P");
        }
        fail
    }

    /// Where a node stands, or what to say when there is none of this number.
    fn place(&self, number: usize) -> Result<usize, String> {
        let last = self.members.len();
        match number.checked_sub(1) {
            Some(at) if at < last => Ok(at),
            _ => Err(format!("there is no n{number}; the nodes are n1 to n{last}")),
        }
    }

    fn announcement(&self, at: usize) -> PathBuf {
        self.kept.join(format!("{}.json", self.members[at].name))
    }

    fn log(&self, at: usize) -> PathBuf {
        self.kept.join(format!("{}.log", self.members[at].name))
    }
}

/// Keeps from a command what is set for the user's own agent, and not meant for it.
pub(crate) fn forget_settings(command: &mut Command) {
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("QUORATE_") {
            command.env_remove(variable);
        }
    }
}

/// Removes what dead nodes left. Who guarded one may still be saying for it that it is dead, and writes down
/// how far that is: then a directory that was just emptied is not empty.
pub(crate) async fn remove_left(dir: &Path) -> io::Result<()> {
    let until = now() + LAST_WORDS;
    loop {
        match std::fs::remove_dir_all(dir) {
            Err(e) if e.kind() != ErrorKind::NotFound && now() < until => sleep(LOOK_AGAIN).await,
            Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
            _ => return Ok(()),
        }
    }
}

async fn ask(http: &str, path: &str) -> Option<(u16, Vec<u8>)> {
    once(Wire::connect(http), "GET", path, "", Duration::from_secs(1)).await
}
