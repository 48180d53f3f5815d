//! `bench failover`: singletons in code on three nodes that move, are drained, and lose their node.
//!
//! Each node lives in a runtime of its own, in this process. A node is killed by taking its runtime away: all
//! of it stops at once and says nothing, as when its process is killed; its sockets close. What was begun and
//! ended where is written down by the singletons themselves, by the clock that all share.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate::prelude::*;
use quorate::{Cookie, Effect, NodeId, Singleton, SingletonState, Tenure, Time, Watch};
use quorate_env::{now, sleep};
use serde::{Deserialize, Serialize};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::rows::{self, Measure, OURS, RUNS, Row, measure};
use super::{because, load, ours};
use crate::args::Output;
use crate::fail::{Done, Fail};
use crate::output::{self, Column, column, shown};
use crate::secrets;

const PREFIX: &str = "bench-failover/";
/// How long anything may take before the measurement gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many offers of a node are under way at once.
const OFFERS: usize = 256;
/// How many call while it is moved, each again as soon as it has its answer.
const CALLERS: usize = 8;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often one is moved, in each of the three runs
    #[arg(long, value_name = "N", default_value_t = 30,
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    moves: u32,
    /// How many a node has that is drained; 0 leaves this row out
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    drained: usize,
    /// How many a node has that is killed; 0 leaves this row out
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    lost: usize,
    /// Where the data lies while it is measured [default: ./target if there is one, else /var/tmp]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<std::path::PathBuf>,
    #[command(flatten)]
    output: Output,
}

const MOVES: [Measure; 5] = [
    measure("gap_p50", "ms", "lower"),
    measure("gap_p99", "ms", "lower"),
    measure("gap_max", "ms", "lower"),
    measure("longest_call", "ms", "lower"),
    measure("lost_calls", "1", "lower"),
];

const DRAIN: [Measure; 2] = [measure("granted", "ms", "lower"), measure("running", "ms", "lower")];

const LOSS: [Measure; 3] = [
    measure("granted", "ms", "lower"),
    measure("running", "ms", "lower"),
    measure("memory", "B", "lower"),
];

const COLUMNS: [Column; 8] = [
    column("GAP P50", |line| shown(&line["gap_p50"])),
    column("P99", |line| shown(&line["gap_p99"])),
    column("MAX", |line| shown(&line["gap_max"])),
    column("LONGEST CALL", |line| shown(&line["longest_call"])),
    column("LOST CALLS", |line| shown(&line["lost_calls"])),
    column("ALL GRANTED", |line| shown(&line["granted"])),
    column("ALL RUN", |line| shown(&line["running"])),
    column("MEMORY OF ONE", |line| shown(&line["memory"])),
];

/// What one is asked: how often it was, over all its turns.
#[derive(Serialize, Deserialize)]
struct Ask(ReplyTo<u64>);

impl Message for Ask {
    const WIRE: Option<quorate::Wire<Self>> = Some(quorate::Wire::new("bench.failover", 1));
}

/// Writes its turns down, and counts what it is asked.
#[derive(Clone, Default)]
struct Worker(Arc<Book>);

#[derive(Default)]
struct Book {
    /// When the last turn began, by how many.
    begun: AtomicU64,
    last: AtomicU64,
    /// The turns of one, if they are wanted: begin and end.
    turns: Option<Mutex<Vec<(Time, Time)>>>,
}

impl Worker {
    fn with_turns() -> Self {
        Self(Arc::new(Book { turns: Some(Mutex::default()), ..Book::default() }))
    }

    fn turns(&self) -> Option<MutexGuard<'_, Vec<(Time, Time)>>> {
        self.0.turns.as_ref().map(|turns| turns.lock().expect("nobody panics with it"))
    }

    fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::SeqCst)
    }

    fn last(&self) -> Time {
        Time(self.0.last.load(Ordering::SeqCst))
    }
}

impl Singleton for Worker {
    type Message = Ask;

