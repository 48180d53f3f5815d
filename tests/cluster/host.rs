//! Processes that a test starts, speaks to, and certainly ends.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command under test.
pub(crate) fn quorate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    for key in ["QUORATE_AGENT", "QUORATE_API_TOKEN_FILE", "QUORATE_CONFIG"] {
        command.env_remove(key);
    }
    command
}

/// One daemon with a data directory of its own.
pub(crate) struct Agent {
    pub(crate) name: String,
    data: PathBuf,
    child: Option<Child>,
}

impl Agent {
    pub(crate) fn new(name: &str, dir: &Path) -> Self {
        Self { name: name.to_owned(), data: dir.join(name), child: None }
    }

    /// Starts it, and waits until it says where it listens.
    pub(crate) fn start(&mut self, cookie: &Path, expect: usize, join: &[String]) {
        let _ = std::fs::remove_file(self.announcement());
        let mut command = quorate();
        command
            .args(["agent", "--name", &self.name, "--listen", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0", "--data"])
            .arg(&self.data)
            .arg("--cookie-file")
            .arg(cookie)
            .arg("--announce")
            .arg(self.announcement())
            .args(["--expect", &expect.to_string(), "--voters", &expect.to_string()]);
        if !join.is_empty() {
            command.args(["--join", &join.join(",")]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(child.spawn().expect("the binary starts"));
        eventually("the agent says where it listens", || self.addresses().is_some());
    }

    fn announcement(&self) -> PathBuf {
        self.data.with_extension("json")
    }

    fn addresses(&self) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.announcement()).ok()?).ok()
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
        self.kill();
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
    let pids = pids.iter().map(ToString::to_string);
    let sent = Command::new("kill").arg("-KILL").args(pids).status();
    assert!(sent.expect("kill runs").success());
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
