//! Invoices from a singleton that is killed again and again, on three nodes that are processes of their own.
//!
//! Whoever issues an invoice is killed at any moment: before it asked, while the question is on its way,
//! after it was answered and before it noted so. The receiver looks at two things: the epoch, so that nothing
//! of a turn that is over comes through, and the invoice's number, so that the next turn may ask again for
//! what the one before was not told of. With both each invoice is issued once; the second part shows what
//! they are for.
//!
//! ```console
//! $ cargo run --release -p quorate --example billing -- 50      # kills, with the checks and then without
//! ```

#![expect(
    clippy::disallowed_types,
    reason = "whom it bills is outside of the cluster, behind plain TCP"
)]

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::prelude::*;
use quorate::{Cookie, Epoch, NodeName, Singleton, Tenure};
use quorate_env::{dice, now, sleep, spawn, timeout};
use rand::RngExt;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdout, Command};

type Failure = Box<dyn StdError>;

const PATIENCE: Duration = Duration::from_secs(60);
/// A question may be on its way for as long as this, and one of ten for as long as that.
const WAY_MAX_MS: [u64; 2] = [20, 800];
const NODES: usize = 3;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words[..] {
        ["node", name, dir, receiver, expect, ref join @ ..] => {
            let join: Vec<String> = join.iter().map(|address| address.to_string()).collect();
            node(name, Path::new(dir), receiver, expect.parse()?, &join).await
        }
        _ => {
            let kills = words.first().map_or(Ok(50), |text| text.parse::<u32>())?;
            for checks in [true, false] {
                drill(kills, checks).await?;
            }
            Ok(())
        }
    }
}

/// Issues invoices, one after the other.
struct Billing {
    receiver: String,
}

impl Singleton for Billing {
    type Message = ();

    async fn run(&self, tenure: Tenure<()>) -> Exit {
        println!("begins {}", tenure.epoch());
        let noted = tenure.inherited().state().and_then(|noted| noted.try_into().ok());
        let mut next = noted.map_or(1, u64::from_le_bytes);
        while !tenure.is_stopping() {
            if let Err(error) = issue(&self.receiver, tenure.epoch(), next).await {
                return Exit::because(error.to_string());
            }
            next += 1;
            if let Err(error) = tenure.save(next.to_le_bytes()).await {
                return Exit::because(error.to_string());
            }
        }
        Exit::Normal
    }
}

async fn issue(receiver: &str, epoch: Epoch, number: u64) -> std::io::Result<()> {
    let mut way = TcpStream::connect(receiver).await?;
    way.write_all(format!("{} {number}\n", epoch.get()).as_bytes()).await?;
    let mut answer = String::new();
    BufReader::new(way).read_line(&mut answer).await?;
    match answer.trim() {
        // Known means that a turn before asked for it, and was not told.
        "issued" | "known" => Ok(()),
        other => Err(std::io::Error::other(format!("the receiver said {other:?}"))),
    }
}

/// One of the nodes, as a process.
async fn node(
    name: &str,
    dir: &Path,
    receiver: &str,
    expect: usize,
    join: &[String],
) -> Result<(), Failure> {
    let mut config = Config::new(NodeName::try_from(name)?, Cookie::new("this example's only")?);
    config.listen = "127.0.0.1:0".to_owned();
    config.data = dir.join(name);
    config.join = join.to_vec();
    config.expect = expect;
    let until = now() + PATIENCE;
    let node = loop {
        // The life before may still hold the data.
        match Node::start(config.clone()).await {
            Ok(node) => break node,
            Err(error) if now() >= until => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(5)).await,
        }
    };
    println!("listens {}", node.address());
    let billing = Billing { receiver: receiver.to_owned() };
    node.singletons().within(PATIENCE).define(&Name::new("billing")?, billing).await?;
    println!("offers");
    std::future::pending::<()>().await;
    Ok(())
}

/// Who is asked for invoices.
#[derive(Default)]
struct Ledger {
    newest: u64,
    issued: BTreeMap<u64, u32>,
    stale: u32,
    known: u32,
}

impl Ledger {
    fn take(&mut self, epoch: u64, number: u64, checks: bool) -> &'static str {
        if checks && epoch < self.newest {
            self.stale += 1;
            return "stale";
        }
        self.newest = self.newest.max(epoch);
        if checks && self.issued.contains_key(&number) {
            self.known += 1;
            return "known";
        }
        *self.issued.entry(number).or_default() += 1;
        "issued"
    }
}

