//! The world of a drill: agents, and on each node a runner for every singleton. Actions are done to it.
//!
//! A cable is cut at both ends that dial: on connections that a node has dialled it holds what it sends to
//! the other and what it hears from it, as it is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use quorate_drill::lives::{self, Reader, Turns};
use quorate_drill::nemesis::{Action, NodeView, WorldView};
use quorate_drill::story::{Replicas, Size};
use quorate_env::{now, sleep};
use quorate_fencer::MYSELF;
use quorate_http::code;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::door::Door;
use super::live::{self, Live};
use super::notes::Notes;
use super::post;
use super::replicas;
use super::size::Taken;
use crate::dev::cluster::{Cluster, Member, Plan, forget_settings, remove_left};
use crate::fail::{Done, Fail};
use crate::singletons;

/// What runs once.
pub(super) const SINGLETONS: [&str; 2] = ["drill/one", "drill/two"];
/// What is locked, by one after the other.
pub(super) const LOCK: &str = "drill/lock";
/// How long whoever has it keeps it, if it can.
const LOCKED: &str = "3s";
/// All that have runners on every node.
const CONTESTED: [&str; 3] = [SINGLETONS[0], SINGLETONS[1], LOCK];
/// What agents have by themselves.
const LEASE: Duration = Duration::from_secs(2);
/// How long anything that is waited for may take, beyond what is judged.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const ASK_WITHIN: Duration = Duration::from_secs(3);
/// Whoever has not said for so long that it lives is looked at again.
const FRESH: Duration = Duration::from_millis(500);
/// A fault that nobody ends ends by itself so long after it was to.
const GUARD: Duration = Duration::from_secs(60);
/// How long what is asked to end may take.
const GRACE: &str = "500ms";
/// What a runner bears with before it gives up: longer than anything that a drill does.
const RUNNER_PATIENCE: &str = "10m";

pub(super) struct World {
    doors: Vec<Door>,
    lease: Duration,
    ground: Ground,
    lives: PathBuf,
    witnesses: Reader,
    /// The runner of each singleton, and who waits for the lock, on each node; none while its host is down.
    runners: BTreeMap<(usize, &'static str), Child>,
    /// The hosts that are down, and stay so.
    down: Vec<bool>,
    /// The faults that were told to agents, by what they are, and how to end them.
    faults: BTreeMap<String, (usize, u64)>,
}

/// What stands behind the doors.
enum Ground {
    /// A cluster that ends with the drill.
    Own(Cluster),
    /// One that others use, and a directory for what is written down.
    Live(Live, TempDir),
}

impl World {
    /// Starts all, and returns when all serve and run.
    pub(super) async fn begin(nodes: usize, is_forgetful: bool) -> Result<Self, Fail> {
        let flags: &'static [&'static str] = match is_forgetful {
            true => &["--allow-drill", "--drill-forgetful"],
            false => &["--allow-drill"],
        };
        let plan = Plan { nodes, http_port: 0, root: None, wan: None, flags };
        let mut cluster = Cluster::new(plan)?;
        cluster.come_up(PATIENCE).await?;
        let door = |member: &Member| Door {
            name: member.name.clone(),
            http: member.http().to_owned(),
            mesh: member.mesh().to_owned(),
            token: None,
        };
        let doors = cluster.members().iter().map(door).collect();
        let lives = cluster.dir().join("lives");
        Self::ready(doors, LEASE, Ground::Own(cluster), lives).await
    }

    /// Comes to a cluster that runs and goes on when this is over, and returns when singletons run there.
    pub(super) async fn visit(live: &Live) -> Result<Self, Fail> {
        let dir = tempfile::tempdir().map_err(Fail::io("making a directory for witnesses"))?;
        let lives = dir.path().join("lives");
        Self::ready(live.doors.clone(), live.lease, Ground::Live(live.clone(), dir), lives).await
    }

