//! How the disk stands to this node, for whoever must step down before the disk makes the node useless.
//!
//! The journal's scribe and the keeper of snapshots report here; the hall watches. Nothing here decides what
//! is acknowledged: while the disk refuses, what waits is neither acknowledged nor refused, and goes on by
//! itself once the disk takes it. So a report that comes late costs time and no safety.
//!
//! Not here: what the node does about it.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorate_env::{now, timeout};
use quorate_vocab::Time;
use tokio::sync::Notify;

/// How the disk stands to this node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It takes what it is given.
    #[default]
    Healthy,
    /// It has not answered since then. What waits is not lost, and is acknowledged once it answers.
    Slow {
        /// When it was asked.
        since: Time,
    },
    /// It has not answered for so long that nobody should wait for this node. What waits is not lost, and is
    /// acknowledged should it answer.
    Hung {
        /// When it was asked.
        since: Time,
    },
    /// It has no room. What waits goes on by itself once there is some.
    Full,
    /// It takes no writes at all. What waits goes on by itself once it does.
    ReadOnly,
    /// The journal has stopped for good. What was acknowledged is on the disk; only a restart tells whether
    /// more is.
    Failed,
}

/// A look at how the disk stands. Clones see the same.
#[derive(Clone, Debug)]
pub struct StandingWatch {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    parts: Mutex<Parts>,
    changed: Notify,
    slow_after: Duration,
}

#[derive(Debug, Default)]
struct Parts {
    journal: Report,
    /// The journal's next segment, without which it goes on for a while.
    ahead: Report,
    snapshots: Report,
    /// When the scribe asked something of the disk that it has not answered.
    asked: Option<Time>,
}

/// What a reporter said last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Report {
    standing: Standing,
    why: Option<String>,
}

impl Standing {
    /// What an error says about the disk, if it says that nothing was done and that the same step may be
    /// taken later. Of a sync that failed, nothing of the kind can be said.
    pub fn of_refusal(error: &io::Error) -> Option<Self> {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Self::Full),
            io::ErrorKind::ReadOnlyFilesystem => Some(Self::ReadOnly),
            _ => None,
        }
    }

    /// Whether a node in this state can make anything durable.
    pub fn is_healthy(self) -> bool {
        self == Self::Healthy
    }
}

/// How many times longer than a slow disk a hung one does not answer.
const HUNG: u32 = 3;

impl StandingWatch {
    pub(crate) fn new(slow_after: Duration) -> Self {
        let inner = Inner { parts: Mutex::default(), changed: Notify::new(), slow_after };
        Self { inner: Arc::new(inner) }
    }

    /// How the disk stands now.
    pub fn current(&self) -> Standing {
        let parts = self.parts();
        match self.journal(&parts) {
            Standing::Healthy => parts.worst().standing,
            standing => standing,
        }
    }

    /// Whether the journal itself waits for the disk, and for too long or in vain: nothing that is given to
    /// it becomes durable before that ends. A disk that only refuses what will be needed later leaves it
    /// running.
    pub fn is_stuck(&self) -> bool {
        !matches!(self.journal(&self.parts()), Standing::Healthy | Standing::Slow { .. })
    }

    /// Returns once the journal is stuck.
    pub async fn stuck(&self) {
        self.look_for(|| self.is_stuck().then_some(())).await;
    }

    /// Returns once the journal is not stuck.
    pub async fn unstuck(&self) {
        self.look_for(|| (!self.is_stuck()).then_some(())).await;
    }

    fn journal(&self, parts: &Parts) -> Standing {
        let standing = parts.journal.standing;
        let Some(since) = parts.asked.filter(|_| standing.is_healthy()) else {
            return standing;
        };
        match now().since(since) {
            silence if silence >= self.inner.slow_after * HUNG => Standing::Hung { since },
            silence if silence >= self.inner.slow_after => Standing::Slow { since },
            _ => Standing::Healthy,
        }
    }

    /// Returns how the disk stands as soon as that is something else than `seen`.
    pub async fn changed(&self, seen: Standing) -> Standing {
        self.look_for(|| Some(self.current()).filter(|current| *current != seen)).await
    }

    async fn look_for<T>(&self, look: impl Fn() -> Option<T>) -> T {
        loop {
            let mut changed = pin!(self.inner.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = look() {
                return found;
            }
            // Nobody reports that time goes by: a disk that does not answer is found by looking.
            let _ = timeout(self.inner.slow_after / 2, changed).await;
        }
    }

    /// What the disk said when it refused, if it does.
    pub fn why(&self) -> Option<String> {
        self.parts().worst().why.clone()
    }

    /// Reports what came of saving a snapshot.
    pub fn saved(&self, outcome: &io::Result<()>) {
        let outcome = outcome.as_ref().copied();
        self.report(|parts| &mut parts.snapshots, Report::of(outcome));
    }

    /// Reports what came of preparing the journal's next segment.
    pub(crate) fn looked_ahead(&self, outcome: Result<(), &io::Error>) {
        self.report(|parts| &mut parts.ahead, Report::of(outcome));
    }

    /// The scribe asks something of the disk.
    pub(crate) fn asks(&self) {
        self.parts().asked = Some(now());
    }

    /// The disk has answered, and took it.
    pub(crate) fn answered(&self) {
        let asked = self.parts().asked.take();
        self.report(|parts| &mut parts.journal, Report::default());
        if asked.is_some_and(|since| now().since(since) >= self.inner.slow_after) {
            self.inner.changed.notify_waiters();
        }
    }

    /// The disk has answered, and refused.
    pub(crate) fn refused(&self, standing: Standing, why: &str) {
        self.parts().asked = None;
        self.report(|parts| &mut parts.journal, Report { standing, why: Some(why.to_owned()) });
    }

    fn report(&self, part: impl FnOnce(&mut Parts) -> &mut Report, report: Report) {
        {
            let mut parts = self.parts();
            let held = part(&mut parts);
            // What has failed stays so.
            if *held == report || held.standing == Standing::Failed {
                return;
            }
            *held = report;
        }
        self.inner.changed.notify_waiters();
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.inner.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Report {
    /// What a refusal says of the disk; anything else says nothing against it.
    fn of(outcome: Result<(), &io::Error>) -> Self {
        let refusal = outcome.err().and_then(|error| {
            let standing = Standing::of_refusal(error)?;
            Some(Self { standing, why: Some(error.to_string()) })
        });
        refusal.unwrap_or_default()
    }
}

impl Parts {
    /// Without the journal there is no node; without its next segment there is one until the present one is
    /// full; without snapshots there is one whose log grows.
    fn worst(&self) -> &Report {
        let reports = [&self.journal, &self.ahead, &self.snapshots];
        let ill = reports.into_iter().find(|report| !report.standing.is_healthy());
        ill.unwrap_or(&self.journal)
    }
}
