//! Many processes: what they weigh when they wait, and how fast their ends go through a chain of links.
//!
//! `cargo run --release -p quorate-actor --example chain -- 1000000` spawns so many processes, lets each link
//! itself to the one before, kills the first, and prints what memory and time that took.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use quorate_actor::{Actors, Addr, Exit, Mailbox, Message, Pid};

/// Tells a process whom to link itself to.
pub struct LinkTo(Pid);

impl Message for LinkTo {}

/// Processes in a row, of which each is linked to the one before once they are [linked](Self::link).
pub struct Chain {
    links: Vec<Addr<LinkTo>>,
    linked: Arc<AtomicU64>,
}

impl Chain {
    /// Spawns so many processes, which wait.
    pub fn spawn(actors: &Actors, length: u64) -> Self {
        let linked = Arc::new(AtomicU64::new(0));
        let link = |_| {
            let linked = linked.clone();
            actors.spawn(async move |mut mailbox: Mailbox<LinkTo>| {
                loop {
                    let LinkTo(before) = mailbox.receive().await;
                    mailbox.link(before);
                    linked.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let links = (0..length).map(link).collect();
        Self { links, linked }
    }

    /// Links each to the one before, and waits until all are.
    pub async fn link(&self) {
        for pair in self.links.windows(2) {
            pair[1].send(LinkTo(pair[0].pid())).expect("it lives and has room");
        }
        while self.linked.load(Ordering::Relaxed) + 1 < self.links.len() as u64 {
            quorate_env::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Kills the first, and waits until none is left; how the last one ended.
    pub async fn kill_the_first(self, actors: &Actors) -> Exit {
        let [first, .., last] = &self.links[..] else { return Exit::NoProc };
        let ended = actors.ended(last.pid());
        actors.kill(first.pid());
        let exit = ended.await;
        while actors.count() > 0 {
            quorate_env::sleep(Duration::from_millis(1)).await;
        }
        exit
    }
}

/// What of this program lies in memory, in bytes; 0 where the system does not say.
#[allow(dead_code, reason = "the tests weigh nothing")]
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[allow(dead_code, reason = "the tests call the chain themselves")]
fn main() -> ExitCode {
    let length = std::env::args().nth(1).map_or(Ok(1_000_000), |length| length.parse());
    let Ok(length) = length else {
        eprintln!("how many processes? a number, please");
        return ExitCode::FAILURE;
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let exit = runtime.expect("a runtime of two workers").block_on(async {
        let actors = Actors::alone();
        let (empty, began) = (resident(), quorate_env::now());
        let chain = Chain::spawn(&actors, length);
        // All have come to where they wait.
        while actors.list().iter().any(|brief| brief.runs == 0) {
            quorate_env::sleep(Duration::from_millis(1)).await;
        }
        let each = |now: u64| (now - empty) / length;
        let took = quorate_env::now().since(began);
        println!("{length} processes wait: {} bytes each, after {took:.2?}", each(resident()));
        let began = quorate_env::now();
        chain.link().await;
        let took = quorate_env::now().since(began);
        println!(
            "each is linked to the one before: {} bytes each, after {took:.2?}",
            each(resident())
        );
        let began = quorate_env::now();
        let exit = chain.kill_the_first(&actors).await;
        println!(
            "the first was killed: all are gone after {:.2?}",
            quorate_env::now().since(began)
        );
        exit
    });
    if exit == Exit::Killed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