    async fn ready(
        doors: Vec<Door>,
        lease: Duration,
        ground: Ground,
        lives: PathBuf,
    ) -> Result<Self, Fail> {
        std::fs::create_dir(&lives).map_err(Fail::io("making a directory for witnesses"))?;
        let down = vec![false; doors.len()];
        let (runners, faults) = (BTreeMap::new(), BTreeMap::new());
        let witnesses = Reader::of(&lives);
        let mut world = Self { doors, lease, ground, lives, witnesses, runners, down, faults };
        if world.calm(PATIENCE).await? {
            return Ok(world);
        }
        world.end(false).await;
        let why = format!("the cluster was never calm, in {PATIENCE:?}");
        Err(Fail::new(code::DRILL_FAILED, why))
    }

    /// Ends all that was begun; where something is kept of it, says where.
    pub(super) async fn end(mut self, retain: bool) -> Option<PathBuf> {
        self.end_runners().await;
        match self.ground {
            Ground::Own(mut cluster) => {
                let kept = retain.then(|| cluster.retain().to_owned());
                cluster.end().await;
                kept
            }
            Ground::Live(live, dir) => {
                live.tidy().await;
                retain.then(|| dir.keep())
            }
        }
    }

    /// The nodes, in their order.
    pub(super) fn nodes(&self) -> Vec<Door> {
        self.doors.clone()
    }

    /// How long a node may be silent.
    pub(super) fn lease(&self) -> Duration {
        self.lease
    }

    /// The processes, where they are ours.
    fn processes(&mut self) -> Result<&mut Cluster, Fail> {
        match &mut self.ground {
            Ground::Own(cluster) => Ok(cluster),
            Ground::Live(..) => {
                let why = "no process is harmed of a cluster that others use";
                Err(Fail::new(code::DRILL_FAILED, why.to_owned()))
            }
        }
    }

    /// How it looks to whoever plans the next step.
    pub(super) fn view(&mut self, notes: &Notes) -> Result<WorldView, Fail> {
        let turns = self.turns()?;
        let at = |wanted: &str| self.doors.iter().position(|door| door.name == wanted);
        let newest = turns.get(SINGLETONS[0]).and_then(|turns| turns.last());
        let nodes = self.doors.iter().enumerate();
        Ok(WorldView {
            leader: notes.leader().and_then(|leader| at(&leader)),
            owner: newest.and_then(|turn| at(&turn.node)),
            nodes: nodes
                .map(|(nth, door)| NodeView { host: door.name.clone(), up: !self.down[nth] })
                .collect(),
        })
    }

    /// All that witnesses wrote so far.
    pub(super) fn turns(&mut self) -> Result<Turns, Fail> {
        let lives = self.witnesses.read().map_err(Fail::io("reading what witnesses wrote"))?;
        Ok(lives::turns(&lives))
    }

    /// Takes down how much each node takes, where its process is ours.
    pub(super) fn sizes(&self, notes: &Notes) {
        let Ground::Own(cluster) = &self.ground else { return };
        for member in cluster.members() {
            let data = cluster.dir().join(&member.name);
            let taken = member.pid().and_then(|pid| Taken::by(pid, &data).ok());
            if let Some(Taken { memory_kb, files, disk_kb }) = taken {
                let (node, at) = (member.name.clone(), notes.ms());
                notes.sized(Size { node, at, memory_kb, files, disk_kb });
            }
        }
    }

    /// Whether the cluster is the drill's alone.
    pub(super) fn is_own(&self) -> bool {
        matches!(self.ground, Ground::Own(_))
    }

    /// Ends all that still has the nodes work, and compares what they hold.
    pub(super) async fn replicas(&mut self, within: Duration) -> Replicas {
        self.end_runners().await;
        replicas::compare(&self.doors, self.lease * 2 + within).await
    }

    async fn end_runners(&mut self) {
        for runner in self.runners.values_mut() {
            // Its fencer ends what it runs.
            let _ = runner.kill().await;
        }
    }

