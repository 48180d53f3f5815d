//! `bench lookup`: how fast names are found, by what a node knows and linearizably.
//!
//! A local lookup takes less than to look at a clock, so it is timed by the thousand: what stands as its
//! p50, p99 and max is the mean of one in such a thousand. Each of its clients has a thread to itself as far
//! as there are cores. A linearizable lookup is one request, as a registration is.

use std::sync::Arc;
use std::time::Duration;

use quorate::{Name, Names};
use quorate_env::{blocking, now, spawn};
use tokio::runtime::Builder;

use super::load::{self, Taker};
use super::rows::{self, LOAD_COLUMNS, Measure, Measuring, OURS, RUNS, Row, measure, under_load};
use super::{Face, because, etcd, ours};
use crate::fail::{Done, Fail};
use crate::output;

const LOCAL: &str = "local lookup";
const LINEARIZABLE: &str = "linearizable lookup";

/// How many local lookups are timed together.
const TOGETHER: usize = 1_000;
/// How many clients at most register the names beforehand.
const REGISTER_AT_ONCE: usize = 256;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many clients ask linearizably at the same time, one row each
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,64,256",
          value_parser = clap::value_parser!(u16).range(1..=2000))]
    clients: Vec<u16>,
    /// How many names there are
    #[arg(long, value_name = "N", default_value_t = 10_000,
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    names: u32,
    /// Measure only this face; repeatable
    #[arg(long = "face", value_name = "FACE")]
    faces: Vec<Face>,
    #[command(flatten)]
    measuring: Measuring,
}

/// The rate of local lookups, and what one takes.
const LOCALLY: [Measure; 4] = [
    measure("rate", "1/s", "higher"),
    measure("p50", "ns", "lower"),
    measure("p99", "ns", "lower"),
    measure("max", "ns", "lower"),
];

/// A client that finds names linearizably, one after the other.
struct Seeker {
    names: Names,
    wanted: Arc<Vec<Name>>,
    at: usize,
}

pub(crate) fn run(args: &Args) -> Done {
    super::until_signalled(Builder::new_multi_thread(), measure_all(args))
}

async fn measure_all(args: &Args) -> Done {
    let (dir, mut machine) = rows::place(args.measuring.data_dir.as_deref())?;
    let clients: Vec<usize> = args.clients.iter().copied().map(usize::from).collect();
    let wanted = Arc::new(wanted(args.names)?);
    let (span, mut rows) = (args.measuring.seconds, Vec::new());

    if Face::Rust.is_asked_for(&args.faces) {
        let nodes = ours::Nodes::start(&dir.path().join("rust")).await?;
        register(&nodes, &wanted).await?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        for count in if cores > 1 { vec![1, cores] } else { vec![1] } {
            rows.push(locally(&nodes, &wanted, count, span).await?);
        }
        for count in &clients {
            let seekers = || std::future::ready(Ok(seekers(&nodes, &wanted, *count)));
            rows.push(under_load((LINEARIZABLE, "rust", OURS), *count, span, seekers).await?);
        }
        nodes.stop().await;
    }

    if Face::Http.is_asked_for(&args.faces) {
        let agents = ours::agents(dir.path()).await?;
        let few: Vec<Name> = wanted.iter().take(REGISTER_AT_ONCE).cloned().collect();
        for count in &clients {
            let seekers = || ours::http_seekers(&agents, &few, *count);
            rows.push(under_load((LINEARIZABLE, "http", OURS), *count, span, seekers).await?);
        }
        agents.end().await;

        if let Some(by) = rows::etcd_beside(&mut machine).await {
            let etcd = etcd::Etcd::start(&dir.path().join("etcd")).await?;
            for count in &clients {
                let seekers = || etcd.seekers(&few, *count);
                rows.push(under_load((LINEARIZABLE, "http", by), *count, span, seekers).await?);
            }
            etcd.stop().await;
        }
    }
    rows::show(args.measuring.output.format, &machine, &rows, &LOAD_COLUMNS)
}

