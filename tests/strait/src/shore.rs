//! The two shores: a process in a network namespace of its own on each, and a TUN device that leads into it.
//!
//! A process is started by `unshare`, says that it is there, and waits for a line. Meanwhile its device is
//! moved into its namespace and gets an address. When its stdin closes it ends, whatever became of the
//! process that started it, and namespace and device go with it.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::path::{Conditions, Path};
use crate::relay::{Counts, carry};

/// The addresses of the two shores.
pub const ADDRESSES: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

/// What a process says when it is in its namespace.
pub const HERE: &str = "here";

const MTU: u16 = 1500;

/// A process on its shore.
pub struct Shore {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// Two shores, near and far, and what lies between them.
pub struct Strait {
    /// The processes.
    pub shores: [Shore; 2],
    /// What became of the packets from near to far, and from far to near.
    pub counts: [Arc<Counts>; 2],
}

/// Why there can be no strait here; none when there can.
pub fn obstacle() -> Option<String> {
    if let Err(error) = std::fs::metadata("/dev/net/tun") {
        return Some(format!("there is no /dev/net/tun: {error}"));
    }
    if let Err(error) = run("unshare", &["--net", "true"]) {
        return Some(format!("no network namespace can be made: {error:#}"));
    }
    for tool in ["ip", "nsenter", "sysctl"] {
        if let Err(error) = run(tool, &["-V"]) {
            return Some(format!("a tool is missing: {error:#}"));
        }
    }
    // A name that the system chooses meets no other device.
    let made = DeviceBuilder::new().layer(Layer::L3).enable(false).build_sync();
    made.err().map(|error| format!("no TUN device can be made: {error}"))
}

impl Strait {
    /// Lets two processes begin, each on its shore, with the congestion control that is asked for; where
    /// none is, with the system's.
    pub fn open(
        processes: [&Command; 2],
        conditions: Conditions,
        seed: u64,
        congestion: Option<&str>,
    ) -> Result<Self> {
        let mut devices = Vec::new();
        let mut shores = Vec::new();
        for (process, address) in processes.into_iter().zip(ADDRESSES) {
            let shore = Shore::begin(process)?;
            devices.push(Arc::new(shore.device(address, congestion)?));
            shores.push(shore);
        }
        let (Ok(shores), [near, far]) = (<[Shore; 2]>::try_from(shores), &devices[..]) else {
            bail!("there are two shores");
        };
        let there = carry(near.clone(), far.clone(), Path::new(conditions, seed))?;
        let back = carry(far.clone(), near.clone(), Path::new(conditions, !seed))?;
        Ok(Self { shores, counts: [there, back] })
    }
}

impl Shore {
    /// Starts a process in a namespace of its own; returns when it is there.
    fn begin(process: &Command) -> Result<Self> {
        let mut child = Command::new("unshare")
            .arg("--net")
            .arg(process.get_program())
            .args(process.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting `unshare`")?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("a child whose stdin and stdout are pipes has both");
        };
        let mut shore = Self { child, stdin, stdout: BufReader::new(stdout) };
        let said = shore.hear()?;
        if said != HERE { bail!("a shore began with `{said}`") } else { Ok(shore) }
    }

    /// Makes a device, moves it into the namespace, and gives it an address.
    fn device(&self, address: &str, congestion: Option<&str>) -> Result<SyncDevice> {
        let device = DeviceBuilder::new().layer(Layer::L3).mtu(MTU).enable(false).build_sync();
        let device = device.context("making a TUN device")?;
        let name = device.name().context("the name of a TUN device")?;
        let pid = self.child.id().to_string();
        run("ip", &["link", "set", "dev", &name, "netns", &pid])?;
        let within = |line: &str| {
            let enter = ["-t", &pid, "-n"];
            run("nsenter", &enter.into_iter().chain(line.split(' ')).collect::<Vec<_>>())
        };
        within(&format!("ip address add {address}/24 dev {name}"))?;
        within("ip link set dev lo up")?;
        within(&format!("ip link set dev {name} up mtu {MTU}"))?;
        if let Some(congestion) = congestion {
            within(&format!("sysctl -qw net.ipv4.tcp_congestion_control={congestion}"))?;
        }
        Ok(device)
    }

    /// Tells the process a line.
    pub fn tell(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.stdin, "{line}")?;
        self.stdin.flush()
    }

    /// The next line that the process says.
    pub fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("a process ended without a word");
        }
        Ok(line.trim_end().to_owned())
    }

    /// Ends the process, and its shore with it.
    pub fn end(self) -> io::Result<()> {
        let Self { mut child, stdin, .. } = self;
        drop(stdin);
        child.wait().map(drop)
    }
}

/// Runs a tool to its end; what it complains of is the error.
fn run(tool: &str, args: &[&str]) -> Result<()> {
    let ran = Command::new(tool).args(args).stdin(Stdio::null()).output();
    let ran = ran.with_context(|| format!("starting `{tool}`"))?;
    if !ran.status.success() {
        bail!("`{tool} {}`: {}", args.join(" "), String::from_utf8_lossy(&ran.stderr).trim());
    }
    Ok(())
}