    async fn run(&self, mut tenure: Tenure<Ask>) -> Exit {
        let begun = now();
        self.0.last.fetch_max(begun.0, Ordering::SeqCst);
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        let last = tenure.inherited().state().and_then(|last| last.try_into().ok());
        let mut count = last.map_or(0, u64::from_le_bytes);
        while let Some(Ask(to)) = tenure.next().await {
            count += 1;
            to.send(count);
        }
        tenure.leave(count.to_le_bytes()).expect("eight bytes are few");
        if let Some(mut turns) = self.turns() {
            turns.push((begun, now()));
        }
        Exit::Normal
    }
}

pub(crate) fn run(args: &Args) -> Done {
    super::until_signalled(Builder::new_multi_thread(), measure_all(args))
}

async fn measure_all(args: &Args) -> Done {
    let (dir, machine) = rows::place(args.data_dir.as_deref())?;
    let mut shown = Vec::new();
    let row =
        |what, measures, runs| Row { what, face: "rust", by: OURS, clients: 1, measures, runs };
    output::talk(&format!("measuring {OURS}: {} moves of one, {RUNS} times", args.moves));
    let three = Three::start(&dir.path().join("moves")).await?;
    let mut runs = Vec::new();
    for number in 0..RUNS {
        runs.push(moves(&three, args.moves, number).await?);
    }
    three.end();
    shown.push(row("planned move", &MOVES[..], runs));
    if args.drained > 0 {
        output::talk(&format!("measuring {OURS}: a node with {} is drained", args.drained));
        let three = Three::start(&dir.path().join("drain")).await?;
        let runs = drains(&three, args.drained).await?;
        three.end();
        shown.push(row("drain of a node", &DRAIN[..], runs));
    }
    if args.lost > 0 {
        output::talk(&format!("measuring {OURS}: a node with {} is killed", args.lost));
        let mut runs = Vec::new();
        for number in 0..RUNS {
            let three = Three::start(&dir.path().join(format!("loss{number}"))).await?;
            runs.push(loss(three, args.lost).await?);
        }
        shown.push(row("loss of a node", &LOSS[..], runs));
    }
    rows::show(args.output.format, &machine, &shown, &COLUMNS)
}

/// Three nodes, each in a runtime that can be taken away.
struct Three {
    nodes: Vec<Node>,
    homes: Vec<Runtime>,
}

impl Three {
    async fn start(dir: &Path) -> Result<Self, Fail> {
        let cookie = Cookie::new(secrets::random()).map_err(because)?;
        let mut three = Self { nodes: Vec::new(), homes: Vec::new() };
        for number in 1..=3 {
            let home = Builder::new_multi_thread().worker_threads(2).enable_all().build();
            three.homes.push(home.map_err(Fail::io("starting a runtime"))?);
            let join = three.nodes.iter().map(|node| node.address().to_owned()).collect();
            let config = ours::config(dir, number, &cookie, join)?;
            let started = three.homes[number - 1].spawn(Node::start(config)).await;
            three.nodes.push(started.map_err(because)?.map_err(because)?);
        }
        for node in &three.nodes {
            if !node.quorate_within(PATIENCE).await {
                return Err(because(format!("{} is not quorate", node.name())));
            }
        }
        Ok(three)
    }

    /// Has a node offer to run all of them. What it does for them is done in its own home.
    async fn offer(&self, node: usize, names: &[Name], worker: &Worker) -> Result<(), Fail> {
        let (names, worker) = (names.to_vec(), worker.clone());
        let singletons = self.nodes[node].singletons().within(PATIENCE);
        let offering = async move {
            let mut under_way = JoinSet::new();
            let mut offered = Ok(());
            for name in names {
                if under_way.len() >= OFFERS
                    && let Some(done) = under_way.join_next().await
                {
                    offered = offered.and(done.map_err(because)?);
                }
                let (singletons, worker) = (singletons.clone(), worker.clone());
                under_way
                    .spawn(async move { singletons.define(&name, worker).await.map_err(because) });
            }
            while let Some(done) = under_way.join_next().await {
                offered = offered.and(done.map_err(because)?);
            }
            offered
        };
        self.homes[node].spawn(offering).await.map_err(because)?
    }

