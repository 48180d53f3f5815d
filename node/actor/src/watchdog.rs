//! The watchdog: finds processes that hold a worker for too long, names them, and has the processes that wait
//! behind them run elsewhere.
//!
//! It sits on a thread of its own, since all workers may be held; and it only looks, so nothing that runs
//! pays for it. A simulated life has none: its time stands still while a process computes.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use quorate_vocab::{Pid, Time};

use crate::actors::{Actors, Inner};
use crate::scheduler::Sighting;

/// A process that held a worker for longer than it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hog {
    /// Which process.
    pub pid: Pid,
    /// What it was labelled.
    pub label: Option<&'static str>,
    /// For how long it was seen to hold its worker.
    pub held: Duration,
    /// Whether it still does.
    pub holds: bool,
}

/// How many hogs are remembered.
const HOGS_MAX: usize = 64;

/// What the watchdog has seen.
#[derive(Default)]
pub(crate) struct Kennel {
    hogs: BTreeMap<Pid, Hog>,
}

impl Kennel {
    pub(crate) fn hogs(&self) -> Vec<Hog> {
        self.hogs.values().cloned().collect()
    }

    /// Notes that a process holds its worker; whether that is news.
    fn bark(&mut self, hog: Hog) -> bool {
        if self.hogs.len() >= HOGS_MAX && !self.hogs.contains_key(&hog.pid) {
            self.hogs.pop_first();
        }
        let before = self.hogs.insert(hog.pid, hog);
        before.is_none_or(|before| !before.holds)
    }

    fn calm(&mut self, pid: Pid) {
        if let Some(hog) = self.hogs.get_mut(&pid) {
            hog.holds = false;
        }
    }
}

/// Watches a runtime until it is over.
pub(crate) async fn watch(runtime: Weak<Inner>, bound: Duration) {
    let mut seen: Vec<Option<Sighting>> = Vec::new();
    while let Some(inner) = runtime.upgrade() {
        let actors = Actors(inner);
        if actors.is_over() || actors.scheduler().is_deserted() {
            return;
        }
        look(&actors, &mut seen, quorate_env::now(), bound);
        drop(actors);
        quorate_env::sleep(bound / 2).await;
    }
}

fn look(actors: &Actors, seen: &mut Vec<Option<Sighting>>, now: Time, bound: Duration) {
    for (seat, (begun, serial, others_wait)) in actors.scheduler().observe().enumerate() {
        if seat == seen.len() {
            seen.push(None);
        }
        let before = seen[seat].replace(Sighting { begun, serial, since: now });
        let Some(before) = before.filter(|before| before.serial != 0) else { continue };
        let pid = actors.pid_of(before.serial);
        if (before.begun, before.serial) != (begun, serial) {
            actors.kennel().calm(pid);
            continue;
        }
        seen[seat] = Some(before);
        if others_wait {
            actors.scheduler().rouse();
        }
        let held = now.since(before.since);
        if held < bound {
            continue;
        }
        let label = actors.label_of(pid);
        if actors.kennel().bark(Hog { pid, label, held, holds: true }) {
            tracing::warn!(%pid, label, ?held, "a process holds its worker; the others go round it");
        }
    }
}