/// The names, in an order that is not theirs.
fn wanted(count: u32) -> Result<Vec<Name>, Fail> {
    let name = |at: u64| Name::new(format!("bench/{:08}", at.wrapping_mul(7_919) % 100_000_007));
    let names = (0..u64::from(count)).map(name).collect::<Result<Vec<_>, _>>();
    names.map_err(because)
}

/// Registers all names, and waits until every node has them.
async fn register(nodes: &ours::Nodes, wanted: &Arc<Vec<Name>>) -> Result<(), Fail> {
    output::talk(&format!("registering {} names", wanted.len()));
    let at_once = REGISTER_AT_ONCE.min(wanted.len());
    let mut tasks = Vec::new();
    for (first, mut taker) in nodes.takers(at_once).await?.into_iter().enumerate() {
        let wanted = wanted.clone();
        tasks.push(spawn(async move {
            for name in wanted.iter().skip(first).step_by(at_once) {
                taker.take(name.as_str()).await?;
            }
            Ok::<_, String>(())
        }));
    }
    for task in tasks {
        task.await.map_err(because)?.map_err(because)?;
    }
    for names in nodes.names() {
        // A confirmed look at a node has seen all of them applied there.
        names.find(&wanted[0]).await.map_err(because)?;
    }
    Ok(())
}

fn seekers(nodes: &ours::Nodes, wanted: &Arc<Vec<Name>>, count: usize) -> Vec<Seeker> {
    let of_nodes: Vec<Names> = nodes.names().collect();
    let seeker = |(at, names): (usize, &Names)| Seeker {
        names: names.clone(),
        wanted: wanted.clone(),
        at: at * 17 % wanted.len(),
    };
    of_nodes.iter().cycle().take(count).enumerate().map(seeker).collect()
}

impl Taker for Seeker {
    async fn take(&mut self, _: &str) -> Result<(), String> {
        self.at = (self.at + 1) % self.wanted.len();
        let name = &self.wanted[self.at];
        let found = self.names.find(name).await.map_err(|e| e.to_string())?;
        found.registration.map(drop).ok_or_else(|| format!("{name} was not found"))
    }
}

async fn locally(
    nodes: &ours::Nodes,
    wanted: &Arc<Vec<Name>>,
    clients: usize,
    span: Duration,
) -> Result<Row, Fail> {
    output::talk(&format!("measuring {OURS}: {LOCAL}, rust, {clients} at once"));
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let begins = now() + span / 5;
        let mut threads = Vec::new();
        for seeker in seekers(nodes, wanted, clients) {
            let looks = move || look(&seeker, begins, begins + span);
            threads.push(blocking("bench-lookup", looks).map_err(because)?);
        }
        let mut took = Vec::new();
        for thread in threads {
            let looked = thread.await.map_err(because)?;
            took.extend(looked.map_err(|_| because("a thread has panicked"))?.map_err(because)?);
        }
        let sample = load::sample(took, span, 0).ok_or_else(|| because("nothing was found"))?;
        // What the sample takes for milliseconds of a request are microseconds of a thousand.
        let one = |micros: f64| micros * 1000.0 / TOGETHER as f64;
        let rate = sample.rate * TOGETHER as f64;
        runs.push(vec![rate, one(sample.p50), one(sample.p99), one(sample.max)]);
    }
    Ok(Row { what: LOCAL, face: "rust", by: OURS, clients, measures: &LOCALLY, runs })
}

/// Looks names up until the time is over. What each thousand took, in nanoseconds.
fn look(seeker: &Seeker, begins: quorate::Time, ends: quorate::Time) -> Result<Vec<u32>, String> {
    let (mut took, mut at) = (Vec::new(), seeker.at);
    loop {
        let began = now();
        for _ in 0..TOGETHER {
            at = if at + 1 == seeker.wanted.len() { 0 } else { at + 1 };
            let name = &seeker.wanted[at];
            if seeker.names.peek(name).registration.is_none() {
                return Err(format!("{name} was not found"));
            }
        }
        let ended = now();
        if ended >= ends {
            return Ok(took);
        }
        if began >= begins {
            took.push(u32::try_from(ended.since(began).as_nanos()).unwrap_or(u32::MAX));
        }
    }
}
