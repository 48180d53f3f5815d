//! Races of a monitor, and of a link, against the death of its target: each is to be told exactly once.
//!
//! `cargo run --release -p quorate-actor --example races -- 10000000` runs so many of each, on two workers,
//! and prints what was counted. A notice that is lost or doubled makes it fail.
//!
//! One process, the brood, spawns a batch of targets that end at their first step, and lets them run; on the
//! other worker the witness ties itself to one after another meanwhile. For how long the targets are held
//! back differs from batch to batch, and so the ties sweep over the window in which a target is half dead.

use std::collections::BTreeMap;
use std::hint::spin_loop;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate_actor::{Actors, Exit, Incoming, Mailbox, Pid, Ref, yield_now};
use tokio::sync::oneshot;

/// How many targets live at once.
const BATCH: u64 = 64;
/// How many batches lie out at once.
const BATCHES_MAX: usize = 2;
/// How many turns of an empty loop the brood holds its targets back, at most.
const HELD_BACK_MAX: u64 = 256;
/// A notice that has not come by then is lost.
const LOST_AFTER: Duration = Duration::from_secs(30);

/// What races against the death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tie {
    /// A monitor.
    Monitor,
    /// A link.
    Link,
}

/// What came of the races.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were.
    pub races: u64,
    /// Tied in time: told how the target ended.
    pub in_time: u64,
    /// Tied too late: told that there is no such process.
    pub too_late: u64,
    /// Never told.
    pub lost: u64,
    /// Told again, or told of what was never tied.
    pub doubled: u64,
    /// Told something else than what happened.
    pub wrong: u64,
}

impl Tally {
    /// Whether every race was told once, and rightly.
    pub fn is_clean(&self) -> bool {
        let told = self.in_time + self.too_late;
        told == self.races && (self.lost, self.doubled, self.wrong) == (0, 0, 0)
    }

    fn note(&mut self, exit: &Exit) {
        match exit {
            Exit::Shutdown => self.in_time += 1,
            Exit::NoProc => self.too_late += 1,
            _ => self.wrong += 1,
        }
    }
}

/// Where the brood and the witness meet: batches that were laid out.
#[derive(Clone, Default)]
struct Field(Arc<Mutex<Vec<Vec<Pid>>>>);

impl Field {
    fn lay(&self, batch: Vec<Pid>) {
        self.0.lock().expect("nobody panics with it").push(batch);
    }

    /// The newest: it has the most to lose.
    fn pick(&self) -> Option<Vec<Pid>> {
        self.0.lock().expect("nobody panics with it").pop()
    }

    fn is_full(&self) -> bool {
        self.0.lock().expect("nobody panics with it").len() >= BATCHES_MAX
    }
}

/// Runs so many races. To be called in a runtime with two workers.
pub async fn race(actors: &Actors, tie: Tie, races: u64) -> Tally {
    let field = Field::default();
    let (tell, told) = oneshot::channel();
    let seen = field.clone();
    actors.spawn(move |mailbox| brood(mailbox, field, races));
    actors.spawn(async move |mailbox| {
        // Whoever waits for it is still there.
        let _ = tell.send(witness(mailbox, seen, tie, races).await);
        Exit::Normal
    });
    told.await.expect("the witness comes to its end")
}

/// Lays out one batch after another.
async fn brood(mailbox: Mailbox<()>, field: Field, races: u64) -> Exit {
    let mut dice = Dice(1);
    let mut left = races;
    while left > 0 {
        // Both only yield, so each keeps its worker, and neither sleeps.
        while field.is_full() {
            yield_now().await;
        }
        let size = BATCH.min(left);
        left -= size;
        let end = async |_: Mailbox<()>| Exit::Shutdown;
        field.lay((0..size).map(|_| mailbox.actors().spawn(end).pid()).collect());
        dice.wait();
        yield_now().await;
    }
    Exit::Normal
}

/// Ties itself to all of a batch, and hears of them, one batch after another.
async fn witness(mut mailbox: Mailbox<()>, field: Field, tie: Tie, races: u64) -> Tally {
    mailbox.trap_exit(true);
    let mut tally = Tally::default();
    while tally.races < races {
        let Some(targets) = field.pick() else {
            yield_now().await;
            continue;
        };
        tally.races += targets.len() as u64;
        let mut open = BTreeMap::new();
        for pid in targets {
            let key = match tie {
                Tie::Monitor => Key::Monitor(mailbox.monitor(pid)),
                Tie::Link => {
                    mailbox.link(pid);
                    Key::Link(pid)
                }
            };
            open.insert(key, pid);
        }
        if !hear_of_all(&mut mailbox, open, &mut tally).await {
            break;
        }
    }
    tally
}

/// Numbers that differ, the same in every run.
struct Dice(u64);

impl Dice {
    fn wait(&mut self) {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (0..(self.0 >> 33) % HELD_BACK_MAX).for_each(|_| spin_loop());
    }
}

/// What a notice is known by: the monitor, or the link's other side.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Monitor(Ref),
    Link(Pid),
}

/// Hears of all ends; false when one is lost.
async fn hear_of_all(
    mailbox: &mut Mailbox<()>,
    mut open: BTreeMap<Key, Pid>,
    tally: &mut Tally,
) -> bool {
    while !open.is_empty() {
        let (key, pid, exit) = match mailbox.next_within(LOST_AFTER).await {
            Some(Incoming::Down(down)) => (Key::Monitor(down.monitor), down.pid, down.exit),
            Some(Incoming::Exited(news)) => (Key::Link(news.from), news.from, news.exit),
            Some(Incoming::Mail(())) | Some(Incoming::Timeout(_)) => continue,
            None => {
                tally.lost += open.len() as u64;
                return false;
            }
        };
        match open.remove(&key) {
            Some(target) if target == pid => tally.note(&exit),
            Some(_) => tally.wrong += 1,
            None => tally.doubled += 1,
        }
    }
    true
}

#[allow(dead_code, reason = "the tests call the races themselves")]
fn main() -> ExitCode {
    let races = std::env::args().nth(1).map_or(Ok(1_000_000), |races| races.parse());
    let Ok(races) = races else {
        eprintln!("how many races? a number, please");
        return ExitCode::FAILURE;
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let clean = runtime.expect("a runtime of two workers").block_on(async {
        let actors = Actors::alone();
        let mut clean = true;
        for tie in [Tie::Monitor, Tie::Link] {
            let began = quorate_env::now();
            let tally = race(&actors, tie, races).await;
            let took = quorate_env::now().since(began).as_secs_f64();
            println!("{tie:?}: {tally:?} in {took:.1} s");
            clean &= tally.is_clean();
        }
        actors.close().await;
        clean
    });
    if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