    /// Does one thing. Faults end by themselves if this is never told to undo it.
    pub(super) async fn perform(&mut self, action: &Action, lasts: Duration) -> Done {
        let lasts = lasts
            + match self.ground {
                Ground::Own(_) => GUARD,
                Ground::Live(..) => live::GUARD,
            };
        match action {
            Action::Say(_) => {}
            Action::Wait(span) => self.wait(*span).await?,
            Action::Calm => drop(self.calm(PATIENCE).await?),
            Action::Cut { from, to } => {
                self.cable(from, to, Some(json!({ "fault": "silence" })), "cut", lasts).await?;
            }
            Action::Heal { from, to } => self.cable(from, to, None, "cut", lasts).await?,
            Action::Slow { from, to, extra } => {
                let delay = extra.as_millis() as u64;
                let slow = (delay > 0).then(|| json!({ "fault": "weather", "delay_ms": delay }));
                self.cable(from, to, slow, "slow", lasts).await?;
            }
            Action::Lossy { from, to, percent } => {
                let loss = f64::from(*percent) / 100.0;
                let lossy = (*percent > 0).then(|| json!({ "fault": "weather", "loss": loss }));
                self.cable(from, to, lossy, "lossy", lasts).await?;
            }
            Action::Reset { .. } | Action::Remove { .. } | Action::Trap { .. } => {}
            Action::Crash { host } | Action::PowerLoss { host, .. } => {
                let at = self.at(host)?;
                self.down[at] = true;
                self.processes()?.signal(at, Signal::KILL)?;
                self.signal_runners(at, Signal::KILL);
                self.processes()?.ended(at).await?;
                self.reap(at).await;
                self.forget(at);
            }
            Action::Shut { host } => {
                let at = self.at(host)?;
                self.down[at] = true;
                self.signal_runners(at, Signal::TERM);
                self.reap(at).await;
                self.processes()?.signal(at, Signal::TERM)?;
                self.processes()?.ended(at).await?;
                self.forget(at);
            }
            Action::Start { host } => {
                let at = self.at(host)?;
                self.down[at] = false;
                self.processes()?.start(at).await?;
            }
            Action::Freeze { host } => {
                let at = self.at(host)?;
                self.processes()?.signal(at, Signal::STOP)?;
                self.signal_runners(at, Signal::STOP);
            }
            Action::Thaw { host } => {
                let at = self.at(host)?;
                self.processes()?.signal(at, Signal::CONT)?;
                self.signal_runners(at, Signal::CONT);
            }
            Action::StallDisk { host, span } => {
                let at = self.at(host)?;
                let stall = json!({ "fault": "disk-stall" });
                self.hurt(format!("stall {host}"), at, stall, *span).await?;
            }
            Action::SlowDisk { host, takes } => {
                let slow = json!({ "fault": "disk-slow", "takes_ms": takes.as_millis() as u64 });
                self.own("slow", host, slow, takes.is_zero(), lasts).await?;
            }
            Action::FillDisk { host, room } => {
                let full = json!({ "fault": "disk-full", "room": room.unwrap_or(0) });
                self.own("full", host, full, room.is_none(), lasts).await?;
            }
            Action::ClockRate { host, ppm } => {
                let rate = json!({ "fault": "clock-rate", "ppm": ppm });
                self.own("rate", host, rate, *ppm == 0, lasts).await?;
            }
            Action::WallJump { host, ms } => {
                let jump = json!({ "fault": "wall-jump", "ms": ms });
                self.own("jump", host, jump, *ms == 0, lasts).await?;
            }
            Action::Drain { host } => {
                let why = json!({ "why": live::DRAINED }).to_string();
                self.order(&format!("/v1/nodes/{host}/drain"), &why).await;
            }
            Action::Undrain { host } => {
                self.order(&format!("/v1/nodes/{host}/undrain"), "{}").await;
            }
            Action::Move { to } => {
                let path = format!("{}/move", singletons::path(SINGLETONS[0]));
                self.order(&path, &json!({ "to": to }).to_string()).await;
            }
            Action::HandOver { .. } => self.order("/v1/leader/step-down", "{}").await,
            Action::Restore => self.restore().await?,
        }
        Ok(())
    }

    /// Lets time pass, while what has ended by itself is started again where its host is up.
    pub(super) async fn wait(&mut self, span: Duration) -> Done {
        let until = now() + span;
        while now() < until {
            self.supervise()?;
            sleep(LOOK_AGAIN.min(until.since(now()))).await;
        }
        Ok(())
    }

