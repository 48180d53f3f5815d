//! Links on one bridge, each node in a network namespace of its own. Needs root, `ip`, `nsenter`, `unshare`
//! and `sysctl`, which most machines with Linux have; no packet filter is needed.
//!
//! A link is cut where packets arrive: a rule of the receiver's routing swallows what one sender sent, before
//! any socket sees it. For that, connections must not find their sockets without the routing (early demux).
//! The bridge has a namespace, too. Each namespace lives as long as a process in it that ends with its stdin,
//! so nothing is left behind, whatever becomes of the test.

use std::ffi::OsStr;
use std::process::{Child, Command, Stdio};

/// The rule that swallows, and the kernel's own one of what is for this host, which must not come before.
const SWALLOWS: &str = "10";
const LOCAL: &str = "1000";

/// So many namespaces on a bridge.
pub(crate) struct Namespaces {
    bridge: Space,
    nodes: Vec<Space>,
    cut: Vec<(usize, usize)>,
}

/// A namespace.
struct Space(Child);

impl Namespaces {
    /// Or why there can be none here.
    pub(crate) fn begin(count: usize) -> Result<Self, String> {
        let bridge = Space::begin()?;
        bridge.ip("link add br0 type bridge")?;
        bridge.ip("link set br0 up")?;
        let mut spaces = Self { bridge, nodes: Vec::new(), cut: Vec::new() };
        for node in 0..count {
            spaces.add(node)?;
        }
        Ok(spaces)
    }

    fn add(&mut self, node: usize) -> Result<(), String> {
        let space = Space::begin()?;
        let port = format!("port{node}");
        let pid = space.0.id();
        self.bridge.ip(&format!("link add {port} type veth peer name eth0 netns {pid}"))?;
        self.bridge.ip(&format!("link set {port} master br0 up"))?;
        space.ip(&format!("address add {}/24 dev eth0", address(node)))?;
        space.ip("link set lo up")?;
        space.ip("link set eth0 up")?;
        space.run("sysctl", "-qw net.ipv4.ip_early_demux=0")?;
        space.ip(&format!("rule add pref {LOCAL} lookup local"))?;
        space.ip("rule del pref 0 lookup local")?;
        self.nodes.push(space);
        Ok(())
    }

    pub(crate) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn command(&self, node: usize, program: &OsStr) -> Command {
        let mut command = self.nodes[node].enter();
        command.arg(program);
        command
    }

    pub(crate) fn addresses(&self, node: usize) -> [String; 3] {
        let mesh = format!("{}:4747", address(node));
        [mesh.clone(), mesh, "127.0.0.1:4748".to_owned()]
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        if !self.cut.contains(&(from, to)) {
            self.rule("add", from, to);
            self.cut.push((from, to));
        }
    }

    pub(crate) fn heal(&mut self) {
        for (from, to) in std::mem::take(&mut self.cut) {
            self.rule("del", from, to);
        }
    }

    fn rule(&self, what: &str, from: usize, to: usize) {
        let from = address(from);
        let rule = format!("rule {what} pref {SWALLOWS} from {from} iif eth0 blackhole");
        self.nodes[to].ip(&rule).expect("what could be done at first can be done again");
    }
}

fn address(node: usize) -> String {
    format!("10.78.0.{}", 1 + node)
}

impl Space {
    fn begin() -> Result<Self, String> {
        let mut holder = Command::new("unshare");
        // It says a line when it is there, and stays until its stdin ends.
        let holder = holder.args(["--net", "sh", "-c", "echo here; exec cat"]);
        let started = holder.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut space = Self(started.spawn().map_err(|e| format!("starting `unshare`: {e}"))?);
        let mut said = [0; 5];
        let stdout = space.0.stdout.as_mut().expect("it is a pipe");
        std::io::Read::read_exact(stdout, &mut said)
            .map_err(|_| "no network namespace can be made".to_owned())?;
        Ok(space)
    }

    /// What runs a program in it.
    fn enter(&self) -> Command {
        let mut enter = Command::new("nsenter");
        enter.args(["--net", "-t", &self.0.id().to_string(), "--"]);
        enter
    }

    fn ip(&self, line: &str) -> Result<(), String> {
        self.run("ip", line)
    }

    fn run(&self, tool: &str, line: &str) -> Result<(), String> {
        let mut command = self.enter();
        let ran = command.arg(tool).args(line.split(' ')).stdin(Stdio::null()).output();
        let ran = ran.map_err(|e| format!("starting `nsenter`: {e}"))?;
        if ran.status.success() {
            return Ok(());
        }
        Err(format!("`{tool} {line}`: {}", String::from_utf8_lossy(&ran.stderr).trim()))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
