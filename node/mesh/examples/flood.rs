//! A flood at a process that is stopped: what both sides keep in memory, what the one who floods is told, and
//! what others notice. Three nodes in three OS processes.
//!
//! ```console
//! $ cargo run --release -p quorate-mesh --example flood -- 10     # seconds
//! ```

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::{Failure, ask, linked, node, resident, round_trips};
use quorate_env::{Tcp, blocking, now, sleep, spawn};
use quorate_mesh::{Limits, Mesh};
use quorate_vocab::{Lane, NodeId};

const BODY_BYTES: usize = 1_000;
const STOPPED: u64 = 2;
const BESIDE: u64 = 3;
/// How often it floods and rests.
const ROUNDS: u32 = 5;

/// A process that is stopped for a while is not to be given up meanwhile.
fn limits() -> Limits {
    let patience = Duration::from_secs(120);
    Limits { suspect: patience / 4, silence: patience, write_stall: patience, ..Limits::lan() }
}

/// Another process, which ends with this one.
struct Far {
    child: Child,
    address: String,
}

impl Far {
    fn start(id: u64) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["be", &id.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }

    fn signal(&self, signal: &str) -> Result<(), Failure> {
        let told = Command::new("kill").args([signal, &self.child.id().to_string()]).status()?;
        if told.success() { Ok(()) } else { Err("it cannot be signalled".into()) }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends as much as is taken until a time; gives how much was, and how often what was answered instead.
async fn flood(mesh: Mesh, span: Duration) -> (u64, BTreeMap<String, u64>) {
    let (until, mut taken, mut refused) = (now() + span, 0, BTreeMap::new());
    while now() < until {
        for flow in 0..64 {
            match mesh.send(NodeId(STOPPED), Lane::Normal, flow, &mut vec![7; BODY_BYTES]) {
                Ok(()) => taken += 1,
                Err(error) => *refused.entry(error.to_string()).or_default() += 1,
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    (taken, refused)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [be, id] = &args[..]
        && be == "be"
    {
        let (mesh, _) = node(id.parse()?, limits(), Arc::new(Tcp)).await?;
        println!("{}", mesh.address());
        // Until whoever started it closes its stdin.
        let closed = blocking("stdin", || std::io::stdin().read_to_end(&mut Vec::new()))?;
        closed.await?.map_err(|_| "stdin panicked")??;
        return Ok(());
    }
    let seconds = args.first().map_or(Ok(10), |text| text.parse())?;
    run(Duration::from_secs(seconds)).await
}

async fn run(span: Duration) -> Result<(), Failure> {
    let (stopped, beside) = (Far::start(STOPPED)?, Far::start(BESIDE)?);
    let (mesh, _) = node(1, limits(), Arc::new(Tcp)).await?;
    for (id, far) in [(STOPPED, &stopped), (BESIDE, &beside)] {
        mesh.learn(NodeId(id), &far.address);
    }
    mesh.keep(&[NodeId(STOPPED), NodeId(BESIDE)].into());
    linked(&mesh, 2).await;
    for far in [STOPPED, BESIDE] {
        mesh.send(NodeId(far), Lane::Normal, 1, &mut vec![7; BODY_BYTES])?;
    }
    let memory = || -> Result<[f64; 2], Failure> {
        let pids = [std::process::id(), stopped.child.id()];
        let [near, far] = pids.map(|pid| resident(pid).map(|bytes| bytes as f64 / 1048576.0));
        Ok([near?, far?])
    };
    let before = memory()?;
    let (mut idle, mut busy, mut during) = (Vec::new(), Vec::new(), before);
    let (mut taken, mut refused) = (0, BTreeMap::new());
    // In turns, so that whatever else this machine does is in both.
    for _ in 0..ROUNDS {
        idle.push(round_trips(&mesh, BESIDE, span / ROUNDS).await?);
        stopped.signal("-STOP")?;
        let flooding = spawn(flood(mesh.clone(), span / ROUNDS));
        busy.push(round_trips(&mesh, BESIDE, span / ROUNDS).await?);
        let (more, others) = flooding.await?;
        taken += more;
        for (answer, count) in others {
            *refused.entry(answer).or_insert(0) += count;
        }
        during = std::array::from_fn(|at| during[at].max(memory().map_or(f64::NAN, |now| now[at])));
        stopped.signal("-CONT")?;
        while ask(&mesh, STOPPED, Lane::High).await? < (taken + 1) * BODY_BYTES as u64 {
            sleep(Duration::from_millis(10)).await;
        }
    }
    let after = memory()?;
    println!("a flood of {span:?} in {ROUNDS} rounds at a process that is stopped");
    println!("  memory before, during, after it woke (MiB)");
    println!("    who floods       {:.1}, {:.1}, {:.1}", before[0], during[0], after[0]);
    println!("    who is stopped   {:.1}, {:.1}, {:.1}", before[1], during[1], after[1]);
    println!("  taken              {taken} bodies of {BODY_BYTES}, all of which came when it woke");
    println!("  refused            {refused:?}");
    for (what, rounds) in [("idle", idle), ("meanwhile", busy)] {
        let middle = |percent| {
            let mut of: Vec<Duration> = rounds.iter().map(|one| one.percent(percent)).collect();
            of.sort_unstable();
            of[of.len() / 2]
        };
        println!(
            "  beside, {what:10} {:?} p50, {:?} p99, of {ROUNDS} rounds the middle",
            middle(50),
            middle(99)
        );
    }
    Ok(())
}