async fn receive(listener: TcpListener, ledger: Arc<Mutex<Ledger>>, checks: bool) {
    while let Ok((mut way, _)) = listener.accept().await {
        let ledger = ledger.clone();
        spawn(async move {
            let (read, mut write) = way.split();
            let mut question = String::new();
            let Ok(_) = BufReader::new(read).read_line(&mut question).await else { return };
            let mut numbers = question.split_whitespace().filter_map(|word| word.parse().ok());
            let (Some(epoch), Some(number)) = (numbers.next(), numbers.next()) else { return };
            // Whoever asked may be dead before it arrives; it arrives all the same.
            let most = WAY_MAX_MS[usize::from(dice().random_range(0..10) == 0)];
            let way = dice().random_range(0..most);
            sleep(Duration::from_millis(way)).await;
            let said = ledger.lock().expect("nobody panics").take(epoch, number, checks);
            let _ = write.write_all(format!("{said}\n").as_bytes()).await;
        });
    }
}

/// A node's process, as this one sees it.
struct Process {
    child: Child,
    says: Lines<BufReader<ChildStdout>>,
    address: String,
    /// The last epoch under which it said that it begins.
    began: u64,
}

impl Process {
    async fn start(nth: usize, dir: &Path, to: &str, join: &[String]) -> Result<Self, Failure> {
        let name = format!("n{}", nth + 1);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["node", &name]).arg(dir).args([to, &NODES.to_string()]).args(join);
        let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let says = BufReader::new(child.stdout.take().ok_or("no stdout")?).lines();
        let mut process = Self { child, says, address: String::new(), began: 0 };
        process.address = process.hears("listens").await?;
        Ok(process)
    }

    async fn hears(&mut self, what: &str) -> Result<String, Failure> {
        let heard = async {
            while let Some(line) = self.says.next_line().await? {
                self.note(&line);
                if let Some(rest) = line.strip_prefix(what) {
                    return Ok(rest.trim().to_owned());
                }
            }
            Err(std::io::Error::other("it ended"))
        };
        Ok(timeout(PATIENCE, heard).await??)
    }

    fn note(&mut self, line: &str) {
        let epoch = line.strip_prefix("begins ").and_then(|epoch| epoch.parse().ok());
        self.began = self.began.max(epoch.unwrap_or(0));
    }
}

async fn drill(kills: u32, checks: bool) -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let to = listener.local_addr()?.to_string();
    let ledger = Arc::new(Mutex::new(Ledger::default()));
    spawn(receive(listener, ledger.clone(), checks));
    let mut nodes = vec![Process::start(0, dir.path(), &to, &[]).await?];
    for nth in 1..NODES {
        let join = [nodes[0].address.clone()];
        nodes.push(Process::start(nth, dir.path(), &to, &join).await?);
    }
    for node in &mut nodes {
        node.hears("offers").await?;
    }
    let mut gaps = Vec::new();
    for _ in 0..kills {
        let owner = owner(&mut nodes).await?;
        let span = dice().random_range(20..300);
        sleep(Duration::from_millis(span)).await;
        let killed = now();
        nodes[owner].child.kill().await?;
        let others = nodes.iter().enumerate().filter(|(nth, _)| *nth != owner);
        let join: Vec<String> = others.map(|(_, node)| node.address.clone()).collect();
        let before = ledger.lock().expect("nobody panics").newest;
        nodes[owner] = Process::start(owner, dir.path(), &to, &join).await?;
        while ledger.lock().expect("nobody panics").newest == before {
            if now().since(killed) > PATIENCE {
                return Err("nobody bills any more".into());
            }
            sleep(Duration::from_millis(1)).await;
        }
        gaps.push(now().since(killed));
    }
    for node in &mut nodes {
        node.child.kill().await?;
    }
    // What is on its way arrives.
    sleep(Duration::from_millis(2 * WAY_MAX_MS[1])).await;
    let Ledger { issued, stale, known, .. } = &*ledger.lock().expect("nobody panics");
    let twice = issued.values().filter(|times| **times > 1).count();
    let last = issued.keys().next_back().copied().unwrap_or_default();
    gaps.sort();
    println!(
        "{kills} kills, {}",
        if checks { "epoch and number checked" } else { "nothing checked" }
    );
    println!("  invoices            {} of {last} numbers", issued.len());
    println!("  issued twice        {twice}");
    println!(
        "  refused             {stale} of turns that were over, {known} known by their numbers"
    );
    println!(
        "  until the next turn p50 {:?}, max {:?}",
        gaps[gaps.len() / 2],
        gaps[gaps.len() - 1]
    );
    if checks && (twice > 0 || issued.len() as u64 != last) {
        return Err("an invoice was issued twice, or not at all".into());
    }
    Ok(())
}

/// Who bills at the moment: the last one that said that it begins.
async fn owner(nodes: &mut [Process]) -> Result<usize, Failure> {
    let until = now() + PATIENCE;
    while now() < until {
        for node in nodes.iter_mut() {
            while let Ok(Ok(Some(line))) =
                timeout(Duration::from_millis(1), node.says.next_line()).await
            {
                node.note(&line);
            }
        }
        let newest = nodes.iter().enumerate().max_by_key(|(_, node)| node.began);
        if let Some((nth, node)) = newest
            && node.began > 0
        {
            return Ok(nth);
        }
    }
    Err("nobody began".into())
}
