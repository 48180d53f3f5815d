//! Processes that a test starts, speaks to, and certainly ends.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A build of the command.
fn build(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for key in ["QUORATE_AGENT", "QUORATE_API_TOKEN_FILE", "QUORATE_CONFIG"] {
        command.env_remove(key);
    }
    command
}

/// One daemon with a data directory of its own.
pub(crate) struct Agent {
    pub(crate) name: String,
    data: PathBuf,
    binary: PathBuf,
    lease: Option<&'static str>,
    is_drilled: bool,
    child: Option<Child>,
}

/// So many daemons n1, n2 and so on, none of which has started.
pub(crate) fn agents(count: usize, dir: &Path) -> Vec<Agent> {
    (1..=count).map(|n| Agent::new(&format!("n{n}"), dir)).collect()
}

/// A file with the secret that all daemons of a test share.
pub(crate) fn cookie(dir: &Path) -> PathBuf {
    let cookie = dir.join("cookie");
    std::fs::write(&cookie, "a secret for this test only").expect("the directory is ours");
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&cookie, own).expect("the file is ours");
    cookie
}

impl Agent {
    pub(crate) fn new(name: &str, dir: &Path) -> Self {
        let binary = PathBuf::from(env!("CARGO_BIN_EXE_quorate"));
        let (name, data) = (name.to_owned(), dir.join(name));
        Self { name, data, binary, lease: None, is_drilled: false, child: None }
    }

    /// Lets another build run in it from its next start on.
    pub(crate) fn install(&mut self, binary: &Path) {
        self.binary = binary.to_owned();
    }

    /// Lets it be silent for so long before the others take it for dead, from its next start on.
    pub(crate) fn lease(&mut self, lease: &'static str) {
        self.lease = Some(lease);
    }

    /// Has it let itself be drilled, from its next start on, and lose what was not synced when it is killed.
    pub(crate) fn drilled(&mut self) {
        self.is_drilled = true;
    }

    /// Starts it, and waits until it says where it listens.
    pub(crate) fn start(&mut self, cookie: &Path, expect: usize, join: &[String]) {
        let _ = std::fs::remove_file(self.announcement());
        let mut command = build(&self.binary);
        command
            .args(["agent", "--name", &self.name, "--listen", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0", "--data"])
            .arg(&self.data)
            .arg("--cookie-file")
            .arg(cookie)
            .arg("--announce")
            .arg(self.announcement())
            .args(["--expect", &expect.to_string(), "--voters", &expect.to_string()]);
        if let Some(lease) = self.lease {
            command.args(["--lease", lease]);
        }
        if self.is_drilled {
            command.args(["--allow-drill", "--drill-forgetful"]);
        }
        if !join.is_empty() {
            command.args(["--join", &join.join(",")]);
        }
        let said = OpenOptions::new().create(true).append(true).open(self.said());
        let said = said.expect("the directory is ours");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        self.child = Some(child.spawn().expect("the binary starts"));
        eventually("the agent says where it listens", || self.addresses().is_some());
    }

    fn announcement(&self) -> PathBuf {
        self.data.with_extension("json")
    }

    /// What it has logged, in all its lives.
    fn said(&self) -> PathBuf {
        self.data.with_extension("log")
    }

    fn addresses(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.announcement()).ok()?).ok()
    }

    /// Whether it has written down where these others are.
    pub(crate) fn knows(&self, others: &[String]) -> bool {
        let peers = std::fs::read_to_string(self.data.join("peers")).unwrap_or_default();
        others.iter().all(|other| peers.lines().any(|peer| peer == other))
    }

    pub(crate) fn mesh(&self) -> String {
        let addresses = self.addresses().expect("the agent has started");
        addresses["mesh"].as_str().expect("a mesh address").to_owned()
    }

    pub(crate) fn http(&self) -> String {
        let addresses = self.addresses().expect("the agent has started");
        let http = addresses["http"].as_str().expect("an http address");
        if http.starts_with("http://") { http.to_owned() } else { format!("http://{http}") }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("the agent has started").id()
    }

    /// SIGTERM, and waits until it has shut itself down.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            signal("-TERM", &[child.id()]);
            let mut ended = || child.try_wait().expect("our own child can be asked").is_some();
            eventually("a stopped daemon ends", &mut ended);
        }
    }

    /// SIGSTOP: it lives, and answers nobody.
    pub(crate) fn pause(&self) {
        signal("-STOP", &[self.pid()]);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        signal("-CONT", &[self.pid()]);
    }

    /// SIGKILL, without a word before.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A test that fails where nobody can look afterwards has to say then what its daemons said.
        if std::thread::panicking() {
            let said = std::fs::read_to_string(self.said()).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(60)..].join("\n");
            println!("{} said at last:\n{last}\n", self.name);
        }
        self.kill();
    }
}

/// How often a drill has an agent go: as often as whoever starts it by hand says.
#[expect(clippy::disallowed_methods, reason = "whoever starts a drill by hand says how long")]
pub(crate) fn rounds() -> usize {
    match std::env::var("QUORATE_DRILL_KILLS") {
        Ok(rounds) => rounds.parse().expect("QUORATE_DRILL_KILLS is a number"),
        Err(_) => 3,
    }
}