    /// Takes a node away in the middle of whatever it does.
    fn kill(&mut self, node: usize) {
        self.homes.remove(node).shutdown_background();
        self.nodes.remove(node);
    }

    fn end(self) {
        self.homes.into_iter().for_each(Runtime::shutdown_background);
    }
}

fn names(count: usize, of: &str) -> Result<Vec<Name>, Fail> {
    let name = |number| Name::new(format!("{PREFIX}{of}/{number}")).map_err(because);
    (0..count).map(name).collect()
}

async fn until(what: &str, is_so: impl Fn() -> bool) -> Result<Time, Fail> {
    let given_up = now() + PATIENCE;
    while !is_so() {
        if now() > given_up {
            return Err(because(format!("not in {PATIENCE:?}: {what}")));
        }
        sleep(LOOK_AGAIN).await;
    }
    Ok(now())
}

/// One is moved again and again, while it is called from all nodes.
async fn moves(three: &Three, count: u32, number: usize) -> Result<Vec<f64>, Fail> {
    let worker = Worker::with_turns();
    let name = &names(1, &format!("moves{number}"))?[0];
    for node in 0..3 {
        three.offer(node, std::slice::from_ref(name), &worker).await?;
    }
    until("it runs", || worker.begun() > 0).await?;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let singletons = three.nodes[caller % 3].singletons();
            let (name, stopped) = (name.clone(), stopped.clone());
            three.homes[caller % 3].spawn(async move {
                let (mut answers, mut lost, mut longest) = (BTreeSet::new(), 0, Duration::ZERO);
                while !*stopped.borrow() {
                    let asked = now();
                    match singletons.call(&name, PATIENCE, Ask).await {
                        Ok(count) => lost += u64::from(!answers.insert(count)),
                        Err(_) => lost += 1,
                    }
                    longest = longest.max(now().since(asked));
                }
                (answers, lost, longest)
            })
        })
        .collect();
    let singletons = three.nodes[0].singletons();
    let owner = || singletons.peek(name).and_then(|info| info.row.grant).map(|grant| grant.node);
    for _ in 0..count {
        let begun = worker.begun();
        let mut others = three.nodes.iter().filter(|node| Some(node.id()) != owner());
        let to = others.next_back().map(Node::name);
        singletons.move_to(name, to, None).await.map_err(because)?;
        until("it is moved", || worker.begun() > begun).await?;
        // It is called for a while where it is.
        sleep(Duration::from_millis(20)).await;
    }
    stop.send_replace(true);
    let (mut lost, mut longest, mut answers, mut told) = (0, Duration::ZERO, BTreeSet::new(), 0);
    for caller in callers {
        let (seen, failed, waited) = caller.await.map_err(because)?;
        told += seen.len();
        answers.extend(seen);
        lost += failed;
        longest = longest.max(waited);
    }
    // Each call was counted once, and each count was told once.
    lost += (told - answers.len()) as u64;
    lost += answers.last().copied().unwrap_or(0) - answers.len() as u64;
    let turns = worker.turns().map(|turns| turns.clone()).unwrap_or_default();
    // The turn that still runs has not written itself down; its begin is when the last one began.
    let begins = turns.iter().skip(1).map(|turn| turn.0).chain([worker.last()]);
    let gaps = turns.iter().zip(begins).map(|(old, begun)| begun.since(old.1));
    let gaps = gaps.map(|gap| u32::try_from(gap.as_micros()).unwrap_or(u32::MAX)).collect();
    let gaps = load::sample(gaps, Duration::from_secs(1), 0);
    let gaps = gaps.ok_or_else(|| because("nothing was moved"))?;
    Ok(vec![gaps.p50, gaps.p99, gaps.max, millis(longest), lost as f64])
}