    /// Waits until all nodes serve, and every singleton runs, offered by all; whether it came to that.
    pub(super) async fn calm(&mut self, within: Duration) -> Result<bool, Fail> {
        let until = now() + within;
        loop {
            self.supervise()?;
            if self.is_calm().await? {
                return Ok(true);
            }
            if now() > until {
                return Ok(false);
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    async fn is_calm(&mut self) -> Result<bool, Fail> {
        for door in &self.doors {
            if !matches!(door.ask("GET", "/readyz", "", ASK_WITHIN).await, Some((200, _))) {
                return Ok(false);
            }
        }
        // In a cluster that others use no groups are begun that outlive the drill.
        if self.is_own() && !post::is_whole(&self.doors, ASK_WITHIN).await {
            return Ok(false);
        }
        let turns = self.turns()?;
        let newest = |name| turns.get(name).and_then(|turns| turns.last());
        if newest(LOCK).is_none_or(|turn| turn.last + FRESH <= now()) {
            return Ok(false);
        }
        for name in SINGLETONS {
            let path = singletons::path(name);
            let asked = self.doors[0].ask("GET", &path, "", ASK_WITHIN).await;
            let Some((200, shown)) = asked else { return Ok(false) };
            let candidates = shown["candidates"].as_array().map_or(0, Vec::len);
            let beats = newest(name)
                .is_some_and(|turn| shown["epoch"] == turn.epoch && turn.last + FRESH > now());
            if shown["state"] != "running" || candidates != self.doors.len() || !beats {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Starts what has ended, on hosts that are up.
    fn supervise(&mut self) -> Done {
        if let Ground::Own(cluster) = &mut self.ground {
            // Whoever ended by itself is missed by those who wait for calm.
            cluster.reap();
        }
        for at in 0..self.down.len() {
            for name in CONTESTED.into_iter().filter(|_| !self.down[at]) {
                let runner = self.runners.get_mut(&(at, name));
                if runner.is_some_and(|runner| matches!(runner.try_wait(), Ok(None))) {
                    continue;
                }
                let runner = self.runner(at, name)?;
                self.runners.insert((at, name), runner);
            }
        }
        Ok(())
    }

    fn runner(&self, at: usize, name: &'static str) -> Result<Child, Fail> {
        let http = format!("http://{}", self.doors[at].http);
        let mut command = Command::new(MYSELF);
        command.arg0("quorate");
        let lease = format!("{}ms", self.lease.as_millis());
        match name {
            LOCK => command.args(["lock", name, "--ttl", &lease, "--grace", GRACE]),
            _ => command.args(["singleton", "run", name, "--stop-within", GRACE]),
        };
        command.args(["--timeout", RUNNER_PATIENCE, "--agent", &http]);
        if let Ground::Live(Live { token_file: Some(file), .. }, _) = &self.ground {
            command.arg("--api-token-file").arg(file);
        }
        command.arg("--");
        command.args([MYSELF, "drill", "beat"]).arg(&self.lives);
        if name == LOCK {
            command.args(["--name", name, "--node", &self.doors[at].name, "--lasts", LOCKED]);
        }
        forget_settings(&mut command);
        let log = self.lives.with_file_name(format!("runners-of-n{}.log", at + 1));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log);
        let log = log.map_err(Fail::io("opening the log of a runner"))?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command.process_group(0).kill_on_drop(true).spawn().map_err(Fail::io("starting a runner"))
    }

    fn signal_runners(&self, at: usize, signal: Signal) {
        let of_node = self.runners.iter().filter(|((node, _), _)| *node == at);
        let pids = of_node.filter_map(|(_, runner)| Pid::from_raw(runner.id()?.cast_signed()));
        for pid in pids {
            // It may have ended just now.
            let _ = kill_process(pid, signal);
        }
    }

    async fn reap(&mut self, at: usize) {
        for name in CONTESTED {
            if let Some(mut runner) = self.runners.remove(&(at, name)) {
                let _ = runner.wait().await;
            }
        }
    }

    /// A process that ended took its faults with it.
    fn forget(&mut self, at: usize) {
        self.faults.retain(|_, (node, _)| *node != at);
    }

    fn at(&self, host: &str) -> Result<usize, Fail> {
        let found = self.doors.iter().position(|door| door.name == host);
        found.ok_or_else(|| Fail::new(code::DRILL_FAILED, format!("there is no node {host}")))
    }

    /// Has a node do itself some harm, or end that.
    async fn own(
        &mut self,
        key: &str,
        host: &str,
        fault: Value,
        is_over: bool,
        lasts: Duration,
    ) -> Done {
        let (key, at) = (format!("{key} {host}"), self.at(host)?);
        self.mend(&key).await;
        if is_over { Ok(()) } else { self.hurt(key, at, fault, lasts).await }
    }

    /// Has one direction of a cable be otherwise, at both of its ends: each sees to what it has dialled.
    async fn cable(
        &mut self,
        from: &str,
        to: &str,
        fault: Option<Value>,
        kind: &str,
        lasts: Duration,
    ) -> Done {
        let (a, b) = (self.at(from)?, self.at(to)?);
        for (at, peer, way) in [(a, b, "out"), (b, a, "in")] {
            let key = format!("{kind} {way} {from} {to}");
            self.mend(&key).await;
            if let Some(mut fault) = fault.clone() {
                fault["peer"] = self.doors[peer].mesh.clone().into();
                fault["way"] = way.into();
                self.hurt(key, at, fault, lasts).await?;
            }
        }
        Ok(())
    }

    async fn hurt(&mut self, key: String, at: usize, mut fault: Value, lasts: Duration) -> Done {
        fault["lasts_ms"] = (lasts.as_millis() as u64).into();
        let door = &self.doors[at];
        let body = fault.to_string();
        let told = match door.ask("POST", "/v1/drill/faults", &body, ASK_WITHIN).await {
            Some((200 | 201, body)) => {
                if let Some(id) = body["id"].as_u64() {
                    self.faults.insert(key, (at, id));
                    return Ok(());
                }
                body.to_string()
            }
            Some((status, body)) => format!("{status} {body}"),
            None => "no answer".to_owned(),
        };
        Err(Fail::new(code::DRILL_FAILED, format!("{} did not take {fault}: {told}", door.name)))
    }

    async fn mend(&mut self, key: &str) {
        if let Some((at, id)) = self.faults.remove(key) {
            let path = format!("/v1/drill/faults/{id}");
            // If nobody answers, it ends by itself.
            let _ = self.doors[at].ask("DELETE", &path, "", ASK_WITHIN).await;
        }
    }

    /// Orders what any node can see to; whether it comes to anything is seen by what follows.
    async fn order(&self, path: &str, body: &str) {
        for door in &self.doors {
            if let Some((200..300, _)) = door.ask("POST", path, body, ASK_WITHIN).await {
                return;
            }
        }
    }

    /// Saves all, loses all, and begins anew.
    async fn restore(&mut self) -> Done {
        let dir = self.processes()?.dir().to_owned();
        let (file, agent) = (dir.join("backup"), self.doors[0].http.clone());
        let saved = [file.as_os_str(), "--agent".as_ref(), agent.as_ref()];
        quorate(&["backup", "save"], &saved).await?;
        for at in 0..self.down.len() {
            let host = self.doors[at].name.clone();
            let crash = Action::Crash { host: host.clone() };
            Box::pin(self.perform(&crash, Duration::ZERO)).await?;
            let data = dir.join(&host);
            remove_left(&data).await.map_err(Fail::io("losing the data of a node"))?;
        }
        let first = dir.join(&self.doors[0].name);
        quorate(&["backup", "restore"], &[file.as_os_str(), "--data".as_ref(), first.as_os_str()])
            .await?;
        for at in 0..self.down.len() {
            self.down[at] = false;
            self.processes()?.start(at).await?;
        }
        Ok(())
    }
}

/// Runs this command as its own user would.
async fn quorate(words: &[&str], more: &[&std::ffi::OsStr]) -> Done {
    let mut command = Command::new(MYSELF);
    forget_settings(&mut command);
    command.arg0("quorate").args(words).args(more).stdin(Stdio::null());
    let ran = command.output().await.map_err(Fail::io("running a command"))?;
    if ran.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&ran.stderr).into_owned();
    Err(Fail::new(code::DRILL_FAILED, format!("`quorate {}`: {told}", words.join(" "))))
}
