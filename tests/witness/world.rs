//! The processes of a drill: agents, runners and what those start. They are started, harmed, started again,
//! and in the end certainly gone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate::Time;
use quorate_drill::lives::{self, Turn, Turns};
use quorate_env::now;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::places::Places;

/// How long anything may take before a drill gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Whoever has not said for so long that it lives is looked at again.
const FRESH: Duration = Duration::from_millis(250);
/// Within this time whoever was started has made its offer; until then one is counted that is about to
/// expire.
const OFFERS: Duration = Duration::from_secs(1);
/// What runs all of it.
const BINARY: &str = env!("CARGO_BIN_EXE_quorate");
/// Whoever has this in its environment is a runner of ours, or came of one.
const MARK: &str = "QUORATE_WITNESS";
/// The name of a fencer, as the kernel shows it.
const FENCER: &str = "quorate-fencer";

/// Nodes with an agent each, and on each a runner for every name.
pub(crate) struct World {
    pub(crate) places: Places,
    pub(crate) names: Vec<String>,
    pub(crate) dice: Dice,
    dir: PathBuf,
    agents: Vec<Option<Child>>,
    runners: BTreeMap<(usize, String), Child>,
    /// When the last runner was started.
    newest: Time,
    /// Who was stopped, and is to go on.
    stopped: Vec<u32>,
    /// Removed in the end.
    _scratch: tempfile::TempDir,
}

/// Numbers that a seed decides.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// From 0 up to, not including, a bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        // splitmix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound
    }
}