/// Each node is drained in turn, of all that there are.
async fn drains(three: &Three, count: usize) -> Result<Vec<Vec<f64>>, Fail> {
    let worker = Worker::default();
    let names = names(count, "drain")?;
    // The first has them all, since others that come later leave them where they are.
    for node in 0..3 {
        three.offer(node, &names, &worker).await?;
    }
    let mut runs = Vec::new();
    for drained in 0..RUNS {
        let (here, asks) = (&three.nodes[drained % 3], &three.nodes[(drained + 1) % 3]);
        let singletons = asks.singletons();
        bring(&singletons, &names, here.name()).await?;
        let all_run = || all_run(&singletons, count);
        until("all run", all_run).await?;
        let begun = now();
        singletons.drain(here.name(), Some("measured".into())).await.map_err(because)?;
        let is_empty = || singletons.load(here.name()).is_none_or(|(load, _)| load == 0);
        let empty = until("a drained node has none", is_empty).await?;
        let run = until("all run again", all_run).await?;
        runs.push(vec![millis(empty.since(begun)), millis(run.since(begun))]);
        singletons.drain(here.name(), None).await.map_err(because)?;
    }
    Ok(runs)
}

/// Moves all to one node.
async fn bring(
    singletons: &quorate::Singletons,
    names: &[Name],
    to: &quorate::NodeName,
) -> Result<(), Fail> {
    for name in names {
        singletons.move_to(name, Some(to), None).await.map_err(because)?;
    }
    let has = || singletons.load(to).is_some_and(|(load, _)| load as usize == names.len());
    until("one node has all", has).await.map(drop)
}

fn all_run(singletons: &quorate::Singletons, count: usize) -> bool {
    let (infos, _) = singletons.list(PREFIX, None, count);
    infos.iter().all(|info| info.state == SingletonState::Running)
}

/// The node that has all of them is killed.
async fn loss(mut three: Three, count: usize) -> Result<Vec<f64>, Fail> {
    let before = resident()?;
    let worker = Worker::default();
    let names = names(count, "loss")?;
    for node in 0..3 {
        three.offer(node, &names, &worker).await?;
    }
    let survivor = three.nodes[1].clone();
    until("all run", || all_run(&survivor.singletons(), count)).await?;
    // Three nodes know of it and offer it, and one runs it.
    let memory = resident()?.saturating_sub(before) / count as u64;
    let (_, index) = survivor.inspect(|_, index| ((), index));
    let begun = worker.begun();
    let gone = three.nodes[0].id();
    let changes = survivor.changes(index);
    three.kill(0);
    let watching = three.homes[0].spawn(regranted(changes, gone, count));
    let watched = quorate_env::timeout(PATIENCE, watching).await;
    let (expired, granted) = watched.map_err(because)?.map_err(because)?.map_err(because)?;
    until("all run again", || worker.begun() >= begun + count as u64).await?;
    let run = worker.last();
    three.end();
    Ok(vec![millis(granted.since(expired)), millis(run.since(expired)), memory as f64])
}

/// When the first grant of a node ended, and when all had another one.
async fn regranted(mut changes: Watch, gone: NodeId, count: usize) -> Result<(Time, Time), String> {
    let (mut expired, mut granted) = (None, 0);
    loop {
        let change = changes.next().await.map_err(|e| e.to_string())?;
        let at = now();
        for effect in &change.effects {
            match effect {
                Effect::GrantClosed { .. } => {
                    expired.get_or_insert(at);
                }
                Effect::Granted { grant, .. } if grant.node != gone => granted += 1,
                _ => {}
            }
        }
        if let Some(expired) = expired.filter(|_| granted >= count) {
            return Ok((expired, at));
        }
    }
}

fn resident() -> Result<u64, Fail> {
    quorate_bench::resident().map_err(super::failed)
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}