/// Waits for something that must come.
#[expect(clippy::disallowed_methods, reason = "a test of processes lives in real time")]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// SIGKILL to many with one command.
pub(crate) fn kill_at_once(pids: &[u32]) {
    signal("-KILL", pids);
}

fn signal(which: &str, pids: &[u32]) {
    let pids = pids.iter().map(ToString::to_string);
    let sent = Command::new("kill").arg(which).args(pids).status();
    assert!(sent.expect("kill runs").success());
}

/// Starts daemons that are to begin a cluster, and waits until each of them is quorate.
pub(crate) fn start_all(agents: &mut [Agent], cookie: &Path) {
    let expect = agents.len();
    let mut join = Vec::new();
    for agent in agents.iter_mut() {
        agent.start(cookie, expect, &join);
        join.push(agent.mesh());
    }
    for agent in agents.iter() {
        becomes_quorate(agent);
    }
}

/// Starts one daemon again beside the others, which run.
pub(crate) fn start_again(agents: &mut [Agent], nth: usize, cookie: &Path) {
    let others = agents.iter().enumerate().filter(|(other, _)| *other != nth);
    let join: Vec<String> = others.map(|(_, other)| other.mesh()).collect();
    let expect = agents.len();
    agents[nth].start(cookie, expect, &join);
    becomes_quorate(&agents[nth]);
}

/// Waits until an agent holds a lease that a majority confirmed.
pub(crate) fn becomes_quorate(agent: &Agent) {
    let status = format!("{}/v1/status", agent.http());
    eventually("every agent is quorate", || {
        get(&status).is_some_and(|status| status["quorate"] == true)
    });
}

/// Who leads, as soon as somebody who is asked knows.
pub(crate) fn leader(agents: &[Agent]) -> usize {
    let mut found = None;
    eventually("somebody leads", || {
        let named = agents.iter().find_map(|agent| {
            let status = get(&format!("{}/v1/status", agent.http()))?;
            Some(status["leader"].as_str()?.to_owned())
        });
        found = agents.iter().position(|agent| Some(&agent.name) == named.as_ref());
        found.is_some()
    });
    found.expect("it was found")
}

/// Has another daemon lead; whether it came to pass.
pub(crate) fn step_down(http: &str, to: &str) -> bool {
    let body = serde_json::json!({ "to": to }).to_string();
    let post = client().post(format!("{http}/v1/leader/step-down"));
    post.header("content-type", "application/json").send(body).is_ok()
}

/// Puts a door of a daemon wrong for a while.
pub(crate) fn inject(http: &str, fault: &Value) {
    let post = client().post(format!("{http}/v1/drill/faults"));
    let post = post.header("content-type", "application/json");
    post.send(fault.to_string()).expect("it lets itself be drilled");
}

/// All names under a prefix with their epochs, by all that was acknowledged.
pub(crate) fn held_under(http: &str, prefix: &str) -> BTreeMap<String, u64> {
    let mut held = BTreeMap::new();
    let mut page = String::new();
    loop {
        let url =
            format!("{http}/v1/names?prefix={prefix}&limit=1000&consistency=linearizable{page}");
        let mut listing = None;
        eventually("a linearizable listing", || {
            listing = get(&url);
            listing.is_some()
        });
        let listing = listing.expect("it was listed");
        for name in listing["names"].as_array().expect("names are a list") {
            let (name, epoch) = (name["name"].as_str(), name["epoch"].as_u64());
            held.insert(name.expect("a name").to_owned(), epoch.expect("an epoch"));
        }
        match listing["next"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => return held,
        }
    }
}

/// Asks an agent.
pub(crate) fn get(url: &str) -> Option<Value> {
    let mut answer = client().get(url).call().ok()?;
    serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()
}

/// What a name is held under by all that was acknowledged; none if nobody holds it. Asks again while there
/// is no leader to ask.
pub(crate) fn lookup(http: &str, name: &str) -> Option<Value> {
    let url = format!("{http}/v1/names/{name}?consistency=linearizable");
    let mut found = None;
    eventually("a linearizable answer", || match client().get(&url).call() {
        Ok(mut answer) => {
            let text = answer.body_mut().read_to_string().unwrap_or_default();
            found = serde_json::from_str(&text).ok();
            found.is_some()
        }
        Err(ureq::Error::StatusCode(404)) => true,
        Err(_) => false,
    });
    found
}

/// Registers a name for good; its epoch, if that was acknowledged.
pub(crate) fn register(http: &str, name: &str, value: &str) -> Option<u64> {
    let body = serde_json::json!({ "value": value }).to_string();
    let put = client().put(format!("{http}/v1/names/{name}"));
    let mut answer = put.header("content-type", "application/json").send(body).ok()?;
    let answer: Value = serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()?;
    answer["epoch"].as_u64()
}

/// No question waits longer than the faces promise to answer in.
fn client() -> ureq::Agent {
    ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().into()
}