impl World {
    /// Starts all, and waits until every name is held and its witness beats.
    pub(crate) fn begin(places: Places, names: usize, seed: u64) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().to_owned();
        std::fs::create_dir(dir.join("lives")).unwrap();
        std::fs::write(dir.join("cookie"), "a secret for this drill only").unwrap();
        let own = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(dir.join("cookie"), own).unwrap();
        let count = places.count();
        let mut world = Self {
            places,
            names: (1..=names).map(|name| format!("witness-{name}")).collect(),
            dice: Dice(seed),
            dir,
            agents: (0..count).map(|_| None).collect(),
            runners: BTreeMap::new(),
            newest: Time(0),
            stopped: Vec::new(),
            _scratch: scratch,
        };
        world.settle();
        world
    }

    pub(crate) fn count(&self) -> usize {
        self.agents.len()
    }

    /// Starts whatever has ended.
    fn supervise(&mut self) {
        for node in 0..self.count() {
            if !self.agents[node].as_mut().is_some_and(lives_on) {
                self.agents[node] = Some(self.start_agent(node));
            }
            for name in self.names.clone() {
                let at = (node, name);
                if !self.runners.get_mut(&at).is_some_and(lives_on) {
                    let runner = self.start_runner(node, &at.1);
                    self.runners.insert(at, runner);
                    self.newest = now();
                }
            }
        }
    }

    fn start_agent(&self, node: usize) -> Child {
        let [listen, advertise, http] = self.places.addresses(node);
        let others = (0..self.count()).filter(|other| *other != node);
        let join: Vec<String> =
            others.map(|other| self.places.addresses(other)[1].clone()).collect();
        let count = self.count().to_string();
        let mut command = self.quorate(node);
        command
            .args(["agent", "--name", &called(node), "--listen", &listen])
            .args(["--advertise", &advertise, "--http", &http, "--join", &join.join(",")])
            .args(["--expect", &count, "--voters", &count])
            .args(["--die-with-parent", &std::process::id().to_string(), "--data"])
            .arg(self.dir.join(called(node)))
            .arg("--cookie-file")
            .arg(self.dir.join("cookie"));
        self.start(&mut command, &called(node))
    }

    fn start_runner(&mut self, node: usize, name: &str) -> Child {
        let mut command = self.quorate(node);
        command.args(["singleton", "run", name, "--stop-within", "500ms", "--"]);
        let lives = self.dir.join("lives");
        command.args([BINARY, "drill", "beat"]).arg(&lives).env(MARK, &lives);
        if self.dice.below(2) == 0 {
            command.arg("--deaf");
        }
        if self.dice.below(3) == 0 {
            command.arg("--kin");
        }
        self.start(&mut command, &format!("{name}-on-{}", called(node)))
    }

    /// The command, in the place of a node, which asks the agent there.
    fn quorate(&self, node: usize) -> Command {
        let binary = OsString::from(BINARY);
        let mut command = self.places.command(node, &binary);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("QUORATE_") {
                command.env_remove(variable);
            }
        }
        let [_, _, http] = self.places.addresses(node);
        command.env("QUORATE_AGENT", format!("http://{http}")).stdin(Stdio::null());
        command
    }

    fn start(&self, command: &mut Command, called: &str) -> Child {
        let log = self.dir.join(called).with_extension("log");
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        command.stdout(Stdio::null()).stderr(log).spawn().unwrap()
    }

    /// What a command prints in the place of a node, if it succeeds.
    pub(crate) fn ask(&self, node: usize, words: &[&str]) -> Option<Value> {
        let ran = self.quorate(node).args(words).args(["-o", "json"]).output().unwrap();
        if ran.status.success() { serde_json::from_slice(&ran.stdout).ok() } else { None }
    }

    /// Runs a command in the place of a node; whether it succeeded.
    pub(crate) fn tell(&self, node: usize, words: &[&str]) -> bool {
        self.quorate(node).args(words).output().unwrap().status.success()
    }

    /// Heals all, starts what has ended, and waits until every name has an owner whose witness beats, and all
    /// nodes offer to run it.
    pub(crate) fn settle(&mut self) {
        self.places.heal();
        self.resume();
        let until = now() + PATIENCE;
        loop {
            self.supervise();
            let unsettled = self.unsettled();
            let Some(why) = unsettled else { return };
            if now() > until {
                self.show_logs();
                panic!("not in {PATIENCE:?}: {why}");
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn unsettled(&self) -> Option<String> {
        let all = self.count();
        for node in 0..all {
            let status = self.ask(node, &["status"]);
            if status.is_none_or(|status| status["quorate"] != true) {
                return Some(format!("{} is not quorate", called(node)));
            }
        }
        if now() < self.newest + OFFERS {
            return Some("a runner was started just now".to_owned());
        }
        let turns = self.turns();
        for name in &self.names {
            let Some(shown) = self.ask(self.count() - 1, &["singleton", "show", name]) else {
                return Some(format!("{name} is not known"));
            };
            let candidates = shown["candidates"].as_array().map_or(0, Vec::len);
            if shown["state"] != "running" || candidates != all {
                return Some(format!("{name}: {shown}"));
            }
            let newest = turns.get(name).and_then(|turns| turns.last());
            let beats = |turn: &&Turn| shown["epoch"] == turn.epoch && turn.last + FRESH > now();
            if newest.filter(beats).is_none() {
                return Some(format!("{name}: {shown}, and of {newest:?} nothing is heard"));
            }
        }
        None
    }

    /// All turns so far.
    pub(crate) fn turns(&self) -> Turns {
        lives::turns(&lives::read(&self.dir.join("lives")).unwrap())
    }

    /// The node whose witness of a name began last.
    pub(crate) fn owner(&self, name: &str) -> usize {
        let turns = self.turns();
        let newest = &turns[name].last().expect("it was held and beating").node;
        (0..self.count()).find(|node| called(*node) == *newest).expect("a node of ours")
    }

    /// The node that leads, by those who know.
    pub(crate) fn leader(&self) -> usize {
        let until = now() + PATIENCE;
        loop {
            for node in 0..self.count() {
                let status = self.ask(node, &["status"]).unwrap_or_default();
                let leads = |node: &usize| status["leader"] == called(*node);
                if status["quorate"] == true
                    && let Some(leader) = (0..self.count()).find(leads)
                {
                    return leader;
                }
            }
            assert!(now() < until, "nobody leads in {PATIENCE:?}");
        }
    }

    pub(crate) fn agent(&self, node: usize) -> u32 {
        self.agents[node].as_ref().expect("it was started").id()
    }

    pub(crate) fn runner(&self, node: usize, name: &str) -> u32 {
        self.runners[&(node, name.to_owned())].id()
    }

    /// The fencer that a process has started, if there is one.
    pub(crate) fn fencer_of(&self, parent: u32) -> Option<u32> {
        processes().find(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let (named, rest) = stat.split_once(") ").unwrap_or_default();
            let ppid = rest.split(' ').nth(1);
            named.ends_with(FENCER) && ppid == Some(&parent.to_string())
        })
    }

    pub(crate) fn kill(&self, pid: u32) {
        send(pid, Signal::KILL);
    }

    /// Stops it, until `resume`.
    pub(crate) fn stop(&mut self, pid: u32) {
        send(pid, Signal::STOP);
        self.stopped.push(pid);
    }

    pub(crate) fn resume(&mut self) {
        for pid in self.stopped.drain(..) {
            send(pid, Signal::CONT);
        }
    }

    /// What was said, for whoever looks for the reason.
    pub(crate) fn show_logs(&self) {
        for file in std::fs::read_dir(&self.dir).unwrap().flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = &lines[lines.len().saturating_sub(40)..];
            println!("== {}\n{}", file.file_name().display(), tail.join("\n"));
        }
    }

    /// Runners and all that comes of them, which bear the mark of this world.
    fn of_runners(&self) -> Vec<u32> {
        let mark = format!("{MARK}={}", self.dir.join("lives").display());
        processes().filter(|pid| mentions(*pid, "environ", &mark)).collect()
    }

    /// Agents and all that comes of them, which have their data here.
    fn of_agents(&self) -> Vec<u32> {
        let data = self.dir.display().to_string();
        processes().filter(|pid| mentions(*pid, "cmdline", &data)).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.places.heal();
        self.resume();
        for runner in self.runners.values_mut() {
            let _ = (runner.kill(), runner.wait());
        }
        // Fencers have something to do yet, while there are agents to tell.
        let until = now() + PATIENCE / 6;
        while !self.of_runners().is_empty() && now() < until {
            std::thread::sleep(LOOK_AGAIN);
        }
        self.of_runners().into_iter().for_each(|pid| send(pid, Signal::KILL));
        for mut agent in self.agents.drain(..).flatten() {
            let _ = (agent.kill(), agent.wait());
        }
        // What they leave would say that they are dead, to nobody.
        self.of_agents().into_iter().for_each(|pid| send(pid, Signal::KILL));
        while !self.of_agents().is_empty() && now() < until {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Whether what the kernel shows of a process contains this.
pub(crate) fn mentions(pid: u32, shown: &str, text: &str) -> bool {
    let shown = std::fs::read(format!("/proc/{pid}/{shown}")).unwrap_or_default();
    shown.windows(text.len()).any(|window| window == text.as_bytes())
}

pub(crate) fn called(node: usize) -> String {
    format!("n{}", node + 1)
}

fn lives_on(child: &mut Child) -> bool {
    child.try_wait().expect("our own child can be asked").is_none()
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}

pub(crate) fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir(Path::new("/proc")).expect("Linux").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
